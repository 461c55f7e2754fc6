//! Tells speech from silence for all interviews at once, every 32 ms.
//!
//! The audio thread pushes into a wait-free ring per stream; one inference thread takes a frame from every stream that
//! has one, asks the model about all of them together and calls each stream's [`FrameHandler`]. Without a model, or
//! when it fails, an energy detector answers in its place and [`Vitals::degraded`] says so.

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rtrb::{Producer, RingBuffer};

use crate::models::{ModelError, Pinned};
use crate::onnx::{OnnxError, PendingRuntime};
use crate::speech::INPUT_RATE_HZ;

mod energy;
mod infer;
mod silero;
mod vitals;

use infer::{Infer, Shared, Stream};
use silero::Silero;
pub use vitals::Vitals;

/// Samples that are judged together: 32 ms, what Silero was trained on.
pub const FRAME_SAMPLES: usize = 512;
/// Sound that a stream holds while the inference thread is late: longer than any pause of a loaded machine that a
/// conversation survives.
const RING_MS: usize = 2_000;
const RING_SAMPLES: usize = RING_MS * INPUT_RATE_HZ as usize / 1000;

/// What becomes of a stream's frames. Runs on the inference thread, which all streams share.
pub trait FrameHandler: Send {
    /// The next frame, in order, with the probability (0–1) that it holds speech. Must not block.
    fn on_frame(&mut self, pcm: &[i16; FRAME_SAMPLES], speech_probability: f32);
    /// No more frames come: the input was dropped or the engine ended. Not called after a panic of this handler.
    fn on_closed(&mut self) {}
}

/// The running detector. A clone is another handle; when the last one is dropped, all streams are closed.
#[derive(Clone)]
pub struct VadEngine {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    thread: Thread,
    warm_up: Duration,
}

/// The audio thread's end of a stream. Dropping it closes the stream within 100 ms, after its last whole frame.
pub struct VadInput {
    ring: Producer<i16>,
    pending_samples: usize,
    shared: Arc<Shared>,
    thread: Thread,
}

/// Why the detector did not start.
#[derive(Debug, thiserror::Error)]
pub enum VadError {
    /// The model file is missing or not the pinned one.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The runtime refuses the model, or the first inference failed.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The system gives no thread.
    #[error("cannot start the VAD's thread: {0}; look at the limit of tasks (TasksMax)")]
    Thread(#[source] std::io::Error),
}

impl VadEngine {
    /// Loads Silero, warms it up with one inference and starts the thread.
    ///
    /// # Errors
    /// The model can't be read, loaded or run; [`energy_only`](Self::energy_only) is what is left then.
    pub fn start(runtime: impl Into<PendingRuntime>, model: &Pinned) -> Result<Self, VadError> {
        let bytes = model.read()?;
        let mut silero = Silero::load(runtime.into().wait()?, &bytes)?;
        let start = Instant::now();
        silero.warm_up()?;
        Self::spawn(Some(silero), start.elapsed())
    }

    /// The fallback: loudness above an adaptive noise floor counts as speech. Degraded from the start.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn energy_only() -> Result<Self, VadError> {
        Self::spawn(None, Duration::ZERO)
    }

    fn spawn(silero: Option<Silero>, warm_up: Duration) -> Result<Self, VadError> {
        let shared = Arc::new(Shared::new(silero.is_none()));
        let infer = Infer::new(silero, shared.clone());
        let join = std::thread::Builder::new()
            .name("vad-infer".into())
            .spawn(move || infer.run())
            .map_err(VadError::Thread)?;
        let thread = join.thread().clone();
        Ok(Self {
            handle: Arc::new(Handle {
                shared,
                thread,
                warm_up,
            }),
        })
    }

    /// Opens a stream whose frames go to `handler`.
    pub fn open(&self, handler: Box<dyn FrameHandler>) -> VadInput {
        let (ring, consumer) = RingBuffer::new(RING_SAMPLES);
        let Handle { shared, thread, .. } = &*self.handle;
        shared
            .arriving
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Stream::new(consumer, handler));
        thread.unpark();
        VadInput {
            ring,
            pending_samples: 0,
            shared: shared.clone(),
            thread: thread.clone(),
        }
    }

    /// How it is doing.
    #[must_use]
    pub fn vitals(&self) -> Vitals {
        self.handle.shared.counters.read(self.handle.warm_up)
    }
}

impl fmt::Debug for VadEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VadEngine").field(&self.vitals()).finish()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.stop();
        self.thread.unpark();
    }
}

impl VadInput {
    /// Hands on sound, 16 kHz mono, of any length. Never blocks or allocates: what does not fit because the inference
    /// thread is late is dropped and counted.
    pub fn push(&mut self, pcm: &[i16]) {
        let (taken, left) = self.ring.push_partial_slice(pcm);
        if !left.is_empty() {
            self.shared.counters.dropped(left.len());
        }
        self.pending_samples += taken.len();
        if self.pending_samples >= FRAME_SAMPLES {
            self.pending_samples %= FRAME_SAMPLES;
            // Sets a flag, and is one system call if the thread sleeps.
            self.thread.unpark();
        }
    }

    /// Whether nobody hears this stream any more, because its handler panicked or the engine ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.ring.is_abandoned()
    }
}

impl fmt::Debug for VadInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VadInput")
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
