//! The audio threads: few, plain, shared by all tracks of the process.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::lateness::{Lateness, LatenessCounter};
use super::priority;
use super::{Executor, Served, Unit, Worker};
use crate::{RtcError, RtcErrorType, audio::clock::TICK};

/// More threads than this have never anything to do: one serves about a hundred tracks.
const THREADS_MAX: usize = 4;

/// The next thread is started when all the others have this many tracks; fewer threads wake the
/// machine less often.
const TRACKS_PER_THREAD_BEFORE_NEXT: usize = 16;

/// The process's audio threads.
pub(crate) struct Pool {
    threads: Mutex<Vec<Arc<Lane>>>,
    threads_max: usize,
    /// When the first thread beats.
    grid: Instant,
}

/// One audio thread, seen from outside.
struct Lane {
    inbox: Mutex<Vec<Box<dyn Unit>>>,
    handle: OnceLock<thread::Thread>,
    units: AtomicUsize,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    ticks: AtomicU64,
    skipped: AtomicU64,
    late_us_sum: AtomicU64,
    late_us_max: AtomicU64,
    busy_us_sum: AtomicU64,
    lateness: LatenessCounter,
    hurried: AtomicBool,
}

/// How the audio clock has kept time since the process started, over all audio threads.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClockStats {
    /// Audio threads that were started.
    pub threads: usize,
    /// Tracks that are served now.
    pub tracks: usize,
    /// Beats of 10 ms that were served.
    pub ticks: u64,
    /// Beats that were left out because the machine stalled for too long.
    pub skipped: u64,
    /// Sum of the delays between a beat's deadline and its begin, in microseconds.
    pub late_us_sum: u64,
    /// The longest such delay.
    pub late_us_max: u64,
    /// Time spent in the work itself, in microseconds.
    pub busy_us_sum: u64,
    /// How those delays are distributed.
    pub lateness: Lateness,
    /// Threads that have too little time now: the encoders of their tracks do with less.
    pub hurried: usize,
}

impl Pool {
    /// The one pool of the process. Threads start with the first track and sleep without one.
    pub fn global() -> &'static Arc<Self> {
        static POOL: OnceLock<Arc<Pool>> = OnceLock::new();
        POOL.get_or_init(|| {
            let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
            Arc::new(Self {
                threads: Mutex::new(Vec::new()),
                threads_max: cores.min(THREADS_MAX),
                grid: Instant::now(),
            })
        })
    }

    pub fn stats(&self) -> ClockStats {
        let threads = self.threads.lock();
        let mut stats = ClockStats {
            threads: threads.len(),
            ..ClockStats::default()
        };
        for lane in threads.iter() {
            let counters = &lane.counters;
            stats.tracks += lane.units.load(Ordering::Relaxed);
            stats.ticks += counters.ticks.load(Ordering::Relaxed);
            stats.skipped += counters.skipped.load(Ordering::Relaxed);
            stats.late_us_sum += counters.late_us_sum.load(Ordering::Relaxed);
            stats.busy_us_sum += counters.busy_us_sum.load(Ordering::Relaxed);
            counters.lateness.add_to(&mut stats.lateness);
            stats.hurried += usize::from(counters.hurried.load(Ordering::Relaxed));
            let late_us_max = counters.late_us_max.load(Ordering::Relaxed);
            stats.late_us_max = stats.late_us_max.max(late_us_max);
        }
        stats
    }

    /// The threads beat one after the other, so that two of them on one core are not in each other's
    /// way for a whole beat's work.
    fn grid_of(&self, index: usize) -> Instant {
        self.grid + TICK.mul_f64(index as f64 / self.threads_max as f64)
    }

    /// The first thread with room, else a new one, else the one with the least to do.
    fn lane(&self) -> Result<Arc<Lane>, RtcError> {
        let mut threads = self.threads.lock();
        let roomy = threads
            .iter()
            .find(|lane| lane.units.load(Ordering::Relaxed) < TRACKS_PER_THREAD_BEFORE_NEXT);
        if let Some(lane) = roomy {
            return Ok(Arc::clone(lane));
        }
        if threads.len() < self.threads_max {
            match Lane::start(threads.len(), self.grid_of(threads.len())) {
                Ok(lane) => {
                    threads.push(Arc::clone(&lane));
                    return Ok(lane);
                }
                Err(error) if threads.is_empty() => return Err(error),
                Err(error) => log::warn!("{}; the running ones take more tracks", error.message),
            }
        }
        threads
            .iter()
            .min_by_key(|lane| lane.units.load(Ordering::Relaxed))
            .map(Arc::clone)
            .ok_or_else(|| RtcError {
                error_type: RtcErrorType::Internal,
                message: "there is no audio thread to serve the track".to_owned(),
            })
    }
}

impl Executor for Pool {
    fn register(&self, unit: Box<dyn Unit>) -> Result<(), RtcError> {
        let lane = self.lane()?;
        lane.units.fetch_add(1, Ordering::Relaxed);
        lane.inbox.lock().push(unit);
        if let Some(thread) = lane.handle.get() {
            thread.unpark();
        }
        Ok(())
    }
}

impl Lane {
    fn start(index: usize, grid: Instant) -> Result<Arc<Self>, RtcError> {
        let lane = Arc::new(Self {
            inbox: Mutex::new(Vec::new()),
            handle: OnceLock::new(),
            units: AtomicUsize::new(0),
            counters: Counters::default(),
        });
        let served = Arc::clone(&lane);
        let thread = thread::Builder::new()
            .name(format!("audio-{index}"))
            .spawn(move || served.run(grid))
            .map_err(|error| RtcError {
                error_type: RtcErrorType::Internal,
                message: format!(
                    "audio thread {index} could not be started: {error}; raise the task limit"
                ),
            })?;
        lane.handle.get_or_init(|| thread.thread().clone());
        Ok(lane)
    }

    /// The thread's whole life. It ends with the process, and sleeps while it has no track.
    fn run(&self, grid: Instant) {
        priority::raise();
        let mut worker = Worker::on(grid);
        let mut arrivals = Vec::new();
        loop {
            // Whoever registers holds this lock for one push; if it is taken just now, the next
            // beat does.
            if let Some(mut inbox) = self.inbox.try_lock() {
                arrivals.append(&mut inbox);
            }
            worker.adopt(&mut arrivals);
            let begun = Instant::now();
            let served = worker.serve(begun);
            if served.beats > 0 {
                let busy = begun.elapsed();
                self.count(served, busy);
                let hurried = worker.took(served, busy);
                self.counters.hurried.store(hurried, Ordering::Relaxed);
            }
            match served.next {
                // A wake-up for a new track only makes it look into the inbox early.
                Some(deadline) => {
                    thread::park_timeout(deadline.saturating_duration_since(Instant::now()));
                }
                None => {
                    self.counters.hurried.store(false, Ordering::Relaxed);
                    self.rest();
                }
            }
        }
    }

    /// Sleeps until there is a track. The inbox is asked with patience here, since one that is
    /// found locked in passing could hold the track this thread would sleep over.
    fn rest(&self) {
        if self.inbox.lock().is_empty() {
            thread::park();
        }
    }

    fn count(&self, served: Served, busy: Duration) {
        let counters = &self.counters;
        let late_us = micros(served.late);
        self.units.fetch_sub(served.left, Ordering::Relaxed);
        counters
            .ticks
            .fetch_add(u64::from(served.beats), Ordering::Relaxed);
        counters
            .skipped
            .fetch_add(u64::from(served.skipped), Ordering::Relaxed);
        counters.late_us_sum.fetch_add(late_us, Ordering::Relaxed);
        counters.late_us_max.fetch_max(late_us, Ordering::Relaxed);
        counters.lateness.count(late_us);
        counters
            .busy_us_sum
            .fetch_add(micros(busy), Ordering::Relaxed);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{super::tests::probe, *};

    #[test]
    fn the_threads_of_the_process_beat_in_real_time() {
        let pool = Pool::global();
        let (unit, seen, _) = probe(None);
        pool.register(unit).unwrap();
        let limit = Duration::from_secs(10);
        let first = seen.recv_timeout(limit).unwrap();
        for n in 1..=60 {
            let tick = seen.recv_timeout(limit).unwrap();
            assert!(tick.at >= first.at + TICK * n);
        }
        // The last beats may be those of one call that has not been counted yet.
        assert!(pool.stats().ticks >= 30);
    }
}
