//! `viva serve`: registers with LiveKit and holds interviews until told to stop.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::boot::Timeline;
use crate::boot::components::{self, Components};
use crate::config::{Config, Environment};
use crate::health::systemd::{Manager, Told};
use crate::health::{Condition, Health, Need, http};
use crate::llm::Llm;
use crate::session::{Conductor, Desk, IDENTITY, NAME};
use crate::spawn::supervised;
use crate::speech::{Stt, Tts};
use crate::telemetry;
use crate::voice::endpoint::EndpointSettings;
use crate::worker::token::{self, AgentIdentity};
use crate::worker::{Phase, Worker, WorkerOptions, WorkerStatus};

/// Time for the worker to tell LiveKit goodbye, after the interviews are over.
const WORKER_LIMIT: Duration = Duration::from_secs(5);

/// Time for the journal to write what it was given.
const JOURNAL_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where /healthz and /readyz answer; port 0 takes a free one.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
}

pub(super) fn run(args: Args, mut config: Config, env: &Environment) -> anyhow::Result<ExitCode> {
    if let Some(listen) = args.listen {
        config.http.listen = listen;
    }
    let timeline = Timeline::start();
    telemetry::init(&config.log.filter)?;
    super::runtime()?.block_on(serve(config, env, timeline))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(config: Config, env: &Environment, timeline: Timeline) -> anyhow::Result<()> {
    let key = config.livekit_key(env)?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let health = Health::new(timeline.clone());
    let manager = Manager::find();
    manager.tell(Told::Status(
        "starting: loading what an interview needs".into(),
    ));
    let loaded = tokio::select! {
        loaded = components::load(&config, env, &timeline, &health) => loaded?,
        () = told_to_stop(&mut terminate, &mut interrupt) => return Ok(()),
    };
    let Components {
        journal,
        live,
        vad,
        engines,
        plans,
        listener,
    } = loaded;
    let stop = CancellationToken::new();
    let address = listener.local_addr()?;
    let http = supervised("http", serve_http(listener, health.clone(), stop.clone()));
    let conductor = Conductor {
        journal: journal.clone(),
        vad,
        endpointing: EndpointSettings {
            speech_threshold: config.voice.speech_threshold,
            pause_ms: config.voice.pause_ms,
            turn_end_ms: config.voice.turn_end_ms,
        },
        stt: engines.stt.clone() as Arc<dyn Stt>,
        tts: engines.tts.clone() as Arc<dyn Tts>,
        llm: engines.llm.clone(),
        livekit_url: config.livekit.url.clone(),
        livekit_key: key.clone(),
        agent: AgentIdentity {
            identity: IDENTITY.into(),
            name: NAME.into(),
            metadata: String::new(),
            attributes: token::named(&config.livekit.agent_name).collect(),
        },
    };
    log_choice(&conductor, engines.llm.as_deref());
    let desk = Desk::new(
        conductor,
        plans,
        &config.interviews,
        health.clone(),
        stop.clone(),
    );
    let options = WorkerOptions {
        url: config.livekit.url.clone(),
        key,
        agent_name: config.livekit.agent_name.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        capacity: config.interviews.capacity,
    };
    let worker = Worker::new(options, Arc::new(desk.clone()))?;
    note_worker(&health, &config.livekit.url, &worker.status().borrow());
    desk.take_up(live, &worker.slots());

    tracing::info!(
        elapsed_ms = timeline.elapsed_ms(),
        supervised = manager.is_there(),
        "ready; listening on http://{address}"
    );
    manager.tell(Told::Ready);
    let background = CancellationToken::new();
    supervised(
        "watchdog",
        manager.clone().feed_watchdog(background.clone()),
    );
    let follower = Follower {
        health: health.clone(),
        manager: manager.clone(),
        url: config.livekit.url.clone(),
        timeline: timeline.clone(),
    };
    supervised(
        "worker status",
        follower.follow(worker.status(), background.clone()),
    );
    supervised(
        "fallbacks",
        engines.standby.load(timeline.clone(), health.clone()),
    );
    supervised("providers", async move {
        for (_, provider) in engines.providers {
            provider.warm().await;
        }
    });
    let working = supervised("worker", worker.run(stop.clone()));

    told_to_stop(&mut terminate, &mut interrupt).await;
    tracing::info!("told to stop: the next process goes on with running interviews");
    manager.tell(Told::Stopping);
    manager.tell(Told::Status(
        "stopping: the next process goes on with running interviews".into(),
    ));
    stop.cancel();
    desk.close().await;
    if tokio::time::timeout(WORKER_LIMIT, working).await.is_err() {
        tracing::warn!(
            "LiveKit did not take our goodbye within {} s",
            WORKER_LIMIT.as_secs()
        );
    }
    tokio::time::timeout(JOURNAL_LIMIT, journal.close())
        .await
        .context("the journal was not closed in time")??;
    // It ends with `stop`; whatever it still has to say to a client is said by now.
    http.abort();
    background.cancel();
    Ok(())
}

async fn told_to_stop(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

async fn serve_http(listener: tokio::net::TcpListener, health: Health, stop: CancellationToken) {
    if let Err(error) = http::serve(listener, health.clone(), stop).await {
        tracing::error!("the HTTP listener broke: {error}");
        health.set(
            "listener",
            Need::Required,
            Condition::Failed(error.to_string()),
            "",
        );
    }
}

fn log_choice(conductor: &Conductor, llm: Option<&Llm>) {
    let (stt, tts) = (conductor.stt.name(), conductor.tts.name());
    let mind = llm.map_or("the plan's own questions", |l| l.provider().base_url());
    tracing::info!(stt, tts, mind, "speech engines are chosen");
}

/// Keeps the health table and the service manager's status line true.
struct Follower {
    health: Health,
    manager: Manager,
    url: String,
    timeline: Timeline,
}

impl Follower {
    async fn follow(self, mut status: watch::Receiver<WorkerStatus>, stop: CancellationToken) {
        let mut was_registered = false;
        let mut told = String::new();
        loop {
            let now = status.borrow_and_update().clone();
            if now.is_registered() && !was_registered {
                tracing::info!(
                    elapsed_ms = self.timeline.elapsed_ms(),
                    "registered with LiveKit at {}",
                    self.url
                );
            }
            was_registered = now.is_registered();
            note_worker(&self.health, &self.url, &now);
            // The load changes twice a second; the line seldom.
            let line = status_line(&self.url, &now);
            if line != told {
                self.manager.tell(Told::Status(line.clone()));
                told = line;
            }
            tokio::select! {
                changed = status.changed() => if changed.is_err() { return },
                () = stop.cancelled() => return,
            }
        }
    }
}

fn note_worker(health: &Health, url: &str, status: &WorkerStatus) {
    let condition = match &status.phase {
        Phase::Registered { .. } | Phase::Draining | Phase::Stopped => Condition::Ok,
        Phase::Connecting {
            last_error: None, ..
        } => Condition::Starting("connecting".into()),
        Phase::Connecting {
            last_error: Some(error),
            ..
        } => Condition::Failed(error.to_string()),
    };
    // Off the machine: its absence neither stops the start nor makes the service unready, there are just no jobs.
    health.set("livekit", Need::Optional, condition, url);
    let places = format!("{} of {}", status.taken, status.capacity);
    health.set("interviews", Need::Optional, Condition::Ok, places);
}

fn status_line(url: &str, status: &WorkerStatus) -> String {
    let held = format!("{} of {} interviews", status.taken, status.capacity);
    match &status.phase {
        Phase::Registered { .. } => format!("registered with {url}; {held}"),
        Phase::Connecting {
            last_error: Some(error),
            ..
        } => format!("ready, without LiveKit: {error}; {held}"),
        Phase::Connecting {
            last_error: None, ..
        } => format!("ready; connecting to {url}; {held}"),
        Phase::Draining => format!("stopping; {held}"),
        Phase::Stopped => "stopped".into(),
    }
}
