//! How the copy stands, for metrics and the health table.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::SyncError;
use crate::journal::Unsent;

/// How the copy stands; clones show the same.
#[derive(Debug, Clone, Default)]
pub struct SyncStatus(Arc<Mutex<Standing>>);

/// The same at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether events go through, or how it was the last time.
    pub phase: Phase,
    /// Events that are not in Postgres yet and are on their way.
    pub backlog: u64,
    /// Wall clock of the oldest of them, milliseconds since 1970.
    pub oldest_unix_ms: Option<u64>,
    /// Interviews that are not sent, and why the first of them is not.
    pub held_back: u64,
    /// Why the first of them is not.
    pub held_back_cause: Option<String>,
    /// Events that are in Postgres because this process sent them.
    pub copied: u64,
    /// Events that went into quarantine because this process sent them.
    pub quarantined: u64,
    /// Tries that failed.
    pub failures: u64,
    /// Interviews that were deleted and are not yet from everywhere.
    pub burials_pending: u64,
}

/// Whether events go through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Phase {
    /// The first try is under way.
    #[default]
    Connecting,
    /// They do.
    Well,
    /// They don't.
    Failing {
        /// [`SyncError::kind`].
        kind: &'static str,
        /// What the last try met.
        cause: String,
    },
}

impl SyncStatus {
    /// How it is now.
    #[must_use]
    pub fn now(&self) -> Standing {
        self.lock().clone()
    }

    pub(super) fn well(&self) {
        self.lock().phase = Phase::Well;
    }

    pub(super) fn failing(&self, error: &SyncError) {
        let mut standing = self.lock();
        standing.failures += 1;
        standing.phase = Phase::Failing {
            kind: error.kind(),
            cause: error.to_string(),
        };
    }

    pub(super) fn outbox(&self, outbox: &[Unsent]) {
        let waiting = || outbox.iter().filter(|unsent| unsent.held_back.is_none());
        let held_back = || {
            outbox
                .iter()
                .filter_map(|unsent| unsent.held_back.as_deref())
        };
        let mut standing = self.lock();
        standing.backlog = waiting().map(|unsent| unsent.events).sum();
        standing.oldest_unix_ms = waiting().map(|unsent| unsent.oldest_at_unix_ms).min();
        standing.held_back = held_back().count() as u64;
        standing.held_back_cause = held_back().next().map(str::to_owned);
    }

    pub(super) fn copied(&self, events: u64) {
        self.lock().copied += events;
    }

    pub(super) fn quarantined(&self, events: u64) {
        self.lock().quarantined += events;
    }

    pub(super) fn burials_pending(&self, burials: u64) {
        self.lock().burials_pending = burials;
    }

    /// Plain values, whole also after a panic elsewhere.
    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    /// How old the oldest event is that is not in Postgres; 0 where all are.
    #[must_use]
    pub fn lag_ms(&self) -> u64 {
        let age = |oldest| crate::clock::unix_ms().saturating_sub(oldest);
        self.oldest_unix_ms.map_or(0, age)
    }
}
