//! A participant that speaks without an end and listens.

use std::sync::Arc;

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
    pub async fn join(
        server: &LiveKitServer,
        room: &str,
        identity: &str,
        speech: &Speech,
    ) -> Result<Self, Failure> {
        let (room, events) = support::join(server, room, identity, true).await?;
        let source = NativeAudioSource::new(AudioSourceOptions::default(), speech.rate_hz, 1, 100);
        source.set_pull(Box::new(speech.begin_anywhere()));
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

/// What all sessions say, over and over.
pub struct Speech {
    rate_hz: u32,
    samples: Arc<[i16]>,
}

impl Speech {
    /// Half a second: harmonics of a low voice that get louder and softer four times a second.
    pub fn made_up() -> Self {
        let samples = (0..SPOKEN_HZ / 2).map(|sample| {
            let t = sample as f32 / SPOKEN_HZ as f32;
            let loudness = 0.6 + 0.4 * (t * 4.0).fract();
            (((t * 130.0).fract() - 0.5) * 12_000.0 * loudness) as i16
        });
        Self {
            rate_hz: SPOKEN_HZ,
            samples: samples.collect(),
        }
    }

    /// A recording of one channel and 16 bits.
    pub fn read(path: &str) -> Result<Self, Failure> {
        let mut recording = hound::WavReader::open(path)
            .map_err(|error| format!("{path} can't be read as WAV: {error}"))?;
        let spec = recording.spec();
        if spec.channels != 1 {
            return Err(format!("{path} has {} channels in place of one", spec.channels).into());
        }
        let samples: Result<Vec<i16>, _> = recording.samples().collect();
        Ok(Self {
            rate_hz: spec.sample_rate,
            samples: samples?.into(),
        })
    }

    /// Not all at the same place, since some sounds cost more than others.
    fn begin_anywhere(&self) -> Voice {
        Voice {
            samples: self.samples.clone(),
            next: fastrand::usize(..self.samples.len().max(1)),
        }
    }
}

struct Voice {
    samples: Arc<[i16]>,
    next: usize,
}

impl AudioPull for Voice {
    fn fill(&mut self, out: &mut [i16]) -> usize {
        let rest = self.samples.iter().skip(self.next);
        let samples = rest.chain(self.samples.iter().cycle());
        for (out, sample) in out.iter_mut().zip(samples) {
            *out = *sample;
        }
        self.next = (self.next + out.len()) % self.samples.len().max(1);
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
