//! The VAD tells people's speech from silence and noise, for many streams at once.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;

use crate::support;
use viva::models::{self, Pinned};
use viva::voice::vad::{FRAME_SAMPLES, FrameHandler, VadEngine, VadInput};

/// Far more than any frame takes on a loaded machine; reached only when the test fails.
const LIMIT: Duration = Duration::from_secs(20);

struct Probe {
    probabilities: SyncSender<f32>,
    closed: SyncSender<()>,
}

impl FrameHandler for Probe {
    fn on_frame(&mut self, _: &[i16; FRAME_SAMPLES], speech_probability: f32) {
        // The receiver may have heard enough.
        let _ = self.probabilities.send(speech_probability);
    }

    fn on_closed(&mut self) {
        let _ = self.closed.send(());
    }
}

struct Tap {
    input: VadInput,
    probabilities: Receiver<f32>,
    closed: Receiver<()>,
}

impl Tap {
    fn open(engine: &VadEngine) -> Self {
        let (probabilities, got) = mpsc::sync_channel(10_000);
        let (closed, is_closed) = mpsc::sync_channel(10_000);
        let input = engine.open(Box::new(Probe {
            probabilities,
            closed,
        }));
        Self {
            input,
            probabilities: got,
            closed: is_closed,
        }
    }

    /// One frame's probability, pushed as the audio thread does: 10 ms at a time.
    fn hear(&mut self, frame: &[i16]) -> f32 {
        frame.chunks(160).for_each(|chunk| self.input.push(chunk));
        self.probabilities.recv_timeout(LIMIT).unwrap()
    }

    fn hear_all(&mut self, pcm: &[i16]) -> Vec<f32> {
        pcm.chunks_exact(FRAME_SAMPLES)
            .map(|frame| self.hear(frame))
            .collect()
    }
}

fn silero() -> VadEngine {
    let model = Pinned::of_manifest(&support::models_directory(), models::VAD).unwrap();
    VadEngine::start(support::runtime(), &model).unwrap()
}

fn share_above_half(probabilities: &[f32]) -> f64 {
    probabilities.iter().filter(|p| **p > 0.5).count() as f64 / probabilities.len() as f64
}

/// White noise from a fixed seed.
fn noise(samples: usize, amplitude: i32) -> Vec<i16> {
    let mut state = 1_u32;
    (0..samples)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 16) as i32 % (2 * amplitude + 1) - amplitude) as i16
        })
        .collect()
}

#[test]
fn reading_aloud_is_speech() {
    let engine = silero();
    for (name, share) in [("two_cities.wav", 0.65), ("beckett.wav", 0.4)] {
        let heard = share_above_half(&Tap::open(&engine).hear_all(&support::recording(name)));
        assert!(heard > share, "{name}: {heard}");
    }
    assert!(!engine.vitals().degraded);
}

#[test]
fn silence_and_noise_are_not_speech() {
    let engine = silero();
    for (what, pcm) in [
        ("silence", vec![0; 80_000]),
        ("hiss", noise(80_000, 300)),
        ("loud noise", noise(80_000, 6_000)),
    ] {
        let heard = Tap::open(&engine).hear_all(&pcm);
        assert!(
            share_above_half(&heard) < 0.03,
            "{what}: {}",
            share_above_half(&heard)
        );
    }
}

#[test]
fn a_person_between_two_silences_is_found_where_they_speak() {
    let engine = silero();
    let mut tap = Tap::open(&engine);
    let speech = &support::recording("two_cities.wav")[..5 * 16_000];
    let before = tap.hear_all(&vec![0; 16_000]);
    let during = tap.hear_all(speech);
    tap.hear_all(&vec![0; 16_000]);
    let after = tap.hear_all(&vec![0; 16_000]);
    assert!(share_above_half(&before) < 0.01 && share_above_half(&after) < 0.01);
    assert!(
        share_above_half(&during) > 0.6,
        "{}",
        share_above_half(&during)
    );
}

#[test]
fn twenty_streams_at_once_are_each_judged_as_if_alone() {
    let engine = silero();
    let speech = support::recording("beckett.wav");
    let alone = Tap::open(&engine).hear_all(&speech[..4 * 16_000]);
    let mut taps: Vec<Tap> = (0..20).map(|_| Tap::open(&engine)).collect();
    for (i, frame) in speech[..4 * 16_000].chunks_exact(FRAME_SAMPLES).enumerate() {
        for tap in &mut taps {
            frame.chunks(160).for_each(|chunk| tap.input.push(chunk));
        }
        for tap in &mut taps {
            let probability = tap.probabilities.recv_timeout(LIMIT).unwrap();
            assert!(
                (probability - alone[i]).abs() < 1e-4,
                "frame {i}: {probability} instead of {}",
                alone[i]
            );
        }
    }
}

#[test]
fn streams_do_not_hear_each_other() {
    let engine = silero();
    let speech = support::recording("beckett.wav");
    let (mut talking, mut silent) = (Tap::open(&engine), Tap::open(&engine));
    let (mut talk, mut silence) = (Vec::new(), Vec::new());
    for frame in speech.chunks_exact(FRAME_SAMPLES) {
        talking.input.push(frame);
        silent.input.push(&[0; FRAME_SAMPLES]);
        talk.push(talking.probabilities.recv_timeout(LIMIT).unwrap());
        silence.push(silent.probabilities.recv_timeout(LIMIT).unwrap());
    }
    assert!(share_above_half(&silence) < 0.01);
    assert!(share_above_half(&talk) > 0.4);
}

#[test]
fn a_handler_that_panics_ends_its_own_stream_alone() {
    struct Panics;
    impl FrameHandler for Panics {
        fn on_frame(&mut self, _: &[i16; FRAME_SAMPLES], _: f32) {
            panic!("on purpose");
        }
    }
    let engine = VadEngine::energy_only().unwrap();
    let mut bad = engine.open(Box::new(Panics));
    let mut good = Tap::open(&engine);
    bad.push(&[0; FRAME_SAMPLES]);
    while !bad.is_closed() {
        good.hear(&[0; FRAME_SAMPLES]);
    }
    good.hear(&[0; FRAME_SAMPLES]);
    assert_eq!(engine.vitals().panics, 1);
}

#[test]
fn a_dropped_input_is_heard_to_its_last_frame_and_then_closed() {
    let engine = VadEngine::energy_only().unwrap();
    let Tap {
        mut input,
        probabilities,
        closed,
    } = Tap::open(&engine);
    input.push(&[0; 5 * FRAME_SAMPLES + 100]);
    drop(input);
    closed.recv_timeout(LIMIT).unwrap();
    assert_eq!(probabilities.iter().count(), 5);
}

#[test]
fn the_end_of_the_engine_closes_its_streams() {
    let engine = VadEngine::energy_only().unwrap();
    let Tap {
        mut input, closed, ..
    } = Tap::open(&engine);
    drop(engine.clone());
    input.push(&[0; FRAME_SAMPLES]);
    drop(engine);
    closed.recv_timeout(LIMIT).unwrap();
    while !input.is_closed() {
        std::thread::yield_now();
    }
    input.push(&[0; 100_000]);
}

#[test]
fn sound_that_nobody_takes_is_dropped_and_counted_and_never_waited_for() {
    struct Stuck(Receiver<()>);
    impl FrameHandler for Stuck {
        fn on_frame(&mut self, _: &[i16; FRAME_SAMPLES], _: f32) {
            // Ends when the test drops its end.
            let _ = self.0.recv();
        }
    }
    let engine = VadEngine::energy_only().unwrap();
    let (go, wait) = mpsc::sync_channel(10_000);
    let mut input = engine.open(Box::new(Stuck(wait)));
    // Two seconds fit, and a frame may already have been taken out.
    input.push(&[0; 60_000]);
    let dropped = engine.vitals().dropped_samples;
    assert!(
        (60_000 - 32_000 - 512..=60_000 - 32_000).contains(&dropped),
        "{dropped}"
    );
    drop(go);
}

#[test]
fn without_a_model_loudness_decides_and_says_so() {
    let engine = VadEngine::energy_only().unwrap();
    assert!(engine.vitals().degraded);
    let mut tap = Tap::open(&engine);
    tap.hear_all(&noise(32_000, 20));
    let speech = share_above_half(&tap.hear_all(&support::recording("two_cities.wav")));
    assert!((0.5..0.9).contains(&speech), "{speech}");
    tap.hear_all(&noise(16_000, 20));
    assert!(share_above_half(&tap.hear_all(&noise(32_000, 20))) < 0.01);
}

#[test]
fn an_altered_model_is_refused_with_both_hashes() {
    let directory = tempfile::tempdir().unwrap();
    let mut model = Pinned::of_manifest(&support::models_directory(), models::VAD).unwrap();
    let mut bytes = std::fs::read(&model.path).unwrap();
    bytes[1000] ^= 1;
    model.path = directory.path().join("altered.onnx");
    std::fs::write(&model.path, bytes).unwrap();
    let error = VadEngine::start(support::runtime(), &model)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&model.sha256.to_string()) && error.contains("models/fetch"),
        "{error}"
    );
}

#[test]
fn a_missing_model_says_what_to_do() {
    let model = Pinned::of_manifest(std::path::Path::new("/nowhere"), models::VAD).unwrap();
    let error = VadEngine::start(support::runtime(), &model)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("/nowhere/silero-vad") && error.contains("models/fetch"),
        "{error}"
    );
}

#[test]
fn the_thread_gives_a_sign_of_life_without_any_sound() {
    let engine = VadEngine::energy_only().unwrap();
    let start = std::time::Instant::now();
    while start.elapsed() < Duration::from_millis(300) {
        std::thread::park_timeout(Duration::from_millis(50));
    }
    assert!(engine.vitals().since_tick < Duration::from_secs(1));
}

#[test]
fn with_nobody_speaking_the_model_is_asked_about_silence() {
    let engine = silero();
    let start = std::time::Instant::now();
    while engine.vitals().canaries < 2 {
        assert!(start.elapsed() < LIMIT, "{:?}", engine.vitals());
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let vitals = engine.vitals();
    assert!(!vitals.degraded && vitals.frames == 0, "{vitals:?}");
}

#[test]
fn the_pinned_runtime_holds_no_uploader_of_usage_data() {
    let library = std::fs::read(support::models_directory().join(models::ONNX_RUNTIME)).unwrap();
    // The switch of the uploader, and the library that it is made of.
    for mark in [
        &b"ORT_DISABLE_TELEMETRY"[..],
        b"ORT_TELEMETRY_DISABLED",
        b"Microsoft12Applications6Events",
    ] {
        assert!(
            !library.windows(mark.len()).any(|bytes| bytes == mark),
            "{}",
            String::from_utf8_lossy(mark)
        );
    }
}
