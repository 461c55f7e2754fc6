//! Models in ONNX Runtime's own format, made once from the pinned ones: `viva models prepare`.
//!
//! A model in the ONNX format is parsed, worked over and copied at each start. In the runtime's own format that work is
//! done, and the weights are used where they lie: Piper's voice loads in a quarter of the time, the turn model in a
//! third. The prepared file lies beside the model, with a note of what it was made from and by which runtime; one that
//! does not fit is said and not used.

use std::io;
use std::path::{Path, PathBuf};

use ort::session::{InMemorySession, Session, SessionInputs, SessionOutputs};
use serde::{Deserialize, Serialize};

use super::lean::{self, make_lean};
use super::{Graph, OnnxError, Runtime};
use crate::models::{Image, ModelError, Pinned, Sha256};

/// What a prepared file is: the note beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// How it was made, see [`lean::FORM`]; none in notes of before there was more than one way.
    #[serde(default)]
    form: u32,
    /// The pinned model that it was made from.
    source_sha256: String,
    /// Its own hash.
    sha256: String,
    /// The runtime's description of its own build.
    runtime: String,
    /// What the processor can that it was made on, where that matters.
    #[serde(default)]
    processor: Option<String>,
}

/// What became of one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preparation {
    /// It was made.
    Made,
    /// It was there and fits.
    Fits,
}

/// Why a model could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The pinned model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The runtime refuses it.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The directory can't be written.
    #[error("cannot write {path}: {source}; the prepared models lie beside the pinned ones")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Where the prepared form of a model lies.
fn place(model: &Path) -> PathBuf {
    with_suffix(model, ".ort")
}

/// The files of the prepared form of a model, which need not be there.
pub(crate) fn files_of(model: &Path) -> [PathBuf; 2] {
    let prepared = place(model);
    [note_of(&prepared), prepared]
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn note_of(prepared: &Path) -> PathBuf {
    with_suffix(prepared, ".toml")
}

/// Makes the prepared form of `model` unless it is there and fits. One that is worked over is for processors of this kind:
/// how 8-bit numbers are computed depends on what they can.
///
/// # Errors
/// The model can't be read or is not the pinned one, the runtime refuses it, or its directory can't be written.
pub fn prepare(
    runtime: &Runtime,
    name: &'static str,
    model: &Pinned,
    graph: Graph,
) -> Result<Preparation, PrepareError> {
    if matches!(read_prepared(model), Ok(Some((_, made_by))) if made_by == runtime.build()) {
        return Ok(Preparation::Fits);
    }
    let prepared = place(&model.path);
    let unfinished = with_suffix(&prepared, &format!(".{}", std::process::id()));
    let made = make(runtime, name, model, graph, &prepared, &unfinished);
    if made.is_err() {
        // It may never have been begun; what counts is the error at hand.
        let _ = std::fs::remove_file(&unfinished);
    }
    made.map(|()| Preparation::Made)
}

fn make(
    runtime: &Runtime,
    name: &'static str,
    model: &Pinned,
    graph: Graph,
    prepared: &Path,
    unfinished: &Path,
) -> Result<(), PrepareError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| PrepareError::Write { path, source }
    };
    runtime.save(name, &model.read()?, graph, unfinished)?;
    let (mut bytes, _) = Image::read(unfinished).map_err(failed(unfinished))?;
    make_lean(&mut bytes);
    std::fs::write(unfinished, &bytes[..]).map_err(failed(unfinished))?;
    let note = Note {
        form: lean::FORM,
        source_sha256: model.sha256.to_string(),
        sha256: Sha256::of(&bytes).to_string(),
        runtime: runtime.build().to_owned(),
        processor: (graph == Graph::WorkedOver).then(processor),
    };
    let text = toml::to_string(&note).map_err(|e| failed(prepared)(io::Error::other(e)))?;
    let text = format!("# Made by `viva models prepare`.\n{text}");
    // The note comes last: without one that fits, the file is not used.
    std::fs::rename(unfinished, prepared).map_err(failed(prepared))?;
    let note_path = note_of(prepared);
    std::fs::write(&note_path, text).map_err(failed(&note_path))
}

/// The prepared bytes, where they are and fit the model and the processor, and which runtime made them; why not, where
/// there are some that don't.
fn read_prepared(model: &Pinned) -> Result<Option<(Image, String)>, String> {
    let prepared = place(&model.path);
    let note = match std::fs::read_to_string(note_of(&prepared)) {
        Ok(note) => note,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(format!("its note can't be read: {e}")),
    };
    let note: Note = toml::from_str(&note).map_err(|e| format!("its note is no note: {e}"))?;
    if note.source_sha256 != model.sha256.to_string() {
        return Err("it was made from another model".into());
    }
    if note.form != lean::FORM {
        return Err("it was made by another version of Viva".into());
    }
    // A store that was built elsewhere can't be mended here, so nothing is said of it.
    if note.processor.is_some_and(|made_on| made_on != processor()) {
        return Ok(None);
    }
    let (bytes, sha256) = Image::read(&prepared).map_err(|e| e.to_string())?;
    if sha256.to_string() != note.sha256 {
        return Err("it is not as it was made".into());
    }
    Ok(Some((bytes, note.runtime)))
}

/// What this processor can that matters to a worked-over graph: its vector instructions, as the kernel names them.
fn processor() -> String {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    vector_instructions(&told)
}

fn vector_instructions(cpuinfo: &str) -> String {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("flags") || line.starts_with("Features"));
    let names = line.and_then(|line| line.split_once(':'));
    let mut names: Vec<&str> = names
        .map_or("", |(_, names)| names)
        .split_whitespace()
        .filter(|name| {
            let kinds = ["avx", "amx", "asimd", "sve", "sme", "i8mm", "bf16"];
            kinds.iter().any(|kind| name.starts_with(kind))
        })
        .collect();
    names.sort_unstable();
    names.join(" ")
}

/// What was read of a model before there was a runtime.
#[derive(Debug)]
pub struct ReadModel<'p> {
    model: &'p Pinned,
    bytes: Image,
    /// The runtime that made the prepared form, where that is what was read.
    made_by: Option<String>,
}

impl<'p> ReadModel<'p> {
    /// Reads the prepared form where it fits the model, else the pinned model. Needs no runtime, and may be done while one
    /// is loaded.
    ///
    /// # Errors
    /// The pinned model is needed and can't be read, or is another.
    pub fn read(model: &'p Pinned) -> Result<Self, ModelError> {
        let prepared = read_prepared(model).unwrap_or_else(|reason| {
            not_used(model, &reason);
            None
        });
        let (bytes, made_by) = match prepared {
            Some((bytes, made_by)) => (bytes, Some(made_by)),
            None => (model.read()?, None),
        };
        Ok(Self {
            model,
            bytes,
            made_by,
        })
    }

    /// What `runtime` can make a session of: what was read, unless another runtime made it; the pinned model then.
    ///
    /// # Errors
    /// The pinned model is needed and can't be read, or is another.
    pub fn fitting(self, runtime: &Runtime) -> Result<ModelBytes, ModelError> {
        let Self {
            model,
            bytes,
            made_by,
        } = self;
        let is_prepared = made_by.is_some();
        if made_by.is_none_or(|made_by| made_by == runtime.build()) {
            return Ok(ModelBytes { bytes, is_prepared });
        }
        not_used(model, "it was made by another ONNX Runtime");
        drop(bytes);
        Ok(ModelBytes {
            bytes: model.read()?,
            is_prepared: false,
        })
    }
}

/// A model's bytes, which a session of the prepared form goes on using.
#[derive(Debug)]
pub struct ModelBytes {
    bytes: Image,
    is_prepared: bool,
}

impl ModelBytes {
    /// Whether they are the prepared form.
    #[must_use]
    pub fn is_prepared(&self) -> bool {
        self.is_prepared
    }

    /// A session of it. The bytes of a pinned model are copied and let go.
    ///
    /// # Errors
    /// The runtime refuses the model.
    pub fn session(
        &mut self,
        runtime: &Runtime,
        name: &'static str,
        graph: Graph,
    ) -> Result<Network<'_>, OnnxError> {
        if !self.is_prepared {
            let session = runtime.session(name, &self.bytes, graph);
            self.bytes = Image::default();
            return session.map(Network::Copied);
        }
        runtime
            .session_in_place(name, &self.bytes)
            .map(Network::InPlace)
    }
}

fn not_used(model: &Pinned, reason: &str) {
    let path = place(&model.path);
    tracing::warn!(
        path = %path.display(),
        "a prepared model is not used, the start takes longer: {reason}; `viva models prepare` makes it anew"
    );
}

/// A session of either form.
pub enum Network<'m> {
    /// With its own copy of the weights.
    Copied(Session),
    /// With the weights where the bytes are.
    InPlace(InMemorySession<'m>),
}

impl std::fmt::Debug for Network<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Copied(_) => "Network::Copied",
            Self::InPlace(_) => "Network::InPlace",
        })
    }
}

impl Network<'_> {
    /// Runs it, as [`Session::run`] does.
    ///
    /// # Errors
    /// The runtime's own.
    pub fn run<'s, 'i, 'v: 'i, const N: usize>(
        &'s mut self,
        inputs: impl Into<SessionInputs<'i, 'v, N>>,
    ) -> ort::Result<SessionOutputs<'s>> {
        match self {
            Self::Copied(session) => session.run(inputs),
            Self::InPlace(session) => session.run(inputs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_told_by_its_vector_instructions() {
        let intel = "processor\t: 0\nflags\t\t: fpu avx2 sse2 avx avx512_vnni\nbugs\t\t: x\n";
        assert_eq!(vector_instructions(intel), "avx avx2 avx512_vnni");
        let arm = "processor\t: 0\nFeatures\t: fp asimd aes asimddp i8mm\n";
        assert_eq!(vector_instructions(arm), "asimd asimddp i8mm");
        assert_eq!(vector_instructions(""), "");
    }
}
