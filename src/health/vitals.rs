//! The vital signs of this process, and the watchdog that is fed from them alone.
//!
//! A thread of its own looks at each part that must keep moving. While all of them do, the service manager's watchdog
//! is fed at half its interval; a part that stands still is named in the log with what every thread is doing, and the
//! feeding stops until it moves again. Nothing that is off the machine is a vital sign.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::threads;

/// A part that has stood still for so long is stuck: each moves several times a second, and a candidate has heard five
/// seconds of silence by then.
pub const STUCK_AFTER: Duration = Duration::from_secs(5);
/// The longest time between two looks, so that a stuck part is named soon after it is one.
pub const LOOK_MAX: Duration = Duration::from_secs(1);
/// The shortest, for a manager with a very short interval.
const LOOK_MIN: Duration = Duration::from_millis(10);

/// One part that must keep moving.
pub struct Sign {
    name: &'static str,
    stuck_after: Duration,
    look: Box<dyn FnMut(Instant) -> Still + Send>,
}

/// For how long a part has stood still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Still {
    /// For this long; a part that has nothing to do has not stood still at all.
    For(Duration),
    /// For ever: it has ended without having been told to.
    Ended,
    /// It moves, and this keeps it from doing what it is for.
    Because(&'static str),
}

impl Sign {
    /// A part that says for how long it has stood still. `look` must not wait for anything.
    pub fn new(name: &'static str, look: impl FnMut(Instant) -> Still + Send + 'static) -> Self {
        Self {
            name,
            stuck_after: STUCK_AFTER,
            look: Box::new(look),
        }
    }

    /// A part that counts how far it has come. It has stood still since the count last changed, unless it is idle.
    pub fn counted(
        name: &'static str,
        mut count: impl FnMut() -> Progress + Send + 'static,
    ) -> Self {
        let mut moved: Option<(u64, Instant)> = None;
        Self::new(name, move |now| match (count(), moved) {
            (Progress::Idle, _) => {
                moved = None;
                Still::For(Duration::ZERO)
            }
            (Progress::Ended, _) => Still::Ended,
            (Progress::At(count), Some((before, since))) if count == before => {
                Still::For(now.saturating_duration_since(since))
            }
            (Progress::At(count), _) => {
                moved = Some((count, now));
                Still::For(Duration::ZERO)
            }
        })
    }

    /// Why the part is stuck, if it is.
    pub(crate) fn stuck(&mut self, now: Instant) -> Option<String> {
        match (self.look)(now) {
            Still::Ended => Some("it has ended without having been told to".into()),
            Still::Because(why) => Some(why.into()),
            Still::For(time) => (time >= self.stuck_after)
                .then(|| format!("it has stood still for {} ms", time.as_millis())),
        }
    }
}

/// How far a part has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It has nothing to do.
    Idle,
    /// A number that changes as long as the part moves.
    At(u64),
    /// It has ended without having been told to.
    Ended,
}

/// A heart that somebody beats; a clone is the same one.
#[derive(Debug, Clone, Default)]
pub struct Heart(Arc<AtomicU64>);

impl Heart {
    /// Beats once.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it has beaten.
    #[must_use]
    pub fn beats(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The sign of whoever beats it.
    #[must_use]
    pub fn sign(&self, name: &'static str) -> Sign {
        let heart = self.clone();
        Sign::counted(name, move || Progress::At(heart.beats()))
    }
}

/// The watchdog's thread; it ends when this is dropped.
#[derive(Debug)]
pub struct Watchdog {
    _ends_with: SyncSender<()>,
}

impl Watchdog {
    /// Starts it. `interval` is the manager's, where it has one; `feed` is called at half of it while all is well;
    /// `sessions` tells what is going on, for the log, and must not wait.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        interval: Option<Duration>,
        signs: Vec<Sign>,
        feed: impl FnMut() + Send + 'static,
        sessions: impl Fn() -> Vec<String> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (ends_with, end) = sync_channel(1);
        let looking = Looking {
            period: interval.map_or(LOOK_MAX, |i| (i / 4).clamp(LOOK_MIN, LOOK_MAX)),
            feed_every: interval.map(|i| i / 2),
            signs,
            feed,
            sessions,
            stuck: Vec::new(),
        };
        std::thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || looking.run(&end))?;
        Ok(Self {
            _ends_with: ends_with,
        })
    }
}

struct Looking<F, S> {
    period: Duration,
    feed_every: Option<Duration>,
    signs: Vec<Sign>,
    feed: F,
    sessions: S,
    /// What was stuck at the last look.
    stuck: Vec<&'static str>,
}

impl<F: FnMut(), S: Fn() -> Vec<String>> Looking<F, S> {
    fn run(mut self, end: &Receiver<()>) {
        let mut looked = Instant::now();
        let mut fed: Option<Instant> = None;
        loop {
            let now = Instant::now();
            // After a pause of the whole process every part seems to have stood still. The next look tells.
            let is_after_pause =
                now.saturating_duration_since(looked) > self.period + STUCK_AFTER / 2;
            looked = now;
            let is_well = self.look(now, is_after_pause);
            if let Some(every) = self.feed_every
                && is_well
                && fed.is_none_or(|fed| now + self.period > fed + every)
            {
                (self.feed)();
                fed = Some(now);
            }
            match end.recv_timeout(self.period) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Whether every part moves. What has become stuck is said once, and once that it moves again.
    fn look(&mut self, now: Instant, is_after_pause: bool) -> bool {
        let mut stuck = Vec::new();
        for sign in &mut self.signs {
            let Some(how) = sign.stuck(now) else { continue };
            if is_after_pause {
                continue;
            }
            stuck.push(sign.name);
            if !self.stuck.contains(&sign.name) {
                tracing::error!(
                    part = sign.name,
                    threads = threads::dump(),
                    sessions = (self.sessions)().join("\n"),
                    "{} is stuck: {how}; the watchdog is not fed until it moves",
                    sign.name
                );
            }
        }
        for part in self.stuck.iter().filter(|part| !stuck.contains(part)) {
            tracing::warn!(part, "{part} moves again");
        }
        self.stuck = stuck;
        self.stuck.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    type Dump = fn() -> Vec<String>;

    /// Looks once a second of a clock that the test moves, and tells how often the watchdog was fed.
    struct Story {
        looking: Looking<fn(), Dump>,
        now: Instant,
    }

    impl Story {
        fn of(signs: Vec<Sign>) -> Self {
            Self {
                looking: Looking {
                    period: LOOK_MAX,
                    feed_every: None,
                    signs,
                    feed: || (),
                    sessions: Vec::new,
                    stuck: Vec::new(),
                },
                now: Instant::now(),
            }
        }

        fn is_well_after(&mut self, time: Duration) -> bool {
            self.now += time;
            self.looking.look(self.now, false)
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_heart_that_beats_is_well_and_one_that_stops_is_stuck_until_it_beats_again() {
        let heart = Heart::default();
        let mut story = Story::of(vec![heart.sign("runtime")]);
        for _ in 0..20 {
            heart.beat();
            assert!(story.is_well_after(SECOND));
        }
        assert!(story.is_well_after(STUCK_AFTER - SECOND));
        assert!(!story.is_well_after(SECOND));
        heart.beat();
        assert!(story.is_well_after(SECOND));
    }

    #[test]
    fn a_part_without_work_is_not_stuck_and_has_all_its_time_when_work_comes() {
        let is_idle = Arc::new(AtomicBool::new(true));
        let idle = is_idle.clone();
        let mut story = Story::of(vec![Sign::counted("audio", move || {
            if idle.load(Ordering::Relaxed) {
                Progress::Idle
            } else {
                Progress::At(7)
            }
        })]);
        assert!(story.is_well_after(SECOND * 60));
        is_idle.store(false, Ordering::Relaxed);
        assert!(story.is_well_after(SECOND * 60));
        assert!(!story.is_well_after(STUCK_AFTER));
    }

    #[test]
    fn a_part_that_has_ended_is_stuck_at_once_and_one_stuck_part_is_enough() {
        let heart = Heart::default();
        let ended = Sign::new("worker", |_| Still::Ended);
        let mut story = Story::of(vec![heart.sign("runtime"), ended]);
        assert!(!story.is_well_after(Duration::ZERO));
        assert_eq!(story.looking.stuck, ["worker"]);
    }

    #[test]
    fn a_process_that_was_stopped_as_a_whole_is_not_called_stuck() {
        let heart = Heart::default();
        let mut story = Story::of(vec![heart.sign("runtime")]);
        assert!(story.is_well_after(SECOND));
        story.now += SECOND * 60;
        assert!(story.looking.look(story.now, true));
        heart.beat();
        assert!(story.is_well_after(SECOND));
    }

    #[test]
    fn the_watchdog_is_fed_while_all_is_well_and_starves_when_something_is_stuck() {
        let (fed, feedings) = sync_channel(64);
        let (is_stuck, tell) = (Arc::new(AtomicBool::new(false)), SECOND * 10);
        let stuck = is_stuck.clone();
        let sign = Sign::new("journal", move |_| {
            Still::For(if stuck.load(Ordering::Relaxed) {
                STUCK_AFTER
            } else {
                Duration::ZERO
            })
        });
        let watchdog = Watchdog::start(
            Some(Duration::from_millis(40)),
            vec![sign],
            move || fed.try_send(()).unwrap_or_default(),
            Vec::new,
        )
        .unwrap();
        for _ in 0..3 {
            feedings.recv_timeout(tell).unwrap();
        }
        is_stuck.store(true, Ordering::Relaxed);
        // What was fed before the next look is taken; after it nothing comes until the thread ends.
        let starved = (0..50).any(|_| feedings.recv_timeout(Duration::from_millis(200)).is_err());
        assert!(starved);
        drop(watchdog);
    }
}
