//! A tone that is spoken into a source.
#![allow(clippy::expect_used, reason = "a test that cannot go on says so")]

use livekit::webrtc::audio_frame::AudioFrame;
use livekit::webrtc::audio_source::native::NativeAudioSource;

/// Of the source and the frames.
pub const RATE_HZ: u32 = 48_000;

/// Gives a sine of `hz` to a source, in frames of 10 ms, for as long as this is awaited.
pub async fn speak(source: &NativeAudioSource, hz: f64) {
    let mut n = 0_u32;
    loop {
        let samples: Vec<i16> = (n..n + RATE_HZ / 100)
            .map(|n| {
                let t = f64::from(n) / f64::from(RATE_HZ);
                (8000.0 * (hz * t * std::f64::consts::TAU).sin()) as i16
            })
            .collect();
        n += RATE_HZ / 100;
        let frame = AudioFrame {
            data: samples.as_slice().into(),
            sample_rate: RATE_HZ,
            num_channels: 1,
            samples_per_channel: RATE_HZ / 100,
        };
        source.capture_frame(&frame).await.expect("a taken frame");
    }
}
