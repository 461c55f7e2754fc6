//! The pinned model files: what they are, where they lie, and whether they are the right ones.
//!
//! `models/manifest.toml` is compiled in, so a binary accepts exactly the files that it was built and tested with.

use std::path::{Path, PathBuf};

mod digest;
mod image;
mod manifest;
mod verify;

pub use digest::{Sha256, Sha256Error};
pub use image::Image;
pub use manifest::{Manifest, ManifestError, Model, ModelFile, Purpose};
pub use verify::{FileReport, FileState};

/// The VAD, under a models directory.
pub const VAD: &str = "silero-vad/silero_vad_op18_ifless.onnx";
/// The turn model, under a models directory.
pub const TURN: &str = "smart-turn/smart-turn-v3.2-cpu.onnx";
/// The library that runs all others, under a models directory.
pub const ONNX_RUNTIME: &str = "onnxruntime/libonnxruntime.so.1.23.2";
/// Moonshine's encoder, under a models directory.
pub const MOONSHINE_ENCODER: &str = "moonshine-tiny-en/encoder_model.ort";
/// Moonshine's decoder, under a models directory.
pub const MOONSHINE_DECODER: &str = "moonshine-tiny-en/decoder_model_merged.ort";
/// Moonshine's vocabulary, under a models directory.
pub const MOONSHINE_TOKENS: &str = "moonshine-tiny-en/tokenizer.bin";
/// Piper's voice, under a models directory.
pub const PIPER_VOICE: &str = "piper-en-us-joe/en_US-joe-medium.onnx";
/// The settings of Piper's voice, under a models directory.
pub const PIPER_SETTINGS: &str = "piper-en-us-joe/en_US-joe-medium.onnx.json";

/// A file on this machine and the hash that its bytes must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// Where it lies.
    pub path: PathBuf,
    /// What it must hash to.
    pub sha256: Sha256,
}

/// Why a pinned file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// It can't be read, most often because it was never fetched.
    #[error(
        "cannot read the model file {path}: {source}; fetch it with models/fetch, or set models.directory to where it is"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Its bytes are not those that this binary was built for.
    #[error(
        "the model file {path} is not the pinned one: sha256 is {found}, expected {expected}; fetch it anew with models/fetch"
    )]
    Altered {
        /// The file.
        path: PathBuf,
        /// The manifest's hash.
        expected: Sha256,
        /// The file's hash.
        found: Sha256,
    },
}

impl Pinned {
    /// The manifest's file `path` (one of this module's constants) under `directory`.
    ///
    /// # Errors
    /// The manifest lists no such file.
    pub fn of_manifest(directory: &Path, path: &str) -> Result<Self, ManifestError> {
        let file = Manifest::builtin().file(path)?;
        Ok(Self {
            path: directory.join(&file.path),
            sha256: file.sha256,
        })
    }

    /// The file's bytes, which are the pinned ones. What is checked is what is returned, so nothing that happens to
    /// the file afterwards matters.
    ///
    /// # Errors
    /// The file can't be read, or its hash is another.
    pub fn read(&self) -> Result<Image, ModelError> {
        let (bytes, found) = Image::read(&self.path).map_err(|source| ModelError::Read {
            path: self.path.clone(),
            source,
        })?;
        if found != self.sha256 {
            return Err(ModelError::Altered {
                path: self.path.clone(),
                expected: self.sha256,
                found,
            });
        }
        Ok(bytes)
    }
}
