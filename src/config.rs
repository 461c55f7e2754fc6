//! Settings: one TOML file, overlaid by the environment, overlaid by flags; unknown keys are errors.
//!
//! Any setting can be given as `VIVA_<SECTION>__<KEY>` in the environment. Secrets are never settings:
//! they are read from a file named here, from `$CREDENTIALS_DIRECTORY`, or from the variables that the
//! tools of the field already use (`LIVEKIT_API_SECRET`, `OPENAI_API_KEY`).

mod environment;
mod error;
mod postgres;
mod secrets;
mod service;
mod speech;
mod validity;
mod webhook;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::misspelt;

pub use environment::Environment;
pub use error::ConfigError;
pub use postgres::Postgres;
pub use secrets::{LiveKitKey, Secret};
pub use service::{Boot, Http, Interviews, Journal, LiveKit, Log, Models};
pub use speech::{Engine, Llm, Stt, Tts, Voice};
pub use webhook::Webhook;

/// Everything that a running Viva can be told.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the journal lives; must be writable by Viva alone.
    pub state_directory: PathBuf,
    /// How the journal is kept.
    pub journal: Journal,
    /// The start of the service.
    pub boot: Boot,
    /// The local HTTP listener (`/healthz`, `/readyz`, `/metrics`).
    pub http: Http,
    /// The LiveKit server that interviews take place on.
    pub livekit: LiveKit,
    /// Which rooms are interviews and how many at once.
    pub interviews: Interviews,
    /// Model files and the ONNX Runtime library.
    pub models: Models,
    /// When the candidate is taken to have spoken and to have finished.
    pub voice: Voice,
    /// Speech to text.
    pub stt: Stt,
    /// Text to speech.
    pub tts: Tts,
    /// The language model; without a `base_url` or key the plan's own questions are asked as they are.
    pub llm: Llm,
    /// The copy of the journal in PostgreSQL.
    pub postgres: Postgres,
    /// Who is told that an interview is over.
    pub webhook: Webhook,
    /// What is logged.
    pub log: Log,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_directory: PathBuf::from("/var/lib/viva"),
            journal: Journal::default(),
            boot: Boot::default(),
            http: Http::default(),
            livekit: LiveKit::default(),
            interviews: Interviews::default(),
            models: Models::default(),
            voice: Voice::default(),
            stt: Stt::default(),
            tts: Tts::default(),
            llm: Llm::default(),
            postgres: Postgres::default(),
            webhook: Webhook::default(),
            log: Log::default(),
        }
    }
}

impl Config {
    /// Reads the file (if one is named) and overlays the environment.
    ///
    /// # Errors
    /// The file can't be read, is not TOML, or any source has an unknown key or a value out of its range.
    pub fn load(file: Option<&Path>, env: &Environment) -> Result<Self, ConfigError> {
        let mut table = match file {
            None => toml::Table::new(),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
                    path: path.to_owned(),
                    source,
                })?;
                text.parse::<toml::Table>()
                    .map_err(|e| ConfigError::Syntax {
                        path: path.to_owned(),
                        message: e.to_string().trim_end().to_owned(),
                    })?
            }
        };
        let origin = file.map_or_else(|| "defaults".to_owned(), |p| p.display().to_string());
        // The file alone first, so that a mistake is blamed on where it was made.
        Self::from_table(table.clone(), &origin)?;
        let overlays = environment::overlays(env);
        for overlay in &overlays {
            overlay.lay_over(&mut table);
            Self::from_table(table.clone(), &overlay.name)?;
        }
        let config = Self::from_table(table, &origin)?;
        let Some((key, message)) = config.mistake() else {
            return Ok(config);
        };
        let overlay = overlays.into_iter().rfind(|o| o.key == key);
        Err(ConfigError::Invalid {
            origin: overlay.map_or(origin, |overlay| overlay.name),
            key: key.to_owned(),
            message,
        })
    }

    fn from_table(table: toml::Table, origin: &str) -> Result<Self, ConfigError> {
        serde_path_to_error::deserialize(toml::Value::Table(table)).map_err(|e| {
            let key = e.path().to_string();
            let (mistake, help) = misspelt::explain(e.into_inner().message());
            ConfigError::Invalid {
                origin: origin.to_owned(),
                key,
                message: help.map_or(mistake.clone(), |help| format!("{mistake}; {help}")),
            }
        })
    }
}
