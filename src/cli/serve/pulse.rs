//! Which parts of the running service are its vital signs, and the runtime's own heartbeat.

use std::time::Duration;

use livekit::webrtc::audio::clock_stats;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::boot::components;
use crate::health::vitals::{Heart, Progress, Sign, Still};
use crate::health::{Condition, Health, Need, metrics};
use crate::journal::{self, Journal};
use crate::spawn::supervised;
use crate::voice::vad::VadEngine;

/// Between two beats of the runtime; how late one comes is the event loop's lag.
const BEAT: Duration = Duration::from_millis(100);
/// Between two looks at parts that may have failed without having stopped.
const LOOK: Duration = Duration::from_secs(1);

/// Everything that the watchdog looks at. What waits for LiveKit or a provider is not in it. Called on the runtime.
pub(super) fn signs(
    runtime: &Heart,
    journal: &Journal,
    vad: &VadEngine,
    worker: JoinHandle<()>,
    told_to_end: CancellationToken,
) -> Vec<Sign> {
    let (journal, vad) = (journal.clone(), vad.clone());
    let (heart, mut nudge) = (runtime.clone(), Nudge::new());
    vec![
        Sign::counted("runtime", move || {
            nudge.give();
            Progress::At(heart.beats())
        }),
        Sign::counted("audio clock", || {
            let clock = clock_stats();
            if clock.tracks == 0 {
                return Progress::Idle;
            }
            Progress::At(clock.ticks)
        }),
        Sign::new("journal", move |_| {
            let us = journal.probe().committing_for_us.unwrap_or(0);
            Still::For(Duration::from_micros(us))
        }),
        // It comes round ten times a second, also when nobody speaks.
        Sign::new("vad", move |_| Still::For(vad.vitals().since_tick)),
        Sign::new("worker", move |_| {
            if worker.is_finished() && !told_to_end.is_cancelled() {
                Still::Ended
            } else {
                Still::For(Duration::ZERO)
            }
        }),
    ]
}

/// Wakes one of the runtime's threads from outside. One of them waits for sockets and timers, and the others wait for it: when a
/// task holds that one, nobody takes its place until somebody is woken.
struct Nudge {
    runtime: Handle,
    given: Option<JoinHandle<()>>,
}

impl Nudge {
    fn new() -> Self {
        Self {
            runtime: Handle::current(),
            given: None,
        }
    }

    /// At every look of the watchdog, so that nothing stands still for longer. One that nobody has taken is enough.
    fn give(&mut self) {
        if self.given.as_ref().is_none_or(JoinHandle::is_finished) {
            let _on_it = self.runtime.enter();
            self.given = Some(supervised("nudge", async {}));
        }
    }
}

/// Beats the runtime's heart until `end`, and counts how late each beat was.
pub(super) async fn beat(heart: Heart, end: CancellationToken) {
    let mut tick = tokio::time::interval(BEAT);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            due = tick.tick() => {
                metrics::event_loop_lag(due.elapsed());
                heart.beat();
            }
            () = end.cancelled() => return,
        }
    }
}

/// Keeps the health table true to what fails while the service runs: a job is declined at once when the journal can't
/// be written.
pub(super) async fn watch(
    health: Health,
    journal: Journal,
    vad: VadEngine,
    end: CancellationToken,
) {
    let mut look = tokio::time::interval(LOOK);
    let (mut commits, mut clock) = (0, clock_stats());
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = end.cancelled() => return,
        }
        let probe = journal.probe();
        if let Some(us) = probe.last_commit_us
            && std::mem::replace(&mut commits, probe.commits) != probe.commits
        {
            metrics::journal_commit(Duration::from_micros(us));
        }
        let before = std::mem::replace(&mut clock, clock_stats());
        let beats = clock.ticks.saturating_sub(before.ticks);
        if let Some(us) = clock
            .late_us_sum
            .saturating_sub(before.late_us_sum)
            .checked_div(beats)
        {
            metrics::audio_lag(Duration::from_micros(us));
        }
        tell_hurry(before.hurried, clock.hurried);
        note_journal(&health, &journal, probe.condition);
        let is_ok = matches!(health.condition("vad"), Some(Condition::Ok));
        if is_ok && vad.vitals().degraded {
            let cause =
                "the model failed while it ran, loudness decides; restart when no interview is on";
            health.set(
                "vad",
                Need::Required,
                Condition::Degraded(cause.into()),
                "energy",
            );
        }
    }
}

/// What is left out then is heard, if anything, as a voice that is a little coarser.
fn tell_hurry(before: usize, threads: usize) {
    metrics::audio_threads_hurried(threads);
    match (before, threads) {
        (0, 1..) => tracing::warn!(
            "the processor is too slow for the interviews that go on: the voice is encoded with less effort, so that it stays in time; \
             lower the capacity, or look for what else runs here"
        ),
        (1.., 0) => {
            tracing::info!("the processor keeps up again: the voice is encoded with full effort")
        }
        _ => {}
    }
}

fn note_journal(health: &Health, journal: &Journal, condition: journal::Condition) {
    let condition = match condition {
        journal::Condition::Well => components::condition_of(journal),
        journal::Condition::Full => Condition::Failed(
            "the disk is full: what runs is ended, nothing begins; free some space".into(),
        ),
        journal::Condition::Failed(error) => Condition::Failed(error.to_string()),
        // In good order, which only happens at the end.
        journal::Condition::Closed => return,
    };
    health.change("journal", condition);
}
