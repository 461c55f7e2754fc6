//! Behaviour of the audio half as a whole, on simulated time.

mod capturing;
mod channels;
mod drift;
mod loopback;
mod receiver;
mod receiving;
mod resending;
mod sending;
mod steering;
mod stoi;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    AudioPull, AudioSend, AudioSink, EncodedAudio, OpusSend, RemoteAudio, RtpAudio, SinkHandle,
    capture::Capture,
    engine::{Executor, Manual},
    start_send,
};
use crate::{
    audio_source::{AudioSourceOptions, native::NativeAudioSource},
    audio_track::RtcAudioTrack,
};

pub(super) const BEAT: Duration = Duration::from_millis(10);

/// An audio engine whose time is in the test's hand.
pub(super) struct Stage {
    engine: Arc<Manual>,
    start: Instant,
    beats: u32,
}

/// A packet as a sender handed it over.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub payload: Bytes,
    pub timestamp: u32,
    pub marker: bool,
    pub level_dbov: u8,
    pub voice: bool,
}

pub(super) type Log<T> = Arc<Mutex<Vec<T>>>;

impl Stage {
    pub fn new() -> Self {
        Self {
            engine: Arc::default(),
            start: Instant::now(),
            beats: 0,
        }
    }

    pub fn now(&self) -> Instant {
        self.start + BEAT * self.beats
    }

    pub fn beat(&mut self) {
        self.engine.serve(self.now());
        self.beats += 1;
    }

    pub fn beats(&mut self, count: u32) {
        for _ in 0..count {
            self.beat();
        }
    }

    /// Nothing happens for this long, as when the machine is suspended.
    pub fn stall(&mut self, beats: u32) {
        self.beats += beats;
    }

    pub fn units(&self) -> usize {
        self.engine.units()
    }

    fn executor(&self) -> Arc<dyn Executor> {
        Arc::clone(&self.engine) as Arc<dyn Executor>
    }

    pub fn source(&self, rate_hz: u32, channels: u32, queue_ms: u32) -> NativeAudioSource {
        let options = AudioSourceOptions::default();
        let capture = Capture::on(self.executor(), options, rate_hz, channels, queue_ms);
        NativeAudioSource::around(Arc::new(capture))
    }

    pub fn remote(&self) -> RtcAudioTrack {
        let enabled = Arc::new(AtomicBool::new(true));
        let remote = RemoteAudio::on(self.executor(), Arc::clone(&enabled));
        RtcAudioTrack::around("remote".to_owned(), enabled, remote)
    }

    /// Sends what `source` yields and collects the packets.
    pub fn send(&self, track: &RtcAudioTrack, settings: OpusSend) -> (AudioSend, Log<Sent>) {
        let sent: Log<Sent> = Arc::default();
        let log = Arc::clone(&sent);
        let send = start_send(track, settings, 0, move |packet: EncodedAudio<'_>| {
            log.lock().push(Sent {
                payload: Bytes::copy_from_slice(packet.payload),
                timestamp: packet.timestamp,
                marker: packet.marker,
                level_dbov: packet.level_dbov,
                voice: packet.voice,
            });
            assert_eq!(packet.samples, 960);
        })
        .unwrap();
        (send, sent)
    }
}

/// Keeps all frames.
#[derive(Default)]
pub(super) struct Recorder {
    pub frames: Log<Vec<i16>>,
    pub ended: Arc<AtomicBool>,
}

impl AudioSink for Recorder {
    fn on_frame(&mut self, frame: &[i16]) {
        self.frames.lock().push(frame.to_vec());
    }

    fn on_end(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// A sink on a track together with what it heard.
pub(super) struct Listener {
    _handle: SinkHandle,
    pub frames: Log<Vec<i16>>,
    pub ended: Arc<AtomicBool>,
}

impl Listener {
    pub fn on(track: &RtcAudioTrack, rate_hz: u32, channels: u32) -> Self {
        let recorder = Recorder::default();
        let (frames, ended) = (Arc::clone(&recorder.frames), Arc::clone(&recorder.ended));
        let handle = track.add_sink(rate_hz, channels, Box::new(recorder));
        Self {
            _handle: handle,
            frames,
            ended,
        }
    }

    pub fn count(&self) -> usize {
        self.frames.lock().len()
    }

    pub fn samples(&self) -> Vec<i16> {
        self.frames.lock().concat()
    }

    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// A sine, or with harmonics something like a voice that speaks syllables; silence while the switch
/// is off.
pub(super) struct Tone {
    pub hz: f64,
    pub harmonics: u32,
    pub rate_hz: u32,
    pub channels: usize,
    pub on: Arc<AtomicBool>,
    pub samples: u64,
}

impl Tone {
    pub fn new(hz: f64, rate_hz: u32, channels: usize) -> Self {
        Self {
            hz,
            harmonics: 1,
            rate_hz,
            channels,
            on: Arc::new(AtomicBool::new(true)),
            samples: 0,
        }
    }
}

impl AudioPull for Tone {
    fn fill(&mut self, out: &mut [i16]) -> usize {
        let on = self.on.load(Ordering::Relaxed);
        for frame in out.chunks_exact_mut(self.channels) {
            let t = self.samples as f64 / f64::from(self.rate_hz);
            let partial =
                |k: u32| (t * self.hz * f64::from(k) * std::f64::consts::TAU).sin() / f64::from(k);
            let syllable = if self.harmonics == 1 {
                1.0
            } else {
                (1.0 + (t * 25.0).sin()) / 2.0
            };
            let value = 12_000.0 * syllable * (1..=self.harmonics).map(partial).sum::<f64>();
            frame.fill(if on { value as i16 } else { 0 });
            self.samples += 1;
        }
        out.len()
    }
}

pub(super) fn local(source: &NativeAudioSource) -> RtcAudioTrack {
    RtcAudioTrack::new_local("local".to_owned(), source.clone())
}

/// Signal to noise and distortion in dB of `signal` against its best-fitting sine of `hz`.
pub(super) fn sine_quality_db(signal: &[i16], hz: f64, rate_hz: u32) -> f64 {
    let w = hz * std::f64::consts::TAU / f64::from(rate_hz);
    let (mut s, mut c) = (0.0, 0.0);
    for (n, &x) in signal.iter().enumerate() {
        s += f64::from(x) * (w * n as f64).sin();
        c += f64::from(x) * (w * n as f64).cos();
    }
    let scale = 2.0 / signal.len() as f64;
    let (s, c) = (s * scale, c * scale);
    let (mut wanted, mut rest) = (0.0, 1e-9);
    for (n, &x) in signal.iter().enumerate() {
        let fit = s * (w * n as f64).sin() + c * (w * n as f64).cos();
        wanted += fit * fit;
        rest += (f64::from(x) - fit).powi(2);
    }
    10.0 * (wanted / rest).log10()
}

/// A small generator, so that a seed always gives the same network.
pub(super) struct Random(pub u64);

impl Random {
    /// SplitMix64 (Steele, Lea, Flood 2014).
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}

/// Puts packets into RTP as a driver does.
pub(super) fn rtp(sent: &Sent, seq: u16, arrival: Instant) -> RtpAudio {
    RtpAudio {
        ssrc: 11,
        seq,
        timestamp: sent.timestamp,
        marker: sent.marker,
        payload: sent.payload.clone(),
        arrival,
        resent: false,
    }
}
