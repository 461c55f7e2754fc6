//! What the behaviour tests share: the models directory and recordings.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::PathBuf;

use viva::models;
use viva::onnx::Runtime;
use viva::speech::resample::{Resampler, to_pcm};

/// `$VIVA_MODELS`, else `models/files`; filled by `models/fetch --tests`.
pub fn models_directory() -> PathBuf {
    let directory = std::env::var_os("VIVA_MODELS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/files"),
        PathBuf::from,
    );
    let file = directory.join(models::VAD);
    assert!(
        file.exists(),
        "{} is missing; run `models/fetch --tests`, or set VIVA_MODELS",
        file.display()
    );
    directory
}

pub fn runtime() -> Runtime {
    let library = std::env::var_os("VIVA_ONNXRUNTIME").map_or_else(
        || models_directory().join(models::ONNX_RUNTIME),
        PathBuf::from,
    );
    Runtime::load(&library).unwrap()
}

/// A recording as 16 kHz mono.
pub fn recording(name: &str) -> Vec<i16> {
    let path = models_directory().join("recordings").join(name);
    let mut reader = hound::WavReader::open(&path)
        .unwrap_or_else(|e| panic!("{}: {e}; run `models/fetch --tests`", path.display()));
    assert_eq!(reader.spec().channels, 1);
    let samples: Vec<f32> = reader
        .samples::<i16>()
        .map(|s| f32::from(s.unwrap()) / 32768.0)
        .collect();
    at_16_khz(&samples, reader.spec().sample_rate)
}

pub fn at_16_khz(samples: &[f32], rate_hz: u32) -> Vec<i16> {
    to_pcm(&Resampler::new(rate_hz.into(), 16_000.0).process(samples))
}
