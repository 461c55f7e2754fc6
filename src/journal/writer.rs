//! The one thread that writes: it puts all that waits into one transaction and answers when that is on disk.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rusqlite::ErrorCode;
use tokio::sync::{oneshot, watch};

use super::open::Opened;
use super::write::{Heads, Write, Written, write_group};
use super::{Condition, JournalError, Vitals, lock, micros};

/// Commands in one transaction, at most: it stays short, and a reader's view young.
const GROUP_MAX: usize = 256;

pub(super) type Reply = oneshot::Sender<Result<Written, JournalError>>;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Command {
    Write { write: Write, reply: Reply },
    Close { reply: Reply },
}

/// A write and who waits for it.
type Waiting = (Write, Reply);

pub(super) struct Writer {
    opened: Opened,
    vitals: Arc<Mutex<Vitals>>,
    committed: watch::Sender<u64>,
    heads: Heads,
}

impl Writer {
    pub(super) fn new(
        opened: Opened,
        vitals: Arc<Mutex<Vitals>>,
        committed: watch::Sender<u64>,
    ) -> Self {
        Self {
            opened,
            vitals,
            committed,
            heads: Heads::new(),
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
                    Command::Write { write, reply } => group.push((write, reply)),
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
    fn commit(&mut self, group: Vec<Waiting>) -> Result<(), JournalError> {
        if group.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        lock(&self.vitals).committing_since = Some(started);
        let writes = group.iter().map(|(write, _)| write);
        let written = write_group(&mut self.opened.connection, &mut self.heads, writes);
        {
            let mut vitals = lock(&self.vitals);
            vitals.committing_since = None;
            if let Ok(results) = &written {
                let events = group.iter().zip(results).filter(|(_, r)| r.is_ok());
                vitals.commits += 1;
                vitals.events += events.map(|((write, _), _)| write.events()).sum::<u64>();
                vitals.last_commit_us = Some(micros(started.elapsed()));
            }
        }
        match written {
            Ok(results) => {
                self.committed.send_modify(|commits| *commits += 1);
                for ((_, reply), result) in group.into_iter().zip(results) {
                    answer(reply, result);
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
                for (_, reply) in group {
                    answer(reply, Err(told.clone()));
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
                Ok(Written::Nothing)
            } else {
                Err(told.clone())
            };
            answer(reply, result);
        }
        while let Ok(command) = commands.try_recv() {
            let (Command::Write { reply, .. } | Command::Close { reply }) = command;
            answer(reply, Err(told.clone()));
        }
    }
}

/// A sender that has gone away does not need the answer: what it wrote is in the journal all the same.
fn answer(reply: Reply, result: Result<Written, JournalError>) {
    let _ = reply.send(result);
}
