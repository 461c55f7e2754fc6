//! Remembers outside the database which file it is and how far it was written, so that a file that was
//! restored, or that lost its end, is known as such.
//!
//! The mark names the last event that is on disk. It is written after the commit and not synced: it can fall
//! behind the database when the machine dies, which makes it blind for a moment, but it is never ahead.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use serde::{Deserialize, Serialize};

use super::JournalError;
use crate::interview::{INTERVIEW_ID_CHARS_MAX, InterviewId};

/// The file that names the database's epoch.
pub const EPOCH_FILE: &str = "epoch";
/// The file that names the last event.
pub const MARK_FILE: &str = "journal.mark";

/// A mark has always this length, so that a later one overwrites all of an earlier one.
const MARK_BYTES: usize = INTERVIEW_ID_CHARS_MAX + 128;

/// Why the interviews of a restored file are set aside. Whoever has reconciled one readmits it.
pub const RESTORED_CAUSE: &str = "the journal was restored from a copy, so its end may be missing";

/// The last event that was on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) interview: InterviewId,
    pub(super) seq: u64,
}

/// What speaks against the file being the one that was written last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Doubt {
    /// It has an epoch, and there is none beside it.
    NoEpochBeside,
    /// The epoch beside it is another one.
    OtherEpoch,
    /// The last event that was acknowledged is not in it.
    EventMissing(Mark),
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoEpochBeside => write!(f, "there is no epoch file beside it"),
            Self::OtherEpoch => write!(f, "the epoch file beside it belongs to another file"),
            Self::EventMissing(mark) => write!(
                f,
                "it lacks event {} of the interview {}, which was on disk: the file is an older one, or its WAL is missing or damaged",
                mark.seq, mark.interview
            ),
        }
    }
}

/// Where the last event is noted.
#[derive(Debug)]
pub(super) struct Marker {
    file: File,
    /// The first failure is told; the others would say the same.
    failed: bool,
}

impl Marker {
    pub(super) fn open(directory: &Path) -> Result<Self, JournalError> {
        let path = directory.join(MARK_FILE);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|e| unwritable(&path, &e))?;
        Ok(Self {
            file,
            failed: false,
        })
    }

    /// The event is on disk whether or not it can be noted here.
    pub(super) fn note(&mut self, mark: &Mark) {
        let written = serde_json::to_vec(mark)
            .map_err(std::io::Error::other)
            .and_then(|mut line| {
                line.resize(MARK_BYTES, b' ');
                self.file.write_all_at(&line, 0)
            });
        match written {
            Ok(()) => self.failed = false,
            Err(e) if !self.failed => {
                self.failed = true;
                tracing::warn!(
                    "the mark beside the journal can't be written: {e}; a loss of the file's end would not be noticed"
                );
            }
            Err(_) => {}
        }
    }

    /// Forgets the mark, because its event is taken away on purpose.
    pub(super) fn clear(&mut self) {
        if let Err(e) = self.file.write_all_at(&[b' '; MARK_BYTES], 0) {
            tracing::warn!(
                "the mark beside the journal can't be cleared: {e}; the next start may take the journal for a restored one"
            );
        }
    }
}

/// Compares the file with what is known about it outside. A file without an epoch is new, or
/// older than epochs are, and is judged by the mark alone.
pub(super) fn doubt(connection: &Connection, directory: &Path) -> rusqlite::Result<Option<Doubt>> {
    let inside: Option<String> =
        connection.query_row("SELECT epoch FROM meta", [], |row| row.get(0))?;
    let outside = read(&directory.join(EPOCH_FILE));
    match (inside, outside) {
        (Some(_), None) => return Ok(Some(Doubt::NoEpochBeside)),
        (Some(inside), Some(outside)) if inside != outside.trim() => {
            return Ok(Some(Doubt::OtherEpoch));
        }
        _ => {}
    }
    let Some(mark) = read(&directory.join(MARK_FILE))
        .and_then(|text| serde_json::from_str::<Mark>(text.trim()).ok())
    else {
        return Ok(None);
    };
    let last: Option<u64> = connection
        .query_row(
            "SELECT seq FROM events WHERE interview_id = ?1 ORDER BY term DESC, seq DESC LIMIT 1",
            [mark.interview.as_str()],
            |row| row.get(0),
        )
        .optional()?;
    Ok((last.unwrap_or(0) < mark.seq).then_some(Doubt::EventMissing(mark)))
}

/// Sets the live interviews aside if there is a doubt, and gives the file a new epoch if it needs one. The
/// file beside it is written first: a process that is killed between the two finds the same doubt again, and
/// a new journal without an epoch has none to be doubted for.
pub(super) fn settle(
    connection: &mut Connection,
    directory: &Path,
    doubt: Option<&Doubt>,
    now_unix_ms: u64,
) -> Result<(), Unsettled> {
    let inside: Option<String> =
        connection.query_row("SELECT epoch FROM meta", [], |row| row.get(0))?;
    if inside.is_some() && doubt.is_none() {
        return Ok(());
    }
    let epoch: String =
        connection.query_row("SELECT lower(hex(randomblob(16)))", [], |row| row.get(0))?;
    write_epoch(directory, &epoch).map_err(Unsettled::Epoch)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if doubt.is_some() {
        transaction.execute(
            "UPDATE interviews SET set_aside = ?1, set_aside_at_unix_ms = ?2
             WHERE ended_at_unix_ms IS NULL AND set_aside IS NULL",
            (RESTORED_CAUSE, now_unix_ms),
        )?;
    }
    transaction.execute("UPDATE meta SET epoch = ?1", [&epoch])?;
    Ok(transaction.commit()?)
}

/// Why a file has no epoch of its own.
pub(super) enum Unsettled {
    /// It can't be written beside the file.
    Epoch(JournalError),
    /// It can't be written into the file.
    File(rusqlite::Error),
}

impl From<rusqlite::Error> for Unsettled {
    fn from(error: rusqlite::Error) -> Self {
        Self::File(error)
    }
}

fn write_epoch(directory: &Path, epoch: &str) -> Result<(), JournalError> {
    let path = directory.join(EPOCH_FILE);
    let new = directory.join(format!("{EPOCH_FILE}.new"));
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        writeln!(file, "{epoch}")?;
        file.sync_all()?;
        std::fs::rename(&new, &path)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|e| unwritable(&path, &e))
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    let file = File::open(path).ok()?;
    file.take(MARK_BYTES as u64 + 1)
        .read_to_string(&mut text)
        .ok()?;
    Some(text)
}

fn unwritable(path: &Path, e: &std::io::Error) -> JournalError {
    JournalError::Unwritable {
        path: PathBuf::from(path),
        cause: e.to_string(),
    }
}
