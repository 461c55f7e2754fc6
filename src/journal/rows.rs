//! What the journal's tables hold, read through any connection.

use rusqlite::{Connection, OptionalExtension, Row};

use super::JournalError;
use super::chain::{Hash, Link, genesis, link};
use crate::interview::{Event, InterviewId, Recorded};

/// The first schema with a candidate, attempts and a place in the outbox.
const TAKE_UP_SCHEMA: i64 = 2;

/// An interview in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterviewRow {
    /// Its name.
    pub id: InterviewId,
    /// The LiveKit room.
    pub room: String,
    /// The candidate's identity, where the job named it.
    pub candidate: Option<String>,
    /// The name of the plan's file when it began.
    pub plan_name: String,
    /// The plan itself, for [`JournalReader::plan`](super::JournalReader::plan).
    pub plan_hash: String,
    /// How often a process has taken it up.
    pub term: u64,
    /// How often it was taken up since it last stood.
    pub attempts: u32,
    /// Why it is not taken up again by itself, if it is not.
    pub set_aside: Option<String>,
    /// Wall clock, milliseconds since 1970.
    pub begun_at_unix_ms: u64,
    /// When and why it ended; nothing while it is live.
    pub ended: Option<Ended>,
    /// How many events it has.
    pub events: u64,
}

/// The end of an interview.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Wall clock, milliseconds since 1970.
    pub at_unix_ms: u64,
    /// [`EndReason::name`](crate::interview::event::EndReason::name).
    pub reason: String,
}

/// An event as it is stored, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Whose event it is.
    pub interview_id: InterviewId,
    /// How often the interview had been taken up.
    pub term: u64,
    /// Counts from 1 without a gap, through all terms.
    pub seq: u64,
    /// Wall clock, milliseconds since 1970.
    pub at_unix_ms: u64,
    /// Monotonic milliseconds of the session.
    pub elapsed_ms: u64,
    /// [`Event::kind`].
    pub kind: String,
    /// [`Event::to_payload`].
    pub payload: String,
    /// The hash of this event and all before it.
    pub hash: [u8; 32],
}

impl StoredEvent {
    pub(super) fn link(&self) -> Link<'_> {
        Link {
            term: self.term,
            seq: self.seq,
            at_unix_ms: self.at_unix_ms,
            elapsed_ms: self.elapsed_ms,
            kind: &self.kind,
            payload: &self.payload,
        }
    }

    /// Whether it is what was written after the event that has this hash; after none, see
    /// [`first_link`](super::first_link).
    #[must_use]
    pub fn follows(&self, before: &[u8; 32]) -> bool {
        self.hash_after(before) == self.hash
    }

    /// The hash that it has behind an event of this hash.
    #[must_use]
    pub fn hash_after(&self, before: &[u8; 32]) -> [u8; 32] {
        link(before, &self.link())
    }

    /// The event itself.
    ///
    /// # Errors
    /// It was written by a later release, or is not an event at all.
    pub fn recorded(&self) -> Result<Recorded, JournalError> {
        let event = Event::from_payload(&self.payload).map_err(|e| JournalError::Unreadable {
            id: self.interview_id.clone(),
            seq: self.seq,
            cause: e.to_string(),
        })?;
        Ok(Recorded {
            seq: self.seq,
            at_unix_ms: self.at_unix_ms,
            elapsed_ms: self.elapsed_ms,
            event,
        })
    }
}

/// The columns of [`interview_row`], which leaves the events to be counted: a damaged page of theirs must not
/// hide the interview. A file that no release of today has written to yet lacks some.
pub(super) fn interviews_sql(schema: i64) -> String {
    let later = if schema < TAKE_UP_SCHEMA {
        "NULL, 0, NULL"
    } else {
        "candidate, attempts, set_aside"
    };
    format!(
        "SELECT id, room, plan_name, plan_hash, term, begun_at_unix_ms, ended_at_unix_ms, end_reason,
         {later} FROM interviews"
    )
}

pub(super) fn interview_row(row: &Row<'_>) -> rusqlite::Result<InterviewRow> {
    let ended_at: Option<u64> = row.get(6)?;
    let reason: Option<String> = row.get(7)?;
    Ok(InterviewRow {
        id: interview_id(row, 0)?,
        room: row.get(1)?,
        plan_name: row.get(2)?,
        plan_hash: row.get(3)?,
        term: row.get(4)?,
        begun_at_unix_ms: row.get(5)?,
        ended: ended_at
            .zip(reason)
            .map(|(at_unix_ms, reason)| Ended { at_unix_ms, reason }),
        events: 0,
        candidate: row.get(8)?,
        attempts: row.get(9)?,
        set_aside: row.get(10)?,
    })
}

pub(super) fn interview_id(row: &Row<'_>, column: usize) -> rusqlite::Result<InterviewId> {
    InterviewId::new(row.get::<_, String>(column)?).map_err(|e| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(e))
    })
}

pub(super) fn interview(
    connection: &Connection,
    schema: i64,
    id: &InterviewId,
) -> rusqlite::Result<Option<InterviewRow>> {
    connection
        .prepare_cached(&format!("{} WHERE id = ?1", interviews_sql(schema)))?
        .query_row([id.as_str()], interview_row)
        .optional()
}

pub(super) fn count_events(connection: &Connection, id: &InterviewId) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT count(*) FROM events WHERE interview_id = ?1")?
        .query_row([id.as_str()], |row| row.get(0))
}

/// The columns of [`stored_event`].
pub(super) const EVENT_COLUMNS: &str =
    "interview_id, term, seq, at_unix_ms, elapsed_ms, kind, payload, hash";

pub(super) fn stored_event(row: &Row<'_>) -> rusqlite::Result<StoredEvent> {
    Ok(StoredEvent {
        interview_id: interview_id(row, 0)?,
        term: row.get(1)?,
        seq: row.get(2)?,
        at_unix_ms: row.get(3)?,
        elapsed_ms: row.get(4)?,
        kind: row.get(5)?,
        payload: row.get(6)?,
        hash: row.get::<_, Hash>(7)?,
    })
}

/// At most `limit` events of an interview after a place, in their order.
pub(super) fn events_after(
    connection: &Connection,
    id: &InterviewId,
    (term, seq): (u64, u64),
    limit: usize,
) -> rusqlite::Result<Vec<StoredEvent>> {
    connection
        .prepare_cached(&format!(
            "SELECT {EVENT_COLUMNS} FROM events WHERE interview_id = ?1 AND (term, seq) > (?2, ?3)
             ORDER BY term, seq LIMIT ?4"
        ))?
        .query_map(
            (
                id.as_str(),
                term,
                seq,
                i64::try_from(limit).unwrap_or(i64::MAX),
            ),
            stored_event,
        )?
        .collect()
}

/// Whether each event follows the one before it, from the first on.
pub(super) fn verify(
    id: &InterviewId,
    plan_hash: &str,
    events: &[StoredEvent],
) -> Result<(), JournalError> {
    verify_after(id, 0, genesis(id, plan_hash), events)
}

/// The same for events behind the one with this number and hash.
pub(super) fn verify_after(
    id: &InterviewId,
    seq: u64,
    mut hash: Hash,
    events: &[StoredEvent],
) -> Result<(), JournalError> {
    for (expected, event) in (seq + 1..).zip(events) {
        let broken = |cause: String| JournalError::ChainBroken {
            id: id.clone(),
            term: event.term,
            seq: event.seq,
            cause,
        };
        if event.seq != expected {
            return Err(broken(format!("event {expected} should be here")));
        }
        hash = link(&hash, &event.link());
        if hash != event.hash {
            return Err(broken(
                "its content or the one before it is not what was written".into(),
            ));
        }
    }
    Ok(())
}

/// At most `limit` events of an interview after the one with a number, in their order.
pub(super) fn events_from(
    connection: &Connection,
    id: &InterviewId,
    seq: u64,
    limit: usize,
) -> rusqlite::Result<Vec<StoredEvent>> {
    connection
        .prepare_cached(&format!(
            "SELECT {EVENT_COLUMNS} FROM events WHERE interview_id = ?1 AND seq > ?2 ORDER BY term, seq LIMIT ?3"
        ))?
        .query_map(
            (id.as_str(), seq, i64::try_from(limit).unwrap_or(i64::MAX)),
            stored_event,
        )?
        .collect()
}

pub(super) fn plan(connection: &Connection, hash: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT body FROM plans WHERE hash = ?1")?
        .query_row([hash], |row| row.get(0))
        .optional()
}
