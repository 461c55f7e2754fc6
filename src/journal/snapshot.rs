//! Keeps where an interview stood, so that taking it up does not replay all that happened.
//!
//! A snapshot is worth nothing by itself: it counts only together with the event that it was made at, and only for the
//! release that made it. Whatever is wrong with one, the events are replayed instead.

use rusqlite::{Connection, OptionalExtension};

use super::chain::Hash;
use super::write::{Trouble, find_head};
use super::{JournalError, Snapshot};
use crate::interview::InterviewId;

/// Another release may make something else of the same events' numbers.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// A snapshot and its event.
pub(super) struct Kept {
    pub(super) term: u64,
    pub(super) hash: Hash,
    pub(super) snapshot: Snapshot,
}

/// Puts it in the place of the one before. Nothing where something was appended meanwhile: the next one comes.
pub(super) fn keep(
    connection: &Connection,
    id: &InterviewId,
    snapshot: &Snapshot,
) -> Result<(), Trouble> {
    let head = find_head(connection, id)?;
    if head.seq != snapshot.seq {
        return Err(JournalError::OutOfOrder {
            id: id.clone(),
            expected: head.seq,
            found: snapshot.seq,
        }
        .into());
    }
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO snapshots (interview_id, term, seq, hash, release, state)
             SELECT interview_id, term, seq, hash, ?3, ?4 FROM events
             WHERE interview_id = ?1 AND seq = ?2 ORDER BY term DESC LIMIT 1",
        )?
        .execute((id.as_str(), snapshot.seq, RELEASE, &snapshot.state))?;
    Ok(())
}

/// The snapshot of an interview, if this release made it and its event is what it was.
pub(super) fn find(connection: &Connection, id: &InterviewId) -> Option<Kept> {
    let query = || {
        connection
            .prepare_cached(
                "SELECT s.term, s.seq, s.hash, s.state FROM snapshots AS s JOIN events AS e
                   ON (e.interview_id, e.term, e.seq, e.hash) = (s.interview_id, s.term, s.seq, s.hash)
                 WHERE s.interview_id = ?1 AND s.release = ?2",
            )?
            .query_row((id.as_str(), RELEASE), |row| {
                Ok(Kept {
                    term: row.get(0)?,
                    hash: row.get(2)?,
                    snapshot: Snapshot {
                        seq: row.get(1)?,
                        state: row.get(3)?,
                    },
                })
            })
            .optional()
    };
    query().unwrap_or_else(|error| {
        tracing::warn!(interview_id = %id, "its snapshot can't be read, all events are replayed: {error}");
        None
    })
}
