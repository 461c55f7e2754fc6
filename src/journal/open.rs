//! Opens the journal's file for writing and brings it to this release's schema.

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use sha2::{Digest, Sha256};

use super::lock::WriterLock;
use super::{JOURNAL_FILE, JournalError};

/// "VIVA": tells the journal from other programs' databases.
pub(super) const APPLICATION_ID: i64 = 0x5649_5641;
/// Litestream holds the write lock for a moment at its checkpoints, and asks for this value.
pub(super) const BUSY_TIMEOUT_MS: u64 = 5_000;

struct Migration {
    name: &'static str,
    sql: &'static str,
}

/// In order; the place of one, from 1, is the schema's number after it.
const MIGRATIONS: [Migration; 2] = [
    Migration {
        name: "0001_journal",
        sql: include_str!("../../migrations/sqlite/0001_journal.sql"),
    },
    Migration {
        name: "0002_take_up",
        sql: include_str!("../../migrations/sqlite/0002_take_up.sql"),
    },
];

/// The schema of this release.
pub(super) const SCHEMA: i64 = MIGRATIONS.len() as i64;

/// Kept apart from the migrations, because it has to be there before the first.
const MIGRATIONS_TABLE: &str = "CREATE TABLE IF NOT EXISTS migrations (
    version INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    sha256 BLOB NOT NULL,
    applied_at_unix_ms INTEGER NOT NULL
) STRICT";

/// A journal that can be written.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    /// After the connection, so that the file is closed before the lock is given up.
    pub(super) lock: WriterLock,
}

pub(super) fn open(directory: &Path) -> Result<Opened, JournalError> {
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
    check_identity(&connection, &path)?;
    prepare(&connection).map_err(|e| opening(&path, &e))?;
    migrate(&mut connection, &path)?;
    Ok(Opened {
        connection,
        path,
        lock,
    })
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
    connection
        .busy_timeout(Duration::from_millis(BUSY_TIMEOUT_MS))
        .map_err(|e| opening(path, &e))?;
    let (application_id, version) = (read("application_id")?, read("user_version")?);
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|e| opening(path, &e))?;
    if application_id != APPLICATION_ID && (application_id != 0 || version != 0 || tables != 0) {
        return Err(JournalError::NotAJournal {
            path: path.to_owned(),
        });
    }
    let known = MIGRATIONS.len() as i64;
    if version > known {
        return Err(JournalError::TooNew {
            path: path.to_owned(),
            found: u32::try_from(version).unwrap_or(u32::MAX),
            known: MIGRATIONS.len() as u32,
        });
    }
    Ok(version)
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // The checkpoint at the last close would take frames away that Litestream has not copied yet.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(())
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), JournalError> {
    let failed = |e: rusqlite::Error| opening(path, &e);
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    transaction
        .execute_batch(MIGRATIONS_TABLE)
        .map_err(failed)?;
    let applied: usize = transaction
        .pragma_query_one(None, "user_version")
        .map_err(failed)?;
    for (at, migration) in MIGRATIONS.iter().enumerate() {
        let version = at + 1;
        let hash: [u8; 32] = Sha256::digest(migration.sql.as_bytes()).into();
        if version <= applied {
            let same: bool = transaction
                .query_row(
                    "SELECT count(*) = 1 FROM migrations WHERE version = ?1 AND sha256 = ?2",
                    (version, hash),
                    |row| row.get(0),
                )
                .map_err(failed)?;
            if !same {
                return Err(JournalError::MigrationDiffers {
                    path: path.to_owned(),
                    name: migration.name.to_owned(),
                });
            }
            continue;
        }
        transaction.execute_batch(migration.sql).map_err(failed)?;
        transaction
            .execute(
                "INSERT INTO migrations (version, name, sha256, applied_at_unix_ms) VALUES (?1, ?2, ?3, ?4)",
                (version, migration.name, hash, unix_ms()),
            )
            .map_err(failed)?;
    }
    transaction
        .pragma_update(None, "application_id", APPLICATION_ID)
        .map_err(failed)?;
    // Written even when it stays the same: a disk that can't be written shows now, not in an interview.
    transaction
        .pragma_update(None, "user_version", MIGRATIONS.len())
        .map_err(failed)?;
    transaction.commit().map_err(failed)
}

fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(0))
}

/// SQLite's error at opening, told apart by what has to be done about it.
pub(super) fn opening(path: &Path, error: &rusqlite::Error) -> JournalError {
    let (path, cause) = (path.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            JournalError::Damaged { path, cause }
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::DiskFull) => {
            JournalError::Unwritable { path, cause }
        }
        Some(ErrorCode::DatabaseBusy) => JournalError::Locked { cause },
        _ => JournalError::Open { path, cause },
    }
}
