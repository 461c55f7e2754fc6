//! A prepared model stands for the pinned one only as long as it fits.

use std::path::PathBuf;

use crate::support;
use ort::value::TensorRef;
use tempfile::TempDir;
use viva::models::{self, Image, ModelError, Pinned, Sha256};
use viva::onnx::{Graph, ModelBytes, Preparation, PrepareError, ReadModel, make_lean, prepare};

const NAME: &str = "silero-vad";

/// A model in a directory of its own, and its prepared form.
struct Fixture {
    _directory: TempDir,
    model: Pinned,
    prepared: PathBuf,
    note: PathBuf,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pinned = Pinned::of_manifest(&support::models_directory(), models::VAD).unwrap();
        let path = directory.path().join("model.onnx");
        std::fs::copy(&pinned.path, &path).unwrap();
        Self {
            prepared: directory.path().join("model.onnx.ort"),
            note: directory.path().join("model.onnx.ort.toml"),
            model: Pinned {
                path,
                sha256: pinned.sha256,
            },
            _directory: directory,
        }
    }

    fn prepare(&self) -> Result<Preparation, PrepareError> {
        self.prepare_as(Graph::Simplified)
    }

    fn prepare_as(&self, graph: Graph) -> Result<Preparation, PrepareError> {
        prepare(&support::runtime(), NAME, &self.model, graph)
    }

    fn read(&self) -> Result<ModelBytes, ModelError> {
        ReadModel::read(&self.model)?.fitting(&support::runtime())
    }

    /// The probability and the state that come of a made-up sound.
    fn judged(&self) -> Vec<f32> {
        let mut bytes = self.read().unwrap();
        let runtime = support::runtime();
        let mut network = bytes.session(&runtime, NAME, Graph::Simplified).unwrap();
        let sound: Vec<f32> = (0..576).map(|i| (i as f32 * 0.07).sin() * 0.3).collect();
        let (state, rate) = (vec![0.1_f32; 256], [16_000_i64]);
        let outputs = network
            .run(ort::inputs! {
                "input" => TensorRef::from_array_view(([1_usize, 576], &sound[..])).unwrap(),
                "state" => TensorRef::from_array_view(([2_usize, 1, 128], &state[..])).unwrap(),
                "sr" => TensorRef::from_array_view(([0_usize; 0], &rate[..])).unwrap(),
            })
            .unwrap();
        ["output", "stateN"]
            .iter()
            .flat_map(|name| {
                outputs[*name]
                    .try_extract_tensor::<f32>()
                    .unwrap()
                    .1
                    .to_vec()
            })
            .collect()
    }

    /// The bytes that are read are `is_prepared`, and make a session.
    fn assert_usable(&self, is_prepared: bool) {
        let mut bytes = self.read().unwrap();
        assert_eq!(bytes.is_prepared(), is_prepared);
        bytes
            .session(&support::runtime(), NAME, Graph::Simplified)
            .unwrap();
    }
}

#[test]
fn a_model_is_prepared_once_and_then_loaded_in_that_form() {
    let fixture = Fixture::new();
    fixture.assert_usable(false);
    assert_eq!(fixture.prepare().unwrap(), Preparation::Made);
    assert_eq!(fixture.prepare().unwrap(), Preparation::Fits);
    fixture.assert_usable(true);
    // Nothing unfinished lies about.
    let files = std::fs::read_dir(fixture.model.path.parent().unwrap()).unwrap();
    assert_eq!(files.count(), 3);
}

#[test]
fn one_that_is_prepared_says_what_the_pinned_model_says() {
    let fixture = Fixture::new();
    let pinned = fixture.judged();
    fixture.prepare().unwrap();
    fixture.assert_usable(true);
    let prepared = fixture.judged();
    assert_eq!(pinned.len(), 257);
    for (pinned, prepared) in pinned.iter().zip(&prepared) {
        assert!((pinned - prepared).abs() < 1e-5, "{pinned} {prepared}");
    }
}

#[test]
fn the_layout_of_moonshine_s_networks_is_known() {
    for file in [models::MOONSHINE_ENCODER, models::MOONSHINE_DECODER] {
        let pinned = Pinned::of_manifest(&support::models_directory(), file).unwrap();
        let lean = make_lean(&mut pinned.read().unwrap());
        assert!(
            lean.shapes > Some(1_000) && lean.names > Some(1_000),
            "{file}: {lean:?}"
        );
    }
}

#[test]
fn one_that_is_prepared_is_lean_already() {
    let fixture = Fixture::new();
    fixture.prepare().unwrap();
    let (mut image, _) = Image::read(&fixture.prepared).unwrap();
    let lean = make_lean(&mut image);
    // Nothing has a shape any more; names are given anew, as often as one likes.
    assert_eq!(lean.shapes, Some(0));
    assert!(lean.names > Some(10), "{lean:?}");
}

#[test]
fn one_that_was_altered_gives_way_to_the_pinned_model_and_is_made_anew() {
    let fixture = Fixture::new();
    fixture.prepare().unwrap();
    let mut bytes = std::fs::read(&fixture.prepared).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&fixture.prepared, bytes).unwrap();
    fixture.assert_usable(false);
    assert_eq!(fixture.prepare().unwrap(), Preparation::Made);
    fixture.assert_usable(true);
}

#[test]
fn one_whose_note_does_not_fit_gives_way_to_the_pinned_model() {
    let fixture = Fixture::new();
    fixture.prepare().unwrap();
    let note = std::fs::read_to_string(&fixture.note).unwrap();
    let other = Sha256::of(b"another model").to_string();
    for wrong in [
        note.replace(&fixture.model.sha256.to_string(), &other),
        note.replace("runtime = ", "runtime = 'another' #"),
        note.replace("sha256 = ", "sha256 "),
        // As it was before there was more than one form.
        note.replace("form = ", "# form = "),
        String::new(),
    ] {
        std::fs::write(&fixture.note, wrong).unwrap();
        fixture.assert_usable(false);
    }
    std::fs::remove_file(&fixture.note).unwrap();
    fixture.assert_usable(false);
    std::fs::write(&fixture.note, note).unwrap();
    std::fs::remove_file(&fixture.prepared).unwrap();
    fixture.assert_usable(false);
}

#[test]
fn one_that_is_worked_over_is_for_this_kind_of_processor_alone() {
    let fixture = Fixture::new();
    fixture.prepare_as(Graph::WorkedOver).unwrap();
    fixture.assert_usable(true);
    let note = std::fs::read_to_string(&fixture.note).unwrap();
    let elsewhere = note.replace("processor = \"", "processor = \"avx9 ");
    assert_ne!(note, elsewhere);
    std::fs::write(&fixture.note, elsewhere).unwrap();
    fixture.assert_usable(false);
}

#[test]
fn it_does_not_hide_that_the_pinned_model_is_altered_when_it_is_to_be_made() {
    let fixture = Fixture::new();
    std::fs::write(&fixture.model.path, b"something else").unwrap();
    let error = fixture.prepare().unwrap_err();
    assert!(matches!(
        error,
        PrepareError::Model(ModelError::Altered { .. })
    ));
    assert!(matches!(fixture.read(), Err(ModelError::Altered { .. })));
    assert!(!fixture.prepared.exists() && !fixture.note.exists());
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let fixture = Fixture::new();
    // A directory in the file's place cannot be replaced, not even by root.
    std::fs::create_dir(&fixture.prepared).unwrap();
    let error = fixture.prepare().unwrap_err().to_string();
    assert!(error.contains("model.onnx.ort"), "{error}");
    let files = std::fs::read_dir(fixture.model.path.parent().unwrap()).unwrap();
    assert_eq!(files.count(), 2, "the unfinished file is still there");
}
