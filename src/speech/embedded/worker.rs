//! A thread that owns a model and works off a bounded queue of jobs, one at a time. One that is stuck in a job is left
//! behind, and another takes its place.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::EmbeddedError;
use crate::health::threads;
use crate::priority;

/// Jobs that may wait. One takes 0.1–0.5 s, so that the last of these has waited as long as anybody would; more is an
/// overload that is better said than hidden.
const QUEUE_MAX: usize = 12;
/// A thread that is seen at the same job for so long is stuck in it: the longest takes some seconds, and many times that
/// on a busy machine.
const JOB_LIMIT: Duration = Duration::from_secs(60);
/// Threads that are left behind in this way: each keeps its memory. Whatever does it again and again is not cured so.
const RENEWALS_MAX: u32 = 2;
/// Behind audio and VAD, which have tens of milliseconds where a sentence has hundreds.
const NICE: i32 = 5;

/// What the thread does: loads the model and then calls [`Jobs::serve`].
type Body<I, O> = dyn Fn(Jobs<I, O>) -> Result<(), EmbeddedError> + Send + Sync;

/// The handle: takes jobs `I` and gives results `O`. The thread ends when it is dropped.
pub(crate) struct Worker<I, O> {
    name: &'static str,
    body: Arc<Body<I, O>>,
    job_limit: Duration,
    thread: Mutex<Thread<I, O>>,
}

/// The thread that serves now.
struct Thread<I, O> {
    jobs: SyncSender<Job<I, O>>,
    /// The number of the job that it is at; 0 where it is at none.
    at: Arc<AtomicU64>,
    /// A job that it was seen at, and since when.
    seen: Option<(u64, Instant)>,
    renewals: u32,
}

struct Job<I, O> {
    input: I,
    reply: oneshot::Sender<O>,
}

/// The queue is full: the machine is given more to do than it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy;

/// The thread's end.
pub(crate) struct Jobs<I, O> {
    queue: Receiver<Job<I, O>>,
    at: Arc<AtomicU64>,
    ready: SyncSender<Result<(), EmbeddedError>>,
}

impl<I: Send + 'static, O: Send + 'static> Worker<I, O> {
    /// Starts the thread and waits until its body is ready to serve.
    ///
    /// # Errors
    /// The body's own error while loading, or there is no thread.
    pub(crate) fn start(
        name: &'static str,
        body: impl Fn(Jobs<I, O>) -> Result<(), EmbeddedError> + Send + Sync + 'static,
    ) -> Result<Self, EmbeddedError> {
        let body: Arc<Body<I, O>> = Arc::new(body);
        let (thread, is_ready) = Thread::start(name, body.clone())?;
        // Bounded by what loading takes and waits for: a thread that ends or panics drops its senders.
        is_ready.recv().map_err(|_| EmbeddedError::Thread {
            name,
            reason: "it panicked while loading".into(),
        })??;
        Ok(Self {
            name,
            body,
            job_limit: JOB_LIMIT,
            thread: Mutex::new(thread),
        })
    }

    /// Queues a job. Dropping the receiver cancels it, before or between the steps of its work; if the job panics the
    /// receiver gets an error.
    ///
    /// # Errors
    /// The queue is full.
    pub(crate) fn submit(&self, input: I) -> Result<oneshot::Receiver<O>, Busy> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_stuck(self.job_limit) && thread.renewals < RENEWALS_MAX {
            self.renew(&mut thread);
        }
        let (reply, result) = oneshot::channel();
        match thread.jobs.try_send(Job { input, reply }) {
            // A thread that has ended has dropped the reply, which the receiver sees.
            Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(result),
            Err(TrySendError::Full(_)) => Err(Busy),
        }
    }

    /// Leaves the thread behind with all that waits for it, whose time is over; it ends should it ever come back. Another
    /// one loads the model while new jobs wait.
    fn renew(&self, stuck: &mut Thread<I, O>) {
        let name = self.name;
        match Thread::start(name, self.body.clone()) {
            Ok((thread, _)) => {
                let renewals = stuck.renewals + 1;
                tracing::error!(
                    part = name,
                    threads = threads::dump(),
                    "{name} is stuck in a job and is left behind; another one takes its place ({renewals} of {RENEWALS_MAX})"
                );
                *stuck = Thread { renewals, ..thread };
            }
            Err(error) => tracing::error!("{name} is stuck in a job: {error}"),
        }
    }
}

impl<I: Send + 'static, O: Send + 'static> Thread<I, O> {
    fn start(
        name: &'static str,
        body: Arc<Body<I, O>>,
    ) -> Result<(Self, Receiver<Result<(), EmbeddedError>>), EmbeddedError> {
        let (jobs, queue) = sync_channel(QUEUE_MAX);
        let (ready, is_ready) = sync_channel(2);
        let at = Arc::<AtomicU64>::default();
        let failed = ready.clone();
        let own = Jobs {
            queue,
            at: at.clone(),
            ready,
        };
        std::thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                if let Err(error) = body(own)
                    && let Err(unheard) = failed.try_send(Err(error))
                    && let TrySendError::Disconnected(Err(error)) | TrySendError::Full(Err(error)) =
                        unheard
                {
                    tracing::error!("{name} can't be loaded: {error}");
                }
            })
            .map_err(|e| EmbeddedError::Thread {
                name,
                reason: e.to_string(),
            })?;
        let thread = Self {
            jobs,
            at,
            seen: None,
            renewals: 0,
        };
        Ok((thread, is_ready))
    }

    /// Whether it is at the job at which it was seen so long ago. Two looks are needed: time alone goes by for a machine
    /// that sleeps, too.
    fn is_stuck(&mut self, limit: Duration) -> bool {
        let at = self.at.load(Relaxed);
        match self.seen {
            Some((seen, since)) if at != 0 && seen == at => since.elapsed() >= limit,
            _ => {
                self.seen = (at != 0).then(|| (at, Instant::now()));
                false
            }
        }
    }
}

impl<I, O> Jobs<I, O> {
    /// Says that loading is done and works until the handle is dropped. `work` gets a job and a question to ask between
    /// its steps: whether the job is no longer wanted.
    pub(crate) fn serve(self, mut work: impl FnMut(I, &dyn Fn() -> bool) -> O) {
        priority::lower(NICE);
        // Refused only when the starter is gone, and the queue ends at once then; or nobody waits for it.
        let _ = self.ready.try_send(Ok(()));
        for (number, Job { input, reply }) in (1..).zip(self.queue) {
            if reply.is_closed() {
                continue;
            }
            self.at.store(number, Relaxed);
            let output = catch_unwind(AssertUnwindSafe(|| work(input, &|| reply.is_closed())));
            self.at.store(0, Relaxed);
            if let Ok(output) = output {
                // Refused only when nobody wants it any more.
                let _ = reply.send(output);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn worker<O: Send + 'static>(
        work: impl Fn(u32, &dyn Fn() -> bool) -> O + Send + Sync + 'static,
    ) -> Worker<u32, O> {
        Worker::start("test-worker", move |jobs| {
            jobs.serve(&work);
            Ok(())
        })
        .unwrap()
    }

    #[test]
    fn an_error_while_loading_is_the_starter_s() {
        let result = Worker::<(), ()>::start("test-worker", |_| {
            Err(EmbeddedError::NoEspeak {
                program: "nowhere".into(),
            })
        });
        assert!(matches!(result, Err(EmbeddedError::NoEspeak { .. })));
    }

    #[test]
    fn a_panic_while_loading_is_an_error_and_not_a_wait() {
        let result = Worker::<(), ()>::start("test-worker", |_| unreachable!("on purpose"));
        assert!(matches!(result, Err(EmbeddedError::Thread { .. })));
    }

    #[test]
    fn a_full_queue_is_refused_at_once() {
        let (go, wait) = mpsc::sync_channel::<()>(1);
        let (started, is_started) = mpsc::sync_channel(16);
        let wait = Mutex::new(wait);
        let worker = worker(move |_, _| {
            started.send(()).unwrap();
            wait.lock().unwrap().recv().unwrap();
        });
        let mut results = vec![worker.submit(0).unwrap()];
        is_started.recv().unwrap();
        results.extend((0..QUEUE_MAX as u32).map(|i| worker.submit(i).unwrap()));
        assert_eq!(worker.submit(99).unwrap_err(), Busy);
        results.iter().for_each(|_| go.send(()).unwrap());
        results
            .into_iter()
            .for_each(|result| result.blocking_recv().unwrap());
    }

    #[test]
    fn a_job_that_panics_takes_nobody_with_it() {
        let worker = worker(|i, _| assert_ne!(i, 1, "on purpose"));
        let (bad, good) = (worker.submit(1).unwrap(), worker.submit(2).unwrap());
        assert!(bad.blocking_recv().is_err());
        assert!(good.blocking_recv().is_ok());
    }

    #[test]
    fn a_job_learns_that_nobody_waits_for_it_any_more() {
        let (started, is_started) = mpsc::sync_channel(16);
        let (seen, is_seen) = mpsc::sync_channel(16);
        let worker = worker(move |_, is_cancelled| {
            started.send(()).unwrap();
            while !is_cancelled() {
                std::thread::yield_now();
            }
            seen.send(()).unwrap();
        });
        let result = worker.submit(0).unwrap();
        is_started.recv().unwrap();
        drop(result);
        is_seen
            .recv_timeout(std::time::Duration::from_secs(5))
            .unwrap();
    }

    #[test]
    fn a_thread_that_is_stuck_in_a_job_is_left_behind_and_another_one_works() {
        let (release, released) = mpsc::sync_channel::<()>(1);
        let (started, is_started) = mpsc::sync_channel(16);
        let released = Mutex::new(released);
        let mut worker = worker(move |i, _| {
            if i == 0 {
                started.send(()).unwrap();
                let _released = released.lock().unwrap().recv();
            }
            i
        });
        worker.job_limit = Duration::ZERO;
        let stuck = worker.submit(0).unwrap();
        is_started.recv().unwrap();
        // It is seen for the first time; this one waits in vain as well.
        let waits = worker.submit(1).unwrap();
        assert_eq!(worker.submit(2).unwrap().blocking_recv(), Ok(2));
        drop(release);
        // It comes back: what it has is late, and no more is given to it.
        assert_eq!(stuck.blocking_recv(), Ok(0));
        assert_eq!(waits.blocking_recv(), Ok(1));
        assert_eq!(worker.submit(3).unwrap().blocking_recv(), Ok(3));
    }
}
