//! The inference thread: gathers the frames that are due, judges them together, tells each stream.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rtrb::Consumer;

use super::energy::Energy;
use super::silero::{BATCH_MAX, Memory, Row, Silero};
use super::vitals::Counters;
use super::{FRAME_SAMPLES, FrameHandler};
use crate::priority;

/// The thread comes round this often when there is no sound, so that closed streams are noticed and its tick is a sign
/// of life.
const IDLE: Duration = Duration::from_millis(100);
/// With several streams open, the first frame that is due waits this long for those of the same 10 ms of the audio
/// clock: a batch of many costs far less than many batches of one.
const GATHER: Duration = Duration::from_millis(1);
/// One failed run may be a matter of memory; this many in a row are the model's own fault, and it is given up.
const FAILURES_MAX: u32 = 3;
/// With nothing to judge for so long, the model is asked about silence: that it has failed is known before somebody speaks.
const CANARY: Duration = Duration::from_secs(1);
/// A step below the audio threads, above the speech engines: a late frame is a late reply.
const NICE: i32 = 2;

/// What the engine's handles and the thread have in common.
#[derive(Debug)]
pub(super) struct Shared {
    /// Streams that were opened and not yet taken over by the thread.
    pub(super) arriving: Mutex<Vec<Stream>>,
    pub(super) counters: Counters,
    stopping: AtomicBool,
}

impl Shared {
    pub(super) fn new(degraded: bool) -> Self {
        Self {
            arriving: Mutex::default(),
            counters: Counters::new(degraded),
            stopping: AtomicBool::new(false),
        }
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

/// One interview's candidate.
pub(super) struct Stream {
    ring: Consumer<i16>,
    handler: Box<dyn FrameHandler>,
    memory: Memory,
    energy: Energy,
    pcm: [i16; FRAME_SAMPLES],
    /// The frame in `pcm` is new.
    is_due: bool,
    /// The energy detector's answer for it.
    loudness: f32,
    is_broken: bool,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream")
            .field("is_due", &self.is_due)
            .finish_non_exhaustive()
    }
}

impl Stream {
    pub(super) fn new(ring: Consumer<i16>, handler: Box<dyn FrameHandler>) -> Self {
        Self {
            ring,
            handler,
            memory: Memory::new(),
            energy: Energy::new(),
            pcm: [0; FRAME_SAMPLES],
            is_due: false,
            loudness: 0.0,
            is_broken: false,
        }
    }

    /// Takes the next frame out of the ring, if it is complete.
    fn take(&mut self) {
        self.is_due = !self.is_broken && self.ring.pop_entire_slice(&mut self.pcm).is_ok();
        if self.is_due {
            // Also while the model answers, so that the noise floor is known when it no longer does.
            self.loudness = self.energy.probability(&self.pcm);
        }
    }

    fn tell(&mut self, probability: f32, counters: &Counters) {
        let told = catch_unwind(AssertUnwindSafe(|| {
            self.handler.on_frame(&self.pcm, probability)
        }));
        if told.is_err() {
            counters.panicked();
            self.is_broken = true;
        }
    }

    /// Whether nothing can come of it any more.
    fn is_over(&self) -> bool {
        // In this order: what was pushed before the input was dropped is seen after it.
        self.is_broken || (self.ring.is_abandoned() && self.ring.slots() < FRAME_SAMPLES)
    }

    fn close(&mut self, counters: &Counters) {
        if !self.is_broken && catch_unwind(AssertUnwindSafe(|| self.handler.on_closed())).is_err() {
            counters.panicked();
        }
    }
}

/// The thread's own.
pub(super) struct Infer {
    silero: Option<Silero>,
    failures: Failures,
    /// When the model was last asked.
    asked: Instant,
    streams: Vec<Stream>,
    probabilities: Vec<f32>,
    shared: Arc<Shared>,
}

impl Infer {
    pub(super) fn new(silero: Option<Silero>, shared: Arc<Shared>) -> Self {
        Self {
            silero,
            failures: Failures::default(),
            asked: Instant::now(),
            streams: Vec::new(),
            probabilities: Vec::with_capacity(BATCH_MAX),
            shared,
        }
    }

    pub(super) fn run(mut self) {
        priority::lower(NICE);
        loop {
            self.adopt();
            let is_busy = self.round();
            self.retire();
            if self.shared.is_stopping() {
                return self.close_all();
            }
            if is_busy {
                continue;
            }
            if self.asked.elapsed() >= CANARY {
                self.ask_about_silence();
            }
            std::thread::park_timeout(IDLE);
            if self.streams.len() > 1 {
                std::thread::sleep(GATHER);
            }
        }
    }

    fn adopt(&mut self) {
        self.streams.append(
            &mut self
                .shared
                .arriving
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        self.shared.counters.tick(self.streams.len());
    }

    /// One frame of every stream that has one; whether there was any.
    fn round(&mut self) -> bool {
        self.streams.iter_mut().for_each(Stream::take);
        let mut due: Vec<&mut Stream> = self
            .streams
            .iter_mut()
            .filter(|stream| stream.is_due)
            .collect();
        let is_any = !due.is_empty();
        for batch in due.chunks_mut(BATCH_MAX) {
            let is_judged = judge(
                &mut self.silero,
                batch,
                &mut self.probabilities,
                &self.shared.counters,
            );
            note(
                is_judged,
                &mut self.silero,
                &mut self.failures,
                &self.shared,
            );
            self.asked = Instant::now();
            for (i, stream) in batch.iter_mut().enumerate() {
                let probability = if is_judged {
                    self.probabilities[i]
                } else {
                    stream.loudness
                };
                stream.tell(probability, &self.shared.counters);
            }
            self.shared.counters.frames(batch.len());
        }
        is_any
    }

    fn ask_about_silence(&mut self) {
        self.asked = Instant::now();
        let Some(silero) = &mut self.silero else {
            return;
        };
        let asked = silero.ask_about_silence();
        self.shared.counters.canary(self.asked.elapsed());
        if let Err(e) = &asked {
            tracing::warn!("the VAD model, asked about silence: {e}");
        }
        note(
            asked.is_ok(),
            &mut self.silero,
            &mut self.failures,
            &self.shared,
        );
    }

    fn retire(&mut self) {
        let counters = &self.shared.counters;
        self.streams.retain_mut(|stream| {
            let is_over = stream.is_over();
            if is_over {
                stream.close(counters);
            }
            !is_over
        });
        counters.tick(self.streams.len());
    }

    fn close_all(&mut self) {
        self.adopt();
        for mut stream in self.streams.drain(..) {
            stream.close(&self.shared.counters);
        }
        self.shared.counters.tick(0);
    }
}

/// Runs of the model that failed in a row.
#[derive(Debug, Default)]
struct Failures(u32);

impl Failures {
    /// Whether there are too many now.
    fn note(&mut self, is_well: bool) -> bool {
        self.0 = if is_well { 0 } else { self.0 + 1 };
        self.0 >= FAILURES_MAX
    }
}

/// Gives the model up after too many failures.
fn note(is_well: bool, silero: &mut Option<Silero>, failures: &mut Failures, shared: &Shared) {
    if silero.is_some() && failures.note(is_well) {
        *silero = None;
        shared.counters.degrade();
        tracing::error!(
            "the VAD model is given up after {FAILURES_MAX} failures in a row, loudness decides from here on; restart when no interview is on"
        );
    }
}

/// Whether the model answered; `probabilities` are the batch's then.
fn judge(
    silero: &mut Option<Silero>,
    batch: &mut [&mut Stream],
    probabilities: &mut Vec<f32>,
    counters: &Counters,
) -> bool {
    let Some(silero) = silero else { return false };
    let mut rows: Vec<Row<'_>> = batch
        .iter_mut()
        .map(|stream| Row {
            memory: &mut stream.memory,
            pcm: &stream.pcm,
        })
        .collect();
    let start = Instant::now();
    let result = silero.run(&mut rows, probabilities);
    counters.inference(start.elapsed());
    if let Err(e) = &result {
        tracing::warn!("loudness decides for {} frames: {e}", rows.len());
    }
    result.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_failures_in_a_row_are_too_many_and_one_good_run_ends_the_row() {
        let mut failures = Failures::default();
        for _ in 0..10 {
            assert!((1..FAILURES_MAX).all(|_| !failures.note(false)));
            assert!(!failures.note(true));
        }
        assert!((1..FAILURES_MAX).all(|_| !failures.note(false)));
        assert!(failures.note(false));
    }
}
