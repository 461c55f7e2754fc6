//! ONNX Runtime: loaded once from a library file, then a maker of single-threaded sessions.
//!
//! Sessions run on the thread that calls them and never spin, so that a bounded set of threads of ours is all the CPU
//! that inference takes.

mod lean;
mod library;
mod pending;
mod prepared;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{InMemorySession, Session};

pub(crate) use prepared::files_of as prepared_files;

pub use lean::{Lean, make_lean};
pub use pending::{PendingRuntime, RuntimePromise};
pub use prepared::{ModelBytes, Network, Preparation, PrepareError, ReadModel, prepare};

/// What the process has loaded: a second library beside the first would not work.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

/// The loaded library. A clone is another handle to it.
#[derive(Debug, Clone)]
pub struct Runtime {
    path: PathBuf,
    environment: Environment,
}

/// How much a graph is worked over when it is loaded. Higher levels than these multiply the loading time and gave no
/// faster inference on the pinned models, which were exported optimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Graph {
    /// Runs as exported. For large models: working Piper over costs more than its weights cost to load, and it speaks as
    /// fast without.
    AsExported,
    /// Constants are folded and no-ops removed. For small models that run often: Silero loads as fast and takes two
    /// thirds of the time for a frame.
    Simplified,
    /// Every rewriting that there is. For 8-bit models, whose numbers depend on it: as exported they are computed in
    /// floats with the rounding imitated, worked over in 8 bits, and their makers judged them by the latter.
    WorkedOver,
}

/// Why there is no runtime, no session or no result.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// No library at the path, or one that can't be loaded or is too old.
    #[error(
        "cannot load ONNX Runtime from {path}: {reason}; fetch it with models/fetch, or set models.onnxruntime to a libonnxruntime.so of 1.17 or later"
    )]
    Library {
        /// The library.
        path: PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// Another library is already in use.
    #[error(
        "ONNX Runtime is already loaded from {loaded}, and {asked} can't be loaded beside it; restart to change it"
    )]
    AlreadyLoaded {
        /// The one in use.
        loaded: PathBuf,
        /// The one asked for.
        asked: PathBuf,
    },
    /// The runtime that was to be loaded meanwhile was not.
    #[error("{0}")]
    Unavailable(String),
    /// A model that can't be turned into a session.
    #[error(
        "ONNX Runtime refuses the model {model}: {reason}; its version and the model's may not fit, see models.onnxruntime"
    )]
    Session {
        /// The model's name.
        model: &'static str,
        /// What the runtime said.
        reason: String,
    },
    /// A session that failed to compute.
    #[error("the model {model} failed to run: {reason}")]
    Run {
        /// The model's name.
        model: &'static str,
        /// What the runtime said.
        reason: String,
    },
}

impl OnnxError {
    /// For `map_err` at the calls of a session.
    pub(crate) fn run(model: &'static str) -> impl Fn(ort::Error) -> Self {
        move |e| Self::Run {
            model,
            reason: e.to_string(),
        }
    }
}

impl Runtime {
    /// Loads the library, with its log in ours. The same path again gives the same runtime.
    ///
    /// Its telemetry is turned off, but from version 1.29 on Microsoft's own builds have begun to collect by then, unless
    /// `ORT_DISABLE_TELEMETRY=1` was in the environment; the pinned build and those of distributions have none.
    ///
    /// # Errors
    /// There is no usable library at `path`, or another one is loaded already.
    pub fn load(path: &Path) -> Result<Self, OnnxError> {
        let failed = |reason: String| OnnxError::Library {
            path: path.to_owned(),
            reason,
        };
        // A relative path would be looked for beside the executable first.
        let canonical = path.canonicalize().map_err(|e| failed(e.to_string()))?;
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*loaded {
            return if runtime.path == canonical {
                Ok(runtime.clone())
            } else {
                Err(OnnxError::AlreadyLoaded {
                    loaded: runtime.path.clone(),
                    asked: canonical,
                })
            };
        }
        library::check_whole(&canonical).map_err(failed)?;
        let environment = ort::init_from(&canonical)
            .map_err(|e| failed(e.to_string()))?
            .with_name("viva")
            .with_telemetry(false)
            .with_logger(Arc::new(|level, _category, _id, place, message| {
                log(level, place, message)
            }))
            .build()
            .map_err(|e| failed(e.to_string()))?;
        environment.set_log_level(LogLevel::Warning);
        Ok(loaded
            .insert(Self {
                path: canonical,
                environment,
            })
            .clone())
    }

    /// A session of a model in the ONNX format; `bytes` are copied.
    ///
    /// # Errors
    /// The runtime refuses the model.
    pub fn session(
        &self,
        model: &'static str,
        bytes: &[u8],
        graph: Graph,
    ) -> Result<Session, OnnxError> {
        self.builder(graph)
            .and_then(|mut builder| builder.commit_from_memory(bytes))
            .map_err(|e| OnnxError::Session {
                model,
                reason: e.to_string(),
            })
    }

    /// A session of a model in the ORT format, which uses its weights where they lie in `bytes`: half of the time and
    /// of the memory of a copy.
    ///
    /// # Errors
    /// The runtime refuses the model.
    pub fn session_in_place<'m>(
        &self,
        model: &'static str,
        bytes: &'m [u8],
    ) -> Result<InMemorySession<'m>, OnnxError> {
        // A graph in this format was worked over when it was made.
        self.builder(Graph::AsExported)
            .and_then(|mut builder| builder.commit_from_memory_directly(bytes))
            .map_err(|e| OnnxError::Session {
                model,
                reason: e.to_string(),
            })
    }

    /// The library's description of its own build: version, commit and compiler flags.
    #[must_use]
    pub fn build(&self) -> &'static str {
        ort::info()
    }

    /// Writes a model in the ORT format.
    fn save(
        &self,
        model: &'static str,
        bytes: &[u8],
        graph: Graph,
        path: &Path,
    ) -> Result<(), OnnxError> {
        let level = match graph {
            Graph::AsExported | Graph::Simplified => GraphOptimizationLevel::Level1,
            // What lies above rearranges weights, which this format can't hold.
            Graph::WorkedOver => GraphOptimizationLevel::Level2,
        };
        self.builder(graph)
            .and_then(|builder| {
                Ok(builder
                    .with_optimization_level(level)?
                    .with_optimized_model_path(path)?
                    .with_config_entry("session.save_model_format", "ORT")?)
            })
            .and_then(|mut builder| builder.commit_from_memory(bytes))
            .map(drop)
            .map_err(|e| OnnxError::Session {
                model,
                reason: e.to_string(),
            })
    }

    fn builder(&self, graph: Graph) -> ort::Result<SessionBuilder> {
        let level = match graph {
            Graph::AsExported => GraphOptimizationLevel::Disable,
            Graph::Simplified => GraphOptimizationLevel::Level1,
            Graph::WorkedOver => GraphOptimizationLevel::All,
        };
        Ok(Session::builder(&self.environment)?
            .with_log_level(LogLevel::Warning)?
            .with_optimization_level(level)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?
            // Without it, sums of 8-bit products are cut off on processors that lack VNNI, and a model answers otherwise
            // there.
            .with_config_entry("session.x64quantprecision", "1")?)
    }
}

/// The runtime's warnings are about the insides of models, which nobody here can change.
fn log(level: LogLevel, place: &str, message: &str) {
    match level {
        LogLevel::Error | LogLevel::Fatal => tracing::warn!(target: "ort", place, "{message}"),
        _ => tracing::debug!(target: "ort", place, "{message}"),
    }
}
