//! Counters that the inference and audio threads write and health reads, without a lock.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The detector's vital signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vitals {
    /// The energy detector answers, because there is no model or it fails.
    pub degraded: bool,
    /// Time since the inference thread last came round: it does so every 100 ms at least, whether or not there is
    /// sound, so more than a second means that it hangs.
    pub since_tick: Duration,
    /// Open streams.
    pub streams: u32,
    /// Frames judged since the start.
    pub frames: u64,
    /// Samples lost since the start because the inference thread was late.
    pub dropped_samples: u64,
    /// Handlers that panicked since the start.
    pub panics: u32,
    /// The longest inference since the start, after the warm-up.
    pub inference_us_max: u32,
    /// How often the model was asked about silence, because nobody had anything to judge.
    pub canaries: u64,
    /// What the first inference took.
    pub warm_up: Duration,
}

#[derive(Debug)]
pub(super) struct Counters {
    start: Instant,
    degraded: AtomicBool,
    tick_us: AtomicU64,
    streams: AtomicU32,
    frames: AtomicU64,
    dropped_samples: AtomicU64,
    panics: AtomicU32,
    inference_us_max: AtomicU32,
    canaries: AtomicU64,
}

impl Counters {
    pub(super) fn new(degraded: bool) -> Self {
        Self {
            start: Instant::now(),
            degraded: AtomicBool::new(degraded),
            tick_us: AtomicU64::new(0),
            streams: AtomicU32::new(0),
            frames: AtomicU64::new(0),
            dropped_samples: AtomicU64::new(0),
            panics: AtomicU32::new(0),
            inference_us_max: AtomicU32::new(0),
            canaries: AtomicU64::new(0),
        }
    }

    pub(super) fn degrade(&self) {
        self.degraded.store(true, Relaxed);
    }

    pub(super) fn tick(&self, streams: usize) {
        self.tick_us.store(
            self.start
                .elapsed()
                .as_micros()
                .try_into()
                .unwrap_or(u64::MAX),
            Relaxed,
        );
        self.streams
            .store(streams.try_into().unwrap_or(u32::MAX), Relaxed);
    }

    pub(super) fn frames(&self, n: usize) {
        self.frames.fetch_add(n as u64, Relaxed);
    }

    pub(super) fn dropped(&self, samples: usize) {
        self.dropped_samples.fetch_add(samples as u64, Relaxed);
    }

    pub(super) fn panicked(&self) {
        self.panics.fetch_add(1, Relaxed);
    }

    pub(super) fn inference(&self, took: Duration) {
        self.inference_us_max
            .fetch_max(took.as_micros().try_into().unwrap_or(u32::MAX), Relaxed);
    }

    pub(super) fn canary(&self, took: Duration) {
        self.inference(took);
        self.canaries.fetch_add(1, Relaxed);
    }

    pub(super) fn read(&self, warm_up: Duration) -> Vitals {
        let tick = Duration::from_micros(self.tick_us.load(Relaxed));
        Vitals {
            degraded: self.degraded.load(Relaxed),
            since_tick: self.start.elapsed().saturating_sub(tick),
            streams: self.streams.load(Relaxed),
            frames: self.frames.load(Relaxed),
            dropped_samples: self.dropped_samples.load(Relaxed),
            panics: self.panics.load(Relaxed),
            inference_us_max: self.inference_us_max.load(Relaxed),
            canaries: self.canaries.load(Relaxed),
            warm_up,
        }
    }
}
