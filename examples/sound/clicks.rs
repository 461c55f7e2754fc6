//! Short tones in silence, and the ear that hears when they come.

use std::f32::consts::TAU;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use livekit::webrtc::audio::{AudioPull, AudioSink};

pub const RATE_HZ: u32 = 48_000;
/// Between two clicks. A prime number of milliseconds, so that they fall on every place of beats and packets.
const EVERY: usize = 48 * 503;
/// 10 ms of 1 kHz.
const LENGTH: usize = 480;
const HZ: f32 = 1_000.0;
/// A click has begun with the first sample beyond this; what the codec lets ring before it is lower.
const LOUD: u16 = 4_000;
/// And no other begins for so many samples.
const DEAF: usize = EVERY / 2;

/// When the sample at an offset of a frame is due, if the frame's first one is at `begin`.
fn due(begin: Instant, offset: usize) -> Instant {
    begin + Duration::from_secs(1) * offset as u32 / RATE_HZ
}

/// Makes clicks, and tells when each was handed over.
pub struct Clicks {
    pub at: usize,
    pub begun: Sender<Instant>,
}

impl AudioPull for Clicks {
    fn fill(&mut self, out: &mut [i16]) -> usize {
        let now = Instant::now();
        for (offset, sample) in out.iter_mut().enumerate() {
            let place = self.at % EVERY;
            self.at += 1;
            if place == 0 {
                let _ = self.begun.send(due(now, offset));
            }
            *sample = if place < LENGTH {
                (20_000.0 * (TAU * HZ * place as f32 / RATE_HZ as f32).cos()) as i16
            } else {
                0
            };
        }
        out.len()
    }
}

/// Tells when it hears a click begin.
pub struct Ear {
    pub heard: Sender<Instant>,
    pub deaf: usize,
}

impl AudioSink for Ear {
    fn on_frame(&mut self, frame: &[i16]) {
        let now = Instant::now();
        for (offset, sample) in frame.iter().enumerate() {
            self.deaf = self.deaf.saturating_sub(1);
            if self.deaf == 0 && sample.unsigned_abs() > LOUD {
                let _ = self.heard.send(due(now, offset));
                self.deaf = DEAF;
            }
        }
    }
}
