//! Opens the journal's file for writing and brings it to this release's schema.

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior};

use super::ballast::Ballast;
use super::erase::erase;
use super::lock::WriterLock;
use super::migrate::{META_SCHEMA, SCHEMA, migrate};
use super::tombstones::Tombstones;
use super::witness::{Doubt, Marker, Unsettled, doubt, settle};
use super::write::Heads;
use super::{JOURNAL_FILE, JournalError, JournalOptions, copies};
use crate::clock::unix_ms;

/// "VIVA": tells the journal from other programs' databases.
pub(super) const APPLICATION_ID: i64 = 0x5649_5641;
/// Litestream holds the write lock for a moment at its checkpoints, and asks for this value.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Pages in the WAL from which a commit also brings them into the file: 4 MiB.
const CHECKPOINT_PAGES: u32 = 1_000;
/// The same when Litestream makes the checkpoints: only should it be dead. 64 MiB.
const CHECKPOINT_PAGES_WITH_LITESTREAM: u32 = 16_384;

/// Up to this size the pages are all looked at when the file is opened: some ten milliseconds, beside which a model loads.
const CHECKED_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// What SQLite takes for the index of a WAL.
const INDEX_BYTES: u64 = 32 * 1024;

/// A journal that can be written.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    pub(super) marker: Marker,
    pub(super) ballast: Ballast,
    pub(super) tombstones: Tombstones,
    pub(super) options: JournalOptions,
    /// Why the file is not taken for the one that was written last.
    pub(super) doubt: Option<Doubt>,
    /// What is wrong with its pages.
    pub(super) damage: Option<String>,
    /// After the connection, so that the file is closed before the lock is given up.
    pub(super) lock: WriterLock,
}

pub(super) fn open(directory: &Path, options: JournalOptions) -> Result<Opened, JournalError> {
    match open_once(directory, options) {
        // What was live can still be taken up and ended in the room that the reserve leaves. That there is no
        // room for the WAL's index shows as an I/O error like any other.
        Err(cause @ (JournalError::Full | JournalError::Open { .. }))
            if Ballast::of(directory).drop_it() =>
        {
            tracing::error!("{cause}; the reserve is given up to open the journal");
            open_once(directory, options)
        }
        opened => opened,
    }
}

fn open_once(directory: &Path, options: JournalOptions) -> Result<Opened, JournalError> {
    let unwritable = |path: &Path, e: &std::io::Error| JournalError::Unwritable {
        path: path.to_owned(),
        cause: e.to_string(),
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|e| unwritable(directory, &e))?;
    let lock = WriterLock::take(directory)?;
    let path = directory.join(JOURNAL_FILE);
    // Made here and not by SQLite, so that nobody else can ever read it.
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|e| unwritable(&path, &e))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection =
        Connection::open_with_flags(&path, flags).map_err(|e| opening(&path, &e))?;
    wait_for_locks(&connection, &path, options.opening_busy_timeout)?;
    check_identity(&connection, &path)?;
    prepare(&connection, options).map_err(|e| opening(&path, &e))?;
    let damage = damage(&connection, &path);
    if let Some(damage) = &damage {
        tracing::error!(
            "the journal {} is damaged: {damage}; interviews that do not need what is broken go on",
            path.display()
        );
    }
    migrate(&mut connection, &path, directory)?;
    let tombstones = Tombstones::of(directory);
    bury(&mut connection, &path, &tombstones)?;
    let doubt = examine(&mut connection, &path, directory, &tombstones)?;
    copies::expire(directory);
    let mut marker = Marker::open(directory)?;
    if let Some(doubt) = &doubt {
        tracing::error!(
            "the journal {} is not the file that was written last: {doubt}; its live interviews are set aside until they are reconciled or `viva journal adopt` readmits them",
            path.display()
        );
        marker.clear();
    }
    wait_for_locks(&connection, &path, BUSY_TIMEOUT)?;
    Ok(Opened {
        connection,
        path,
        marker,
        ballast: Ballast::of(directory),
        tombstones,
        options,
        doubt,
        damage,
        lock,
    })
}

/// How long each statement waits for another program's lock, from now on.
pub(super) fn wait_for_locks(
    connection: &Connection,
    path: &Path,
    limit: Duration,
) -> Result<(), JournalError> {
    connection
        .busy_timeout(limit)
        .map_err(|e| opening(path, &e))
}

/// Makes the file full at a size, so that a full disk can be tried out.
pub(super) fn limit_pages(opened: &Opened, pages_max: u32) -> Result<(), JournalError> {
    opened
        .connection
        .pragma_update_and_check(None, "max_page_count", pages_max, |_| Ok(()))
        .map_err(|e| opening(&opened.path, &e))
}

/// Refuses what another program or a later release has made, before anything is changed in it, and tells the
/// schema's number, which is 0 in a file that is still empty.
pub(super) fn check_identity(connection: &Connection, path: &Path) -> Result<i64, JournalError> {
    let read = |pragma: &str| -> Result<i64, JournalError> {
        connection
            .pragma_query_one(None, pragma)
            .map_err(|e| opening(path, &e))
    };
    let (application_id, version) = (read("application_id")?, read("user_version")?);
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|e| opening(path, &e))?;
    if application_id != APPLICATION_ID && (application_id != 0 || version != 0 || tables != 0) {
        return Err(JournalError::NotAJournal {
            path: path.to_owned(),
        });
    }
    let needed = min_reader(connection, version).map_err(|e| opening(path, &e))?;
    if needed > SCHEMA {
        let directory = path.parent().unwrap_or(Path::new("."));
        return Err(JournalError::TooNew {
            path: path.to_owned(),
            found: version,
            known: SCHEMA,
            way_back: match copies::latest_for(directory, SCHEMA) {
                Some(copy) => format!(
                    "or put the copy from before its migration in its place, {}, which lacks what was written since",
                    copy.display()
                ),
                None => "no copy from before its migration is kept".to_owned(),
            },
        });
    }
    Ok(version)
}

/// The earliest release, by its schema, that may open the file.
fn min_reader(connection: &Connection, version: i64) -> rusqlite::Result<i64> {
    if version < META_SCHEMA {
        return Ok(version);
    }
    let stored = connection
        .query_row("SELECT min_reader FROM meta", [], |row| row.get(0))
        .optional()?;
    Ok(stored.unwrap_or(version))
}

fn prepare(connection: &Connection, options: JournalOptions) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "secure_delete", true)?;
    let pages = if options.litestream {
        CHECKPOINT_PAGES_WITH_LITESTREAM
    } else {
        CHECKPOINT_PAGES
    };
    connection.pragma_update(None, "wal_autocheckpoint", pages)?;
    // The checkpoint at the last close would take frames away that Litestream has not copied yet.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // After a failed fsync the kernel may hold pages of the WAL for clean that are not on the disk, and frames
    // behind such a hole would be lost with the power. A checkpoint writes their content once more.
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

/// What is wrong with the pages of a file that is small enough to look at all of them. It costs the interviews that need
/// them and not the start, and is said before one of them is begun. Of a larger file `viva journal check` tells.
fn damage(connection: &Connection, path: &Path) -> Option<String> {
    let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    if bytes(path) + bytes(Path::new(&wal)) > CHECKED_BYTES_MAX {
        return None;
    }
    let found = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    match found {
        Ok(found) if found == "ok" => None,
        Ok(found) => Some(found),
        Err(error) => Some(error.to_string()),
    }
}

/// Whoever was deleted is not here, also when the file was restored from a time before that.
fn bury(
    connection: &mut Connection,
    path: &Path,
    tombstones: &Tombstones,
) -> Result<(), JournalError> {
    let ids = tombstones.all()?;
    if ids.is_empty() {
        return Ok(());
    }
    let mut bury = || -> rusqlite::Result<u64> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let erased = erase(&transaction, &mut Heads::new(), &ids)?;
        transaction.commit()?;
        Ok(erased)
    };
    let erased = bury().map_err(|e| opening(path, &e))?;
    if erased > 0 {
        tracing::warn!(
            "{erased} interviews that had been deleted were in the journal again, and are deleted again"
        );
    }
    Ok(())
}

/// Whether this is the file that was written last; if not, its live interviews are set aside.
fn examine(
    connection: &mut Connection,
    path: &Path,
    directory: &Path,
    tombstones: &Tombstones,
) -> Result<Option<Doubt>, JournalError> {
    let failed = |e: rusqlite::Error| opening(path, &e);
    let doubt = match doubt(connection, directory).map_err(failed)? {
        // It was deleted, and the process killed before it could forget the mark.
        Some(Doubt::EventMissing(mark)) if tombstones.has(&mark.interview)? => None,
        doubt => doubt,
    };
    settle(connection, directory, doubt.as_ref(), unix_ms()).map_err(|e| match e {
        Unsettled::Epoch(error) => error,
        Unsettled::File(error) => failed(error),
    })?;
    Ok(doubt)
}

/// SQLite's error at opening, told apart by what has to be done about it.
pub(super) fn opening(path: &Path, error: &rusqlite::Error) -> JournalError {
    let (path, cause) = (path.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            JournalError::Damaged { path, cause }
        }
        Some(ErrorCode::DiskFull) => JournalError::Full,
        // Where there is no room for the index of the WAL, SQLite speaks of input and output.
        Some(ErrorCode::SystemIoFailure) if is_full(&path) => JournalError::Full,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            JournalError::Unwritable { path, cause }
        }
        Some(ErrorCode::DatabaseBusy) => JournalError::Locked { cause },
        _ => JournalError::Open { path, cause },
    }
}

/// Whether the disk has no room for the smallest of SQLite's files.
fn is_full(path: &Path) -> bool {
    let directory = path.parent().unwrap_or(Path::new("."));
    rustix::fs::statvfs(directory)
        .is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < INDEX_BYTES)
}
