//! What a desk is asked and given: offers, assignments, and the handle that reports a job's fate.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use livekit_protocol as pb;
use tokio::sync::watch;

use super::shared::Shared;
use super::slots::Slot;
use crate::config::Secret;

/// Longest wait for LiveKit to confirm a status: a round trip takes milliseconds, and the caller
/// has a room to leave.
pub const STATUS_LIMIT: Duration = Duration::from_secs(3);

/// A room that LiveKit wants an agent for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobOffer {
    /// LiveKit's id of the job.
    pub job_id: String,
    /// The room's name.
    pub room: String,
    /// The id of this instance of the room.
    pub room_sid: String,
    /// The room's own metadata.
    pub room_metadata: String,
    /// The metadata of the dispatch, free text of whoever made it.
    pub metadata: String,
    /// The attributes of the dispatch.
    pub attributes: HashMap<String, String>,
    /// LiveKit's id of the dispatch.
    pub dispatch_id: String,
    /// The identity of the participant that the job is about; room jobs have none.
    pub participant: Option<String>,
    /// The job was another worker's before (LiveKit Cloud alone does this).
    pub resuming: bool,
}

impl JobOffer {
    /// Reads an offer; `None` when it names no job or no room.
    pub(super) fn from_request(request: pb::AvailabilityRequest) -> Option<Self> {
        let job = request.job?;
        let room = job.room?;
        (!job.id.is_empty() && !room.name.is_empty()).then(|| Self {
            job_id: job.id,
            room: room.name,
            room_sid: room.sid,
            room_metadata: room.metadata,
            metadata: job.metadata,
            attributes: job.attributes,
            dispatch_id: job.dispatch_id,
            participant: job.participant.map(|participant| participant.identity),
            resuming: request.resuming,
        })
    }
}

/// The answer to an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Take it and join as this participant.
    Accept {
        /// Unique in the room; must not be empty.
        identity: String,
        /// The name shown.
        name: String,
        /// Free text, visible to everyone in the room.
        metadata: String,
        /// Visible to everyone in the room; the agent's name is added under both keys in use.
        attributes: HashMap<String, String>,
    },
    /// Leave it to another worker.
    Decline {
        /// For the log alone: the protocol has no place for it.
        reason: String,
    },
}

/// Who decides about offers and does the work.
pub trait JobDesk: Send + Sync + 'static {
    /// Answers at once, without waiting for anything: LiveKit waits 10 s for a silent worker and then
    /// asks nobody else. It is called only when a place is free and held.
    fn offer(&self, offer: &JobOffer) -> Verdict;
    /// The job is ours. Must return at once.
    fn assigned(&self, assignment: Assignment);
    /// An offer that was accepted came to nothing: another worker got it, or the connection broke.
    /// Must return at once.
    fn lapsed(&self, job_id: &str);
    /// LiveKit ended the job. Must return at once.
    fn terminated(&self, job_id: &str);
}

/// A job that is ours, with what is needed to do it. Dropping it whole gives the place back and
/// reports the job as failed unless an end was reported.
#[derive(Debug)]
pub struct Assignment {
    /// What was offered.
    pub offer: JobOffer,
    /// The identity that was accepted with, which the token carries.
    pub identity: String,
    /// The server to join, `ws://` or `wss://`.
    pub url: String,
    /// The access token for the room, good for an hour.
    pub token: Secret,
    /// Tells LiveKit how the job goes.
    pub status: JobStatus,
    /// The place that the job takes, freed on drop.
    pub slot: Slot,
}

/// Why a status may not have arrived.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatusError {
    /// LiveKit has not confirmed it yet; it is sent again when the connection is back.
    #[error(
        "LiveKit did not confirm the status of job {job_id} within {limit_ms} ms; it will be sent again after a reconnect"
    )]
    Unconfirmed {
        /// The job.
        job_id: String,
        /// The limit.
        limit_ms: u64,
    },
    /// An end was reported before.
    #[error("job {job_id} has already been reported as ended; report each job's end once")]
    Ended {
        /// The job.
        job_id: String,
    },
    /// The worker itself is gone, or gave up after many connections.
    #[error(
        "the status of job {job_id} cannot be delivered: the LiveKit worker has stopped or has given it up"
    )]
    Stopped {
        /// The job.
        job_id: String,
    },
}

/// Reports one job's progress to LiveKit. Dropped without an end, the job is reported as failed.
#[derive(Debug)]
pub struct JobStatus {
    job_id: String,
    shared: Arc<Shared>,
    confirmed: watch::Receiver<u64>,
}

impl JobStatus {
    pub(super) fn new(
        job_id: String,
        shared: Arc<Shared>,
        confirmed: watch::Receiver<u64>,
    ) -> Self {
        Self {
            job_id,
            shared,
            confirmed,
        }
    }

    /// The agent is in the room.
    ///
    /// # Errors
    /// See [`StatusError`]; the report stays in force.
    pub async fn running(&self) -> Result<(), StatusError> {
        self.report(pb::JobStatus::JsRunning, "").await
    }

    /// The job is done. Wait for this before leaving the room: LiveKit records a job whose agent is
    /// gone first as failed.
    ///
    /// # Errors
    /// See [`StatusError`]; the report stays in force.
    pub async fn succeeded(&self) -> Result<(), StatusError> {
        self.report(pb::JobStatus::JsSuccess, "").await
    }

    /// The job could not be done.
    ///
    /// # Errors
    /// See [`StatusError`]; the report stays in force.
    pub async fn failed(&self, reason: &str) -> Result<(), StatusError> {
        self.report(pb::JobStatus::JsFailed, reason).await
    }

    async fn report(&self, status: pb::JobStatus, error: &str) -> Result<(), StatusError> {
        let job_id = self.job_id.clone();
        let Some(number) = self.shared.report(&job_id, status, error) else {
            return Err(StatusError::Ended { job_id });
        };
        let mut confirmed = self.confirmed.clone();
        match tokio::time::timeout(STATUS_LIMIT, confirmed.wait_for(|latest| *latest >= number))
            .await
        {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(StatusError::Stopped { job_id }),
            Err(_) => Err(StatusError::Unconfirmed {
                job_id,
                limit_ms: STATUS_LIMIT.as_millis() as u64,
            }),
        }
    }
}

impl Drop for JobStatus {
    fn drop(&mut self) {
        // Refused when an end was reported, which is as it should be.
        let _ = self.shared.report(
            &self.job_id,
            pb::JobStatus::JsFailed,
            "the session ended without a result",
        );
    }
}
