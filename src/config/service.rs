//! The settings of the service: where it keeps things, who reaches it, and where it works.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
    /// A file with the key of who may drain the service over HTTP; without one nobody may.
    pub operator_key_file: Option<PathBuf>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8787)),
            operator_key_file: None,
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
    /// The interfaces of this machine over which media may go, by name, of which the end may be `*`; all that lead out of
    /// the machine if there are none.
    pub interfaces: Vec<String>,
}

impl Default for LiveKit {
    fn default() -> Self {
        Self {
            url: "ws://127.0.0.1:7880".into(),
            key_file: None,
            agent_name: String::new(),
            interfaces: Vec::new(),
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
