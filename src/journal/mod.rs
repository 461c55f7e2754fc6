//! Keeps every interview in one SQLite file: an event exists when it is on disk, not before.
//!
//! One thread writes. Whatever waits for it goes into one transaction, so that many interviews share one
//! `fsync`; each writer is answered when that transaction is on disk. Readers open the file for themselves,
//! also from another process, and never wait for the writer.

mod arrive;
mod ballast;
mod carry;
mod chain;
mod copies;
mod erase;
mod error;
mod lock;
mod migrate;
mod open;
mod read;
mod rows;
mod salvage;
mod snapshot;
mod tombstones;
mod upkeep;
mod witness;
mod write;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use crate::interview::{Event, InterviewId, Recorded};

pub use arrive::IMPORTED_CAUSE;
pub use ballast::BALLAST_FILE;
pub use carry::{Arrival, Arrived, CarriedEvent, CarriedInterview, Line};
pub use chain::genesis as first_link;
pub use copies::COPIES_DIRECTORY;
pub use error::JournalError;
pub use read::{JournalReader, Unsent};
pub use rows::{Ended, InterviewRow, StoredEvent};
pub use salvage::{Examination, Examined, Salvaged};
pub use tombstones::TOMBSTONES_DIRECTORY;
pub use witness::{EPOCH_FILE, MARK_FILE, RESTORED_CAUSE};

use tombstones::Tombstones;
use write::{Write, Written};
use writer::{Command, Reply, Writer};

/// The journal's file in the state directory.
pub const JOURNAL_FILE: &str = "journal.sqlite3";
/// The file whose lock says that a process writes the journal.
pub const LOCK_FILE: &str = "journal.lock";
/// Why an interview that another appliance goes on with is set aside.
pub const REPLACED_CAUSE: &str = "another appliance goes on with it";
/// Writes that wait for the disk. Each session has one or two under way; a queue this long means that the
/// disk stands still, and waiting longer would not help.
pub const QUEUE_MAX: usize = 1024;

/// The way to write the journal. Clones write to the same one.
#[derive(Debug, Clone)]
pub struct Journal {
    queue: SyncSender<Command>,
    vitals: Arc<Mutex<Vitals>>,
    committed: watch::Receiver<u64>,
    /// Writes that were not answered yet.
    waiting: Arc<AtomicU64>,
    restored: Option<Arc<str>>,
    damage: Option<Arc<str>>,
    directory: Arc<Path>,
}

/// How a journal is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalOptions {
    /// Litestream replicates the file and makes the checkpoints.
    pub litestream: bool,
    /// How long the opening waits for another program that holds SQLite's lock. A start that has less time than the
    /// default would be over before the lock could be named.
    pub opening_busy_timeout: Duration,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            litestream: false,
            opening_busy_timeout: open::BUSY_TIMEOUT,
        }
    }
}

/// An interview that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewInterview {
    /// Its name, new in this journal.
    pub id: InterviewId,
    /// The LiveKit room.
    pub room: String,
    /// The name of the plan's file, for people.
    pub plan_name: String,
    /// [`Plan::hash`](crate::interview::plan::Plan::hash).
    pub plan_hash: String,
    /// [`Plan::body`](crate::interview::plan::Plan::body).
    pub plan_body: String,
    /// The candidate's identity, where the job names it.
    pub candidate: Option<String>,
    /// Wall clock, milliseconds since 1970.
    pub at_unix_ms: u64,
}

/// The place of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Whose event it is.
    pub id: InterviewId,
    /// Its term.
    pub term: u64,
    /// Its number.
    pub seq: u64,
}

/// Where an interview stood at one of its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The event's number.
    pub seq: u64,
    /// [`State::to_snapshot`](crate::interview::State::to_snapshot).
    pub state: String,
}

/// An interview that a process goes on with.
#[derive(Debug, Clone, PartialEq)]
pub struct TakenUp {
    /// With its new term.
    pub interview: InterviewRow,
    /// The text of its plan.
    pub plan_body: String,
    /// Where it stood before the events, if that is known; else they are all that happened.
    pub snapshot: Option<Snapshot>,
    /// What happened since then, checked.
    pub events: Vec<Recorded>,
    /// How often it was taken up since it last stood, this time included.
    pub attempts: u32,
}

/// How the journal is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Whether it can be written.
    pub condition: Condition,
    /// Transactions since the start.
    pub commits: u64,
    /// Events written since the start.
    pub events: u64,
    /// Writes that are not on disk yet, those of the transaction that is under way included.
    pub waiting: u64,
    /// What the last transaction took, from its begin until it was on disk.
    pub last_commit_us: Option<u64>,
    /// How long the transaction that is under way has taken so far: a large value is a disk that stands still.
    pub committing_for_us: Option<u64>,
}

/// Whether the journal can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Yes.
    Well,
    /// The disk is full and the reserve is being used: what runs can be ended, nothing begins.
    Full,
    /// No, because of this error; only a new start can help.
    Failed(JournalError),
    /// No, it was closed in good order.
    Closed,
}

#[derive(Debug)]
struct Vitals {
    condition: Condition,
    commits: u64,
    events: u64,
    last_commit_us: Option<u64>,
    committing_since: Option<Instant>,
}

impl Journal {
    /// Opens or creates the journal in a directory and starts its thread. Blocks for some milliseconds.
    ///
    /// # Errors
    /// The directory can't be written, another process writes this journal, the file is not a journal, is
    /// damaged or was written by a later release.
    pub fn open(directory: &Path) -> Result<Self, JournalError> {
        Self::open_with(directory, JournalOptions::default())
    }

    /// Like [`open`](Self::open), kept in another way.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_with(directory: &Path, options: JournalOptions) -> Result<Self, JournalError> {
        Self::open_limited(directory, options, None)
    }

    /// `pages_max` makes the file full at that size, for tests.
    fn open_limited(
        directory: &Path,
        options: JournalOptions,
        pages_max: Option<u32>,
    ) -> Result<Self, JournalError> {
        let opened = open::open(directory, options)?;
        let restored = opened.doubt.as_ref().map(ToString::to_string);
        let damage = opened.damage.clone();
        if let Some(pages) = pages_max {
            open::limit_pages(&opened, pages)?;
        }
        let vitals = Arc::new(Mutex::new(Vitals {
            condition: Condition::Well,
            commits: 0,
            events: 0,
            last_commit_us: None,
            committing_since: None,
        }));
        let (queue, commands) = sync_channel(QUEUE_MAX);
        let (committing, committed) = watch::channel(0);
        let writer = Writer::new(opened, vitals.clone(), committing);
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer.run(&commands))
            .map_err(|e| JournalError::Failed {
                cause: format!("the journal's thread can't be started: {e}"),
            })?;
        Ok(Self {
            queue,
            vitals,
            committed,
            waiting: Arc::default(),
            restored: restored.map(Into::into),
            damage: damage.map(Into::into),
            directory: directory.into(),
        })
    }

    /// Writes that an interview begins, with its plan; returns when that is on disk.
    ///
    /// # Errors
    /// There is an interview of this name already, the plan does not have its hash, or the journal can't be
    /// written.
    pub async fn begin(&self, new: NewInterview) -> Result<(), JournalError> {
        self.write(Write::Begin(new)).await
    }

    /// Writes events of an interview, all or none; returns when they are on disk. Whoever drops the future
    /// does not take the write back, so the state has to be replayed before the next one.
    ///
    /// # Errors
    /// The interview is unknown or over, the first event's number is not the one after the last, there is a
    /// gap, or the journal can't be written. After [`JournalError::Failed`] every later write fails as well.
    pub async fn append(
        &self,
        id: &InterviewId,
        events: Vec<Recorded>,
    ) -> Result<(), JournalError> {
        if events.is_empty() {
            return Ok(());
        }
        let mut rows = Vec::with_capacity(events.len());
        for recorded in events {
            rows.push(Row::of(id, recorded)?);
        }
        let id = id.clone();
        self.write(Write::Append { id, rows }).await
    }

    /// Goes on with an interview that another process began: raises its term, under which all that is
    /// appended from now on is written, and counts the attempt. Both are on disk when this returns, so that
    /// an interview that kills its process is known by its attempts.
    ///
    /// # Errors
    /// The interview is unknown, over or set aside, its events are damaged or of a later release, or the
    /// journal can't be written.
    pub async fn take_up(&self, id: &InterviewId) -> Result<TakenUp, JournalError> {
        match self.send_write(Write::TakeUp { id: id.clone() }).await? {
            Written::TakenUp(taken) => Ok(*taken),
            _ => Err(wrong_answer()),
        }
    }

    /// Keeps where an interview stands at its last event, without a wait: nothing is lost where that fails.
    ///
    /// # Errors
    /// The queue is full, or the journal can't be written.
    pub fn keep_snapshot(&self, id: &InterviewId, snapshot: Snapshot) -> Result<(), JournalError> {
        let id = id.clone();
        let write = Write::Snapshot { id, snapshot };
        let (reply, _unheard) = oneshot::channel();
        self.enqueue(Command::Write { write, reply })
    }

    /// All that happened in an interview, checked.
    ///
    /// # Errors
    /// There is no such interview, or what it consists of can't be read.
    pub async fn history(&self, id: &InterviewId) -> Result<Vec<Recorded>, JournalError> {
        let (directory, id) = (self.directory.clone(), id.clone());
        let reading =
            tokio::task::spawn_blocking(move || JournalReader::open(&directory)?.events(&id));
        reading.await.map_err(|_| broke_down())?
    }

    /// Takes in an interview, or events of it, that come from elsewhere. What is here already is compared,
    /// what is missing is added behind it with its own terms and hashes. An interview that was not here
    /// before and is not over is set aside with [`IMPORTED_CAUSE`].
    ///
    /// # Errors
    /// The interview or an event is another one here, there is a gap before the first one that is missing
    /// here, the chain does not hold, or the journal can't be written; nothing of it is taken in then.
    pub async fn arrive(&self, arrival: Arrival, at_unix_ms: u64) -> Result<Arrived, JournalError> {
        let arrival = Box::new(arrival);
        let write = Write::Arrive {
            arrival,
            at_unix_ms,
        };
        match self.send_write(write).await? {
            Written::Arrived(arrived) => Ok(arrived),
            _ => Err(wrong_answer()),
        }
    }

    /// Writes that a process has held the interview for long enough to trust it: its attempts count from 0.
    ///
    /// # Errors
    /// The interview is unknown, or the journal can't be written.
    pub async fn stood(&self, id: &InterviewId) -> Result<(), JournalError> {
        self.write(Write::Stood { id: id.clone() }).await
    }

    /// Writes that an interview is not to be taken up again by itself, and why. Events can still be appended.
    ///
    /// # Errors
    /// The interview is unknown or over, or the journal can't be written.
    pub async fn set_aside(
        &self,
        id: &InterviewId,
        at_unix_ms: u64,
        cause: String,
    ) -> Result<(), JournalError> {
        let id = id.clone();
        self.write(Write::SetAside {
            id,
            at_unix_ms,
            cause,
        })
        .await
    }

    /// Undoes [`set_aside`](Self::set_aside); the attempts count from 0.
    ///
    /// # Errors
    /// The interview is unknown or over, or the journal can't be written.
    pub async fn readmit(&self, id: &InterviewId) -> Result<(), JournalError> {
        self.write(Write::Readmit { id: id.clone() }).await
    }

    /// Writes that the events up to this one are in Postgres as well. An older acknowledgement that comes
    /// late changes nothing.
    ///
    /// # Errors
    /// There is no such event, or the journal can't be written.
    pub async fn acknowledge(
        &self,
        id: &InterviewId,
        term: u64,
        seq: u64,
    ) -> Result<(), JournalError> {
        let id = id.clone();
        self.acknowledge_all(vec![Place { id, term, seq }]).await
    }

    /// The same for several interviews in one write.
    ///
    /// # Errors
    /// One of the events is not there, or the journal can't be written; nothing is acknowledged then.
    pub async fn acknowledge_all(&self, places: Vec<Place>) -> Result<(), JournalError> {
        if places.is_empty() {
            return Ok(());
        }
        self.write(Write::Acknowledge { places }).await
    }

    /// Deletes interviews for good, from the file and from the copies that were kept before migrations. A
    /// tombstone outside the file keeps each from coming back with a restored copy. An interview that is
    /// being held ends by this, because nothing can be appended to it. Returns how many were there.
    ///
    /// # Errors
    /// A tombstone or the journal can't be written, or a copy can't be changed; it can be called again.
    pub async fn delete(&self, ids: Vec<InterviewId>) -> Result<u64, JournalError> {
        let directory = self.directory.clone();
        let buried = ids.clone();
        let set = tokio::task::spawn_blocking(move || {
            set_tombstones(&directory, &buried)?;
            copies::erase(&directory, &buried)
        });
        set.await.map_err(|_| broke_down())??;
        self.erase(ids).await
    }

    /// Deletes the interviews that have a tombstone and are still here: `viva interview delete` sets one while
    /// this process writes the journal.
    ///
    /// # Errors
    /// The tombstones can't be read, or the journal can't be written.
    pub async fn bury(&self) -> Result<u64, JournalError> {
        let directory = self.directory.clone();
        let listed = tokio::task::spawn_blocking(move || {
            let ids = Tombstones::of(&directory).all()?;
            copies::erase(&directory, &ids)?;
            Ok(ids)
        });
        let ids = listed.await.map_err(|_| broke_down())??;
        self.erase(ids).await
    }

    /// Deletes the interviews that were over before a moment.
    ///
    /// # Errors
    /// As for [`delete`](Self::delete), or the journal can't be read.
    pub async fn expire(&self, ended_before_unix_ms: u64) -> Result<u64, JournalError> {
        let directory = self.directory.clone();
        let listed = tokio::task::spawn_blocking(move || {
            JournalReader::open(&directory)?.ended_before(ended_before_unix_ms)
        });
        let ids = listed.await.map_err(|_| broke_down())??;
        self.delete(ids).await
    }

    async fn erase(&self, ids: Vec<InterviewId>) -> Result<u64, JournalError> {
        if ids.is_empty() {
            return Ok(0);
        }
        match self.send_write(Write::Erase { ids }).await? {
            Written::Erased(erased) => Ok(erased),
            _ => Err(wrong_answer()),
        }
    }

    /// Writes why the events of an interview are not sent for now, or that they are again.
    ///
    /// # Errors
    /// The interview is unknown, or the journal can't be written.
    pub async fn hold_back(
        &self,
        id: &InterviewId,
        cause: Option<String>,
    ) -> Result<(), JournalError> {
        let id = id.clone();
        self.write(Write::HoldBack { id, cause }).await
    }

    /// Writes that the webhook knows that the interview is over. One that was deleted meanwhile needs it no more.
    ///
    /// # Errors
    /// The journal can't be written.
    pub async fn told(&self, id: &InterviewId) -> Result<(), JournalError> {
        match self.write(Write::Told { id: id.clone() }).await {
            Err(JournalError::UnknownInterview { .. }) => Ok(()),
            written => written,
        }
    }

    /// Why the file was not taken for the one that was written last when it was opened, if it was not. Its
    /// live interviews were set aside with [`RESTORED_CAUSE`].
    pub fn restored(&self) -> Option<&str> {
        self.restored.as_deref()
    }

    /// What was wrong with the file's pages when it was opened, if it is small enough for a look at each. Whoever needs one of
    /// them is refused, and the others are not.
    pub fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// Changes each time something was committed; closed when the journal is.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.committed.clone()
    }

    /// Writes what is waiting, closes the file and gives up the lock.
    ///
    /// # Errors
    /// The journal had failed before.
    pub async fn close(&self) -> Result<(), JournalError> {
        self.send(|reply| Command::Close { reply })
            .await
            .map(|_| ())
    }

    /// How the journal is, without a wait for the disk.
    pub fn probe(&self) -> Probe {
        let vitals = lock(&self.vitals);
        Probe {
            condition: vitals.condition.clone(),
            commits: vitals.commits,
            events: vitals.events,
            waiting: self.waiting.load(Ordering::Relaxed),
            last_commit_us: vitals.last_commit_us,
            committing_for_us: vitals.committing_since.map(|t| micros(t.elapsed())),
        }
    }

    async fn write(&self, write: Write) -> Result<(), JournalError> {
        self.send_write(write).await.map(|_| ())
    }

    async fn send_write(&self, write: Write) -> Result<Written, JournalError> {
        self.send(|reply| Command::Write { write, reply }).await
    }

    async fn send(&self, command: impl FnOnce(Reply) -> Command) -> Result<Written, JournalError> {
        let (reply, answer) = oneshot::channel();
        let _waits = Waits::among(&self.waiting);
        self.enqueue(command(reply))?;
        match answer.await {
            Ok(result) => result,
            Err(_) => Err(self.why_not()),
        }
    }

    fn enqueue(&self, command: Command) -> Result<(), JournalError> {
        self.queue.try_send(command).map_err(|e| match e {
            TrySendError::Full(_) => JournalError::QueueFull { queued: QUEUE_MAX },
            TrySendError::Disconnected(_) => self.why_not(),
        })
    }

    /// Why nobody takes commands any more.
    fn why_not(&self) -> JournalError {
        match &lock(&self.vitals).condition {
            Condition::Failed(error) => error.clone(),
            Condition::Closed => JournalError::Closed,
            Condition::Well | Condition::Full => JournalError::Failed {
                cause: "the journal's thread has died".into(),
            },
        }
    }
}

/// One write that waits, for as long as this is kept.
struct Waits<'a>(&'a AtomicU64);

impl<'a> Waits<'a> {
    fn among(waiting: &'a AtomicU64) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An event as it is stored.
#[derive(Debug)]
struct Row {
    seq: u64,
    at_unix_ms: u64,
    elapsed_ms: u64,
    kind: &'static str,
    payload: String,
    end_reason: Option<&'static str>,
}

impl Row {
    fn of(id: &InterviewId, recorded: Recorded) -> Result<Self, JournalError> {
        let payload = recorded
            .event
            .to_payload()
            .map_err(|e| JournalError::Unreadable {
                id: id.clone(),
                seq: recorded.seq,
                cause: e.to_string(),
            })?;
        Ok(Self {
            seq: recorded.seq,
            at_unix_ms: recorded.at_unix_ms,
            elapsed_ms: recorded.elapsed_ms,
            kind: recorded.event.kind(),
            payload,
            end_reason: match &recorded.event {
                Event::Ended { reason } => Some(reason.name()),
                _ => None,
            },
        })
    }
}

/// The interviews that were deleted, as it is known outside the file.
///
/// # Errors
/// The directory can't be read.
pub fn tombstones(directory: &Path) -> Result<Vec<InterviewId>, JournalError> {
    Tombstones::of(directory).all()
}

/// Says outside the file that these interviews are deleted; whoever writes the journal deletes them.
///
/// # Errors
/// A tombstone can't be written.
pub fn set_tombstones(directory: &Path, ids: &[InterviewId]) -> Result<(), JournalError> {
    let tombstones = Tombstones::of(directory);
    ids.iter().try_for_each(|id| tombstones.set(id))
}

fn broke_down() -> JournalError {
    JournalError::Failed {
        cause: "a look at the state directory broke down".into(),
    }
}

fn wrong_answer() -> JournalError {
    JournalError::Failed {
        cause: "the journal's thread gave the answer to another question".into(),
    }
}

/// The vitals are plain values, whole also after a panic elsewhere.
fn lock(vitals: &Mutex<Vitals>) -> std::sync::MutexGuard<'_, Vitals> {
    vitals.lock().unwrap_or_else(PoisonError::into_inner)
}

fn micros(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
