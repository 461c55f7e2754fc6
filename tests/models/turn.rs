//! The turn model says of people's speech what its makers' own code says of it.

use std::path::Path;
use std::time::Duration;

use crate::support;
use viva::models::{self, Pinned};
use viva::onnx::{OnnxError, PendingRuntime};
use viva::speech::embedded::EmbeddedError;
use viva::voice::turn_model::{COMPLETE_FROM, SAMPLES_MAX, TurnModel, prepare_model};

/// The model computes in 8-bit numbers: features that differ in the seventh digit may move an answer by a step or two.
const DIFFERENCE_MAX: f32 = 0.03;

/// For each answer: a test must not fail because the machine is busy.
const LIMIT: Duration = Duration::from_secs(60);

/// Where the recording is cut off, and what `local_smart_turn_v3.py` of the wheel (with ONNX Runtime 1.23.2, on a processor
/// with VNNI, where no sum of 8-bit products is cut off) says of all before it.
const BECKETT: [(usize, f32); 11] = [
    (8_000, 0.3212),
    (24_000, 0.7434),
    (40_000, 0.8775),
    (56_000, 0.9801),
    (72_000, 0.8548),
    (88_000, 0.0443),
    (104_000, 0.6253),
    (120_000, 0.2798),
    (136_000, 0.0120),
    (152_000, 0.9170),
    (159_414, 0.9540),
];

/// The same of every third sample of a recording at 48 kHz.
const TWO_CITIES: [(usize, f32); 17] = [
    (40_000, 0.0477),
    (80_000, 0.9557),
    (120_000, 0.0223),
    (160_000, 0.0157),
    (200_000, 0.0643),
    (240_000, 0.0692),
    (280_000, 0.4028),
    (320_000, 0.0157),
    (360_000, 0.0099),
    (400_000, 0.0199),
    (440_000, 0.0477),
    (480_000, 0.0830),
    (520_000, 0.3747),
    (560_000, 0.0495),
    (600_000, 0.0135),
    (640_000, 0.0199),
    (680_000, 0.9777),
];

fn model() -> TurnModel {
    let file = Pinned::of_manifest(&support::models_directory(), models::TURN).unwrap();
    TurnModel::load(support::runtime(), &file, LIMIT).unwrap()
}

/// The model as it was pinned and as it is prepared, both in `directory`.
fn both_forms(directory: &Path) -> [TurnModel; 2] {
    let pinned = Pinned::of_manifest(&support::models_directory(), models::TURN).unwrap();
    let file = Pinned {
        path: directory.join("turn.onnx"),
        ..pinned.clone()
    };
    std::fs::copy(&pinned.path, &file.path).unwrap();
    let load = || TurnModel::load(support::runtime(), &file, LIMIT).unwrap();
    let as_pinned = load();
    prepare_model(&support::runtime(), &file).unwrap();
    [as_pinned, load()]
}

fn every(step: usize, name: &str) -> Vec<i16> {
    let path = support::models_directory().join("recordings").join(name);
    let mut reader = hound::WavReader::open(path).unwrap();
    reader
        .samples::<i16>()
        .step_by(step)
        .map(Result::unwrap)
        .collect()
}

#[tokio::test]
async fn its_answers_are_those_of_the_reference_in_either_form() {
    let directory = tempfile::tempdir().unwrap();
    let [pinned, prepared] = both_forms(directory.path());
    let mut worst: f32 = 0.0;
    for (sound, answers) in [
        (every(1, "beckett.wav"), &BECKETT[..]),
        (every(3, "two_cities.wav"), &TWO_CITIES[..]),
    ] {
        for (end, expected) in answers {
            for model in [&pinned, &prepared] {
                let found = model.judge(sound[..*end].to_vec()).await.unwrap();
                let difference = (found - expected).abs();
                println!("{end:>7}: {found:.4}, the reference {expected:.4}");
                worst = worst.max(difference);
            }
        }
    }
    assert!(worst <= DIFFERENCE_MAX, "{worst}");
}

#[tokio::test]
async fn a_sentence_that_breaks_off_is_not_over_and_one_that_ends_is() {
    let (model, sound) = (model(), every(1, "beckett.wav"));
    assert!(model.judge(sound.clone()).await.unwrap() >= COMPLETE_FROM);
    assert!(model.judge(sound[..88_000].to_vec()).await.unwrap() < COMPLETE_FROM);
}

#[tokio::test]
async fn a_long_turn_is_judged_by_its_end() {
    let (model, sound) = (model(), every(1, "beckett.wav"));
    let last = sound[sound.len() - SAMPLES_MAX..].to_vec();
    assert_eq!(model.judge(sound).await, model.judge(last).await);
}

#[test]
fn a_missing_model_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = Pinned::of_manifest(directory.path(), models::TURN).unwrap();
    let error = TurnModel::load(support::runtime(), &file, LIMIT).unwrap_err();
    assert!(matches!(error, EmbeddedError::Model(_)), "{error}");
    assert!(error.to_string().contains(models::TURN), "{error}");
}

#[test]
fn the_model_is_read_before_there_is_a_runtime() {
    let directory = tempfile::tempdir().unwrap();
    let missing = Pinned::of_manifest(directory.path(), models::TURN).unwrap();
    let (promise, runtime) = PendingRuntime::new();
    // Nothing keeps the promise meanwhile: who waited for it first would never come back.
    let error = TurnModel::load(runtime, &missing, LIMIT).unwrap_err();
    assert!(matches!(error, EmbeddedError::Model(_)), "{error}");
    drop(promise);
}

#[tokio::test]
async fn it_waits_for_the_runtime_and_hears_why_there_is_none() {
    let file = Pinned::of_manifest(&support::models_directory(), models::TURN).unwrap();
    let load = |runtime: PendingRuntime| {
        let file = file.clone();
        std::thread::spawn(move || TurnModel::load(runtime, &file, LIMIT))
    };
    let ((promise, runtime), (broken, none)) = (PendingRuntime::new(), PendingRuntime::new());
    let (loading, failing) = (load(runtime), load(none));
    promise.keep(Ok(support::runtime()));
    let model = loading.join().unwrap().unwrap();
    model.judge(every(1, "beckett.wav")).await.unwrap();
    broken.keep(Err("no such library".into()));
    match failing.join().unwrap().unwrap_err() {
        EmbeddedError::Onnx(OnnxError::Unavailable(cause)) => assert_eq!(cause, "no such library"),
        other => panic!("{other}"),
    }
}
