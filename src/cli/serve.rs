//! `viva serve`: registers with LiveKit and holds interviews until told to stop.

mod beyond;
mod follow;
mod places;
mod pulse;
mod readings;
mod reload;

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Source;
use crate::boot::Timeline;
use crate::boot::components::{self, BootError, Components};
use crate::config::{Config, Environment};
use crate::health::control::{Control, Held};
use crate::health::http::{self, Metrics};
use crate::health::systemd::{Manager, Told};
use crate::health::vitals::{Heart, Watchdog};
use crate::health::{Condition, Health, Need, process};
use crate::llm::Llm;
use crate::session::{Conductor, Desk, IDENTITY, NAME};
use crate::spawn::supervised;
use crate::speech::{Stt, Tts};
use crate::sync::{Claimer, Copier};
use crate::telemetry;
use crate::telemetry::traces::Traces;
use crate::web::operator::{self, Operator};
use crate::worker::token::{self, AgentIdentity};
use crate::worker::{Worker, WorkerOptions};

use beyond::{Here, Shared, shared, webhook};
use follow::{Follower, note_worker};
use places::places;
use readings::Sources;
use reload::Reloader;

/// Time for the worker to tell LiveKit goodbye, after the interviews are over.
const WORKER_LIMIT: Duration = Duration::from_secs(5);

/// Time for the journal to write what it was given.
const JOURNAL_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where /healthz, /readyz, /metrics and the operator's page answer; port 0 takes a free one.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
}

pub(super) fn run(args: &Args, mut config: Config, mut source: Source) -> anyhow::Result<u8> {
    // First, while this process has one thread: it changes the environment.
    let handed_over = components::handed_over();
    source.listen = args.listen;
    source.lay_over(&mut config);
    let timeline = Timeline::start().within(Duration::from_millis(config.boot.limit_ms.into()));
    let filter = telemetry::init(&config.log.filter)?;
    super::block_on(serve(config, source, timeline, filter, handed_over))??;
    Ok(super::DONE)
}

/// What asks the process to end or to read its files again.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let of = |kind, name| signal(kind).with_context(|| format!("cannot listen for {name}"));
        Ok(Self {
            terminate: of(SignalKind::terminate(), "SIGTERM")?,
            interrupt: of(SignalKind::interrupt(), "SIGINT")?,
            hangup: of(SignalKind::hangup(), "SIGHUP")?,
        })
    }

    async fn told_to_stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Works off every SIGHUP until told to stop.
    async fn reload_until_told_to_stop(&mut self, reloader: &mut Reloader) {
        loop {
            let Self {
                terminate,
                interrupt,
                hangup,
            } = self;
            tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                _ = hangup.recv() => reloader.reload().await,
            }
        }
    }
}

/// Loads what an interview needs and says meanwhile what is awaited; nothing when told to stop before it is there.
async fn start(
    config: &Config,
    env: &Environment,
    timeline: &Timeline,
    health: &Health,
    manager: &Manager,
    handed_over: Option<TcpListener>,
    signals: &mut Signals,
) -> Result<Option<Components>, BootError> {
    let mut awaited = timeline.awaited();
    let mut loading = std::pin::pin!(components::load(config, env, timeline, health, handed_over));
    loop {
        tokio::select! {
            loaded = &mut loading => return loaded.map(Some),
            () = signals.told_to_stop() => return Ok(None),
            // Its sender is the timeline's.
            Ok(()) = awaited.changed() => {
                let names = awaited.borrow_and_update().join(", ");
                if !names.is_empty() {
                    manager.tell(Told::Status(format!("starting; awaited: {names}")));
                }
            }
        }
    }
}

async fn serve(
    config: Config,
    source: Source,
    timeline: Timeline,
    filter: telemetry::Filter,
    handed_over: Option<TcpListener>,
) -> anyhow::Result<()> {
    let env = &source.env;
    let key = config.livekit_key(env)?;
    livekit::webrtc::use_interfaces(config.livekit.interfaces.clone());
    let mut signals = Signals::listen()?;
    let health = Health::new(timeline.clone());
    let manager = Manager::find();
    manager.tell(Told::Status("starting".into()));
    let loaded = start(
        &config,
        env,
        &timeline,
        &health,
        &manager,
        handed_over,
        &mut signals,
    );
    let Some(components) = loaded.await? else {
        let awaited = timeline.awaited().borrow().join(", ");
        tracing::info!("told to stop while starting; awaited: {awaited}");
        return Ok(());
    };
    let Components {
        journal,
        live,
        vad,
        engines,
        plans,
        listener,
    } = components;
    let stop = CancellationToken::new();
    // No more interviews: a child of `stop`, so that whoever stops also drains.
    let draining = stop.child_token();
    let address = listener.local_addr()?;
    let terms = reload::terms(&config, plans);
    let (copier, arbiter) = match shared(&config, env, &key, &journal, &health) {
        Some(Shared { copier, arbiter }) => (Some(copier), arbiter),
        None => (None, None),
    };
    // Somebody else may conduct by now what this appliance conducted: only after a time that is long enough for that.
    let asks_first = arbiter
        .as_ref()
        .is_some_and(|arbiter| !arbiter.tenure_holds(&config.state_directory));
    let conductor = Conductor {
        journal: journal.clone(),
        vad: vad.clone(),
        endpointing: Mutex::new(terms.endpointing),
        stt: engines.stt.clone() as Arc<dyn Stt>,
        tts: engines.tts.clone() as Arc<dyn Tts>,
        llm: engines.llm.clone(),
        traces: traces(&config, &health),
        livekit_url: config.livekit.url.clone(),
        livekit_key: key.clone(),
        agent: AgentIdentity {
            identity: IDENTITY.into(),
            name: NAME.into(),
            metadata: String::new(),
            attributes: token::named(&config.livekit.agent_name).collect(),
        },
        arbiter: arbiter.clone(),
    };
    log_choice(&conductor, engines.llm.as_deref());
    if let Some(traces) = &conductor.traces {
        let elapsed = Duration::from_millis(timeline.elapsed_ms());
        traces.started(&timeline.stages(), elapsed);
    }
    let traces = conductor.traces.clone();
    let elsewhere = copier.as_ref().map(Copier::elsewhere).unwrap_or_default();
    let webhook = webhook(&config, env, &journal, &health);
    let desk = Desk::new(conductor, terms, health.clone(), stop.clone(), elsewhere);
    let (capacity, advice) = places(config.interviews.capacity, process::cgroup_limits());
    if let Some(advice) = &advice {
        tracing::warn!("{advice}");
    }
    let options = WorkerOptions {
        url: config.livekit.url.clone(),
        key,
        agent_name: config.livekit.agent_name.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        capacity,
    };
    let worker = Worker::new(options, Arc::new(desk.clone()))?;
    note_worker(&health, &config.livekit.url, &worker.status().borrow());
    desk.take_up(live, &worker.slots(), asks_first);
    let fewer = advice.unwrap_or_default();
    health.set("configuration", Need::Optional, Condition::Ok, fewer);

    let sources = Sources {
        health: health.clone(),
        timeline: timeline.clone(),
        ready_ms: timeline.elapsed_ms(),
        worker: worker.status(),
        journal: journal.clone(),
        stt: engines.stt.clone(),
        tts: engines.tts.clone(),
        llm: engines.llm.clone(),
        sync: copier.as_ref().map(Copier::status),
    };
    let metrics: Metrics = Arc::new(move || sources.metrics());
    let (held, watched) = watch::channel(Held::default());
    let pages = operator::routes(Operator {
        key: operator::usable_key(&config, env, &health),
        held: watched.clone(),
        drain: draining.clone(),
    });
    let http = supervised(
        "http",
        http::serve(listener, health.clone(), metrics, pages, stop.clone()),
    );
    let background = CancellationToken::new();
    // An operator's convenience, and nothing that interviews need. Whoever waited for READY finds it.
    match Control::bind(&config.state_directory) {
        Ok(control) => {
            let serving = control.serve(watched, draining.clone(), background.clone());
            supervised("control", serving);
        }
        Err(error) => tracing::warn!(
            "`viva drain` can't reach this service, there is no control socket in {}: {error}",
            config.state_directory.display()
        ),
    }
    tracing::info!(
        elapsed_ms = timeline.elapsed_ms(),
        supervised = manager.is_there(),
        "ready; listening on http://{address}"
    );
    // Whoever waits for READY reads there where it listens.
    telemetry::flush(telemetry::SOON_LIMIT);
    manager.tell(Told::Ready);
    let follower = Follower {
        health: health.clone(),
        manager: manager.clone(),
        url: config.livekit.url.clone(),
        timeline: timeline.clone(),
        held,
        draining: draining.clone(),
        stopping: stop.clone(),
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
    let here = Here {
        desk: desk.clone(),
        slots: worker.slots(),
        draining: draining.clone(),
    };
    if let Some(copier) = copier {
        let copier = copier.succeeded_by(Arc::new(here.clone()));
        supervised("postgres", copier.run(stop.clone()));
    }
    if let Some(arbiter) = arbiter {
        let directory = config.state_directory.clone();
        let claimer = Claimer::new(arbiter, journal.clone(), directory, Arc::new(here));
        supervised("takeover", claimer.run(draining.clone()));
    }
    if let Some(webhook) = webhook {
        supervised("webhook", webhook.run(stop.clone()));
    }
    // One task, of which both the end of the service and the watchdog want to know the end.
    let over = CancellationToken::new();
    let (heart, workers_heart) = (Heart::default(), Heart::default());
    let working = {
        let serving = Box::pin(worker.run(draining.clone()));
        let running = pulse::beating(workers_heart.clone(), serving);
        let over = over.clone();
        supervised("worker", async move {
            running.await;
            over.cancel();
        })
    };
    supervised(
        "runtime pulse",
        pulse::beat(heart.clone(), background.clone()),
    );
    supervised(
        "component watch",
        pulse::watch(
            health.clone(),
            journal.clone(),
            vad.clone(),
            background.clone(),
        ),
    );
    let at_work = pulse::AtWork {
        task: working,
        heart: workers_heart,
        told_to_end: draining.clone(),
    };
    let mut signs = pulse::signs(&heart, &journal, &vad, at_work);
    signs.push(desk.sign(&heart));
    let watchdog = {
        let manager = manager.clone();
        let desk = desk.clone();
        Watchdog::start(
            sd_notify::watchdog_enabled(),
            signs,
            move || manager.tell(Told::Watchdog),
            move || desk.overview(),
        )
        .context("cannot start the watchdog's thread; look at the limit of tasks (TasksMax)")?
    };
    let upkeep = supervised(
        "journal upkeep",
        journal.clone().upkeep(config.journal.retention_days),
    );

    let mut reloader = Reloader {
        source: source.clone(),
        config,
        desk: desk.clone(),
        health,
        manager: manager.clone(),
        filter,
    };
    signals.reload_until_told_to_stop(&mut reloader).await;
    tracing::info!("told to stop: the next process goes on with running interviews");
    manager.tell(Told::Stopping);
    manager.tell(Told::Status(
        "stopping: the next process goes on with running interviews".into(),
    ));
    stop.cancel();
    desk.close().await;
    if tokio::time::timeout(WORKER_LIMIT, over.cancelled())
        .await
        .is_err()
    {
        tracing::warn!(
            "LiveKit did not take our goodbye within {} s",
            WORKER_LIMIT.as_secs()
        );
    }
    upkeep.abort();
    tokio::time::timeout(JOURNAL_LIMIT, journal.close())
        .await
        .context("the journal was not closed in time")??;
    if let Some(traces) = traces {
        let closed = tokio::task::spawn_blocking(move || traces.close());
        // It takes a moment at most, and a panic in it is of no consequence any more.
        let _ = closed.await;
    }
    // It ends with `stop`, and says by itself when a client has had its time; its panic is in the log.
    let _ = http.await;
    background.cancel();
    drop(watchdog);
    Ok(())
}

/// Traces where a collector is configured. Nothing that interviews need: without it they are held all the same.
fn traces(config: &Config, health: &Health) -> Option<Traces> {
    let endpoint = config.log.otlp_endpoint.as_ref()?;
    match Traces::to(endpoint, health.clone()) {
        Ok(traces) => Some(traces),
        Err(error) => {
            tracing::warn!("there are no traces: {error}");
            let condition = Condition::Degraded(error.to_string());
            health.set("traces", Need::Optional, condition, "");
            None
        }
    }
}

fn log_choice(conductor: &Conductor, llm: Option<&Llm>) {
    let (stt, tts) = (conductor.stt.name(), conductor.tts.name());
    let mind = llm.map_or("the plan's own questions", |l| l.provider().base_url());
    tracing::info!(stt, tts, mind, "speech engines are chosen");
}
