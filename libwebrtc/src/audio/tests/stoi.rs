//! How much of speech can still be understood: STOI (Taal, Hendriks, Heusdens and Jensen, "An
//! algorithm for intelligibility prediction of time-frequency weighted noisy speech", IEEE
//! Transactions on Audio, Speech, and Language Processing 19(7), 2011).

use std::f64::consts::{PI, TAU};

use crate::audio::resample::Resampler;

const RATE_HZ: u32 = 10_000;
const FRAME: usize = 256;
const HOP: usize = FRAME / 2;
const FFT: usize = 512;
const BANDS: usize = 15;
const LOWEST_BAND_HZ: f64 = 150.0;
/// Frames of a segment: 384 ms.
const SEGMENT: usize = 30;
/// Frames quieter than the loudest by more than this are left out.
const RANGE_DB: f64 = 40.0;
/// Signal-to-distortion ratio below which a band counts as lost.
const BETA_DB: f64 = -15.0;
/// The signals are aligned anew for each piece of this length, within this distance, since a
/// receiver may change its delay.
const PIECE: usize = RATE_HZ as usize;
const SHIFT_MAX: usize = RATE_HZ as usize / 5;

type Spectrum = [f64; BANDS];

/// The intelligibility of `heard`, of which `original` is the clean speech, from 0 to 1, at most for 1.
pub fn stoi(original: &[i16], heard: &[i16], rate_hz: u32) -> f64 {
    let (original, heard) = (at_10_khz(original, rate_hz), at_10_khz(heard, rate_hz));
    let scores: Vec<f64> = (SHIFT_MAX
        ..original
            .len()
            .min(heard.len())
            .saturating_sub(PIECE + SHIFT_MAX))
        .step_by(PIECE)
        .filter_map(|at| {
            let clean = &original[at..at + PIECE];
            score(clean, &heard[aligned(clean, &heard, at)..][..PIECE])
        })
        .collect();
    scores.iter().sum::<f64>() / scores.len() as f64
}

fn at_10_khz(samples: &[i16], rate_hz: u32) -> Vec<f64> {
    let mut out = Vec::new();
    Resampler::new(rate_hz, RATE_HZ, 1).process(samples, &mut out);
    out.into_iter().map(f64::from).collect()
}

/// Where in `heard` the piece is that was at `at` in the original.
fn aligned(clean: &[f64], heard: &[f64], at: usize) -> usize {
    let likeness =
        |from: &usize| -> f64 { clean.iter().zip(&heard[*from..]).map(|(a, b)| a * b).sum() };
    (at - SHIFT_MAX..=at + SHIFT_MAX)
        .max_by(|one, other| likeness(one).total_cmp(&likeness(other)))
        .unwrap_or(at)
}

fn score(clean: &[f64], heard: &[f64]) -> Option<f64> {
    let windows = |signal: &[f64]| -> Vec<Vec<f64>> {
        signal.windows(FRAME).step_by(HOP).map(hann).collect()
    };
    let (clean, heard) = (windows(clean), windows(heard));
    let level = |frame: &[f64]| 10.0 * (frame.iter().map(|s| s * s).sum::<f64>() + 1e-9).log10();
    let loudest = clean
        .iter()
        .map(|frame| level(frame))
        .fold(f64::MIN, f64::max);
    let spoken: Vec<(Spectrum, Spectrum)> = clean
        .iter()
        .zip(&heard)
        .filter(|(frame, _)| level(frame) > loudest - RANGE_DB)
        .map(|(clean, heard)| (bands(clean), bands(heard)))
        .collect();
    let correlations: Vec<f64> = spoken
        .windows(SEGMENT)
        .flat_map(|segment| {
            (0..BANDS).map(|band| {
                let clean: Vec<f64> = segment.iter().map(|(clean, _)| clean[band]).collect();
                let heard: Vec<f64> = segment.iter().map(|(_, heard)| heard[band]).collect();
                correlation(&clean, &clipped(&clean, &heard))
            })
        })
        .collect();
    (!correlations.is_empty()).then(|| correlations.iter().sum::<f64>() / correlations.len() as f64)
}

fn hann(frame: &[f64]) -> Vec<f64> {
    let weight = |n: usize| 0.5 - 0.5 * (TAU * (n + 1) as f64 / (FRAME + 1) as f64).cos();
    frame
        .iter()
        .enumerate()
        .map(|(n, s)| s * weight(n))
        .collect()
}

/// The magnitude in each third of an octave.
fn bands(frame: &[f64]) -> Spectrum {
    let third = 2.0_f64.powf(1.0 / 3.0);
    let mut sums = [0.0; BANDS];
    for bin in 1..FFT / 2 {
        let hz = bin as f64 * f64::from(RATE_HZ) / FFT as f64;
        let band = ((hz / LOWEST_BAND_HZ).log2() * 3.0 + 0.5).floor();
        if (0.0..BANDS as f64).contains(&band) && hz < LOWEST_BAND_HZ * third.powi(BANDS as i32) {
            sums[band as usize] += power(frame, bin);
        }
    }
    sums.map(f64::sqrt)
}

/// The power of one bin of the discrete Fourier transform (Goertzel).
fn power(frame: &[f64], bin: usize) -> f64 {
    let turn = 2.0 * (2.0 * PI * bin as f64 / FFT as f64).cos();
    let (mut last, mut before) = (0.0, 0.0);
    for sample in frame {
        (last, before) = (sample + turn * last - before, last);
    }
    last * last + before * before - turn * last * before
}

/// `heard` at the loudness of `clean`, with what is far too loud cut off.
fn clipped(clean: &[f64], heard: &[f64]) -> Vec<f64> {
    let energy = |signal: &[f64]| signal.iter().map(|s| s * s).sum::<f64>();
    let gain = (energy(clean) / energy(heard).max(1e-9)).sqrt();
    let limit = 1.0 + 10.0_f64.powf(-BETA_DB / 20.0);
    clean
        .iter()
        .zip(heard)
        .map(|(c, h)| (h * gain).min(c * limit))
        .collect()
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |signal: &[f64]| signal.iter().sum::<f64>() / signal.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut both, mut of_a, mut of_b) = (0.0, 1e-9, 1e-9);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        both += a * b;
        of_a += a * a;
        of_b += b * b;
    }
    both / (of_a * of_b).sqrt()
}

#[test]
fn speech_is_understood_and_noise_over_it_is_not() {
    let speech: Vec<i16> = (0..48_000 * 5)
        .map(|n| {
            let t = f64::from(n) / 48_000.0;
            let voice: f64 = (1..30)
                .map(|k| (TAU * 120.0 * f64::from(k) * t).sin() / f64::from(k).sqrt())
                .sum();
            (voice * 1_000.0 * (1.0 + (TAU * 3.0 * t).sin())) as i16
        })
        .collect();
    let mut seed = 1_u32;
    let noisy: Vec<i16> = speech
        .iter()
        .map(|&s| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            s.saturating_add((seed >> 16) as i16 / 2)
        })
        .collect();
    assert!(stoi(&speech, &speech, 48_000) > 0.999);
    assert!(stoi(&speech, &noisy, 48_000) < 0.6);
}
