//! A participant that speaks without an end and listens.

use livekit::options::TrackPublishOptions;
use livekit::track::{LocalAudioTrack, LocalTrack, RemoteTrack};
use livekit::webrtc::audio::{AudioPull, AudioSink, SinkHandle};
use livekit::webrtc::audio_source::native::NativeAudioSource;
use livekit::webrtc::audio_source::{AudioSourceOptions, RtcAudioSource};
use livekit::webrtc::audio_track::RtcAudioTrack;
use livekit::{Room, RoomEvent};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::support::livekit_server::LiveKitServer;
use crate::support::{self, Failure};

/// What voices come in, and what recognition wants.
const SPOKEN_HZ: u32 = 24_000;
const HEARD_HZ: u32 = 16_000;

pub struct Session {
    room: Room,
    events: UnboundedReceiver<RoomEvent>,
    heard: Option<(RtcAudioTrack, SinkHandle)>,
}

impl Session {
    pub async fn join(server: &LiveKitServer, room: &str, identity: &str) -> Result<Self, Failure> {
        let (room, events) = support::join(server, room, identity, true).await?;
        let source = NativeAudioSource::new(AudioSourceOptions::default(), SPOKEN_HZ, 1, 100);
        source.set_pull(Box::new(Voice::default()));
        let track = LocalAudioTrack::create_audio_track("voice", RtcAudioSource::Native(source));
        room.local_participant()
            .publish_track(LocalTrack::Audio(track), TrackPublishOptions::default())
            .await?;
        Ok(Self {
            room,
            events,
            heard: None,
        })
    }

    /// Listens to the other one, from when it is there.
    pub async fn listen(&mut self) -> Result<(), Failure> {
        while self.heard.is_none() {
            if let RoomEvent::TrackSubscribed {
                track: RemoteTrack::Audio(track),
                ..
            } = self.events.recv().await.ok_or("the events ended")?
            {
                let track = track.rtc_track();
                let sink = track.add_sink(HEARD_HZ, 1, Box::new(Ear::default()));
                self.heard = Some((track, sink));
            }
        }
        Ok(())
    }

    /// Samples at 48 kHz that were made up, because their packets were lost or late.
    pub fn concealed(&self) -> u64 {
        let heard = self.heard.as_ref();
        heard
            .and_then(|(track, _)| track.remote())
            .map_or(0, |remote| remote.stats().samples_concealed)
    }

    pub async fn close(&self) -> Result<(), Failure> {
        Ok(self.room.close().await?)
    }
}

/// Harmonics of a low voice that get louder and softer four times a second.
#[derive(Default)]
struct Voice {
    sample: u32,
}

impl AudioPull for Voice {
    fn fill(&mut self, out: &mut [i16]) -> usize {
        for sample in out.iter_mut() {
            let t = self.sample as f32 / SPOKEN_HZ as f32;
            // Both sounds begin anew every half second, so that the fraction keeps its precision.
            self.sample = (self.sample + 1) % (SPOKEN_HZ / 2);
            // A sawtooth has all harmonics and costs next to nothing.
            let loudness = 0.6 + 0.4 * (t * 4.0).fract();
            *sample = (((t * 130.0).fract() - 0.5) * 12_000.0 * loudness) as i16;
        }
        out.len()
    }
}

/// What a listener does at the least.
#[derive(Default)]
struct Ear {
    energy: f32,
}

impl AudioSink for Ear {
    fn on_frame(&mut self, frame: &[i16]) {
        self.energy += frame
            .iter()
            .map(|s| f32::from(*s) * f32::from(*s))
            .sum::<f32>();
    }
}
