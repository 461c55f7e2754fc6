//! Keeps some of the disk occupied, to be given up when it is full: the running interviews can then end in
//! good order.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The file in the state directory.
pub const BALLAST_FILE: &str = "ballast";

/// The last events of a hundred interviews take far less; a checkpoint may need some pages as well.
const BALLAST_BYTES: u64 = 8 << 20;
/// Written piece by piece, so that no start allocates all of it.
const PIECE_BYTES: usize = 1 << 16;

#[derive(Debug)]
pub(super) struct Ballast {
    path: PathBuf,
}

impl Ballast {
    pub(super) fn of(directory: &Path) -> Self {
        Self {
            path: directory.join(BALLAST_FILE),
        }
    }

    /// Whether all of it is there.
    pub(super) fn is_whole(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|m| m.len() >= BALLAST_BYTES)
    }

    /// Takes the space. What does not compress, because some file systems do.
    pub(super) fn load(&self) -> std::io::Result<()> {
        if self.is_whole() {
            return Ok(());
        }
        let loaded = self.fill();
        if loaded.is_err() {
            // Half of it would be missing where it is needed.
            self.drop_it();
        }
        loaded
    }

    fn fill(&self) -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&self.path)?;
        let mut piece = vec![0u8; PIECE_BYTES];
        let mut random = fastrand::Rng::new();
        for _ in 0..BALLAST_BYTES / PIECE_BYTES as u64 {
            random.fill(&mut piece);
            file.write_all(&piece)?;
        }
        Ok(())
    }

    /// Gives the space back; false if there was none to give.
    pub(super) fn drop_it(&self) -> bool {
        let had = std::fs::metadata(&self.path).is_ok();
        had && std::fs::remove_file(&self.path)
            // Only then is the space really there, on a file system that frees it late.
            .and_then(|()| File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all())
            .is_ok()
    }
}
