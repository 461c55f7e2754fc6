//! What the machine asks its owner to do.

use livekit_protocol::worker_message::Message as ToServer;

use super::reports::Confirmed;
use crate::config::Secret;
use crate::worker::job::JobOffer;
use crate::worker::slots::Slot;

/// Something for the owner of the machine to do.
#[derive(Debug)]
pub enum Output {
    /// Send this to the server.
    Send(Box<ToServer>),
    /// The server has registered us.
    Registered {
        /// The server's name for this registration.
        worker_id: String,
        /// The server's version.
        server_version: String,
    },
    /// Ask the desk and hand its verdict to [`Protocol::answer`](super::Protocol::answer).
    Offer(JobOffer),
    /// An offer was declined without asking the desk.
    Declined {
        /// The job.
        job_id: String,
        /// Why.
        reason: &'static str,
    },
    /// A job is ours.
    Assigned(Assigned),
    /// An accepted offer came to nothing.
    Lapsed {
        /// The job.
        job_id: String,
    },
    /// The server ended a job of ours.
    Terminated {
        /// The job.
        job_id: String,
    },
    /// The server has this status of a job.
    Confirmed(Confirmed),
    /// A job's end could not be delivered over several connections and is given up.
    GivenUp {
        /// The job.
        job_id: String,
    },
    /// Close the connection.
    Close(CloseReason),
}

/// A job that became ours.
#[derive(Debug)]
pub struct Assigned {
    /// What was offered.
    pub offer: JobOffer,
    /// The identity that was accepted with.
    pub identity: String,
    /// Another server to join than the one that the job came from.
    pub url: Option<String>,
    /// The access token for the room.
    pub token: Secret,
    /// The place that the job takes.
    pub slot: Slot,
}

/// Why a connection must be closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// No answer to the registration within [`REGISTER_LIMIT`](super::REGISTER_LIMIT).
    NotRegistered,
    /// Nothing came for [`SILENCE_LIMIT`](super::SILENCE_LIMIT).
    Silent,
    /// The server is about to go and says so.
    GoAway(String),
}
