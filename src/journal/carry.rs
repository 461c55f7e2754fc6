//! Carries interviews out of a journal and into another one, one JSON object to a line.
//!
//! The lines of an interview are its own first, with its plan, then its events in their order. Payloads and
//! hashes are the stored bytes, so what arrives can be checked against what was written.

use serde::{Deserialize, Serialize};

use super::{JournalError, Salvaged, StoredEvent};
use crate::interview::InterviewId;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// An interview; its events follow.
    Interview(Box<CarriedInterview>),
    /// An event.
    Event(CarriedEvent),
}

/// An interview without its events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedInterview {
    /// Its name.
    pub id: InterviewId,
    /// The LiveKit room.
    pub room: String,
    /// The candidate's identity, where the job named it.
    pub candidate: Option<String>,
    /// The name of the plan's file.
    pub plan_name: String,
    /// The plan's hash.
    pub plan_hash: String,
    /// The plan's text; missing where it could not be read.
    pub plan_body: Option<String>,
    /// How often it was taken up.
    pub term: u64,
    /// Wall clock, milliseconds since 1970.
    pub begun_at_unix_ms: u64,
}

/// An event, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedEvent {
    /// Whose event it is.
    pub interview_id: InterviewId,
    /// How often the interview had been taken up.
    pub term: u64,
    /// Counts from 1.
    pub seq: u64,
    /// Wall clock, milliseconds since 1970.
    pub at_unix_ms: u64,
    /// Monotonic milliseconds of the session.
    pub elapsed_ms: u64,
    /// What kind of event.
    pub kind: String,
    /// Its JSON, as text: these bytes are hashed.
    pub payload: String,
    /// SHA-256 of the event and all before it, lower-case hexadecimal.
    pub hash: String,
}

/// An interview that comes from elsewhere: another journal or Postgres.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The interview.
    pub interview: CarriedInterview,
    /// Its events, or those of them that may be missing here, in their order.
    pub events: Vec<StoredEvent>,
}

/// What an arrival changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrived {
    /// The interview was not here before.
    pub is_new: bool,
    /// Events that were not here before.
    pub added: u64,
    /// Events that were here, with the same hash.
    pub known: u64,
}

impl Salvaged {
    /// The lines of an interview. Without its own row there are only its events.
    pub fn lines(self) -> Vec<Line> {
        let Self {
            interview,
            plan_body,
            events,
            ..
        } = self;
        let first = interview.map(|row| {
            Line::Interview(Box::new(CarriedInterview {
                id: row.id,
                room: row.room,
                candidate: row.candidate,
                plan_name: row.plan_name,
                plan_hash: row.plan_hash,
                plan_body,
                term: row.term,
                begun_at_unix_ms: row.begun_at_unix_ms,
            }))
        });
        first
            .into_iter()
            .chain(events.into_iter().map(|event| Line::Event(event.into())))
            .collect()
    }
}

impl From<StoredEvent> for CarriedEvent {
    fn from(event: StoredEvent) -> Self {
        let hash = event.hash.iter().map(|b| format!("{b:02x}")).collect();
        Self {
            interview_id: event.interview_id,
            term: event.term,
            seq: event.seq,
            at_unix_ms: event.at_unix_ms,
            elapsed_ms: event.elapsed_ms,
            kind: event.kind,
            payload: event.payload,
            hash,
        }
    }
}

impl TryFrom<CarriedEvent> for StoredEvent {
    type Error = JournalError;

    fn try_from(event: CarriedEvent) -> Result<Self, JournalError> {
        let hash = hash_of(&event.hash).ok_or_else(|| JournalError::Unreadable {
            id: event.interview_id.clone(),
            seq: event.seq,
            cause: "its hash is not 64 hexadecimal digits".into(),
        })?;
        Ok(Self {
            interview_id: event.interview_id,
            term: event.term,
            seq: event.seq,
            at_unix_ms: event.at_unix_ms,
            elapsed_ms: event.elapsed_ms,
            kind: event.kind,
            payload: event.payload,
            hash,
        })
    }
}

fn hash_of(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut hash = [0; 32];
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(hash)
}
