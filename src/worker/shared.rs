//! The protocol machine as the connection and the job handles share it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use livekit_protocol as pb;
use tokio::sync::Notify;

use super::protocol::Protocol;

/// The machine, and the bell that tells the connection to look at it.
#[derive(Debug)]
pub(super) struct Shared {
    protocol: Mutex<Protocol>,
    wake: Notify,
}

impl Shared {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self {
            protocol: Mutex::new(protocol),
            wake: Notify::new(),
        }
    }

    /// The machine. Held for the length of one call, never across an await.
    pub(super) fn lock(&self) -> MutexGuard<'_, Protocol> {
        // After a panic in one call the other interviews still need the machine, and at worst miss one output.
        self.protocol.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a status and wakes the connection; `None` when the job has ended.
    pub(super) fn report(&self, job_id: &str, status: pb::JobStatus, error: &str) -> Option<u64> {
        let number = self.lock().report(job_id, status, error, now());
        self.wake.notify_one();
        number
    }

    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }
}

/// The time by the runtime's clock, which tests can move.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
