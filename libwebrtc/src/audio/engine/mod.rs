//! What the audio threads do: serve units on every beat, and survive those that panic.

mod lateness;
mod pool;
mod pressure;
mod priority;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

pub use self::lateness::Lateness;
pub use self::pool::ClockStats;
pub(crate) use self::pool::Pool;
use self::pressure::Pressure;
use super::clock::{Tick, Ticker};
use crate::RtcError;

/// Something that is served on every beat: a track that plays, or a source that is sent.
pub(crate) trait Unit: Send {
    /// Does 10 ms of work. It must not block, wait or take long.
    fn tick(&mut self, tick: Tick) -> Next;

    /// Called in place of any further tick when one has panicked.
    fn abandon(&mut self);
}

/// Whether a unit wants to be served again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Stay,
    Leave,
}

/// Who serves units: the process's threads, or a test that has the time in its hand.
pub(crate) trait Executor: Send + Sync {
    /// Takes `unit` in before its next beat, without waiting for the audio thread.
    fn register(&self, unit: Box<dyn Unit>) -> Result<(), RtcError>;
}

/// The units of one thread and their clock. It knows no thread and reads no time.
#[derive(Default)]
pub(crate) struct Worker {
    units: Vec<Box<dyn Unit>>,
    /// A beat of the past; the others are whole beats later.
    grid: Option<Instant>,
    ticker: Option<Ticker>,
    pressure: Pressure,
}

/// What one call of [`Worker::serve`] did.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Served {
    pub beats: u32,
    pub skipped: u32,
    pub left: usize,
    /// How long after its deadline the first of the beats was begun.
    pub late: Duration,
    /// When to call again; none when there is nothing to serve.
    pub next: Option<Instant>,
}

impl Worker {
    /// One whose beats are whole beats after `grid`, however often it rests.
    pub fn on(grid: Instant) -> Self {
        Self {
            grid: Some(grid),
            ..Self::default()
        }
    }

    pub fn adopt(&mut self, units: &mut Vec<Box<dyn Unit>>) {
        self.units.append(units);
    }

    /// Serves every beat that is due at `now`.
    pub fn serve(&mut self, now: Instant) -> Served {
        let mut served = Served::default();
        if self.units.is_empty() {
            self.ticker = None;
            self.pressure = Pressure::default();
            return served;
        }
        let grid = self.grid.unwrap_or(now);
        let ticker = self
            .ticker
            .get_or_insert_with(|| Ticker::on_grid(grid, now));
        served.late = now.saturating_duration_since(ticker.deadline());
        let units_before = self.units.len();
        while let Some(mut tick) = ticker.beat(now) {
            tick.hurried = self.pressure.is_high();
            served.beats += 1;
            served.skipped += tick.skipped;
            self.units
                .retain_mut(|unit| serve_one(unit.as_mut(), tick) == Next::Stay);
        }
        served.left = units_before - self.units.len();
        served.next = Some(ticker.deadline());
        served
    }

    /// Takes in how long the last call of [`serve`](Self::serve) took; true while that is too long.
    pub fn took(&mut self, served: Served, busy: Duration) -> bool {
        self.pressure.count(served.beats, busy);
        self.pressure.is_high()
    }
}

/// A track whose code or whose callback panics must not take the other interviews with it.
fn serve_one(unit: &mut dyn Unit, tick: Tick) -> Next {
    if let Ok(next) = catch_unwind(AssertUnwindSafe(|| unit.tick(tick))) {
        return next;
    }
    log::error!("an audio track panicked and is taken out of service; the others go on");
    if catch_unwind(AssertUnwindSafe(|| unit.abandon())).is_err() {
        log::error!("an audio track panicked again while it was taken out of service");
    }
    Next::Leave
}

/// An executor for tests: beats come when the test says so.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct Manual {
    inbox: parking_lot::Mutex<Vec<Box<dyn Unit>>>,
    worker: parking_lot::Mutex<Worker>,
}

#[cfg(test)]
impl Manual {
    /// Serves what is due at `now`.
    pub fn serve(&self, now: Instant) -> Served {
        let mut worker = self.worker.lock();
        worker.adopt(&mut self.inbox.lock());
        worker.serve(now)
    }

    /// Units that are registered.
    pub fn units(&self) -> usize {
        self.inbox.lock().len() + self.worker.lock().units.len()
    }
}

#[cfg(test)]
impl Executor for Manual {
    fn register(&self, unit: Box<dyn Unit>) -> Result<(), RtcError> {
        self.inbox.lock().push(unit);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    use super::{super::clock::TICK, *};

    pub(super) struct Probe {
        ticks: mpsc::Sender<Tick>,
        panics_at: Option<u32>,
        abandoned: Arc<AtomicUsize>,
        served: u32,
    }

    impl Unit for Probe {
        fn tick(&mut self, tick: Tick) -> Next {
            self.served += 1;
            assert_ne!(
                self.panics_at,
                Some(self.served),
                "the test wants a panic here"
            );
            match self.ticks.send(tick) {
                Ok(()) => Next::Stay,
                Err(_) => Next::Leave,
            }
        }

        fn abandon(&mut self) {
            self.abandoned.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn probe(
        panics_at: Option<u32>,
    ) -> (Box<Probe>, mpsc::Receiver<Tick>, Arc<AtomicUsize>) {
        let (ticks, seen) = mpsc::channel();
        let abandoned = Arc::new(AtomicUsize::new(0));
        let unit = Box::new(Probe {
            ticks,
            panics_at,
            abandoned: Arc::clone(&abandoned),
            served: 0,
        });
        (unit, seen, abandoned)
    }

    #[test]
    fn every_track_gets_every_beat() {
        let manual = Manual::default();
        let (one, seen_by_one, _) = probe(None);
        let (two, seen_by_two, _) = probe(None);
        manual.register(one).unwrap();
        let start = Instant::now();
        for n in 0..10 {
            manual.serve(start + TICK * n);
        }
        manual.register(two).unwrap();
        for n in 10..20 {
            manual.serve(start + TICK * n);
        }
        assert_eq!(seen_by_one.try_iter().count(), 20);
        assert_eq!(seen_by_two.try_iter().count(), 10);
    }

    #[test]
    fn a_track_that_panics_leaves_the_others_alone() {
        let manual = Manual::default();
        let (bad, _seen_by_bad, abandoned) = probe(Some(3));
        let (good, seen_by_good, _) = probe(None);
        manual.register(bad).unwrap();
        manual.register(good).unwrap();
        let start = Instant::now();
        for n in 0..10 {
            manual.serve(start + TICK * n);
        }
        assert_eq!(seen_by_good.try_iter().count(), 10);
        assert_eq!(abandoned.load(Ordering::Relaxed), 1);
        assert_eq!(manual.units(), 1);
    }

    #[test]
    fn tracks_are_told_when_their_thread_has_too_little_time() {
        let mut worker = Worker::default();
        let (unit, seen, _) = probe(None);
        worker.adopt(&mut vec![unit as Box<dyn Unit>]);
        let start = Instant::now();
        for n in 0..100 {
            let served = worker.serve(start + TICK * n);
            worker.took(served, TICK);
        }
        let hurried: Vec<_> = seen.try_iter().map(|tick| tick.hurried).collect();
        assert_eq!((hurried[0], hurried[99]), (false, true));
        // Not those that come after them, when it has had nothing to do.
        drop(seen);
        let start = start + TICK * 100;
        worker.serve(start);
        worker.serve(start + TICK);
        let (unit, seen, _) = probe(None);
        worker.adopt(&mut vec![unit as Box<dyn Unit>]);
        worker.serve(start + TICK * 2);
        assert!(!seen.recv().unwrap().hurried);
    }

    #[test]
    fn the_clock_starts_anew_after_a_rest() {
        let manual = Manual::default();
        let start = Instant::now();
        assert!(manual.serve(start).next.is_none());
        let (unit, seen, _) = probe(None);
        manual.register(unit).unwrap();
        let later = start + TICK * 100;
        assert_eq!(manual.serve(later).skipped, 0);
        assert_eq!(seen.try_iter().count(), 1);
    }
}
