//! How the worker is doing, for health checks and the operator.

use std::time::Instant;

use super::error::WorkerError;

/// Where the worker stands with LiveKit.
#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// Not registered; it goes on trying for ever.
    Connecting {
        /// The number of this try, from 1, since the last time that all was well.
        attempt: u32,
        /// Why the one before failed.
        last_error: Option<WorkerError>,
    },
    /// Registered: offers come.
    Registered {
        /// LiveKit's name for this registration.
        worker_id: String,
        /// The server's version.
        server_version: String,
        /// Since when.
        since: Instant,
    },
    /// Told to stop: no offers are taken, jobs go on to their end.
    Draining,
    /// Over.
    Stopped,
}

/// How the worker is doing.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerStatus {
    /// Where it stands with LiveKit.
    pub phase: Phase,
    /// Jobs that are ours, those whose end LiveKit has not confirmed included.
    pub active_jobs: usize,
    /// Places taken: by jobs, and by offers that are about to become jobs.
    pub taken: u32,
    /// Places in all.
    pub capacity: u32,
    /// The busier of places and processor, 0–1.
    pub load: f32,
}

impl WorkerStatus {
    /// Offers can come now.
    pub fn is_registered(&self) -> bool {
        matches!(self.phase, Phase::Registered { .. })
    }

    /// Why there is no registration, if there was a failure.
    pub fn last_error(&self) -> Option<&WorkerError> {
        match &self.phase {
            Phase::Connecting { last_error, .. } => last_error.as_ref(),
            _ => None,
        }
    }
}
