//! Speech engines on this machine: Moonshine hears, Piper speaks, no network is needed.
//!
//! Each engine loads and works on a thread of its own, so that both can be loaded side by side and a long sentence
//! never holds up a transcription.

use crate::models::{ManifestError, ModelError};
use crate::onnx::OnnxError;

mod moonshine;
mod piper;
pub(crate) mod worker;

pub use moonshine::{Moonshine, MoonshineFiles};
pub use piper::{Piper, PiperFiles, Style, prepare_voice};

/// What logs and metrics call the engines.
const NAME: &str = "embedded";

/// Why an engine on this machine can't be had.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// A model file is missing or not the pinned one.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The manifest has no such model.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The runtime refuses a model, or the first inference failed.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// A file beside a model is not what the engine expects.
    #[error("{file} can't be used: {reason}; fetch it anew with models/fetch")]
    Content {
        /// The file.
        file: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no `espeak-ng`, which the voice needs for its phonemes.
    #[error(
        "cannot find the program {program}: install the package espeak-ng (Debian and nixpkgs call it so), or set tts.espeak to where it is"
    )]
    NoEspeak {
        /// What was looked for.
        program: std::path::PathBuf,
    },
    /// What is there under that name gives no phonemes.
    #[error(
        "{program} gives no phonemes: {reason}; reinstall the package espeak-ng, or set tts.espeak to one that works"
    )]
    Espeak {
        /// The program.
        program: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system gives no thread, or the thread ended while it loaded.
    #[error(
        "cannot start the thread {name}: {reason}; look at the limits of tasks and memory (TasksMax, MemoryMax)"
    )]
    Thread {
        /// The thread.
        name: &'static str,
        /// Why.
        reason: String,
    },
}
