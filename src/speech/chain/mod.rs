//! Engines in order of preference behind one: when the first fails, the next one gets the same work.
//!
//! Each engine has a circuit breaker. An engine that is set aside is not waited for; when its time is over, it gets
//! the current sound or text as a trial beside the engine that serves, so that a trial costs the candidate nothing.
//! Only when every engine is set aside they are tried in order all the same, since failing at once would help nobody.
//! An engine that is slow is not waited for to its limit either: after [`PATIENCE`] the next one starts beside it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::provider::{Breaker, BreakerState, ProviderError};

mod race;
mod stt;
mod tts;

pub use stt::SttChain;
pub use tts::TtsChain;

/// How long an engine is waited for before the next one is asked as well. Words and first sounds take some tenths of a
/// second, and two seconds of silence are what a conversation bears.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// How one engine of a chain is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineStatus {
    /// The engine.
    pub name: &'static str,
    /// What its breaker lets through.
    pub breaker: BreakerState,
    /// What was wrong the last time that it failed, if it ever did.
    pub last_error: Option<String>,
}

/// Whose fault a failure is.
enum Blame {
    /// The request's: no engine could do it, and none is counted as failing.
    Request,
    /// The engine's.
    Engine,
    /// The engine's, and it will not be better in a moment.
    EngineForLong,
}

/// The error of one kind of engine.
trait EngineError: std::error::Error {
    fn blame(&self) -> Blame;
    /// There was no engine to try.
    fn no_engine() -> Self;
}

fn blame(error: &ProviderError) -> Blame {
    match error {
        ProviderError::Unauthorized { .. } => Blame::EngineForLong,
        _ => Blame::Engine,
    }
}

/// The engines of one kind with their breakers.
struct Engines<E: ?Sized> {
    /// For events: `stt`, `tts`.
    kind: &'static str,
    slots: Vec<Slot<E>>,
}

struct Slot<E: ?Sized> {
    name: &'static str,
    engine: Arc<E>,
    breaker: Mutex<Breaker>,
}

impl<E: ?Sized> Engines<E> {
    fn new(kind: &'static str, engines: Vec<Arc<E>>, name: impl Fn(&E) -> &'static str) -> Self {
        let slots = engines.into_iter().map(|engine| Slot {
            name: name(&engine),
            engine,
            breaker: Mutex::default(),
        });
        Self {
            kind,
            slots: slots.collect(),
        }
    }

    fn closed(&self, index: usize) -> bool {
        self.slots[index].breaker().state(Instant::now()) == BreakerState::Closed
    }

    /// The preferred engine that is not set aside.
    fn preferred(&self) -> Option<usize> {
        (0..self.slots.len()).find(|&index| self.closed(index))
    }

    /// All engines: first those that are not set aside, by preference, then the others as a last resort.
    fn order(&self) -> Vec<usize> {
        let (mut order, aside): (Vec<_>, Vec<_>) =
            (0..self.slots.len()).partition(|&index| self.closed(index));
        order.extend(aside);
        order
    }

    /// The trials that are due of engines before the one that serves; none when no engine serves.
    fn trials(self: &Arc<Self>) -> Vec<Trial<E>> {
        let serving = self.preferred().unwrap_or(0);
        let due =
            (0..serving).filter(|&index| self.slots[index].breaker().take_trial(Instant::now()));
        due.map(|index| Trial {
            engines: Arc::clone(self),
            index,
            settled: false,
        })
        .collect()
    }

    fn succeeded(&self, index: usize) {
        let slot = &self.slots[index];
        let was = {
            let mut breaker = slot.breaker();
            let was = breaker.state(Instant::now());
            breaker.succeeded();
            was
        };
        if was != BreakerState::Closed {
            tracing::info!(
                kind = self.kind,
                engine = slot.name,
                "speech engine is back"
            );
        }
    }

    fn failed(&self, index: usize, error: &dyn std::error::Error, blame: &Blame) {
        let slot = &self.slots[index];
        let for_long = match blame {
            Blame::Request => return,
            Blame::Engine => false,
            Blame::EngineForLong => true,
        };
        let opened = slot
            .breaker()
            .failed(Instant::now(), error.to_string(), for_long);
        if opened {
            tracing::warn!(kind = self.kind, engine = slot.name, error = %error, "speech engine is set aside");
        }
    }

    /// Tells that `next` does what `index` could not.
    fn switched(&self, index: usize, next: usize, error: &dyn std::error::Error) {
        tracing::warn!(
            kind = self.kind,
            engine = self.slots[index].name,
            next = self.slots[next].name,
            error = %error,
            "speech engine failed; the next one takes over"
        );
    }

    fn status(&self) -> Vec<EngineStatus> {
        let now = Instant::now();
        let status = self.slots.iter().map(|slot| {
            let breaker = slot.breaker();
            EngineStatus {
                name: slot.name,
                breaker: breaker.state(now),
                last_error: breaker.last_error().map(str::to_owned),
            }
        });
        status.collect()
    }
}

impl<E: ?Sized> Slot<E> {
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        // A breaker is whole after every call, so a panic elsewhere leaves nothing half done.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one trial of an engine that was set aside; when it is dropped without an outcome, another may be made.
struct Trial<E: ?Sized> {
    engines: Arc<Engines<E>>,
    index: usize,
    settled: bool,
}

impl<E: ?Sized> Trial<E> {
    fn engine(&self) -> &E {
        &self.engines.slots[self.index].engine
    }

    fn succeeded(mut self) {
        self.settled = true;
        self.engines.succeeded(self.index);
    }

    fn failed(mut self, error: &dyn std::error::Error, blame: &Blame) {
        self.settled = !matches!(blame, Blame::Request);
        self.engines.failed(self.index, error, blame);
    }
}

impl<E: ?Sized> Drop for Trial<E> {
    fn drop(&mut self) {
        if !self.settled {
            self.engines.slots[self.index].breaker().given_up();
        }
    }
}
