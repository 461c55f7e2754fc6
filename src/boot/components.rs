//! What an interview needs, loaded side by side, each part within its own deadline.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use super::engines::{self, EngineError, Engines};
use super::plans::{self, PlansError};
use super::{StageError, Timeline};
use crate::config::{Config, ConfigError, Environment};
use crate::health::{Condition, Health, Need};
use crate::interview::plan::Plan;
use crate::journal::{InterviewRow, Journal, JournalError, JournalReader};
use crate::voice::vad::VadEngine;

/// A slow disk may take its time; one that takes longer will not hold an interview.
const JOURNAL_LIMIT: Duration = Duration::from_secs(5);

/// Plans are small files on the same disk.
const PLANS_LIMIT: Duration = Duration::from_secs(5);

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
    pub plans: BTreeMap<String, Arc<Plan>>,
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

/// Loads everything side by side and notes in `health` how it went.
///
/// # Errors
/// Something that no interview can do without is not there. What can be replaced by something lesser is.
pub async fn load(
    config: &Config,
    env: &Environment,
    timeline: &Timeline,
    health: &Health,
) -> Result<Components, BootError> {
    let (journal, plans, listener, engines) = tokio::join!(
        load_journal(config.state_directory.clone(), timeline, health),
        load_plans(config, timeline, health),
        listen(config.http.listen, timeline, health),
        engines::load(config, env, timeline, health),
    );
    let (vad, engines) = engines?;
    let (journal, live) = journal?;
    Ok(Components {
        journal,
        live,
        vad,
        engines,
        plans: plans?,
        listener: listener?,
    })
}

async fn load_journal(
    directory: PathBuf,
    timeline: &Timeline,
    health: &Health,
) -> Result<(Journal, Vec<InterviewRow>), BootError> {
    let shown = directory.display().to_string();
    let opened = timeline
        .blocking("journal", JOURNAL_LIMIT, move || {
            let journal = Journal::open(&directory)?;
            let live = JournalReader::open(&directory)?.live()?;
            Ok((journal, live))
        })
        .await;
    note(
        health,
        "journal",
        Need::Required,
        opened.as_ref().err(),
        shown,
    );
    opened.map_err(BootError::Journal)
}

async fn load_plans(
    config: &Config,
    timeline: &Timeline,
    health: &Health,
) -> Result<BTreeMap<String, Arc<Plan>>, BootError> {
    let (directory, default) = (
        config.interviews.plans_directory.clone(),
        config.interviews.default_plan.clone(),
    );
    let loaded = timeline
        .blocking("plans", PLANS_LIMIT, move || {
            plans::load(directory.as_deref(), &default)
        })
        .await;
    match &loaded {
        Ok(plans) => {
            let names = plans.usable.keys().cloned().collect::<Vec<_>>().join(", ");
            let condition = if plans.broken.is_empty() {
                Condition::Ok
            } else {
                Condition::Degraded(plans.broken.join("; "))
            };
            for broken in &plans.broken {
                tracing::warn!("a plan can't be used: {broken}");
            }
            health.set("plans", Need::Required, condition, names);
        }
        Err(error) => health.set(
            "plans",
            Need::Required,
            Condition::Failed(error.to_string()),
            "",
        ),
    }
    loaded.map(|plans| plans.usable).map_err(BootError::Plans)
}

async fn listen(
    address: SocketAddr,
    timeline: &Timeline,
    health: &Health,
) -> Result<TcpListener, BootError> {
    let started = Instant::now();
    let bound = TcpListener::bind(address).await;
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
        format!("http://{shown}"),
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
