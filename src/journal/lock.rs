//! Lets one process at a time write the journal of a state directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{JournalError, LOCK_FILE};

/// A process id has at most so many digits; whatever else is in the file is not one.
const HOLDER_BYTES_MAX: u64 = 20;
/// A child that was just made has every open file of its parent until it has become its own program: so long after a
/// process has let go or died, the lock may still seem to be held.
const LOCK_LIMIT: Duration = Duration::from_millis(250);
/// Between two tries.
const LOCK_AGAIN: Duration = Duration::from_millis(10);

/// Held as long as this value lives; the kernel lets go of it when the process dies.
#[derive(Debug)]
pub(super) struct WriterLock {
    _file: File,
}

impl WriterLock {
    pub(super) fn take(directory: &Path) -> Result<Self, JournalError> {
        let path = directory.join(LOCK_FILE);
        let unwritable = |e: std::io::Error| JournalError::Unwritable {
            path: path.clone(),
            cause: e.to_string(),
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(unwritable)?;
        let until = Instant::now() + LOCK_LIMIT;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    std::thread::sleep(LOCK_AGAIN);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(JournalError::InUse {
                        directory: directory.to_owned(),
                        holder: holder(&mut file),
                    });
                }
                Err(TryLockError::Error(e)) => return Err(unwritable(e)),
            }
        }
        // For the message to others alone: on a full disk the lock holds all the same.
        let _ = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

/// Only for the message, so that whatever is not a number is simply not known.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(HOLDER_BYTES_MAX).read_to_string(&mut text);
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) => pid.to_string(),
        _ => "unknown".to_owned(),
    }
}
