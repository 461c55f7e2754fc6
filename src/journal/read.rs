//! Reads the journal, also while another process writes it. All calls block for the time of a query.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::erase::ended_before;
use super::open::{BUSY_TIMEOUT, check_identity, opening, wait_for_locks};
use super::rows::{
    InterviewRow, StoredEvent, count_events, events_after, events_from, interview, interview_id,
    interview_row, interviews_sql, plan, verify,
};
use super::{JOURNAL_FILE, JournalError, Place};
use crate::interview::{InterviewId, Recorded};

/// A reader of a journal; it can't change anything.
#[derive(Debug)]
pub struct JournalReader {
    connection: Connection,
    path: PathBuf,
    schema: i64,
}

/// An interview of which not every event is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsent {
    /// Its name.
    pub id: InterviewId,
    /// Term and number of the last acknowledged event; zeros before the first.
    pub acknowledged: (u64, u64),
    /// How many events come after that.
    pub events: u64,
    /// Wall clock of the oldest of them, milliseconds since 1970.
    pub oldest_at_unix_ms: u64,
    /// Why it is not sent for now, if it is not.
    pub held_back: Option<String>,
}

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
        wait_for_locks(&connection, &path, BUSY_TIMEOUT)?;
        let schema = check_identity(&connection, &path)?;
        if schema == 0 {
            return Err(JournalError::Missing { path });
        }
        Ok(Self {
            connection,
            path,
            schema,
        })
    }

    /// All interviews, the latest first.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn interviews(&self) -> Result<Vec<InterviewRow>, JournalError> {
        self.list("ORDER BY begun_at_unix_ms DESC, id")
    }

    /// The interviews that are neither over nor set aside, the oldest first: what a process that starts
    /// takes up.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn live(&self) -> Result<Vec<InterviewRow>, JournalError> {
        let mut rows = self.list("WHERE ended_at_unix_ms IS NULL ORDER BY begun_at_unix_ms, id")?;
        rows.retain(|row| row.set_aside.is_none());
        Ok(rows)
    }

    /// One interview, if there is one of this name.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn interview(&self, id: &InterviewId) -> Result<Option<InterviewRow>, JournalError> {
        interview(&self.connection, self.schema, id)
            .map_err(|e| self.failed(&e))?
            .map(|row| self.counted(row))
            .transpose()
    }

    /// One interview without the count of its events, which takes a look at each of them.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn head(&self, id: &InterviewId) -> Result<Option<InterviewRow>, JournalError> {
        interview(&self.connection, self.schema, id).map_err(|e| self.failed(&e))
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
        let stored = self.events_after(id, (0, 0), usize::MAX)?;
        verify(id, &interview.plan_hash, &stored)?;
        stored.iter().map(StoredEvent::recorded).collect()
    }

    /// At most `limit` stored events of an interview after the one with this term and number, unchecked.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn events_after(
        &self,
        id: &InterviewId,
        place: (u64, u64),
        limit: usize,
    ) -> Result<Vec<StoredEvent>, JournalError> {
        events_after(&self.connection, id, place, limit).map_err(|e| self.failed(&e))
    }

    /// At most `limit` stored events of an interview after the one with this number, whatever their terms, unchecked.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn events_from(
        &self,
        id: &InterviewId,
        seq: u64,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, JournalError> {
        events_from(&self.connection, id, seq, limit).map_err(|e| self.failed(&e))
    }

    /// The last acknowledged event of at most `limit` interviews that have one, in the order of their names after
    /// this one.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn acknowledged(&self, after: &str, limit: usize) -> Result<Vec<Place>, JournalError> {
        let query = || -> rusqlite::Result<Vec<Place>> {
            self.connection
                .prepare_cached(
                    "SELECT id, acknowledged_term, acknowledged_seq FROM interviews
                     WHERE id > ?1 AND acknowledged_seq > 0 ORDER BY id LIMIT ?2",
                )?
                .query_map((after, i64::try_from(limit).unwrap_or(i64::MAX)), |row| {
                    Ok(Place {
                        id: interview_id(row, 0)?,
                        term: row.get(1)?,
                        seq: row.get(2)?,
                    })
                })?
                .collect()
        };
        query().map_err(|e| self.failed(&e))
    }

    /// The interviews that have events which are not acknowledged: those that go on first, so that a
    /// backlog does not delay them, then the others in the order of their begin.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn outbox(&self) -> Result<Vec<Unsent>, JournalError> {
        let query = || -> rusqlite::Result<Vec<Unsent>> {
            // The index of the unsent ones, then one look for each at the end and at the place of its events.
            self.connection
                .prepare_cached(
                    "SELECT id, acknowledged_term, acknowledged_seq, held_back,
                       (SELECT seq FROM events WHERE interview_id = id ORDER BY term DESC, seq DESC LIMIT 1)
                         - acknowledged_seq AS waiting,
                       (SELECT at_unix_ms FROM events WHERE interview_id = id
                         AND (term, seq) > (acknowledged_term, acknowledged_seq) ORDER BY term, seq LIMIT 1)
                     FROM interviews WHERE sent = 0
                     ORDER BY ended_at_unix_ms IS NOT NULL, begun_at_unix_ms, id",
                )?
                .query_map([], |row| {
                    let oldest: Option<u64> = row.get(5)?;
                    let Some(oldest_at_unix_ms) = oldest else {
                        return Ok(None);
                    };
                    Ok(Some(Unsent {
                        id: interview_id(row, 0)?,
                        acknowledged: (row.get(1)?, row.get(2)?),
                        held_back: row.get(3)?,
                        events: row.get::<_, Option<u64>>(4)?.unwrap_or(0),
                        oldest_at_unix_ms,
                    }))
                })?
                .filter_map(Result::transpose)
                .collect()
        };
        query().map_err(|e| self.failed(&e))
    }

    /// At most `limit` events that are not acknowledged, leaving out the interviews that are held back. Of
    /// one interview they come in their order and without a gap.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn unsent(&self, limit: usize) -> Result<Vec<StoredEvent>, JournalError> {
        let mut events = Vec::new();
        for unsent in self.outbox()? {
            if events.len() >= limit {
                break;
            }
            if unsent.held_back.is_none() {
                let room = limit - events.len();
                events.extend(self.events_after(&unsent.id, unsent.acknowledged, room)?);
            }
        }
        Ok(events)
    }

    /// At most `limit` interviews that are over and of which the webhook does not know it, the first to end first.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn untold(&self, limit: usize) -> Result<Vec<InterviewRow>, JournalError> {
        let query = || -> rusqlite::Result<Vec<InterviewRow>> {
            self.connection
                .prepare_cached(&format!(
                    "{} WHERE told = 0 AND ended_at_unix_ms IS NOT NULL ORDER BY ended_at_unix_ms, id LIMIT ?1",
                    interviews_sql(self.schema)
                ))?
                .query_map([i64::try_from(limit).unwrap_or(i64::MAX)], interview_row)?
                .collect()
        };
        query().map_err(|e| self.failed(&e))
    }

    /// The text of the plan of a hash.
    ///
    /// # Errors
    /// There is no such plan, or the file can't be read.
    pub fn plan(&self, hash: &str) -> Result<String, JournalError> {
        plan(&self.connection, hash)
            .map_err(|e| self.failed(&e))?
            .ok_or_else(|| JournalError::UnknownPlan {
                hash: hash.to_owned(),
            })
    }

    pub(super) fn ended_before(&self, unix_ms: u64) -> Result<Vec<InterviewId>, JournalError> {
        ended_before(&self.connection, unix_ms).map_err(|e| self.failed(&e))
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn schema(&self) -> i64 {
        self.schema
    }

    fn list(&self, rest: &str) -> Result<Vec<InterviewRow>, JournalError> {
        let query = || -> rusqlite::Result<Vec<_>> {
            self.connection
                .prepare_cached(&format!("{} {rest}", interviews_sql(self.schema)))?
                .query_map([], interview_row)?
                .collect()
        };
        let rows = query().map_err(|e| self.failed(&e))?;
        rows.into_iter().map(|row| self.counted(row)).collect()
    }

    /// Events that can't be counted for a damaged page are a matter of this interview alone; whoever reads
    /// them is told.
    fn counted(&self, row: InterviewRow) -> Result<InterviewRow, JournalError> {
        match count_events(&self.connection, &row.id) {
            Ok(events) => Ok(InterviewRow { events, ..row }),
            Err(e) => match self.failed(&e) {
                JournalError::Damaged { cause, .. } => {
                    tracing::error!(interview_id = %row.id, "its events can't be counted, {cause}; `viva journal check` names the damage");
                    Ok(row)
                }
                other => Err(other),
            },
        }
    }

    fn failed(&self, error: &rusqlite::Error) -> JournalError {
        match opening(&self.path, error) {
            JournalError::Open { path, cause } => JournalError::Read { path, cause },
            other => other,
        }
    }
}
