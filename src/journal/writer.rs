//! The one thread that writes: it puts all that waits into one transaction and answers when that is on disk.

use std::collections::HashMap;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::chain::{Hash, Link, genesis, link};
use super::open::Opened;
use super::{Condition, JournalError, NewInterview, Row, Vitals, lock, micros};
use crate::interview::InterviewId;

/// Commands in one transaction, at most: it stays short, and a reader's view young.
const GROUP_MAX: usize = 256;
/// Live interviews whose last event is kept in memory; others are looked up again.
const HEADS_MAX: usize = 1024;

type Reply = oneshot::Sender<Result<(), JournalError>>;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Command {
    Begin {
        new: NewInterview,
        reply: Reply,
    },
    Append {
        id: InterviewId,
        rows: Vec<Row>,
        reply: Reply,
    },
    Close {
        reply: Reply,
    },
}

/// The last event of an interview.
#[derive(Debug, Clone)]
pub(super) struct Head {
    term: u64,
    seq: u64,
    hash: Hash,
    ended: bool,
}

/// Why a command has no effect.
enum Trouble {
    /// This command is wrong; the others are not.
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

pub(super) struct Writer {
    opened: Opened,
    vitals: Arc<Mutex<Vitals>>,
    heads: HashMap<InterviewId, Head>,
}

impl Writer {
    pub(super) fn new(opened: Opened, vitals: Arc<Mutex<Vitals>>) -> Self {
        Self {
            opened,
            vitals,
            heads: HashMap::new(),
        }
    }

    /// Works until it is told to close, until nobody can tell it anything, or until a write fails.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        let mut closing = None;
        let mut condition = Condition::Closed;
        while closing.is_none() {
            let Ok(first) = commands.recv() else { break };
            let waiting = std::iter::from_fn(|| commands.try_recv().ok());
            let mut group = Vec::new();
            for command in std::iter::once(first).chain(waiting.take(GROUP_MAX - 1)) {
                match command {
                    Command::Close { reply } => {
                        closing = Some(reply);
                        break;
                    }
                    other => group.push(other),
                }
            }
            if let Err(error) = self.commit(group) {
                condition = Condition::Failed(error);
                break;
            }
        }
        self.finish(condition, closing, commands);
    }

    /// Writes the group and answers each of its senders.
    fn commit(&mut self, group: Vec<Command>) -> Result<(), JournalError> {
        if group.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        lock(&self.vitals).committing_since = Some(started);
        let written = write_group(&mut self.opened.connection, &mut self.heads, &group);
        {
            let mut vitals = lock(&self.vitals);
            vitals.committing_since = None;
            if let Ok(results) = &written {
                let events = group.iter().zip(results).filter(|(_, r)| r.is_ok());
                vitals.commits += 1;
                vitals.events += events.map(|(c, _)| c.events()).sum::<u64>();
                vitals.last_commit_us = Some(micros(started.elapsed()));
            }
        }
        match written {
            Ok(results) => {
                for (command, result) in group.into_iter().zip(results) {
                    command.answer(result);
                }
                Ok(())
            }
            Err(error) => {
                // Whatever is in memory may be ahead of the file.
                self.heads.clear();
                let busy = error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
                let cause = format!("{}: {error}", self.opened.path.display());
                let told = if busy {
                    JournalError::Locked { cause }
                } else {
                    JournalError::Failed { cause }
                };
                if !busy {
                    // Before the answers, so that whoever is answered finds it in the probe.
                    lock(&self.vitals).condition = Condition::Failed(told.clone());
                }
                for command in group {
                    command.answer(Err(told.clone()));
                }
                if busy { Ok(()) } else { Err(told) }
            }
        }
    }

    /// Closes the file, then answers all that still waits.
    fn finish(self, condition: Condition, closing: Option<Reply>, commands: &Receiver<Command>) {
        let Self { opened, vitals, .. } = self;
        let Opened {
            connection,
            lock: held,
            path,
        } = opened;
        let closed = connection.close().map_err(|(_, e)| e);
        drop(held);
        let condition = match (condition, closed) {
            (Condition::Closed, Err(e)) => Condition::Failed(JournalError::Open {
                path,
                cause: e.to_string(),
            }),
            (condition, _) => condition,
        };
        lock(&vitals).condition = condition.clone();
        let told = match condition {
            Condition::Failed(error) => error,
            Condition::Closed | Condition::Well => JournalError::Closed,
        };
        if let Some(reply) = closing {
            let result = if told == JournalError::Closed {
                Ok(())
            } else {
                Err(told.clone())
            };
            // Nobody waits for the answer any more: nobody needs it.
            let _ = reply.send(result);
        }
        while let Ok(command) = commands.try_recv() {
            command.answer(Err(told.clone()));
        }
    }
}

impl Command {
    fn events(&self) -> u64 {
        match self {
            Self::Append { rows, .. } => rows.len() as u64,
            Self::Begin { .. } | Self::Close { .. } => 0,
        }
    }

    /// A sender that has gone away does not need the answer: what it wrote is in the journal all the same.
    fn answer(self, result: Result<(), JournalError>) {
        match self {
            Self::Begin { reply, .. } | Self::Append { reply, .. } | Self::Close { reply } => {
                let _ = reply.send(result);
            }
        }
    }
}

/// One transaction. Each command stands for itself in it: one that is refused leaves nothing behind.
pub(super) fn write_group(
    connection: &mut Connection,
    heads: &mut HashMap<InterviewId, Head>,
    group: &[Command],
) -> rusqlite::Result<Vec<Result<(), JournalError>>> {
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut results = Vec::with_capacity(group.len());
    for command in group {
        let savepoint = transaction.savepoint()?;
        let written = match command {
            Command::Begin { new, .. } => begin(&savepoint, new),
            Command::Append { id, rows, .. } => append(&savepoint, heads, id, rows),
            Command::Close { .. } => Ok(()),
        };
        match written {
            Ok(()) => {
                savepoint.commit()?;
                results.push(Ok(()));
            }
            // A savepoint that is dropped is rolled back.
            Err(Trouble::Refused(error)) => results.push(Err(error)),
            Err(Trouble::Fatal(error)) => return Err(error),
        }
    }
    transaction.commit()?;
    Ok(results)
}

fn begin(connection: &Connection, new: &NewInterview) -> Result<(), Trouble> {
    let actual: String = Sha256::digest(new.plan_body.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if actual != new.plan_hash {
        return Err(Trouble::Refused(JournalError::PlanDiffers {
            name: new.plan_name.clone(),
            given: new.plan_hash.clone(),
            actual,
        }));
    }
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO plans (hash, body, stored_at_unix_ms) VALUES (?1, ?2, ?3)",
        )?
        .execute((&new.plan_hash, &new.plan_body, new.at_unix_ms))?;
    let added = connection
        .prepare_cached(
            "INSERT OR IGNORE INTO interviews (id, room, plan_name, plan_hash, term, begun_at_unix_ms)
             VALUES (?1, ?2, ?3, ?4, 1, ?5)",
        )?
        .execute((new.id.as_str(), &new.room, &new.plan_name, &new.plan_hash, new.at_unix_ms))?;
    if added == 0 {
        return Err(Trouble::Refused(JournalError::AlreadyBegun {
            id: new.id.clone(),
        }));
    }
    Ok(())
}

fn append(
    connection: &Connection,
    heads: &mut HashMap<InterviewId, Head>,
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
fn find_head(connection: &Connection, id: &InterviewId) -> Result<Head, Trouble> {
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
