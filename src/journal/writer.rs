//! The one thread that writes: it puts all that waits into one transaction and answers when that is on disk.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::ErrorCode;
use tokio::sync::{oneshot, watch};

use super::open::Opened;
use super::write::{Heads, Write, Written, write_group};
use super::{Condition, JournalError, Vitals, lock, micros};

/// Commands in one transaction, at most: it stays short, and a reader's view young.
const GROUP_MAX: usize = 256;

/// A full disk is tried again this often: making room takes a person.
const REFILL_INTERVAL: Duration = Duration::from_secs(30);

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
    commits: watch::Sender<u64>,
    heads: Heads,
    /// The disk is full and the ballast is gone or going: when to try again.
    full_until: Option<Instant>,
}

impl Writer {
    pub(super) fn new(
        opened: Opened,
        vitals: Arc<Mutex<Vitals>>,
        commits: watch::Sender<u64>,
    ) -> Self {
        Self {
            opened,
            vitals,
            commits,
            heads: Heads::new(),
            full_until: None,
        }
    }

    /// Works until it is told to close, until nobody can tell it anything, or until a write fails.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        self.load_ballast();
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
        if self.full_until.is_some_and(|until| until <= Instant::now()) {
            self.load_ballast();
        }
        let group = self.admitted(group);
        if group.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        lock(&self.vitals).committing_since = Some(started);
        let mut written = self.write(&group);
        if is(&written, ErrorCode::DiskFull) && self.opened.ballast.drop_it() {
            tracing::error!(
                "the journal's disk is full; its reserve is given up, no interview begins until there is room"
            );
            self.set_full();
            written = self.write(&group);
        }
        lock(&self.vitals).committing_since = None;
        match written {
            Ok(results) => {
                self.committed(&group, &results, started.elapsed());
                if results
                    .iter()
                    .any(|r| matches!(r, Ok(Written::Erased(n)) if *n > 0))
                {
                    self.opened.marker.clear();
                    self.forget();
                }
                for ((_, reply), result) in group.into_iter().zip(results) {
                    answer(reply, result);
                }
                Ok(())
            }
            Err(error) => {
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

    fn write(&mut self, group: &[Waiting]) -> rusqlite::Result<Vec<Result<Written, JournalError>>> {
        let writes = group.iter().map(|(write, _)| write);
        let written = write_group(&mut self.opened.connection, &mut self.heads, writes);
        if written.is_err() {
            // Whatever is in memory may be ahead of the file.
            self.heads.clear();
        }
        written
    }

    /// It is on disk: that is noted before anybody is told.
    fn committed(
        &mut self,
        group: &[Waiting],
        results: &[Result<Written, JournalError>],
        took: Duration,
    ) {
        let done = || {
            let both = group.iter().zip(results);
            both.filter(|(_, result)| result.is_ok())
                .map(|((write, _), _)| write)
        };
        if let Some(mark) = done().filter_map(Write::last_event).next_back() {
            self.opened.marker.note(&mark);
        }
        let mut vitals = lock(&self.vitals);
        vitals.commits += 1;
        vitals.events += done().map(Write::events).sum::<u64>();
        vitals.last_commit_us = Some(micros(took));
        drop(vitals);
        self.commits.send_modify(|commits| *commits += 1);
    }

    /// On a full disk no interview begins, and one that was deleted does not come back; whoever sent such a
    /// write is answered here.
    fn admitted(&self, group: Vec<Waiting>) -> Vec<Waiting> {
        let mut admitted = Vec::with_capacity(group.len());
        for (write, reply) in group {
            match self.refusal(&write) {
                Some(error) => answer(reply, Err(error)),
                None => admitted.push((write, reply)),
            }
        }
        admitted
    }

    fn refusal(&self, write: &Write) -> Option<JournalError> {
        let id = write.brings()?;
        if self.full_until.is_some() {
            return Some(JournalError::Full);
        }
        match self.opened.tombstones.has(id) {
            Ok(false) => None,
            Ok(true) => Some(JournalError::Deleted { id: id.clone() }),
            Err(error) => Some(error),
        }
    }

    /// The pages of before are overwritten in the file, but the WAL still has them. Litestream makes its own
    /// checkpoints and does away with them then.
    fn forget(&mut self) {
        if self.opened.options.litestream {
            return;
        }
        let busy = self
            .opened
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                row.get::<_, bool>(0)
            });
        match busy {
            Ok(false) => {}
            Ok(true) => tracing::warn!(
                "what was deleted stays in the journal's WAL until its next checkpoint: a reader holds it"
            ),
            Err(e) => tracing::warn!(
                "what was deleted stays in the journal's WAL until its next checkpoint: {e}"
            ),
        }
    }

    fn load_ballast(&mut self) {
        match self.opened.ballast.load() {
            Ok(()) => {
                if self.full_until.take().is_some() {
                    tracing::info!("there is room for the journal again");
                    lock(&self.vitals).condition = Condition::Well;
                }
            }
            Err(e) => {
                if self.full_until.is_none() {
                    tracing::error!(
                        "there is no room for the journal's reserve ({e}); no interview begins until there is"
                    );
                }
                self.set_full();
            }
        }
    }

    fn set_full(&mut self) {
        self.full_until = Some(Instant::now() + REFILL_INTERVAL);
        lock(&self.vitals).condition = Condition::Full;
    }

    /// Closes the file, then answers all that still waits.
    fn finish(self, condition: Condition, closing: Option<Reply>, commands: &Receiver<Command>) {
        let Self { opened, vitals, .. } = self;
        let Opened {
            connection,
            lock: held,
            path,
            ..
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
            Condition::Closed | Condition::Well | Condition::Full => JournalError::Closed,
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

fn is<T>(result: &rusqlite::Result<T>, code: ErrorCode) -> bool {
    matches!(result, Err(e) if e.sqlite_error_code() == Some(code))
}

/// A sender that has gone away does not need the answer: what it wrote is in the journal all the same.
fn answer(reply: Reply, result: Result<Written, JournalError>) {
    let _ = reply.send(result);
}
