//! Brings the file to this release's schema, after a copy of it was kept.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use sha2::{Digest, Sha256};

use super::open::{APPLICATION_ID, opening};
use super::{JournalError, copies};
use crate::clock::unix_ms;

struct Migration {
    name: &'static str,
    sql: &'static str,
}

/// In order; the place of one, from 1, is the schema's number after it. They add and never take away, so
/// that an earlier release can go on with the file unless `min_reader` says otherwise.
const MIGRATIONS: [Migration; 4] = [
    Migration {
        name: "0001_journal",
        sql: include_str!("../../migrations/sqlite/0001_journal.sql"),
    },
    Migration {
        name: "0002_take_up",
        sql: include_str!("../../migrations/sqlite/0002_take_up.sql"),
    },
    Migration {
        name: "0003_told",
        sql: include_str!("../../migrations/sqlite/0003_told.sql"),
    },
    Migration {
        name: "0004_snapshots",
        sql: include_str!("../../migrations/sqlite/0004_snapshots.sql"),
    },
];

/// The schema of this release.
pub(super) const SCHEMA: i64 = MIGRATIONS.len() as i64;

/// The first schema that has a table about the file.
pub(super) const META_SCHEMA: i64 = 2;

/// Kept apart from the migrations, because it has to be there before the first.
const MIGRATIONS_TABLE: &str = "CREATE TABLE IF NOT EXISTS migrations (
    version INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    sha256 BLOB NOT NULL,
    applied_at_unix_ms INTEGER NOT NULL
) STRICT";

pub(super) fn migrate(
    connection: &mut Connection,
    path: &Path,
    directory: &Path,
) -> Result<(), JournalError> {
    let failed = |e: rusqlite::Error| opening(path, &e);
    let found: i64 = connection
        .pragma_query_one(None, "user_version")
        .map_err(failed)?;
    if found > 0 && found < SCHEMA {
        copies::keep(connection, directory, found)?;
    }
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    transaction
        .execute_batch(MIGRATIONS_TABLE)
        .map_err(failed)?;
    for (version, migration) in (1i64..).zip(&MIGRATIONS) {
        if version > found {
            apply(&transaction, version, migration).map_err(failed)?;
        } else if !is_same(&transaction, version, migration).map_err(failed)? {
            return Err(JournalError::MigrationDiffers {
                path: path.to_owned(),
                name: migration.name.to_owned(),
            });
        }
    }
    transaction
        .pragma_update(None, "application_id", APPLICATION_ID)
        .map_err(failed)?;
    // Written even when it stays the same: a disk that can't be written shows now, not in an interview.
    transaction
        .pragma_update(None, "user_version", SCHEMA.max(found))
        .map_err(failed)?;
    transaction.commit().map_err(failed)
}

fn apply(
    transaction: &Transaction<'_>,
    version: i64,
    migration: &Migration,
) -> rusqlite::Result<()> {
    transaction.execute_batch(migration.sql)?;
    transaction.execute(
        "INSERT INTO migrations (version, name, sha256, applied_at_unix_ms) VALUES (?1, ?2, ?3, ?4)",
        (version, migration.name, digest(migration), unix_ms()),
    )?;
    Ok(())
}

fn is_same(
    transaction: &Transaction<'_>,
    version: i64,
    migration: &Migration,
) -> rusqlite::Result<bool> {
    transaction.query_row(
        "SELECT count(*) = 1 FROM migrations WHERE version = ?1 AND sha256 = ?2",
        (version, digest(migration)),
        |row| row.get(0),
    )
}

fn digest(migration: &Migration) -> [u8; 32] {
    Sha256::digest(migration.sql.as_bytes()).into()
}
