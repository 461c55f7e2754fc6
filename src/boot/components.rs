//! What an interview needs, loaded side by side, each part within its own deadline.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use super::engines::{self, EngineError, Engines};
use super::plans::{self, Plans, PlansError};
use super::{StageError, Timeline};
use crate::config::{Config, ConfigError, Environment};
use crate::health::{Condition, Health, Need};
use crate::journal::{InterviewRow, Journal, JournalError, JournalReader};
use crate::voice::vad::VadEngine;

/// A file or a disk that has not answered by then will not. Far above what they take, because a machine that is busy with
/// something else must not lose its interviewer to a limit; `boot.limit_ms` may be tighter.
const FILES_LIMIT: Duration = Duration::from_secs(30);

/// What no interview can be held without, here before it is loaded, so that none is missing from the table.
const REQUIRED: [&str; 6] = ["journal", "listener", "plans", "stt", "tts", "vad"];

/// Everything that is ready when the service says so.
pub struct Components {
    /// Where events are written.
    pub journal: Journal,
    /// The interviews that a process before this one held.
    pub live: Vec<InterviewRow>,
    /// Hears speech.
    pub vad: VadEngine,
    /// Understands and speaks.
    pub engines: Engines,
    /// What can be asked.
    pub plans: Plans,
    /// The HTTP listener.
    pub listener: TcpListener,
}

/// Why the service can't be started.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The journal.
    #[error("the journal: {0}")]
    Journal(#[source] StageError<JournalError>),
    /// The plans.
    #[error("the plans: {0}")]
    Plans(#[source] StageError<PlansError>),
    /// Everything was loaded and yet something is not ready.
    #[error("not ready: {0}")]
    NotReady(String),
    /// The HTTP listener.
    #[error(
        "cannot listen on {address}: {source}; another program may use the port, set http.listen"
    )]
    Listener {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A speech engine or the language model.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A secret.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// The listener that a socket unit has opened for us (`LISTEN_FDS`), so that nobody is refused while we start.
/// To be called once, early: it takes the variables out of the environment.
#[must_use]
pub fn handed_over() -> Option<std::net::TcpListener> {
    match listenfd::ListenFd::from_env().take_tcp_listener(0) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(
                "what the socket unit hands over is no TCP listener, http.listen is used: {error}"
            );
            None
        }
    }
}

/// Loads everything side by side and notes in `health` how it went. `handed_over` takes the place of `http.listen`.
///
/// # Errors
/// Something that no interview can do without is not there. What can be replaced by something lesser is.
pub async fn load(
    config: &Config,
    env: &Environment,
    timeline: &Timeline,
    health: &Health,
    handed_over: Option<std::net::TcpListener>,
) -> Result<Components, BootError> {
    for name in REQUIRED {
        health.set(
            name,
            Need::Required,
            Condition::Starting("loading".into()),
            "",
        );
    }
    let (journal, plans, listener, engines) = tokio::join!(
        load_journal(config, timeline, health),
        load_plans(config, timeline, health),
        listen(config.http.listen, handed_over, timeline, health),
        engines::load(config, env, timeline, health),
    );
    // Files first: a disk that fails makes the engines late as well, and it is the cause.
    let (journal, live) = journal?;
    let (plans, listener) = (plans?, listener?);
    let (vad, engines) = engines?;
    let components = Components {
        journal,
        live,
        vad,
        engines,
        plans,
        listener,
    };
    // The table is what jobs are answered by: where it and the stages disagree, READY would be a lie.
    match health.missing() {
        missing if missing.is_empty() => Ok(components),
        missing => Err(BootError::NotReady(missing.join("; "))),
    }
}

async fn load_journal(
    config: &Config,
    timeline: &Timeline,
    health: &Health,
) -> Result<(Journal, Vec<InterviewRow>), BootError> {
    let (directory, mut options) = (config.state_directory.clone(), config.journal.options());
    // So that a lock is named for what it is before the start's time is over.
    let limit = timeline.limit_of(FILES_LIMIT);
    options.opening_busy_timeout = options.opening_busy_timeout.min(limit / 2);
    let shown = directory.display().to_string();
    let opened = timeline
        .blocking("journal", FILES_LIMIT, move || {
            let journal = Journal::open_with(&directory, options)?;
            let live = JournalReader::open(&directory)?.live()?;
            Ok((journal, live))
        })
        .await;
    let condition = match &opened {
        Ok((journal, _)) => condition_of(journal),
        Err(error) => Condition::Failed(error.to_string()),
    };
    health.set("journal", Need::Required, condition, shown);
    opened.map_err(BootError::Journal)
}

/// How a journal is that can be written.
pub fn condition_of(journal: &Journal) -> Condition {
    let damage = journal.damage().map(|damage| {
        Condition::Degraded(format!(
            "the file is damaged ({damage}): interviews that need what is broken are refused; `viva journal check` tells more, restore it from its replica"
        ))
    });
    damage.unwrap_or(Condition::Ok)
}

async fn load_plans(
    config: &Config,
    timeline: &Timeline,
    health: &Health,
) -> Result<Plans, BootError> {
    let (directory, default) = (
        config.interviews.plans_directory.clone(),
        config.interviews.default_plan.clone(),
    );
    let loaded = timeline
        .blocking("plans", FILES_LIMIT, move || {
            plans::load(directory.as_deref(), &default)
        })
        .await;
    match &loaded {
        Ok(plans) => plans::note(health, plans),
        Err(error) => note(health, "plans", Need::Required, Some(error), String::new()),
    }
    loaded.map_err(BootError::Plans)
}

async fn listen(
    address: SocketAddr,
    handed_over: Option<std::net::TcpListener>,
    timeline: &Timeline,
    health: &Health,
) -> Result<TcpListener, BootError> {
    let started = Instant::now();
    let is_handed_over = handed_over.is_some();
    let bound = match handed_over {
        Some(listener) => listener
            .set_nonblocking(true)
            .and_then(|()| TcpListener::from_std(listener)),
        None => TcpListener::bind(address).await,
    };
    let shown = bound
        .as_ref()
        .ok()
        .and_then(|l| l.local_addr().ok())
        .unwrap_or(address);
    timeline.record(
        "listener",
        started,
        bound.as_ref().err().map(ToString::to_string),
    );
    note(
        health,
        "listener",
        Need::Required,
        bound.as_ref().err(),
        if is_handed_over {
            format!("http://{shown}, from the socket unit")
        } else {
            format!("http://{shown}")
        },
    );
    bound.map_err(|source| BootError::Listener { address, source })
}

fn note<E: std::fmt::Display>(
    health: &Health,
    name: &'static str,
    need: Need,
    error: Option<&E>,
    detail: String,
) {
    let condition = error.map_or(Condition::Ok, |e| Condition::Failed(e.to_string()));
    health.set(name, need, condition, detail);
}
