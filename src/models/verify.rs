//! Compares a models directory with the manifest.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::{Manifest, ModelFile, Purpose, Sha256};

/// What became of one file of the manifest.
#[derive(Debug)]
pub struct FileReport {
    /// The model's name.
    pub model: String,
    /// What the model is needed for.
    pub purpose: Purpose,
    /// Where the file was looked for.
    pub path: PathBuf,
    /// What was found.
    pub state: FileState,
}

/// What was found in place of a pinned file.
#[derive(Debug)]
pub enum FileState {
    /// The pinned bytes.
    Right,
    /// Nothing.
    Missing,
    /// Other bytes.
    Altered {
        /// The manifest's hash.
        expected: Sha256,
        /// The file's hash.
        found: Sha256,
    },
    /// Something that can't be read.
    Unreadable(io::Error),
}

impl Manifest {
    /// Reads and hashes every file that has one of `purposes` under `directory`, in the manifest's order.
    pub fn verify(&self, directory: &Path, purposes: &[Purpose]) -> Vec<FileReport> {
        self.files()
            .filter(|(model, _)| purposes.contains(&model.purpose))
            .map(|(model, file)| {
                let path = directory.join(&file.path);
                let state = check(&path, file);
                FileReport {
                    model: model.name.clone(),
                    purpose: model.purpose,
                    path,
                    state,
                }
            })
            .collect()
    }

    /// Whether every file with one of `purposes` is there with its size. Reads none of them: it tells which engines
    /// can be had, the hash is checked when they are loaded.
    #[must_use]
    pub fn is_fetched(&self, directory: &Path, purposes: &[Purpose]) -> bool {
        self.files()
            .filter(|(model, _)| purposes.contains(&model.purpose))
            .all(|(_, file)| {
                std::fs::metadata(directory.join(&file.path))
                    .is_ok_and(|found| found.len() == file.bytes)
            })
    }
}

fn check(path: &Path, file: &ModelFile) -> FileState {
    match File::open(path).and_then(Sha256::of_stream) {
        Ok(found) if found == file.sha256 => FileState::Right,
        Ok(found) => FileState::Altered {
            expected: file.sha256,
            found,
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => FileState::Missing,
        Err(e) => FileState::Unreadable(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(bytes: &[u8]) -> Manifest {
        let mut manifest = Manifest::builtin().clone();
        manifest.models.truncate(1);
        let file = &mut manifest.models[0].files[0];
        file.sha256 = Sha256::of(bytes);
        file.bytes = bytes.len() as u64;
        file.path = PathBuf::from("sub/model.onnx");
        manifest
    }

    fn state(manifest: &Manifest, directory: &Path) -> FileState {
        let mut reports = manifest.verify(directory, &[Purpose::Vad]);
        assert_eq!(reports.len(), 1);
        reports.remove(0).state
    }

    #[test]
    fn a_file_is_right_missing_altered_or_unreadable() {
        let directory = tempfile::tempdir().unwrap();
        let manifest = manifest(b"the model");
        assert!(matches!(
            state(&manifest, directory.path()),
            FileState::Missing
        ));
        assert!(!manifest.is_fetched(directory.path(), &[Purpose::Vad]));

        let path = directory.path().join("sub/model.onnx");
        std::fs::create_dir_all(&path).unwrap();
        assert!(matches!(
            state(&manifest, directory.path()),
            FileState::Unreadable(_)
        ));

        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, "a model!!").unwrap();
        let FileState::Altered { expected, found } = state(&manifest, directory.path()) else {
            unreachable!()
        };
        assert_eq!(
            (expected, found),
            (Sha256::of(b"the model"), Sha256::of(b"a model!!"))
        );

        std::fs::write(&path, "the model").unwrap();
        assert!(matches!(
            state(&manifest, directory.path()),
            FileState::Right
        ));
        assert!(manifest.is_fetched(directory.path(), &[Purpose::Vad]));
    }

    #[test]
    fn only_the_purposes_asked_for_are_looked_at() {
        let directory = tempfile::tempdir().unwrap();
        assert!(
            manifest(b"")
                .verify(directory.path(), &[Purpose::Speech, Purpose::Test])
                .is_empty()
        );
    }
}
