//! Speech to text and text to speech: the two traits, and the engines behind them.
//!
//! Both traits are made so that a streaming engine fits: an [`SttUtterance`] gets audio as it comes, a [`SpeechStream`]
//! yields sound as it is made. Dropping either one cancels the work behind it.

use futures_util::future::BoxFuture;

mod buffer;
pub mod chain;
pub mod embedded;
mod error;
pub mod openai;
pub mod resample;
pub mod standby;
mod stream;
pub mod wer;

pub use buffer::UtteranceBuffer;
pub use error::{SttError, TtsError};
pub use stream::{CHUNK_SAMPLES_MAX, Closed, SpeechSender, SpeechStream};

/// Rate of all PCM that goes to STT and VAD, mono i16.
pub const INPUT_RATE_HZ: u32 = 16_000;
/// Rate of all PCM that TTS yields, mono i16.
pub const OUTPUT_RATE_HZ: u32 = 24_000;
/// Longest single utterance handed to STT (bound of the buffer).
pub const UTTERANCE_MS_MAX: u32 = 60_000;

/// A speech-to-text engine; one serves all sessions.
pub trait Stt: Send + Sync + 'static {
    /// What logs, metrics and transcripts call it: `openai`, `embedded`.
    fn name(&self) -> &'static str;
    /// Opens an utterance, whose audio follows by [`SttUtterance::push`].
    fn begin(&self) -> Box<dyn SttUtterance>;
}

/// One utterance on its way to words. Dropping it gives it up.
pub trait SttUtterance: Send {
    /// Takes more of the sound, 16 kHz mono. Never blocks.
    ///
    /// # Errors
    /// [`SttError::TooLong`] beyond [`UTTERANCE_MS_MAX`]; what was taken before stays.
    fn push(&mut self, pcm: &[i16]) -> Result<(), SttError>;
    /// No more audio comes: the words. Bounded in time by the engine's own setting. Dropping the future cancels.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Transcript, SttError>>;
}

/// The words of one utterance.
#[derive(Clone, Debug, PartialEq)]
pub struct Transcript {
    /// The words, trimmed; empty where the engine heard none.
    pub text: String,
    /// The engine that heard them.
    pub engine: &'static str,
    /// Length of the sound.
    pub audio_ms: u32,
    /// Time from the end of the sound to the words.
    pub elapsed_ms: u32,
}

/// A text-to-speech engine; one serves all sessions.
pub trait Tts: Send + Sync + 'static {
    /// What logs and metrics call it: `openai`, `embedded`.
    fn name(&self) -> &'static str;
    /// Speaks one sentence or a few; PCM comes as it is made. Dropping the stream cancels the work.
    fn speak(&self, text: &str) -> SpeechStream;
}
