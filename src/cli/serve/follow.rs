//! Keeps the health table, the service manager's status line and the control socket's news true to the worker.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::boot::Timeline;
use crate::health::control::{BEAT, Held};
use crate::health::systemd::{Manager, Told};
use crate::health::{Condition, Health, Need};
use crate::worker::{Phase, WorkerStatus};

/// How much longer a manager that waits for us to drain is asked to wait, again and again: three times the time
/// between two of these requests.
const EXTENSION: Duration = Duration::from_secs(15);

/// Follows a worker.
pub(super) struct Follower {
    pub(super) health: Health,
    pub(super) manager: Manager,
    pub(super) url: String,
    pub(super) timeline: Timeline,
    pub(super) held: watch::Sender<Held>,
    /// Cancelled when no more interviews are taken.
    pub(super) draining: CancellationToken,
    /// Cancelled when the process is to end.
    pub(super) stopping: CancellationToken,
}

impl Follower {
    /// Follows until `end`.
    pub(super) async fn follow(
        self,
        mut status: watch::Receiver<WorkerStatus>,
        end: CancellationToken,
    ) {
        let mut was_registered = false;
        let mut told = String::new();
        let mut is_noted = false;
        let mut beat = tokio::time::interval(BEAT);
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
            let draining = self.draining.is_cancelled();
            let drained = now.phase == Phase::Stopped;
            if draining && !is_noted {
                is_noted = true;
                let cause = "no more interviews are taken; restart the service to take them again";
                let condition = Condition::Failed(cause.into());
                self.health
                    .set("intake", Need::Required, condition, "draining");
            }
            self.held.send_if_modified(|held| {
                let news = Held {
                    interviews: now.taken,
                    draining,
                    drained,
                };
                std::mem::replace(held, news) != news
            });
            // The load changes twice a second; the line seldom.
            let line = status_line(&self.url, &now, self.stopping.is_cancelled());
            if line != told {
                self.manager.tell(Told::Status(line.clone()));
                told = line;
            }
            if drained {
                // Nothing changes any more.
                return;
            }
            tokio::select! {
                changed = status.changed() => if changed.is_err() { return },
                _ = beat.tick() => if draining {
                    self.manager.tell(Told::ExtendTimeout(EXTENSION));
                },
                () = self.draining.cancelled(), if !draining => {}
                () = end.cancelled() => return,
            }
        }
    }
}

/// Notes how the worker stands with LiveKit.
pub(super) fn note_worker(health: &Health, url: &str, status: &WorkerStatus) {
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

fn status_line(url: &str, status: &WorkerStatus, is_stopping: bool) -> String {
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
        Phase::Draining if is_stopping => format!("stopping; {held}"),
        Phase::Draining => format!("draining, no more are taken; {held}"),
        Phase::Stopped if is_stopping => "stopped".into(),
        Phase::Stopped => {
            "drained: no interview is on and none is taken; stop or restart it".into()
        }
    }
}
