//! What each command does to the file, inside the transaction that the writer makes.

use std::collections::HashMap;

use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior};
use sha2::{Digest, Sha256};

use super::arrive::arrive;
use super::carry::{Arrival, Arrived};
use super::chain::{Hash, Link, genesis, link};
use super::erase::erase;
use super::migrate::SCHEMA;
use super::rows::{InterviewRow, StoredEvent, events_after, interview, plan, verify_after};
use super::witness::Mark;
use super::{JournalError, NewInterview, Place, Row, Snapshot, TakenUp};
use crate::interview::InterviewId;

/// Live interviews whose last event is kept in memory; others are looked up again.
const HEADS_MAX: usize = 1024;

/// What is to be written.
#[derive(Debug)]
pub(super) enum Write {
    Begin(NewInterview),
    Append {
        id: InterviewId,
        rows: Vec<Row>,
    },
    TakeUp {
        id: InterviewId,
    },
    Stood {
        id: InterviewId,
    },
    SetAside {
        id: InterviewId,
        at_unix_ms: u64,
        cause: String,
    },
    Readmit {
        id: InterviewId,
    },
    Arrive {
        arrival: Box<Arrival>,
        at_unix_ms: u64,
    },
    Acknowledge {
        places: Vec<Place>,
    },
    /// Their tombstones are set.
    Erase {
        ids: Vec<InterviewId>,
    },
    HoldBack {
        id: InterviewId,
        cause: Option<String>,
    },
    Told {
        id: InterviewId,
    },
    Snapshot {
        id: InterviewId,
        snapshot: Snapshot,
    },
}

impl Write {
    pub(super) fn events(&self) -> u64 {
        match self {
            Self::Append { rows, .. } => rows.len() as u64,
            _ => 0,
        }
    }

    /// The interview that this brings into the journal.
    pub(super) fn brings(&self) -> Option<&InterviewId> {
        match self {
            Self::Begin(new) => Some(&new.id),
            Self::Arrive { arrival, .. } => Some(&arrival.interview.id),
            _ => None,
        }
    }

    pub(super) fn last_event(&self) -> Option<Mark> {
        match self {
            Self::Append { id, rows } => rows.last().map(|row| Mark {
                interview: id.clone(),
                seq: row.seq,
            }),
            _ => None,
        }
    }
}

/// What a write has to tell besides that it is on disk.
#[derive(Debug, PartialEq)]
pub(super) enum Written {
    Nothing,
    TakenUp(Box<TakenUp>),
    Arrived(Arrived),
    Erased(u64),
}

/// The last event of each interview that is being written.
pub(super) type Heads = HashMap<InterviewId, Head>;

/// The last event of an interview.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) term: u64,
    pub(super) seq: u64,
    pub(super) hash: Hash,
    pub(super) ended: bool,
}

/// Why a write has no effect.
pub(super) enum Trouble {
    /// This one is wrong; the others are not.
    Refused(JournalError),
    /// The file can't be relied on.
    Fatal(rusqlite::Error),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig) => {
                Self::Refused(JournalError::Refused {
                    cause: error.to_string(),
                })
            }
            _ => Self::Fatal(error),
        }
    }
}

impl From<JournalError> for Trouble {
    fn from(error: JournalError) -> Self {
        Self::Refused(error)
    }
}

/// One transaction. Each write stands for itself in it: one that is refused leaves nothing behind.
pub(super) fn write_group<'a>(
    connection: &mut Connection,
    heads: &mut Heads,
    group: impl IntoIterator<Item = &'a Write>,
) -> rusqlite::Result<Vec<Result<Written, JournalError>>> {
    let group: Vec<&Write> = group.into_iter().collect();
    // Outside of the transaction, which a damaged page would make fail as a whole.
    let mut readings = Vec::with_capacity(group.len());
    for write in &group {
        readings.push(match write {
            Write::TakeUp { id } => match read(connection, id) {
                Err(Trouble::Fatal(error)) => return Err(error),
                reading => Some(reading),
            },
            _ => None,
        });
    }
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut results = Vec::new();
    for (write, reading) in group.into_iter().zip(readings) {
        let savepoint = transaction.savepoint()?;
        let performed = match (write, reading) {
            (Write::TakeUp { id }, Some(reading)) => {
                reading.and_then(|reading| take_up(&savepoint, heads, id, reading))
            }
            _ => perform(&savepoint, heads, write),
        };
        match performed {
            Ok(written) => {
                savepoint.commit()?;
                results.push(Ok(written));
            }
            // A savepoint that is dropped is rolled back.
            Err(Trouble::Refused(error)) => results.push(Err(error)),
            Err(Trouble::Fatal(error)) => return Err(error),
        }
    }
    transaction.commit()?;
    Ok(results)
}

fn perform(connection: &Connection, heads: &mut Heads, write: &Write) -> Result<Written, Trouble> {
    match write {
        Write::Begin(new) => begin(connection, new)?,
        Write::Append { id, rows } => append(connection, heads, id, rows)?,
        // It needs what was read before.
        Write::TakeUp { .. } => {}
        Write::Stood { id } => {
            let sql = "UPDATE interviews SET attempts = 0 WHERE id = ?1";
            known(id, connection.prepare_cached(sql)?.execute([id.as_str()])?)?;
        }
        Write::SetAside {
            id,
            at_unix_ms,
            cause,
        } => {
            live(connection, id)?;
            let sql =
                "UPDATE interviews SET set_aside = ?2, set_aside_at_unix_ms = ?3 WHERE id = ?1";
            connection
                .prepare_cached(sql)?
                .execute((id.as_str(), cause, at_unix_ms))?;
        }
        Write::Readmit { id } => {
            live(connection, id)?;
            let sql = "UPDATE interviews SET set_aside = NULL, set_aside_at_unix_ms = NULL, attempts = 0 WHERE id = ?1";
            connection.prepare_cached(sql)?.execute([id.as_str()])?;
        }
        Write::Arrive {
            arrival,
            at_unix_ms,
        } => {
            let arrived = arrive(connection, heads, arrival, *at_unix_ms)?;
            return Ok(Written::Arrived(arrived));
        }
        Write::Acknowledge { places } => {
            for place in places {
                acknowledge(connection, place)?;
            }
        }
        Write::Erase { ids } => return Ok(Written::Erased(erase(connection, heads, ids)?)),
        Write::Told { id } => {
            let sql = "UPDATE interviews SET told = 1 WHERE id = ?1";
            known(id, connection.prepare_cached(sql)?.execute([id.as_str()])?)?;
        }
        Write::Snapshot { id, snapshot } => super::snapshot::keep(connection, id, snapshot)?,
        Write::HoldBack { id, cause } => {
            let sql = "UPDATE interviews SET held_back = ?2 WHERE id = ?1";
            known(
                id,
                connection
                    .prepare_cached(sql)?
                    .execute((id.as_str(), cause))?,
            )?;
        }
    }
    Ok(Written::Nothing)
}

fn known(id: &InterviewId, changed: usize) -> Result<(), JournalError> {
    match changed {
        0 => Err(JournalError::UnknownInterview { id: id.clone() }),
        _ => Ok(()),
    }
}

/// The interview, which has to be there and not over.
fn live(connection: &Connection, id: &InterviewId) -> Result<InterviewRow, Trouble> {
    let Some(row) = interview(connection, SCHEMA, id)? else {
        return Err(JournalError::UnknownInterview { id: id.clone() }.into());
    };
    if row.ended.is_some() {
        return Err(JournalError::AlreadyEnded { id: id.clone() }.into());
    }
    Ok(row)
}

/// What an interview that is to be taken up consists of, checked.
fn read(connection: &Connection, id: &InterviewId) -> Result<TakenUp, Trouble> {
    read_whole(connection, id).map_err(|trouble| match trouble {
        // The page belongs to this interview: the others go on.
        Trouble::Fatal(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
            Trouble::Refused(JournalError::Damaged {
                path: connection.path().unwrap_or_default().into(),
                cause: error.to_string(),
            })
        }
        other => other,
    })
}

fn read_whole(connection: &Connection, id: &InterviewId) -> Result<TakenUp, Trouble> {
    let mut row = live(connection, id)?;
    if let Some(cause) = row.set_aside {
        return Err(JournalError::SetAside {
            id: id.clone(),
            cause,
        }
        .into());
    }
    let kept = super::snapshot::find(connection, id);
    let (place, hash) = match &kept {
        Some(kept) => ((kept.term, kept.snapshot.seq), kept.hash),
        None => ((0, 0), genesis(id, &row.plan_hash)),
    };
    let stored = events_after(connection, id, place, usize::MAX)?;
    verify_after(id, place.1, hash, &stored)?;
    row.events = place.1 + stored.len() as u64;
    let events = stored
        .iter()
        .map(StoredEvent::recorded)
        .collect::<Result<_, _>>()?;
    let plan_body = plan(connection, &row.plan_hash)?.ok_or_else(|| JournalError::UnknownPlan {
        hash: row.plan_hash.clone(),
    })?;
    Ok(TakenUp {
        attempts: row.attempts,
        interview: row,
        plan_body,
        snapshot: kept.map(|kept| kept.snapshot),
        events,
    })
}

fn take_up(
    connection: &Connection,
    heads: &mut Heads,
    id: &InterviewId,
    mut taken: TakenUp,
) -> Result<Written, Trouble> {
    // It has the term of before.
    heads.remove(id);
    let head = find_head(connection, id)?;
    if head.seq != taken.interview.events {
        // Something was appended in this very group, by a session that still holds it.
        return Err(JournalError::OutOfOrder {
            id: id.clone(),
            expected: head.seq + 1,
            found: taken.interview.events + 1,
        }
        .into());
    }
    (taken.interview.term, taken.attempts) = connection
        .prepare_cached(
            "UPDATE interviews SET term = term + 1, attempts = attempts + 1 WHERE id = ?1
             RETURNING term, attempts",
        )?
        .query_row([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    taken.interview.attempts = taken.attempts;
    Ok(Written::TakenUp(Box::new(taken)))
}

fn acknowledge(connection: &Connection, place: &Place) -> Result<(), Trouble> {
    let Place { id, term, seq } = place;
    let exists = connection
        .prepare_cached("SELECT 1 FROM events WHERE (interview_id, term, seq) = (?1, ?2, ?3)")?
        .exists((id.as_str(), term, seq))?;
    if !exists {
        return Err(JournalError::NeverWritten {
            id: id.clone(),
            term: *term,
            seq: *seq,
        }
        .into());
    }
    // Never back: an older acknowledgement may come late.
    connection
        .prepare_cached(
            "UPDATE interviews SET acknowledged_term = ?2, acknowledged_seq = ?3,
               sent = ended_at_unix_ms IS NOT NULL AND ?3 =
                 (SELECT seq FROM events WHERE interview_id = ?1 ORDER BY term DESC, seq DESC LIMIT 1)
             WHERE id = ?1 AND (acknowledged_term, acknowledged_seq) < (?2, ?3)",
        )?
        .execute((id.as_str(), term, seq))?;
    Ok(())
}

/// Stores the text of a plan, which has to have its hash.
pub(super) fn store_plan(
    connection: &Connection,
    name: &str,
    hash: &str,
    body: &str,
    at_unix_ms: u64,
) -> Result<(), Trouble> {
    let actual: String = Sha256::digest(body.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if actual != hash {
        return Err(JournalError::PlanDiffers {
            name: name.to_owned(),
            given: hash.to_owned(),
            actual,
        }
        .into());
    }
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO plans (hash, body, stored_at_unix_ms) VALUES (?1, ?2, ?3)",
        )?
        .execute((hash, body, at_unix_ms))?;
    Ok(())
}

fn begin(connection: &Connection, new: &NewInterview) -> Result<(), Trouble> {
    store_plan(
        connection,
        &new.plan_name,
        &new.plan_hash,
        &new.plan_body,
        new.at_unix_ms,
    )?;
    let added = connection
        .prepare_cached(
            "INSERT OR IGNORE INTO interviews (id, room, plan_name, plan_hash, term, begun_at_unix_ms, candidate)
             VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6)",
        )?
        .execute((
            new.id.as_str(),
            &new.room,
            &new.plan_name,
            &new.plan_hash,
            new.at_unix_ms,
            &new.candidate,
        ))?;
    if added == 0 {
        return Err(Trouble::Refused(JournalError::AlreadyBegun {
            id: new.id.clone(),
        }));
    }
    Ok(())
}

fn append(
    connection: &Connection,
    heads: &mut Heads,
    id: &InterviewId,
    rows: &[Row],
) -> Result<(), Trouble> {
    let mut head = match heads.get(id) {
        Some(head) => head.clone(),
        None => find_head(connection, id)?,
    };
    let mut insert = connection.prepare_cached(
        "INSERT INTO events (interview_id, term, seq, at_unix_ms, elapsed_ms, kind, payload, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for row in rows {
        if head.ended {
            return Err(Trouble::Refused(JournalError::AlreadyEnded {
                id: id.clone(),
            }));
        }
        if row.seq != head.seq + 1 {
            return Err(Trouble::Refused(JournalError::OutOfOrder {
                id: id.clone(),
                expected: head.seq + 1,
                found: row.seq,
            }));
        }
        let hash = link(
            &head.hash,
            &Link {
                term: head.term,
                seq: row.seq,
                at_unix_ms: row.at_unix_ms,
                elapsed_ms: row.elapsed_ms,
                kind: row.kind,
                payload: &row.payload,
            },
        );
        insert.execute((
            id.as_str(),
            head.term,
            row.seq,
            row.at_unix_ms,
            row.elapsed_ms,
            row.kind,
            &row.payload,
            hash,
        ))?;
        if let Some(reason) = row.end_reason {
            connection
                .prepare_cached(
                    "UPDATE interviews SET ended_at_unix_ms = ?2, end_reason = ?3 WHERE id = ?1",
                )?
                .execute((id.as_str(), row.at_unix_ms, reason))?;
        }
        head = Head {
            seq: row.seq,
            hash,
            ended: row.end_reason.is_some(),
            ..head
        };
    }
    if heads.len() >= HEADS_MAX {
        heads.clear();
    }
    if head.ended {
        heads.remove(id);
    } else {
        heads.insert(id.clone(), head);
    }
    Ok(())
}

/// The last event of an interview as the file has it.
pub(super) fn find_head(connection: &Connection, id: &InterviewId) -> Result<Head, Trouble> {
    let interview = connection
        .prepare_cached(
            "SELECT term, plan_hash, ended_at_unix_ms IS NOT NULL FROM interviews WHERE id = ?1",
        )?
        .query_row([id.as_str()], |row| {
            Ok((
                row.get::<_, u64>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, bool>(2)?,
            ))
        })
        .optional()?;
    let Some((term, plan_hash, ended)) = interview else {
        return Err(Trouble::Refused(JournalError::UnknownInterview {
            id: id.clone(),
        }));
    };
    let last = connection
        .prepare_cached(
            "SELECT seq, hash FROM events WHERE interview_id = ?1 ORDER BY term DESC, seq DESC LIMIT 1",
        )?
        .query_row([id.as_str()], |row| {
            Ok((row.get::<_, u64>(0)?, row.get::<_, Hash>(1)?))
        })
        .optional()?;
    let (seq, hash) = last.unwrap_or_else(|| (0, genesis(id, &plan_hash)));
    Ok(Head {
        term,
        seq,
        hash,
        ended,
    })
}
