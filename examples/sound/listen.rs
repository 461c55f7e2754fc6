//! A participant that records what it hears until the speaker leaves.

use std::io::Write;

use livekit::RoomEvent;
use livekit::track::RemoteTrack;
use livekit::webrtc::audio::AudioSink;
use rtrb::{Producer, RingBuffer};

use crate::{Failure, join};

const RATE_HZ: u32 = 48_000;
/// More than any recording here.
const SECONDS_MAX: usize = 300;

/// Prints `joined`, then, when the speaker has left, what the engine counted.
pub async fn run(room: &str, heard: &str) -> Result<(), Failure> {
    let (room, mut events) = join(room, "ours").await?;
    writeln!(std::io::stdout(), "joined")?;
    let (tape, mut recorded) = RingBuffer::new(SECONDS_MAX * RATE_HZ as usize);
    let (mut tape, mut heard_track) = (Some(tape), None);
    while let Some(event) = events.recv().await {
        match event {
            RoomEvent::TrackSubscribed {
                track: RemoteTrack::Audio(track),
                ..
            } => {
                let track = track.rtc_track();
                if let Some(tape) = tape.take() {
                    let sink = track.add_sink(RATE_HZ, 1, Box::new(Tape(tape)));
                    heard_track = Some((track, sink));
                }
            }
            RoomEvent::ParticipantDisconnected(_) | RoomEvent::Disconnected { .. } => break,
            _ => {}
        }
    }
    let stats = heard_track
        .as_ref()
        .and_then(|(track, _)| track.remote())
        .map(|remote| remote.stats());
    writeln!(std::io::stdout(), "{stats:?}")?;
    drop(heard_track);
    let mut file = hound::WavWriter::create(
        heard,
        hound::WavSpec {
            channels: 1,
            sample_rate: RATE_HZ,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        },
    )?;
    while let Ok(sample) = recorded.pop() {
        file.write_sample(sample)?;
    }
    file.finalize()?;
    Ok(room.close().await?)
}

struct Tape(Producer<i16>);

impl AudioSink for Tape {
    fn on_frame(&mut self, frame: &[i16]) {
        for &sample in frame {
            // A full tape keeps what it has.
            let _ = self.0.push(sample);
        }
    }
}
