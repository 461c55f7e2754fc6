//! A thread that owns a model and works off a bounded queue of jobs, one at a time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use tokio::sync::oneshot;

use super::EmbeddedError;
use crate::priority;

/// Jobs that may wait. One takes 0.1–0.5 s, so that the last of these has waited as long as anybody would; more is an
/// overload that is better said than hidden.
const QUEUE_MAX: usize = 12;
/// Behind audio and VAD, which have tens of milliseconds where a sentence has hundreds.
const NICE: i32 = 5;

/// The handle: takes jobs `I` and gives results `O`. The thread ends when it is dropped.
pub(crate) struct Worker<I, O> {
    jobs: SyncSender<Job<I, O>>,
}

struct Job<I, O> {
    input: I,
    reply: oneshot::Sender<O>,
}

/// The queue is full: the machine is given more to do than it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy;

/// The thread's end: its body loads the model and then calls [`serve`](Self::serve).
pub(crate) struct Jobs<I, O> {
    queue: Receiver<Job<I, O>>,
    ready: SyncSender<Result<(), EmbeddedError>>,
}

impl<I: Send + 'static, O: Send + 'static> Worker<I, O> {
    /// Starts the thread and waits until its body is ready to serve.
    ///
    /// # Errors
    /// The body's own error while loading, or there is no thread.
    pub(crate) fn start(
        name: &'static str,
        body: impl FnOnce(Jobs<I, O>) -> Result<(), EmbeddedError> + Send + 'static,
    ) -> Result<Self, EmbeddedError> {
        let (jobs, queue) = sync_channel(QUEUE_MAX);
        let (ready, is_ready) = sync_channel(2);
        let failed = ready.clone();
        let failure = |reason: String| EmbeddedError::Thread { name, reason };
        std::thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                if let Err(e) = body(Jobs { queue, ready }) {
                    // Refused only when the starter is gone, and with it the interest in the error.
                    let _ = failed.try_send(Err(e));
                }
            })
            .map_err(|e| failure(e.to_string()))?;
        // Bounded by what loading takes: a thread that ends or panics drops its senders.
        is_ready
            .recv()
            .map_err(|_| failure("it panicked while loading".into()))??;
        Ok(Self { jobs })
    }

    /// Queues a job. Dropping the receiver cancels it, before or between the steps of its work; if the job panics the
    /// receiver gets an error.
    ///
    /// # Errors
    /// The queue is full.
    pub(crate) fn submit(&self, input: I) -> Result<oneshot::Receiver<O>, Busy> {
        let (reply, result) = oneshot::channel();
        match self.jobs.try_send(Job { input, reply }) {
            // A thread that has ended has dropped the reply, which the receiver sees.
            Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(result),
            Err(TrySendError::Full(_)) => Err(Busy),
        }
    }
}

impl<I, O> Jobs<I, O> {
    /// Says that loading is done and works until the handle is dropped. `work` gets a job and a question to ask between
    /// its steps: whether the job is no longer wanted.
    pub(crate) fn serve(self, mut work: impl FnMut(I, &dyn Fn() -> bool) -> O) {
        priority::lower(NICE);
        // Refused only when the starter is gone, and the queue ends at once then.
        let _ = self.ready.try_send(Ok(()));
        for Job { input, reply } in self.queue {
            if reply.is_closed() {
                continue;
            }
            let output = catch_unwind(AssertUnwindSafe(|| work(input, &|| reply.is_closed())));
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
        work: impl Fn(u32, &dyn Fn() -> bool) -> O + Send + 'static,
    ) -> Worker<u32, O> {
        Worker::start("test-worker", move |jobs| {
            jobs.serve(work);
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
        let worker = worker(move |_, _| {
            started.send(()).unwrap();
            wait.recv().unwrap();
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
}
