//! Keeps a copy of the file before each migration, so that an earlier release can be gone back to.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::JournalError;
use super::open::opening;
use super::write::Heads;
use crate::clock::unix_ms;
use crate::interview::InterviewId;

/// The directory of the copies, in the state directory.
pub const COPIES_DIRECTORY: &str = "before-migration";
/// More than two releases back nobody goes.
const COPIES_MAX: usize = 2;
/// A copy holds what candidates said; after so long a release has proved itself.
const COPY_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// A copy that was kept.
struct Kept {
    path: PathBuf,
    schema: i64,
    at_unix_ms: u64,
}

/// Copies the file as it is, on disk when this returns.
pub(super) fn keep(
    connection: &Connection,
    directory: &Path,
    schema: i64,
) -> Result<(), JournalError> {
    let copies = directory.join(COPIES_DIRECTORY);
    let path = copies.join(format!("schema-{schema}-{}.sqlite3", unix_ms()));
    let unfinished = path.with_extension("unfinished");
    let failed = |cause: String| JournalError::NoCopy {
        path: path.clone(),
        cause,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&copies)
        .and_then(|()| {
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&unfinished)
        })
        .map_err(|e| failed(e.to_string()))?;
    let copied = match copy(connection, &unfinished) {
        Ok(StepResult::Done) => std::fs::rename(&unfinished, &path)
            .and_then(|()| File::open(&copies)?.sync_all())
            .map_err(|e| e.to_string()),
        Ok(step) => Err(format!("another program holds the file: {step:?}")),
        Err(e) => Err(e.to_string()),
    };
    if let Err(cause) = copied {
        // Half a copy is worth nothing; that it can't be removed either adds nothing to the cause.
        let _ = std::fs::remove_file(&unfinished);
        return Err(failed(cause));
    }
    tracing::info!(copy = %path.display(), schema, "kept a copy of the journal before its migration");
    Ok(())
}

fn copy(connection: &Connection, path: &Path) -> rusqlite::Result<StepResult> {
    let mut target = Connection::open(path)?;
    // All pages at once: the writer's lock is held, and nobody else is there to be let in between.
    let step = Backup::new(connection, &mut target)?.step(-1)?;
    // A single file that needs no other beside it, whatever is done with it.
    target.pragma_update(None, "journal_mode", "DELETE")?;
    target.close().map_err(|(_, e)| e)?;
    Ok(step)
}

/// Removes what is too old or too many. A copy that can't be removed is told and kept.
pub(super) fn expire(directory: &Path) {
    let now = unix_ms();
    let age_max_ms = COPY_AGE_MAX.as_secs() * 1000;
    for (at, kept) in list(directory).into_iter().enumerate() {
        if at < COPIES_MAX && now.saturating_sub(kept.at_unix_ms) <= age_max_ms {
            continue;
        }
        if let Err(e) = std::fs::remove_file(&kept.path) {
            tracing::warn!(copy = %kept.path.display(), "an old copy of the journal can't be removed: {e}");
        }
    }
}

/// The latest copy that a release of this schema can read.
pub(super) fn latest_for(directory: &Path, schema: i64) -> Option<PathBuf> {
    list(directory)
        .into_iter()
        .find(|kept| kept.schema <= schema)
        .map(|kept| kept.path)
}

/// Removes interviews from every copy.
pub(super) fn erase(directory: &Path, ids: &[InterviewId]) -> Result<(), JournalError> {
    for kept in list(directory) {
        let erased = || -> rusqlite::Result<()> {
            let mut connection = Connection::open(&kept.path)?;
            connection.pragma_update(None, "secure_delete", true)?;
            let transaction = connection.transaction()?;
            super::erase::erase(&transaction, &mut Heads::new(), ids)?;
            transaction.commit()?;
            connection.close().map_err(|(_, e)| e)
        };
        erased().map_err(|e| opening(&kept.path, &e))?;
    }
    Ok(())
}

/// The latest first. What has another name is not one of ours.
fn list(directory: &Path) -> Vec<Kept> {
    let Ok(entries) = std::fs::read_dir(directory.join(COPIES_DIRECTORY)) else {
        return Vec::new();
    };
    let mut kept: Vec<Kept> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_str()?;
            let (schema, at) = name
                .strip_prefix("schema-")?
                .strip_suffix(".sqlite3")?
                .split_once('-')?;
            Some(Kept {
                schema: schema.parse().ok()?,
                at_unix_ms: at.parse().ok()?,
                path,
            })
        })
        .collect();
    kept.sort_by_key(|kept| std::cmp::Reverse(kept.at_unix_ms));
    kept
}
