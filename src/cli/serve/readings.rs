//! What `/metrics` looks at in the running service when it is asked.

use std::sync::Arc;

use tokio::sync::watch;

use crate::boot::Timeline;
use crate::health::metrics::{Readings, text};
use crate::health::{Condition, Health, Need, process};
use crate::journal::Journal;
use crate::llm::Llm;
use crate::provider::breaker::BreakerState;
use crate::speech::chain::{EngineStatus, SttChain, TtsChain};
use crate::sync::{KINDS, Phase, Standing, SyncStatus};
use crate::telemetry;
use crate::worker::WorkerStatus;

/// The parts that are looked at.
pub(super) struct Sources {
    pub(super) health: Health,
    pub(super) timeline: Timeline,
    /// From the process's start until READY.
    pub(super) ready_ms: u64,
    pub(super) worker: watch::Receiver<WorkerStatus>,
    pub(super) journal: Journal,
    pub(super) stt: Arc<SttChain>,
    pub(super) tts: Arc<TtsChain>,
    pub(super) llm: Option<Arc<Llm>>,
    /// Where interviews are copied to Postgres.
    pub(super) sync: Option<SyncStatus>,
}

impl Sources {
    /// The answer to one question of Prometheus'.
    pub(super) fn metrics(&self) -> String {
        let mut readings = Readings::default();
        self.boot(&mut readings);
        self.work(&mut readings);
        self.storage(&mut readings);
        if let Some(status) = &self.sync {
            copy(&mut readings, &status.now());
        }
        log(&mut readings);
        machine(&mut readings);
        text(&readings)
    }

    fn boot(&self, readings: &mut Readings) {
        let stages = self.timeline.stages().into_iter().map(|stage| {
            let labels = vec![("stage", stage.name.to_owned())];
            (labels, ms_as_s(stage.elapsed_ms))
        });
        readings.labelled(
            "viva_boot_stage_seconds",
            "What each stage of the start took",
            stages,
        );
        readings.gauge(
            "viva_boot_ready_seconds",
            "From the start of the process until it was ready",
            ms_as_s(self.ready_ms),
        );
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        readings.labelled("viva_build_info", "The release", [(version, 1.0)]);
        let snapshot = self.health.snapshot();
        let of_each = |is_so: fn(&Condition) -> bool| {
            snapshot.components.iter().map(move |(name, component)| {
                let need = match component.need {
                    Need::Required => "required",
                    Need::Optional => "optional",
                };
                let labels = vec![("component", (*name).to_owned()), ("need", need.to_owned())];
                (labels, f64::from(u8::from(is_so(&component.condition))))
            })
        };
        readings.labelled(
            "viva_component_up",
            "1 where a component does what it is for, if only in a lesser way; 0 where it is missing",
            of_each(|condition| matches!(condition, Condition::Ok | Condition::Degraded(_))),
        );
        readings.labelled(
            "viva_component_degraded",
            "1 where a component does what it is for in a lesser way",
            of_each(|condition| matches!(condition, Condition::Degraded(_))),
        );
    }

    fn work(&self, readings: &mut Readings) {
        let worker = self.worker.borrow().clone();
        let held = vec![("state", "held".to_owned())];
        readings.labelled(
            "viva_interviews",
            "Interviews now",
            [(held, f64::from(worker.taken))],
        );
        readings.gauge(
            "viva_interviews_capacity",
            "Interviews at once, at most",
            f64::from(worker.capacity),
        );
        readings.gauge(
            "viva_livekit_registered",
            "1 while LiveKit can offer jobs",
            f64::from(u8::from(worker.is_registered())),
        );
        let of = |kind: &str, status: Vec<EngineStatus>| {
            let breaker = |engine: EngineStatus| {
                let is_closed = engine.breaker == BreakerState::Closed;
                let provider = format!("{kind} {}", engine.name);
                let labels = vec![("provider", provider)];
                (labels, f64::from(u8::from(!is_closed)))
            };
            status.into_iter().map(breaker).collect::<Vec<_>>()
        };
        let llm = self.llm.iter().map(|llm| EngineStatus {
            name: "openai",
            breaker: llm.state(),
            last_error: None,
        });
        let breakers = [
            of("stt", self.stt.status()),
            of("tts", self.tts.status()),
            of("llm", llm.collect()),
        ];
        readings.labelled(
            "viva_provider_breaker_open",
            "1 while a speech engine or the language model is set aside after failures",
            breakers.concat(),
        );
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "more events than f64 counts take centuries"
    )]
    fn storage(&self, readings: &mut Readings) {
        let probe = self.journal.probe();
        readings.total(
            "viva_journal_commits",
            "Transactions of the journal",
            probe.commits as f64,
        );
        readings.total(
            "viva_journal_events",
            "Events in the journal since the start",
            probe.events as f64,
        );
        readings.gauge(
            "viva_journal_queue_length",
            "Writes that wait for the disk",
            probe.waiting as f64,
        );
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "more events than f64 counts take centuries"
)]
fn copy(readings: &mut Readings, standing: &Standing) {
    readings.gauge(
        "viva_sync_lag_seconds",
        "Age of the oldest event that is not in Postgres; 0 where all are",
        ms_as_s(standing.lag_ms()),
    );
    readings.gauge(
        "viva_sync_backlog_events",
        "Events that are not in Postgres yet",
        standing.backlog as f64,
    );
    readings.gauge(
        "viva_sync_held_back_interviews",
        "Interviews that are not copied, because they contradict what is in Postgres or can't be stored there",
        standing.held_back as f64,
    );
    readings.gauge(
        "viva_sync_deletions_pending",
        "Deleted interviews that an appliance has not confirmed yet",
        standing.burials_pending as f64,
    );
    readings.total(
        "viva_sync_copied_events",
        "Events that were sent to Postgres and are there",
        standing.copied as f64,
    );
    readings.total(
        "viva_sync_quarantined",
        "Events that went into quarantine in Postgres",
        standing.quarantined as f64,
    );
    readings.total(
        "viva_sync_failures",
        "Tries to copy that failed",
        standing.failures as f64,
    );
    let failing = match &standing.phase {
        Phase::Failing { kind, .. } => Some(*kind),
        Phase::Connecting | Phase::Well => None,
    };
    let kinds = KINDS.iter().map(|kind| {
        let labels = vec![("kind", (*kind).to_owned())];
        (labels, f64::from(u8::from(failing == Some(*kind))))
    });
    readings.labelled(
        "viva_sync_failing",
        "1 at the kind of failure that keeps events from Postgres now",
        kinds,
    );
}

#[expect(
    clippy::cast_precision_loss,
    reason = "more lines than f64 counts take centuries"
)]
fn log(readings: &mut Readings) {
    readings.total(
        "viva_log_lines_lost",
        "Lines of the log that were lost because nobody took them",
        telemetry::lines_lost() as f64,
    );
}

#[expect(
    clippy::cast_precision_loss,
    reason = "bytes of a machine's memory fit"
)]
fn machine(readings: &mut Readings) {
    if let Some(bytes) = process::resident_bytes() {
        let help = "Memory in use by the process";
        readings.gauge("process_resident_memory_bytes", help, bytes as f64);
    }
    if let Some(seconds) = process::cpu_seconds() {
        let help = "Processor time of user and system";
        readings.total("process_cpu_seconds", help, seconds);
    }
    if let Some(files) = process::open_files() {
        readings.gauge("process_open_fds", "Open files and sockets", files as f64);
    }
    if let Some(memory) = process::cgroup_memory() {
        if let Some(limit_bytes) = memory.limit_bytes {
            readings.gauge(
                "viva_cgroup_memory_limit_bytes",
                "What the tightest cgroup around the process may use before the kernel ends it",
                limit_bytes as f64,
            );
        }
        readings.gauge(
            "viva_cgroup_memory_high_bytes",
            "What that cgroup may use before the kernel slows it down or ends it",
            memory.high_bytes as f64,
        );
        readings.gauge(
            "viva_cgroup_memory_working_bytes",
            "What that cgroup uses and can't give back without a pause: all but idle pages of files",
            memory.working_bytes as f64,
        );
        readings.gauge(
            "viva_cgroup_memory_current_bytes",
            "What that cgroup uses",
            memory.current_bytes as f64,
        );
    }
    let limits = process::cgroup_limits();
    if let Some(processors) = limits.processors {
        readings.gauge(
            "viva_cgroup_processors",
            "Processors' time that the tightest cgroup around the process may take, 1 is one processor",
            processors,
        );
    }
    if let Some(tasks) = limits.tasks {
        readings.gauge(
            "viva_cgroup_tasks_limit",
            "Processes and threads that the cgroup around the process may have which is the nearest to its limit",
            tasks.limit as f64,
        );
        readings.gauge(
            "viva_cgroup_tasks",
            "Processes and threads that it has",
            tasks.current as f64,
        );
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of a process's life fit"
)]
fn ms_as_s(ms: u64) -> f64 {
    ms as f64 / 1000.0
}
