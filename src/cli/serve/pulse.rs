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

/// The task that serves LiveKit's offers.
pub(super) struct AtWork {
    pub(super) task: JoinHandle<()>,
    /// Beaten from that task.
    pub(super) heart: Heart,
    /// From then on it may end.
    pub(super) told_to_end: CancellationToken,
}

/// Everything that the watchdog looks at. What waits for LiveKit or a provider is not in it. Called on the runtime.
pub(super) fn signs(
    runtime: &Heart,
    journal: &Journal,
    vad: &VadEngine,
    worker: AtWork,
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
        // It comes round ten times a second, and asks the model something once a second when nobody speaks.
        Sign::new("vad", move |_| Still::For(vad.vitals().since_tick)),
        worker.sign(),
    ]
}

impl AtWork {
    fn sign(self) -> Sign {
        Sign::counted("worker", move || {
            match (self.task.is_finished(), self.told_to_end.is_cancelled()) {
                (false, _) => Progress::At(self.heart.beats()),
                (true, true) => Progress::Idle,
                (true, false) => Progress::Ended,
            }
        })
    }
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

/// Does `work`, and beats `heart` from the same task meanwhile: whatever holds the one holds the other. A wait, for LiveKit for one,
/// holds neither.
pub(super) async fn beating(heart: Heart, work: impl Future<Output = ()>) {
    let mut work = std::pin::pin!(work);
    let mut tick = tokio::time::interval(BEAT);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut work => return,
            _ = tick.tick() => heart.beat(),
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use crate::health::vitals::STUCK_AFTER;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_waits_lets_the_heart_beat_and_is_waited_for() {
        let heart = Heart::default();
        beating(heart.clone(), tokio::time::sleep(BEAT * 10)).await;
        assert!((9..=11).contains(&heart.beats()), "{}", heart.beats());
    }

    /// A worker whose task is over, or never is.
    async fn worker(is_over: bool, told_to_end: bool) -> (Heart, Sign) {
        let task = supervised("worker", async move {
            if !is_over {
                std::future::pending::<()>().await;
            }
        });
        while is_over && !task.is_finished() {
            tokio::task::yield_now().await;
        }
        let (heart, end) = (Heart::default(), CancellationToken::new());
        if told_to_end {
            end.cancel();
        }
        let at_work = AtWork {
            task,
            heart: heart.clone(),
            told_to_end: end,
        };
        (heart, at_work.sign())
    }

    #[tokio::test]
    async fn a_worker_that_has_ended_is_stuck_unless_it_was_told_to_end() {
        let now = std::time::Instant::now();
        let (_, mut ended) = worker(true, false).await;
        assert!(ended.stuck(now).is_some_and(|why| why.contains("ended")));
        let (_, mut drained) = worker(true, true).await;
        assert_eq!(drained.stuck(now), None);
        assert_eq!(drained.stuck(now + STUCK_AFTER * 2), None);
    }

    #[tokio::test]
    async fn a_worker_that_stands_still_is_stuck_also_while_it_drains() {
        let now = std::time::Instant::now();
        for told_to_end in [false, true] {
            let (heart, mut sign) = worker(false, told_to_end).await;
            assert_eq!(sign.stuck(now), None);
            heart.beat();
            assert_eq!(sign.stuck(now + STUCK_AFTER), None);
            let stuck = sign.stuck(now + STUCK_AFTER * 2);
            assert!(stuck.is_some_and(|why| why.contains("stood still")));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn work_that_holds_its_thread_stops_the_heart() {
        let heart = Heart::default();
        let (begun, begins) = tokio::sync::oneshot::channel();
        let (release, held) = sync_channel::<()>(1);
        let work = async move {
            let _ = begun.send(());
            // A thread that is held for as long as the test says.
            let _ = held.recv();
        };
        let task = supervised("work", beating(heart.clone(), work));
        begins.await.unwrap();
        let before = heart.beats();
        tokio::time::sleep(BEAT * 5).await;
        assert_eq!(heart.beats(), before);
        drop(release);
        task.await.unwrap();
    }
}
