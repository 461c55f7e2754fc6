//! A participant that speaks a recording once, when enough others are there to hear it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use livekit::options::TrackPublishOptions;
use livekit::track::{LocalAudioTrack, LocalTrack};
use livekit::webrtc::audio::AudioPull;
use livekit::webrtc::audio_source::native::NativeAudioSource;
use livekit::webrtc::audio_source::{AudioSourceOptions, RtcAudioSource};
use tokio::time::{sleep, timeout};

use crate::{Failure, PATIENCE, join};

/// From the last listener's joining to the first word: both of them hear the track by then.
const SETTLING: Duration = Duration::from_secs(3);
/// Beyond any jitter buffer.
const ECHO: Duration = Duration::from_secs(1);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

pub async fn run(room: &str, recording: &str, listeners: usize) -> Result<(), Failure> {
    let mut recording = hound::WavReader::open(recording)?;
    let rate_hz = recording.spec().sample_rate;
    let samples = recording.samples().collect::<Result<Vec<i16>, _>>()?;
    let (said, speaking) = (Arc::default(), Arc::default());
    let voice = Voice {
        samples,
        at: 0,
        speaking: Arc::clone(&speaking),
        said: Arc::clone(&said),
    };
    let (room, _events) = join(room, "speaker").await?;
    let source = NativeAudioSource::new(AudioSourceOptions::default(), rate_hz, 1, 100);
    source.set_pull(Box::new(voice));
    let track = LocalAudioTrack::create_audio_track("voice", RtcAudioSource::Native(source));
    room.local_participant()
        .publish_track(LocalTrack::Audio(track), TrackPublishOptions::default())
        .await?;
    timeout(PATIENCE, async {
        while room.remote_participants().len() < listeners {
            sleep(LOOK_INTERVAL).await;
        }
    })
    .await?;
    sleep(SETTLING).await;
    speaking.store(true, Ordering::Relaxed);
    while !said.load(Ordering::Relaxed) {
        sleep(LOOK_INTERVAL).await;
    }
    sleep(ECHO).await;
    Ok(room.close().await?)
}

struct Voice {
    samples: Vec<i16>,
    at: usize,
    speaking: Arc<AtomicBool>,
    said: Arc<AtomicBool>,
}

impl AudioPull for Voice {
    fn fill(&mut self, out: &mut [i16]) -> usize {
        if !self.speaking.load(Ordering::Relaxed) {
            return 0;
        }
        let rest = &self.samples[self.at..];
        let filled = rest.len().min(out.len());
        out[..filled].copy_from_slice(&rest[..filled]);
        self.at += filled;
        if filled == 0 {
            self.said.store(true, Ordering::Relaxed);
        }
        filled
    }
}
