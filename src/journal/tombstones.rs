//! Remembers, outside the database, which interviews were deleted: a restored copy does not bring them back.
//!
//! A file for each, named by the id alone and empty: there is nothing to tear, and nothing about a person.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::JournalError;
use crate::interview::InterviewId;

/// The directory in the state directory.
pub const TOMBSTONES_DIRECTORY: &str = "tombstones";

#[derive(Debug)]
pub(super) struct Tombstones {
    directory: PathBuf,
}

impl Tombstones {
    pub(super) fn of(state: &Path) -> Self {
        Self {
            directory: state.join(TOMBSTONES_DIRECTORY),
        }
    }

    /// On disk when it returns.
    pub(super) fn set(&self, id: &InterviewId) -> Result<(), JournalError> {
        let path = self.directory.join(id.as_str());
        let set = || -> std::io::Result<()> {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.directory)?;
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)?
                .sync_all()?;
            File::open(&self.directory)?.sync_all()?;
            File::open(self.directory.parent().unwrap_or(Path::new(".")))?.sync_all()
        };
        set().map_err(|e| JournalError::Unwritable {
            path: path.clone(),
            cause: e.to_string(),
        })
    }

    pub(super) fn has(&self, id: &InterviewId) -> Result<bool, JournalError> {
        self.directory
            .join(id.as_str())
            .try_exists()
            .map_err(|e| self.unreadable(&e))
    }

    /// All of them. What can't name an interview is not one.
    pub(super) fn all(&self) -> Result<Vec<InterviewId>, JournalError> {
        let entries = match std::fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(self.unreadable(&e)),
        };
        let mut ids = Vec::new();
        for entry in entries {
            let name = entry.map_err(|e| self.unreadable(&e))?.file_name();
            ids.extend(name.to_str().and_then(|name| InterviewId::new(name).ok()));
        }
        Ok(ids)
    }

    /// Not knowing who was deleted is not the same as nobody.
    fn unreadable(&self, e: &std::io::Error) -> JournalError {
        JournalError::Open {
            path: self.directory.clone(),
            cause: e.to_string(),
        }
    }
}
