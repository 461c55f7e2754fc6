//! Settings: one TOML file, overlaid by the environment, overlaid by flags; unknown keys are errors.
//!
//! Any setting can be given as `VIVA_<SECTION>__<KEY>` in the environment. Secrets are never settings:
//! they are read from a file named here, from `$CREDENTIALS_DIRECTORY`, or from the variables that the
//! tools of the field already use (`LIVEKIT_API_SECRET`, `OPENAI_API_KEY`).

mod postgres;
mod webhook;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::misspelt;

pub use postgres::Postgres;
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

/// How the journal is kept.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Journal {
    /// Litestream replicates the journal and makes its checkpoints.
    pub litestream: bool,
    /// Interviews that ended so many days ago are deleted at a start and once a day; 0 keeps them for ever.
    pub retention_days: u32,
}

impl Journal {
    /// What the journal itself has to know.
    pub fn options(&self) -> crate::journal::JournalOptions {
        crate::journal::JournalOptions {
            litestream: self.litestream,
            ..Default::default()
        }
    }
}

/// The start of the service.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Boot {
    /// Time for everything that an interview needs. What is not there by then is replaced by something lesser, or the
    /// start ends with its name.
    pub limit_ms: u32,
}

impl Default for Boot {
    fn default() -> Self {
        Self { limit_ms: 30_000 }
    }
}

/// The local HTTP listener.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8787)),
        }
    }
}

/// The LiveKit server.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LiveKit {
    /// WebSocket address, `ws://` or `wss://`.
    pub url: String,
    /// A file in LiveKit's own key-file format, one `API_KEY: API_SECRET` line; its first line is used.
    pub key_file: Option<PathBuf>,
    /// The name under which LiveKit dispatches jobs to Viva; empty takes every room (automatic dispatch).
    pub agent_name: String,
}

impl Default for LiveKit {
    fn default() -> Self {
        Self {
            url: "ws://127.0.0.1:7880".into(),
            key_file: None,
            agent_name: String::new(),
        }
    }
}

/// Which rooms are interviews.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Interviews {
    /// Rooms whose name is this prefix and an id are interviews; every other room is declined.
    pub room_prefix: String,
    /// A directory of plan files, `NAME.toml` each; without one the built-in examples, `default` and `demo`, are there.
    pub plans_directory: Option<PathBuf>,
    /// The plan of a job whose metadata names none.
    pub default_plan: String,
    /// Interviews held at the same time, at most.
    pub capacity: u32,
}

impl Default for Interviews {
    fn default() -> Self {
        Self {
            room_prefix: "interview-".into(),
            plans_directory: None,
            default_plan: "default".into(),
            capacity: 20,
        }
    }
}

/// Model files and the library that runs them.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Models {
    /// The directory that holds the files named in the manifest, each under its manifest path. Not set, it is
    /// `models/files` of the working directory or of the source tree that the program was built in.
    pub directory: PathBuf,
    /// `libonnxruntime.so`, 1.17 or later; empty: the one that the package was built with, else the one in `directory`.
    pub onnxruntime: Option<PathBuf>,
    /// The Silero VAD file when it is not the manifest's path under `directory`; its hash must still match.
    pub vad: Option<PathBuf>,
}

impl Default for Models {
    fn default() -> Self {
        Self {
            directory: fetched_models(),
            onnxruntime: None,
            vad: None,
        }
    }
}

/// Where `make` puts the models: under the working directory, else under the source tree in whose `target/` this
/// program lies.
fn fetched_models() -> PathBuf {
    let here = PathBuf::from("models/files");
    let built = std::env::current_exe().ok().and_then(|program| {
        let tree = program.ancestors().find(|a| a.join("target").is_dir())?;
        Some(tree.join(&here)).filter(|models| models.is_dir())
    });
    match built {
        Some(built) if !here.is_dir() => built,
        _ => here,
    }
}

/// Endpointing.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Voice {
    /// Silero's probability above which a 32 ms frame is speech (0–1).
    pub speech_threshold: f32,
    /// Silence after which what was said so far goes to STT, before the turn is known to be over.
    pub pause_ms: u32,
    /// Silence after which the candidate's turn is over.
    pub turn_end_ms: u32,
}

impl Default for Voice {
    fn default() -> Self {
        Self {
            speech_threshold: 0.5,
            pause_ms: 200,
            turn_end_ms: 512,
        }
    }
}

/// Which implementation of STT or TTS comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// OpenAI-compatible where a key or a `base_url` is set, else embedded.
    #[default]
    Auto,
    /// An OpenAI-compatible server; the embedded engine, where its models are there, is the fallback.
    Openai,
    /// Models on this machine.
    Embedded,
}

/// Speech to text.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stt {
    /// Which engine comes first.
    pub engine: Engine,
    /// The OpenAI-compatible server's root, for example `https://stt.example.org/v1`.
    pub base_url: Option<String>,
    /// A file with the API key; else `$CREDENTIALS_DIRECTORY/stt-key`, else `OPENAI_API_KEY`.
    pub api_key_file: Option<PathBuf>,
    /// The transcription model.
    pub model: String,
    /// Time for one transcription, all tries together.
    pub timeout_ms: u32,
}

impl Default for Stt {
    fn default() -> Self {
        Self {
            engine: Engine::Auto,
            base_url: None,
            api_key_file: None,
            model: "whisper-1".into(),
            timeout_ms: 6000,
        }
    }
}

/// Text to speech.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tts {
    /// Which engine comes first.
    pub engine: Engine,
    /// The OpenAI-compatible server's root.
    pub base_url: Option<String>,
    /// A file with the API key; else `$CREDENTIALS_DIRECTORY/tts-key`, else `OPENAI_API_KEY`.
    pub api_key_file: Option<PathBuf>,
    /// The speech model.
    pub model: String,
    /// The voice.
    pub voice: String,
    /// Time until the first sound of a sentence, all tries together.
    pub timeout_ms: u32,
    /// The `espeak-ng` program, which gives the embedded voice its phonemes.
    pub espeak: PathBuf,
}

impl Default for Tts {
    fn default() -> Self {
        Self {
            engine: Engine::Auto,
            base_url: None,
            api_key_file: None,
            model: "tts-1".into(),
            voice: "alloy".into(),
            timeout_ms: 4000,
            espeak: PathBuf::from("espeak-ng"),
        }
    }
}

/// The language model.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Llm {
    /// The OpenAI-compatible server's root; with neither it nor a key, no language model is used.
    pub base_url: Option<String>,
    /// A file with the API key; else `$CREDENTIALS_DIRECTORY/llm-key`, else `OPENAI_API_KEY`.
    pub api_key_file: Option<PathBuf>,
    /// The chat model.
    pub model: String,
    /// Time for one reply, all tries together.
    pub timeout_ms: u32,
}

impl Default for Llm {
    fn default() -> Self {
        Self {
            base_url: None,
            api_key_file: None,
            model: "gpt-4o-mini".into(),
            timeout_ms: 6000,
        }
    }
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// A `tracing` filter, for example `info` or `viva=debug,info`.
    pub filter: String,
    /// An OpenTelemetry collector that takes traces by OTLP over HTTP, `http://HOST:4318`; without one there are none.
    pub otlp_endpoint: Option<String>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            filter: QUIET_DEPENDENCIES.into(),
            otlp_endpoint: None,
        }
    }
}

/// Our own lines, and of the engine's parts what is wrong: they warn of every stray packet.
const QUIET_DEPENDENCIES: &str = "info,livekit=warn,libwebrtc=warn,ort=warn,rtc=error,rtc_ice=error,rtc_dtls=error,\
                                  rtc_srtp=error,rtc_sctp=error,rtc_interceptor=error,sqlx=error";

/// A value that must not be shown: prints as `***`, compares and clones like the text it holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, to be handed to the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// LiveKit's API key and secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveKitKey {
    /// The public half, which names the key.
    pub key: String,
    /// The half that signs.
    pub secret: Secret,
}

/// Why settings could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file named on the command line is not there or can't be read.
    #[error("cannot read the configuration {path}: {source}; name an existing file with --config")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Not TOML.
    #[error("{path} is not valid TOML: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why, with the line.
        message: String,
    },
    /// A key that does not exist or a value of the wrong kind.
    #[error("{origin}: {key}: {message}")]
    Invalid {
        /// The file, or the environment variable.
        origin: String,
        /// The dotted path of the setting.
        key: String,
        /// What is wrong with it and what would be right.
        message: String,
    },
    /// A secret that is needed and is nowhere.
    #[error("{what} is not set: {hint}")]
    SecretMissing {
        /// Which secret.
        what: &'static str,
        /// Where it may be put.
        hint: String,
    },
    /// A secret's file that can't be read or has not the form it must have.
    #[error("cannot use {path} for {what}: {message}")]
    SecretUnreadable {
        /// Which secret.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why, never with the content.
        message: String,
    },
}

/// What surrounds the process: a snapshot of the environment, so that tests need not change their own.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The environment of this process; variables that are not UTF-8 are left out.
    pub fn of_process() -> Self {
        Self(
            std::env::vars_os()
                .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
                .collect(),
        )
    }

    /// A made-up environment.
    pub fn of<const N: usize>(pairs: [(&str, &str); N]) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
        )
    }

    /// A variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|v| !v.is_empty())
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
        for (name, path, value) in overlays(env) {
            set(&mut table, &path, value);
            Self::from_table(table.clone(), &name)?;
        }
        let config = Self::from_table(table, &origin)?;
        config.validate(&origin)?;
        Ok(config)
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

    fn validate(&self, origin: &str) -> Result<(), ConfigError> {
        let check = |good: bool, key: &str, message: &str| {
            if good {
                return Ok(());
            }
            Err(ConfigError::Invalid {
                origin: origin.to_owned(),
                key: key.to_owned(),
                message: message.to_owned(),
            })
        };
        let websocket =
            self.livekit.url.starts_with("ws://") || self.livekit.url.starts_with("wss://");
        check(websocket, "livekit.url", "must start with ws:// or wss://")?;
        check(
            !self.interviews.room_prefix.is_empty(),
            "interviews.room_prefix",
            "must not be empty, or every room would be an interview",
        )?;
        check(
            (1..=50).contains(&self.interviews.capacity),
            "interviews.capacity",
            "must be between 1 and 50; a larger machine runs more instances, each with a state of its own",
        )?;
        check(
            (0.05..=0.95).contains(&self.voice.speech_threshold),
            "voice.speech_threshold",
            "must be between 0.05 and 0.95",
        )?;
        check(
            (64..=2000).contains(&self.voice.pause_ms),
            "voice.pause_ms",
            "must be between 64 and 2000",
        )?;
        check(
            self.voice.turn_end_ms >= self.voice.pause_ms && self.voice.turn_end_ms <= 10_000,
            "voice.turn_end_ms",
            "must be at least voice.pause_ms and at most 10000",
        )?;
        check(
            (100..=600_000).contains(&self.boot.limit_ms),
            "boot.limit_ms",
            "must be between 100 and 600000",
        )?;
        check(
            (100..=8_000).contains(&self.llm.timeout_ms),
            "llm.timeout_ms",
            "must be between 100 and 8000; after that the interview goes on without the model",
        )?;
        for (key, ms) in [
            ("stt.timeout_ms", self.stt.timeout_ms),
            ("tts.timeout_ms", self.tts.timeout_ms),
        ] {
            check(
                (100..=60_000).contains(&ms),
                key,
                "must be between 100 and 60000",
            )?;
        }
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&self.log.filter) {
            let message = format!("is not a tracing filter, as `viva=debug,info` is one: {error}");
            check(false, "log.filter", &message)?;
        }
        for (key, url) in [
            ("stt.base_url", &self.stt.base_url),
            ("tts.base_url", &self.tts.base_url),
            ("llm.base_url", &self.llm.base_url),
            ("log.otlp_endpoint", &self.log.otlp_endpoint),
        ] {
            let good = url
                .as_ref()
                .is_none_or(|u| u.starts_with("http://") || u.starts_with("https://"));
            check(good, key, "must start with http:// or https://")?;
        }
        let mistakes = [self.postgres.mistake(), self.webhook.mistake()];
        for (key, message) in mistakes.into_iter().flatten() {
            check(false, key, &message)?;
        }
        Ok(())
    }

    /// LiveKit's key from `livekit.key_file`, the credential `livekit-keys`, or the variables
    /// `LIVEKIT_API_KEY` and `LIVEKIT_API_SECRET`, in this order.
    ///
    /// # Errors
    /// None of them is there, or the file can't be read or is not in the key-file format.
    pub fn livekit_key(&self, env: &Environment) -> Result<LiveKitKey, ConfigError> {
        const WHAT: &str = "the LiveKit API key";
        if let Some(path) = self
            .livekit
            .key_file
            .clone()
            .or_else(|| credential(env, "livekit-keys"))
        {
            let text = read_secret(WHAT, &path)?;
            let pair = text.lines().find_map(|line| {
                let (key, secret) = line.split_once(':')?;
                let (key, secret) = (unquote(key), unquote(secret));
                (!key.is_empty() && !key.starts_with('#') && !secret.is_empty())
                    .then_some((key, secret))
            });
            return match pair {
                Some((key, secret)) => Ok(LiveKitKey {
                    key: key.to_owned(),
                    secret: Secret::new(secret),
                }),
                None => Err(ConfigError::SecretUnreadable {
                    what: WHAT,
                    path,
                    message: "no line of the form `API_KEY: API_SECRET`".into(),
                }),
            };
        }
        match (env.get("LIVEKIT_API_KEY"), env.get("LIVEKIT_API_SECRET")) {
            (Some(key), Some(secret)) => Ok(LiveKitKey { key: key.to_owned(), secret: Secret::new(secret) }),
            _ => Err(ConfigError::SecretMissing {
                what: WHAT,
                hint: "set livekit.key_file, pass the systemd credential `livekit-keys`, or set LIVEKIT_API_KEY and LIVEKIT_API_SECRET".into(),
            }),
        }
    }

    /// The key of the speech-to-text provider, if one is set anywhere.
    ///
    /// # Errors
    /// A file that is named can't be read.
    pub fn stt_key(&self, env: &Environment) -> Result<Option<Secret>, ConfigError> {
        provider_key(
            "the STT API key",
            self.stt.api_key_file.as_deref(),
            "stt-key",
            env,
        )
    }

    /// The key of the text-to-speech provider, if one is set anywhere.
    ///
    /// # Errors
    /// A file that is named can't be read.
    pub fn tts_key(&self, env: &Environment) -> Result<Option<Secret>, ConfigError> {
        provider_key(
            "the TTS API key",
            self.tts.api_key_file.as_deref(),
            "tts-key",
            env,
        )
    }

    /// The key of the language model's provider, if one is set anywhere.
    ///
    /// # Errors
    /// A file that is named can't be read.
    pub fn llm_key(&self, env: &Environment) -> Result<Option<Secret>, ConfigError> {
        provider_key(
            "the LLM API key",
            self.llm.api_key_file.as_deref(),
            "llm-key",
            env,
        )
    }
}

fn provider_key(
    what: &'static str,
    file: Option<&Path>,
    name: &str,
    env: &Environment,
) -> Result<Option<Secret>, ConfigError> {
    if let Some(path) = file.map(Path::to_owned).or_else(|| credential(env, name)) {
        return Ok(Some(Secret::new(read_secret(what, &path)?.trim())));
    }
    Ok(env.get("OPENAI_API_KEY").map(Secret::new))
}

/// The path of a systemd credential, where the service was given it.
fn credential(env: &Environment, name: &str) -> Option<PathBuf> {
    let path = Path::new(env.get("CREDENTIALS_DIRECTORY")?).join(name);
    path.exists().then_some(path)
}

fn read_secret(what: &'static str, path: &Path) -> Result<String, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|e| ConfigError::SecretUnreadable {
        what,
        path: path.to_owned(),
        message: e.to_string(),
    })?;
    if text.trim().is_empty() {
        return Err(ConfigError::SecretUnreadable {
            what,
            path: path.to_owned(),
            message: "the file is empty".into(),
        });
    }
    Ok(text)
}

fn unquote(text: &str) -> &str {
    text.trim().trim_matches(['"', '\''])
}

/// The settings in the environment: variable, dotted path, value.
fn overlays(env: &Environment) -> Vec<(String, Vec<String>, toml::Value)> {
    let known = [
        ("LIVEKIT_URL", "livekit.url"),
        ("OPENAI_BASE_URL", "stt.base_url"),
        ("OPENAI_BASE_URL", "tts.base_url"),
        ("OPENAI_BASE_URL", "llm.base_url"),
        ("VIVA_MODELS_DIR", "models.directory"),
        ("RUST_LOG", "log.filter"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "log.otlp_endpoint"),
    ];
    let mut found: Vec<_> = known
        .into_iter()
        .filter_map(|(name, path)| {
            let value = toml::Value::String(env.get(name)?.to_owned());
            Some((
                name.to_owned(),
                path.split('.').map(str::to_owned).collect(),
                value,
            ))
        })
        .collect();
    for (name, value) in &env.0 {
        let Some(rest) = name.strip_prefix("VIVA_") else {
            continue;
        };
        if !rest.contains("__") && rest != "STATE_DIRECTORY" {
            continue; // VIVA_ONNXRUNTIME and others that are not settings
        }
        let path = rest
            .to_ascii_lowercase()
            .split("__")
            .map(str::to_owned)
            .collect();
        found.push((name.clone(), path, typed(value)));
    }
    found
}

/// A number or a truth value where the text reads as one, else the text.
fn typed(text: &str) -> toml::Value {
    if let Ok(n) = text.parse::<i64>() {
        return toml::Value::Integer(n);
    }
    if let Ok(x) = text.parse::<f64>() {
        return toml::Value::Float(x);
    }
    match text {
        "true" => toml::Value::Boolean(true),
        "false" => toml::Value::Boolean(false),
        _ => toml::Value::String(text.to_owned()),
    }
}

fn set(table: &mut toml::Table, path: &[String], value: toml::Value) {
    let Some((last, parents)) = path.split_last() else {
        return;
    };
    let mut at = table;
    for key in parents {
        let entry = at
            .entry(key.clone())
            .or_insert_with(|| toml::Value::Table(toml::Table::new()));
        match entry {
            toml::Value::Table(inner) => at = inner,
            // A scalar where a section should be: replaced, and the next check blames this variable if that is wrong.
            other => {
                *other = toml::Value::Table(toml::Table::new());
                let toml::Value::Table(inner) = other else {
                    return;
                };
                at = inner;
            }
        }
    }
    at.insert(last.clone(), value);
}
