//! The sending side of one source: from the program's sound to senders and local sinks.

mod unit;

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;
use rtrb::{Producer, RingBuffer};

use self::unit::CaptureUnit;
use super::{
    engine::{Executor, Pool},
    format::Format,
    send::Sender,
    sink::{AudioSink, SinkHandle, SinkSlot},
};
use crate::{RtcError, RtcErrorType, audio_frame::AudioFrame, audio_source::AudioSourceOptions};

/// Room for direct capture, which has no queue of its own: what a caller's irregular timer needs.
const DIRECT_ROOM_MS: usize = 100;

/// The unit of direct capture and of the clock.
const FRAME_MS: usize = 10;

/// The longest queue that can be asked for: a minute of sound.
const QUEUE_MS_MAX: u32 = 60_000;

/// Fills a source with sound on the audio clock.
///
/// The call comes on an audio thread that serves other tracks too, and the hook is dropped there
/// when its source is in use: neither may block, wait or take long. A hook that panics takes its
/// source out of service.
pub trait AudioPull: Send {
    /// Writes up to `out.len()` interleaved samples, 10 ms of the source's format, and returns how
    /// many; the rest is silence. `out` is silent before the call. At rates whose 10 ms are not a
    /// whole number of samples (22,050 Hz) the length alternates, so that time is kept.
    fn fill(&mut self, out: &mut [i16]) -> usize;
}

/// A source as its clones share it.
pub(crate) struct Capture {
    executor: Arc<dyn Executor>,
    rate_hz: u32,
    channels: u32,
    /// In samples; zero means direct capture.
    queue_samples: usize,
    options: Mutex<AudioSourceOptions>,
    intake: Mutex<Intake>,
    /// There is something in the intake for the audio thread to take over.
    news: AtomicBool,
    /// Captured samples up to this count are not to be sent.
    discard_until: AtomicU64,
}

/// What the program hands in. The audio thread takes this lock only for what is new, and never
/// waits for it; sound itself goes through the ring.
#[derive(Default)]
struct Intake {
    /// Present while the audio thread serves this source.
    ring: Option<Producer<i16>>,
    /// Samples captured since the source was made.
    captured: u64,
    senders: Vec<Sender>,
    sinks: Vec<SinkSlot>,
    pull: Option<Box<dyn AudioPull>>,
    /// A hook was set, so captured frames have no place.
    pulled: bool,
    waiting: Vec<Waker>,
}

impl Capture {
    pub fn new(options: AudioSourceOptions, rate_hz: u32, channels: u32, queue_ms: u32) -> Self {
        let executor = Arc::clone(Pool::global()) as Arc<dyn Executor>;
        Self::on(executor, options, rate_hz, channels, queue_ms)
    }

    pub fn on(
        executor: Arc<dyn Executor>,
        options: AudioSourceOptions,
        rate_hz: u32,
        channels: u32,
        queue_ms: u32,
    ) -> Self {
        let frames = queue_ms.min(QUEUE_MS_MAX).div_ceil(FRAME_MS as u32) as usize;
        let mut capture = Self {
            executor,
            rate_hz,
            channels,
            queue_samples: 0,
            options: Mutex::new(options),
            intake: Mutex::default(),
            news: AtomicBool::new(false),
            discard_until: AtomicU64::new(0),
        };
        // A format that can't be served gets no queue; every use of it reports the error.
        if let Ok(format) = capture.format() {
            capture.queue_samples = frames * frame_samples(format);
        }
        capture
    }

    pub fn sample_rate(&self) -> u32 {
        self.rate_hz
    }

    pub fn num_channels(&self) -> u32 {
        self.channels
    }

    pub fn options(&self) -> AudioSourceOptions {
        *self.options.lock()
    }

    pub fn set_options(&self, options: AudioSourceOptions) {
        *self.options.lock() = options;
    }

    pub fn format(&self) -> Result<Format, RtcError> {
        Format::new(self.rate_hz, self.channels)
    }

    pub fn clear(&self) {
        let intake = self.intake.lock();
        self.discard_until.store(intake.captured, Ordering::Release);
    }

    pub async fn capture(self: &Arc<Self>, frame: &AudioFrame<'_>) -> Result<(), RtcError> {
        let format = self.format()?;
        if frame.sample_rate != self.rate_hz || frame.num_channels != self.channels {
            return Err(invalid(format!(
                "a frame of {} Hz and {} channels can't be captured by a source of {} Hz and {}",
                frame.sample_rate, frame.num_channels, self.rate_hz, self.channels
            )));
        }
        if !frame.data.len().is_multiple_of(format.channels()) {
            return Err(invalid(format!(
                "a frame of {} samples is not divisible by its {} channels",
                frame.data.len(),
                format.channels()
            )));
        }
        if self.queue_samples == 0 {
            return self.capture_directly(&frame.data, format);
        }
        for chunk in frame.data.chunks(self.queue_samples) {
            poll_fn(|cx| self.poll_enqueue(chunk, cx)).await?;
            poll_fn(|cx| self.poll_drained(cx)).await;
        }
        Ok(())
    }

    /// Sound that nothing listens to is dropped, as the original does without a queue.
    fn capture_directly(&self, samples: &[i16], format: Format) -> Result<(), RtcError> {
        let wanted = frame_samples(format) / format.channels();
        let given = samples.len() / format.channels();
        // Rates without a whole number of samples in 10 ms have frames of two lengths.
        let fractional = !format.rate_hz().is_multiple_of(100);
        if given != wanted && !(fractional && given + 1 == wanted) {
            return Err(invalid(format!(
                "a source without a queue takes frames of 10 ms: got {given} samples per channel, \
                 expected {wanted}"
            )));
        }
        let mut intake = self.intake.lock();
        intake.refuse_when_pulled()?;
        let Some(ring) = &mut intake.ring else {
            return Ok(());
        };
        // When the ring is full the audio thread is stalled, and old sound is as good as new.
        if ring.push_entire_slice(samples).is_ok() {
            intake.captured += samples.len() as u64;
        }
        Ok(())
    }

    fn poll_enqueue(
        self: &Arc<Self>,
        chunk: &[i16],
        cx: &Context<'_>,
    ) -> Poll<Result<(), RtcError>> {
        let mut intake = self.intake.lock();
        if let Err(error) = intake
            .refuse_when_pulled()
            .and_then(|()| self.run(&mut intake))
        {
            return Poll::Ready(Err(error));
        }
        let pushed = intake
            .ring
            .as_mut()
            .is_some_and(|ring| ring.push_entire_slice(chunk).is_ok());
        if pushed {
            intake.captured += chunk.len() as u64;
            return Poll::Ready(Ok(()));
        }
        self.wait(&mut intake, cx);
        Poll::Pending
    }

    /// Ready when no more than the queue's size waits, so that a capturer is that far ahead.
    fn poll_drained(&self, cx: &Context<'_>) -> Poll<()> {
        let mut intake = self.intake.lock();
        let Some(ring) = &intake.ring else {
            return Poll::Ready(());
        };
        if ring.buffer().capacity() - ring.slots() <= self.queue_samples {
            return Poll::Ready(());
        }
        self.wait(&mut intake, cx);
        Poll::Pending
    }

    fn wait(&self, intake: &mut Intake, cx: &Context<'_>) {
        if !intake
            .waiting
            .iter()
            .any(|waker| waker.will_wake(cx.waker()))
        {
            intake.waiting.push(cx.waker().clone());
        }
        self.news.store(true, Ordering::Release);
    }

    pub fn set_pull(&self, pull: Box<dyn AudioPull>) {
        let mut intake = self.intake.lock();
        intake.pulled = true;
        let replaced = intake.pull.replace(pull);
        self.news.store(true, Ordering::Release);
        drop(intake);
        drop(replaced);
    }

    pub fn add_sender(self: &Arc<Self>, sender: Sender) -> Result<(), RtcError> {
        let mut intake = self.intake.lock();
        self.run(&mut intake)?;
        intake.senders.push(sender);
        self.news.store(true, Ordering::Release);
        Ok(())
    }

    pub fn add_sink(
        self: &Arc<Self>,
        rate_hz: u32,
        channels: u32,
        sink: Box<dyn AudioSink>,
    ) -> SinkHandle {
        // Without a servable format of its own a source has nothing to hand on; the sink is told
        // so by the same way.
        let from = self.format().unwrap_or(Format::CORE);
        let (slot, handle) = SinkSlot::new(from, rate_hz, channels, sink);
        let Some(slot) = slot else {
            return handle;
        };
        let mut intake = self.intake.lock();
        match self.run(&mut intake) {
            Ok(()) => {
                intake.sinks.push(slot);
                self.news.store(true, Ordering::Release);
            }
            Err(error) => {
                drop(intake);
                log::error!(
                    "a local audio track can't be listened to: {}",
                    error.message
                );
                slot.end();
            }
        }
        handle
    }

    /// Has the audio thread serve this source, if it doesn't already.
    fn run(self: &Arc<Self>, intake: &mut Intake) -> Result<(), RtcError> {
        if intake.ring.is_some() {
            return Ok(());
        }
        let format = self.format()?;
        let direct = frame_samples(format) * DIRECT_ROOM_MS / FRAME_MS;
        let room = if self.queue_samples == 0 {
            direct
        } else {
            2 * self.queue_samples
        };
        let (producer, consumer) = RingBuffer::new(room);
        let unit = CaptureUnit::new(Arc::clone(self), format, consumer, intake.captured);
        self.executor.register(Box::new(unit))?;
        intake.ring = Some(producer);
        self.news.store(true, Ordering::Release);
        Ok(())
    }
}

impl Intake {
    fn refuse_when_pulled(&self) -> Result<(), RtcError> {
        if self.pulled {
            return Err(invalid(
                "this source is filled by its pull hook; capture_frame has no place in it"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

/// Interleaved samples in 10 ms, rounded up.
fn frame_samples(format: Format) -> usize {
    format.rate_hz().div_ceil(100) as usize * format.channels()
}

fn invalid(message: String) -> RtcError {
    RtcError {
        error_type: RtcErrorType::InvalidState,
        message,
    }
}
