//! Runs each session as a task of its own and watches over it: one that panics or stands still ends alone.
//!
//! The watch is one of the vital signs, so it looks from a thread that is not the runtime's. It ends the task of a
//! session that stands still and leaves it to the caller to take the interview up again. A task that does not let go
//! of its thread can't be ended: the thread is counted as held until it comes back, and the session goes on in another.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::conduct::{Outcome, SessionError};
use super::pulse::{Beat, Doing, Pulse};
use crate::health::vitals::{Heart, LOOK_MAX, Sign, Still};
use crate::health::{metrics, threads};
use crate::interview::InterviewId;
use crate::spawn::{THREADS, panic_text, supervised};

/// A task that was told to end and has not after this long does not let go of its thread.
const END_LIMIT: Duration = Duration::from_secs(1);

/// Threads that sessions may hold. Two are left then, as many as the service needs; one more, and the process is given
/// up to its manager.
pub(super) const HELD_MAX: usize = 3;
const _: () = assert!(HELD_MAX + 2 == THREADS);

/// Of the time between two looks no more than this counts: what is longer is a machine that stood still.
const COUNTED_MAX: Duration = Duration::from_secs(2);
const _: () = assert!(COUNTED_MAX.as_secs() == 2 * LOOK_MAX.as_secs());

/// Why a session came to no good end.
#[derive(Debug)]
pub(super) enum Failure {
    Session(SessionError),
    /// Its code panicked or stood still.
    Breakdown(String),
}

/// Everybody's sessions; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Ward(Arc<Inner>);

#[derive(Default)]
struct Inner {
    tries: Mutex<HashMap<u64, Try>>,
    numbers: AtomicU64,
    /// Threads of the runtime that tasks hold which were told to end.
    held: AtomicUsize,
}

/// One session that runs.
struct Try {
    interview: InterviewId,
    room: String,
    pulse: Pulse,
    stuck: CancellationToken,
}

impl Ward {
    /// Runs the session to its end, its panic, or until it stands still.
    pub(super) async fn run<S>(
        &self,
        interview: &InterviewId,
        room: &str,
        session: impl FnOnce(Pulse) -> S,
    ) -> Result<Outcome, Failure>
    where
        S: Future<Output = Result<Outcome, SessionError>> + Send + 'static,
    {
        let watched = self.watch(interview, room);
        #[expect(clippy::disallowed_methods, reason = "its panic is told to the caller")]
        let mut task = tokio::spawn(session(watched.pulse.clone()).in_current_span());
        let ended = tokio::select! {
            ended = &mut task => ended,
            () = watched.stuck.cancelled() => {
                task.abort();
                match tokio::time::timeout(END_LIMIT, &mut task).await {
                    Ok(ended) => ended,
                    Err(_) => {
                        self.thread_is_held(interview.clone(), task);
                        return Err(Failure::Breakdown(
                            "it stood still and holds a thread of the runtime".into(),
                        ));
                    }
                }
            }
        };
        match ended {
            Ok(result) => result.map_err(Failure::Session),
            Err(error) => Err(Failure::Breakdown(why(error))),
        }
    }

    /// Whether a session that holds its thread as well could be borne.
    pub(super) fn has_room_for_another_try(&self) -> bool {
        self.0.held.load(Relaxed) <= HELD_MAX
    }

    fn watch(&self, interview: &InterviewId, room: &str) -> Watched {
        let (pulse, stuck) = (Pulse::default(), CancellationToken::new());
        let number = self.0.numbers.fetch_add(1, Relaxed);
        self.0.tries().insert(
            number,
            Try {
                interview: interview.clone(),
                room: room.to_owned(),
                pulse: pulse.clone(),
                stuck: stuck.clone(),
            },
        );
        Watched {
            ward: self.0.clone(),
            number,
            pulse,
            stuck,
        }
    }

    fn thread_is_held(
        &self,
        interview: InterviewId,
        task: JoinHandle<Result<Outcome, SessionError>>,
    ) {
        let held = self.0.held.fetch_add(1, Relaxed) + 1;
        metrics::threads_held(held);
        tracing::error!(
            interview_id = %interview,
            "the session does not let go of its thread: {held} of {THREADS} are held; \
             when more than {HELD_MAX} are, the watchdog is not fed any more"
        );
        let inner = self.0.clone();
        supervised("a thread that is held", async move {
            // Whether by its end or by a panic: the thread is free.
            let _ended = task.await;
            let held = inner.held.fetch_sub(1, Relaxed) - 1;
            metrics::threads_held(held);
            tracing::warn!(interview_id = %interview, "the session that stood still has let go of its thread");
        });
    }

    /// The vital sign of all sessions. It is not well only when sessions hold too many threads of the runtime.
    pub(super) fn sign(&self, runtime: &Heart) -> Sign {
        let (inner, runtime, mut watch) = (self.0.clone(), runtime.clone(), Watch::default());
        Sign::new("sessions", move |now| {
            // Somebody begins or ends a session just now: the next look sees it.
            if let Ok(tries) = inner.tries.try_lock() {
                watch.look(now, runtime.beats(), &tries);
            }
            if inner.held.load(Relaxed) > HELD_MAX {
                Still::Because("sessions that can't be ended hold the threads of the runtime")
            } else {
                Still::For(Duration::ZERO)
            }
        })
    }
}

impl Inner {
    fn tries(&self) -> MutexGuard<'_, HashMap<u64, Try>> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that is watched for as long as this is kept.
struct Watched {
    ward: Arc<Inner>,
    number: u64,
    pulse: Pulse,
    stuck: CancellationToken,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.ward.tries().remove(&self.number);
    }
}

fn why(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => panic_text(panic.as_ref()).to_owned(),
        Err(_) => "it stood still".into(),
    }
}

/// What the watch remembers from one look to the next.
#[derive(Default)]
struct Watch {
    /// The runtime's beats at the last look at which it had moved, and when that was.
    moved: Option<(u64, Instant)>,
    seen: HashMap<u64, Seen>,
}

/// A session at the last look.
struct Seen {
    beat: Beat,
    /// For how long that has been its beat while the runtime moved.
    still: Duration,
}

impl Watch {
    /// Ends every session that has stood still for too long while the runtime moved on.
    fn look(&mut self, now: Instant, beats: u64, tries: &HashMap<u64, Try>) {
        let went_by = match self.moved {
            // Nobody's fault alone: the runtime, or all of the process, stood still.
            Some((before, _)) if before == beats => return,
            Some((_, at)) => now.saturating_duration_since(at).min(COUNTED_MAX),
            None => Duration::ZERO,
        };
        self.moved = Some((beats, now));
        self.seen.retain(|number, _| tries.contains_key(number));
        for (number, session) in tries {
            let beat = session.pulse.beat();
            let seen = self.seen.entry(*number).or_insert(Seen {
                beat,
                still: Duration::ZERO,
            });
            if seen.beat == beat {
                seen.still += went_by;
            } else {
                *seen = Seen {
                    beat,
                    still: Duration::ZERO,
                };
            }
            if seen.still >= beat.doing().limit() && !session.stuck.is_cancelled() {
                session.is_stuck(beat.doing(), seen.still);
            }
        }
    }
}

impl Try {
    fn is_stuck(&self, doing: Doing, still: Duration) {
        metrics::session_stuck();
        tracing::error!(
            interview_id = %self.interview,
            room = self.room,
            doing = doing.what(),
            threads = threads::dump(),
            "the session of {} is stuck: it has been {} for {} s; it is ended alone and taken up again",
            self.interview,
            doing.what(),
            still.as_secs()
        );
        self.stuck.cancel();
    }
}

#[cfg(test)]
mod tests;
