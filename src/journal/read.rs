//! Reads the journal, also while another process writes it. All calls block for the time of a query.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};

use super::chain::{Hash, Link, genesis, link};
use super::open::{check_identity, opening};
use super::{JOURNAL_FILE, JournalError};
use crate::interview::{Event, InterviewId, Recorded};

/// A reader of a journal; it can't change anything.
#[derive(Debug)]
pub struct JournalReader {
    connection: Connection,
    path: PathBuf,
}

/// An interview in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterviewRow {
    /// Its name.
    pub id: InterviewId,
    /// The LiveKit room.
    pub room: String,
    /// The name of the plan's file when it began.
    pub plan_name: String,
    /// The plan itself, for [`JournalReader::plan`].
    pub plan_hash: String,
    /// How often a process has taken it up.
    pub term: u64,
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

const INTERVIEWS: &str =
    "SELECT id, room, plan_name, plan_hash, term, begun_at_unix_ms, ended_at_unix_ms,
    end_reason, (SELECT count(*) FROM events WHERE interview_id = interviews.id) FROM interviews";

impl JournalReader {
    /// Opens the journal in a state directory.
    ///
    /// # Errors
    /// There is none, it can't be read, is not a journal, is damaged or was written by a later release.
    pub fn open(directory: &Path) -> Result<Self, JournalError> {
        let path = directory.join(JOURNAL_FILE);
        if let Err(e) = std::fs::metadata(&path) {
            return Err(match e.kind() {
                std::io::ErrorKind::NotFound => JournalError::Missing { path },
                _ => JournalError::Open {
                    path,
                    cause: e.to_string(),
                },
            });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(&path, flags).map_err(|e| opening(&path, &e))?;
        if check_identity(&connection, &path)? == 0 {
            return Err(JournalError::Missing { path });
        }
        Ok(Self { connection, path })
    }

    /// All interviews, the latest first.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn interviews(&self) -> Result<Vec<InterviewRow>, JournalError> {
        let query = || -> rusqlite::Result<Vec<_>> {
            let sql = format!("{INTERVIEWS} ORDER BY begun_at_unix_ms DESC, id");
            self.connection
                .prepare(&sql)?
                .query_map([], interview_row)?
                .collect()
        };
        query().map_err(|e| self.failed(&e))
    }

    /// One interview, if there is one of this name.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn interview(&self, id: &InterviewId) -> Result<Option<InterviewRow>, JournalError> {
        self.connection
            .query_row(
                &format!("{INTERVIEWS} WHERE id = ?1"),
                [id.as_str()],
                interview_row,
            )
            .optional()
            .map_err(|e| self.failed(&e))
    }

    /// The events of an interview in their order. Each is checked against the one before it.
    ///
    /// # Errors
    /// There is no such interview, the file can't be read, or an event is missing, was changed or is of a
    /// later release; the first such event is named.
    pub fn events(&self, id: &InterviewId) -> Result<Vec<Recorded>, JournalError> {
        let Some(interview) = self.interview(id)? else {
            return Err(JournalError::UnknownInterview { id: id.clone() });
        };
        let rows = self.stored(id).map_err(|e| self.failed(&e))?;
        let mut hash = genesis(id, &interview.plan_hash);
        let mut events = Vec::with_capacity(rows.len());
        for (at, row) in rows.into_iter().enumerate() {
            let broken = |cause: String| JournalError::ChainBroken {
                id: id.clone(),
                term: row.term,
                seq: row.seq,
                cause,
            };
            let expected = at as u64 + 1;
            if row.seq != expected {
                return Err(broken(format!("event {expected} should be here")));
            }
            hash = link(&hash, &row.link());
            if hash != row.hash {
                return Err(broken(
                    "its content or the one before it is not what was written".into(),
                ));
            }
            let event =
                Event::from_payload(&row.payload).map_err(|e| JournalError::Unreadable {
                    id: id.clone(),
                    seq: row.seq,
                    cause: e.to_string(),
                })?;
            events.push(Recorded {
                seq: row.seq,
                at_unix_ms: row.at_unix_ms,
                elapsed_ms: row.elapsed_ms,
                event,
            });
        }
        Ok(events)
    }

    /// The text of the plan of a hash.
    ///
    /// # Errors
    /// There is no such plan, or the file can't be read.
    pub fn plan(&self, hash: &str) -> Result<String, JournalError> {
        self.connection
            .query_row("SELECT body FROM plans WHERE hash = ?1", [hash], |row| {
                row.get(0)
            })
            .optional()
            .map_err(|e| self.failed(&e))?
            .ok_or_else(|| JournalError::UnknownPlan {
                hash: hash.to_owned(),
            })
    }

    fn stored(&self, id: &InterviewId) -> rusqlite::Result<Vec<Stored>> {
        self.connection
            .prepare(
                "SELECT term, seq, at_unix_ms, elapsed_ms, kind, payload, hash FROM events
                 WHERE interview_id = ?1 ORDER BY term, seq",
            )?
            .query_map([id.as_str()], |row| {
                Ok(Stored {
                    term: row.get(0)?,
                    seq: row.get(1)?,
                    at_unix_ms: row.get(2)?,
                    elapsed_ms: row.get(3)?,
                    kind: row.get(4)?,
                    payload: row.get(5)?,
                    hash: row.get(6)?,
                })
            })?
            .collect()
    }

    fn failed(&self, error: &rusqlite::Error) -> JournalError {
        match opening(&self.path, error) {
            JournalError::Open { path, cause } => JournalError::Read { path, cause },
            other => other,
        }
    }
}

struct Stored {
    term: u64,
    seq: u64,
    at_unix_ms: u64,
    elapsed_ms: u64,
    kind: String,
    payload: String,
    hash: Hash,
}

impl Stored {
    fn link(&self) -> Link<'_> {
        Link {
            term: self.term,
            seq: self.seq,
            at_unix_ms: self.at_unix_ms,
            elapsed_ms: self.elapsed_ms,
            kind: &self.kind,
            payload: &self.payload,
        }
    }
}

fn interview_row(row: &Row<'_>) -> rusqlite::Result<InterviewRow> {
    let id: String = row.get(0)?;
    let id = InterviewId::new(id).map_err(|e| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(e))
    })?;
    let ended_at: Option<u64> = row.get(6)?;
    let reason: Option<String> = row.get(7)?;
    Ok(InterviewRow {
        id,
        room: row.get(1)?,
        plan_name: row.get(2)?,
        plan_hash: row.get(3)?,
        term: row.get(4)?,
        begun_at_unix_ms: row.get(5)?,
        ended: ended_at
            .zip(reason)
            .map(|(at_unix_ms, reason)| Ended { at_unix_ms, reason }),
        events: row.get(8)?,
    })
}
