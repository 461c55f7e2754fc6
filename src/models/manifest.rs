//! The list of pinned models, as `models/manifest.toml` states it.

use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;

use serde::Deserialize;

use super::Sha256;

/// What the binary was built with.
const BUILTIN: &str = include_str!("../../models/manifest.toml");

/// All pinned models.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// In the order in which they are fetched and shown.
    #[serde(rename = "model")]
    pub models: Vec<Model>,
}

/// One model, which may have several files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Its name here.
    pub name: String,
    /// What it is needed for.
    pub purpose: Purpose,
    /// The Python package whose wheel holds it.
    pub package: String,
    /// That package's version.
    pub version: String,
    /// The first tag of the wheel's name: the Python it is for.
    pub python_tag: String,
    /// The second tag of the wheel's name: the binary interface it is for.
    pub abi_tag: String,
    /// The third tag of the wheel's name: the machine it is for.
    pub platform_tag: String,
    /// The wheel's hash.
    pub wheel_sha256: Sha256,
    /// The wheel's size.
    pub wheel_bytes: u64,
    /// Licences, by their SPDX names where they have one.
    pub licence: String,
    /// The files that are taken out of the wheel.
    pub files: Vec<ModelFile>,
}

/// One file of a model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Its name in the wheel.
    pub path_in_wheel: String,
    /// Where it lies, relative to the models directory.
    pub path: PathBuf,
    /// Its hash.
    pub sha256: Sha256,
    /// Its size.
    pub bytes: u64,
}

/// What a model is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// The library that runs the others. It may come from elsewhere (`models.onnxruntime`).
    Runtime,
    /// Voice activity; every interview needs it.
    Vad,
    /// The end of a turn; without it silence alone tells.
    Turn,
    /// The speech engines on this machine: all of its models or none.
    Speech,
    /// The tests' own recordings.
    Test,
}

/// Why a manifest can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not TOML, or not with the keys that a manifest has.
    #[error("the manifest of models is not valid: {0}")]
    Syntax(#[from] toml::de::Error),
    /// A file would lie outside the models directory, or two files at the same place.
    #[error("the manifest of models puts a file at {path}: {reason}")]
    Path {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file that the manifest does not have.
    #[error("the manifest of models lists no file {0}")]
    NotListed(String),
}

impl Manifest {
    /// The manifest that this binary was built with.
    #[must_use]
    pub fn builtin() -> &'static Self {
        #[expect(clippy::expect_used, reason = "it is compiled in, and a test reads it")]
        static PARSED: LazyLock<Manifest> =
            LazyLock::new(|| Manifest::parse(BUILTIN).expect("models/manifest.toml is valid"));
        &PARSED
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// It is not one, or a path in it leaves the models directory or is used twice.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = toml::from_str(text)?;
        let mut seen = std::collections::HashSet::new();
        for path in manifest.files().map(|(_, file)| &file.path) {
            let reason = if !stays_inside(path) {
                "it must be relative and without `..`"
            } else if !seen.insert(path) {
                "another file is already there"
            } else {
                continue;
            };
            return Err(ManifestError::Path {
                path: path.clone(),
                reason,
            });
        }
        Ok(manifest)
    }

    /// All files, each with its model.
    pub fn files(&self) -> impl Iterator<Item = (&Model, &ModelFile)> {
        self.models
            .iter()
            .flat_map(|model| model.files.iter().map(move |file| (model, file)))
    }

    /// The file that lies at `path`, relative to the models directory.
    ///
    /// # Errors
    /// There is none.
    pub fn file(&self, path: &str) -> Result<&ModelFile, ManifestError> {
        self.files()
            .map(|(_, file)| file)
            .find(|file| file.path == Path::new(path))
            .ok_or_else(|| ManifestError::NotListed(path.to_owned()))
    }
}

fn stays_inside(path: &Path) -> bool {
    path.components().next().is_some()
        && path
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models;

    #[test]
    fn the_builtin_manifest_has_every_file_that_the_engines_ask_for() {
        let files = [
            models::VAD,
            models::TURN,
            models::ONNX_RUNTIME,
            models::MOONSHINE_ENCODER,
            models::MOONSHINE_DECODER,
            models::MOONSHINE_TOKENS,
            models::PIPER_VOICE,
            models::PIPER_SETTINGS,
        ];
        for file in files {
            assert!(
                Manifest::builtin().file(file).is_ok(),
                "{file} is not listed"
            );
        }
    }

    #[test]
    fn a_file_that_is_not_listed_is_named() {
        let error = Manifest::builtin().file("nowhere.onnx").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the manifest of models lists no file nowhere.onnx"
        );
    }

    #[test]
    fn every_model_states_its_licence_and_has_files() {
        for model in &Manifest::builtin().models {
            assert!(
                !model.licence.is_empty() && !model.files.is_empty(),
                "{}",
                model.name
            );
        }
    }

    #[test]
    fn a_path_out_of_the_directory_is_refused() {
        for path in ["../x", "/etc/x", "a/../../x", ""] {
            let error = Manifest::parse(&with_paths(&[path])).unwrap_err();
            assert!(error.to_string().contains("relative"), "{path}: {error}");
        }
    }

    #[test]
    fn two_files_at_one_place_are_refused() {
        let error = Manifest::parse(&with_paths(&["a/x", "a/x"])).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("a/x: another file is already there"),
            "{error}"
        );
    }

    #[test]
    fn a_misspelt_key_is_refused() {
        let text = with_paths(&["a/x"]).replace("licence", "license");
        assert!(
            Manifest::parse(&text)
                .unwrap_err()
                .to_string()
                .contains("license")
        );
    }

    fn with_paths(paths: &[&str]) -> String {
        let hash = "0".repeat(64);
        let files: String = paths
            .iter()
            .map(|path| {
                format!(
                    "[[model.files]]\npath_in_wheel = \"x\"\npath = \"{path}\"\nsha256 = \"{hash}\"\nbytes = 1\n"
                )
            })
            .collect();
        format!(
            "[[model]]\nname = \"m\"\npurpose = \"vad\"\npackage = \"p\"\nversion = \"1\"\npython_tag = \"py3\"\n\
             abi_tag = \"none\"\nplatform_tag = \"any\"\nwheel_sha256 = \"{hash}\"\nwheel_bytes = 1\n\
             licence = \"MIT\"\n{files}"
        )
    }
}
