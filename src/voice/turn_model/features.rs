//! What the turn model sees of a voice: the log-mel spectrogram of the last eight seconds, as Whisper was trained on it.
//!
//! The recipe is that of Whisper's feature extractor (OpenAI, 2022): samples brought to mean 0 and variance 1, a
//! periodic Hann window of 25 ms every 10 ms over the sound mirrored at its ends, the power spectrum, 80 triangular
//! filters of equal area on Slaney's mel scale from 0 to 8 kHz, the common logarithm, no more than 8 decades below the
//! loudest, moved and scaled to about −1 … 1.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use crate::speech::INPUT_RATE_HZ;

/// The sound that is looked at: 8 s.
pub(super) const SAMPLES: usize = 8 * INPUT_RATE_HZ as usize;
/// Bands of the spectrogram.
pub(super) const BANDS: usize = 80;
/// Its columns: one for each 10 ms.
pub(super) const COLUMNS: usize = SAMPLES / HOP;

const WINDOW: usize = 400;
const HOP: usize = 160;
const BINS: usize = WINDOW / 2 + 1;
/// Silence has a logarithm as well.
const POWER_MIN: f64 = 1e-10;
/// Decades below the loudest that still count.
const DECADES: f64 = 8.0;
/// Keeps the variance of silence from being divided by.
const VARIANCE_MIN: f32 = 1e-7;

/// One band: the bins under its triangle, and their weights.
struct Filter {
    first_bin: usize,
    weights: Vec<f64>,
}

/// Makes spectrograms; its buffers are reused from one to the next.
pub(super) struct Features {
    fft: Arc<dyn RealToComplex<f64>>,
    window: Vec<f64>,
    filters: Vec<Filter>,
    frame: Vec<f64>,
    spectrum: Vec<Complex<f64>>,
    scratch: Vec<Complex<f64>>,
    power: Vec<f64>,
    sound: Vec<f32>,
    bands: Vec<f64>,
}

impl Features {
    pub(super) fn new() -> Self {
        let fft = RealFftPlanner::<f64>::new().plan_fft_forward(WINDOW);
        Self {
            window: hann(),
            filters: filters(),
            frame: fft.make_input_vec(),
            spectrum: fft.make_output_vec(),
            scratch: fft.make_scratch_vec(),
            power: vec![0.0; BINS],
            sound: vec![0.0; SAMPLES],
            bands: vec![0.0; BANDS * COLUMNS],
            fft,
        }
    }

    /// The spectrogram of the last 8 s of `pcm`, band after band, into `out` of [`BANDS`] × [`COLUMNS`]. What is
    /// shorter is preceded by silence.
    ///
    /// # Errors
    /// The transform refuses its buffers, which is a fault of this module.
    pub(super) fn compute(&mut self, pcm: &[i16], out: &mut [f32]) -> Result<(), String> {
        self.take(&pcm[pcm.len().saturating_sub(SAMPLES)..]);
        for column in 0..COLUMNS {
            self.power_at(column)?;
            for (band, filter) in self.filters.iter().enumerate() {
                let bins = &self.power[filter.first_bin..];
                let sum: f64 = filter.weights.iter().zip(bins).map(|(w, p)| w * p).sum();
                self.bands[band * COLUMNS + column] = sum.max(POWER_MIN).log10();
            }
        }
        let loudest = self.bands.iter().copied().fold(f64::MIN, f64::max);
        for (to, from) in out.iter_mut().zip(&self.bands) {
            #[expect(clippy::cast_possible_truncation, reason = "the model takes f32")]
            let value = ((from.max(loudest - DECADES) + 4.0) / 4.0) as f32;
            *to = value;
        }
        Ok(())
    }

    /// The sound, silence before it, brought to mean 0 and variance 1 as a whole.
    fn take(&mut self, pcm: &[i16]) {
        let silence = SAMPLES - pcm.len();
        self.sound[..silence].fill(0.0);
        for (to, from) in self.sound[silence..].iter_mut().zip(pcm) {
            *to = f32::from(*from) / 32768.0;
        }
        let count = SAMPLES as f64;
        let sum: f64 = self.sound.iter().copied().map(f64::from).sum();
        let mean = sum / count;
        let squares = self.sound.iter().map(|s| (f64::from(*s) - mean).powi(2));
        let variance = squares.sum::<f64>() / count;
        #[expect(clippy::cast_possible_truncation, reason = "the reference is f32 here")]
        let (mean, variance) = (mean as f32, variance as f32);
        let deviation = (variance + VARIANCE_MIN).sqrt();
        for sample in &mut self.sound {
            *sample = (*sample - mean) / deviation;
        }
    }

    /// The power spectrum of the window that is centred on a column's first sample.
    fn power_at(&mut self, column: usize) -> Result<(), String> {
        let first = (column * HOP) as isize - (WINDOW / 2) as isize;
        for (i, (to, window)) in self.frame.iter_mut().zip(&self.window).enumerate() {
            *to = f64::from(self.sound[mirrored(first + i as isize)]) * window;
        }
        self.fft
            .process_with_scratch(&mut self.frame, &mut self.spectrum, &mut self.scratch)
            .map_err(|e| e.to_string())?;
        for (to, from) in self.power.iter_mut().zip(&self.spectrum) {
            *to = from.norm_sqr();
        }
        Ok(())
    }
}

/// An index into the sound, mirrored at its first and last sample, which are not repeated.
fn mirrored(at: isize) -> usize {
    let last = SAMPLES as isize - 1;
    let at = at.unsigned_abs() as isize;
    (if at > last { 2 * last - at } else { at }).unsigned_abs()
}

fn hann() -> Vec<f64> {
    let turn = std::f64::consts::TAU / WINDOW as f64;
    (0..WINDOW)
        .map(|i| 0.5 - 0.5 * (turn * i as f64).cos())
        .collect()
}

/// Slaney's mel scale: even up to 1 kHz, logarithmic above.
fn mel_to_hz(mel: f64) -> f64 {
    const BEND_MEL: f64 = 15.0;
    if mel < BEND_MEL {
        mel * 200.0 / 3.0
    } else {
        1000.0 * ((mel - BEND_MEL) * 6.4_f64.ln() / 27.0).exp()
    }
}

/// The scale's value at 8 kHz, half of the sampling rate: 15 + 27 · ln 8 / ln 6.4.
fn mel_max() -> f64 {
    15.0 + 27.0 * 8.0_f64.ln() / 6.4_f64.ln()
}

fn filters() -> Vec<Filter> {
    let edge = |i: usize| mel_to_hz(mel_max() * i as f64 / (BANDS + 1) as f64);
    let hz = |bin: usize| bin as f64 * f64::from(INPUT_RATE_HZ) / WINDOW as f64;
    (0..BANDS)
        .map(|band| {
            let (low, middle, high) = (edge(band), edge(band + 1), edge(band + 2));
            let weight = |bin: usize| {
                let rising = (hz(bin) - low) / (middle - low);
                let falling = (high - hz(bin)) / (high - middle);
                rising.min(falling).max(0.0) * 2.0 / (high - low)
            };
            let under: Vec<usize> = (0..BINS).filter(|bin| weight(*bin) > 0.0).collect();
            Filter {
                first_bin: under.first().copied().unwrap_or(0),
                weights: under.into_iter().map(weight).collect(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spectrogram(pcm: &[i16]) -> Vec<f32> {
        let mut out = vec![0.0; BANDS * COLUMNS];
        Features::new().compute(pcm, &mut out).unwrap();
        out
    }

    #[test]
    fn a_tone_is_loudest_in_its_own_band_and_only_while_it_sounds() {
        // One second at 1 kHz at the end of the eight.
        let tone: Vec<i16> = (0..16_000)
            .map(|i| (8000.0 * (std::f64::consts::TAU * f64::from(i) / 16.0).sin()) as i16)
            .collect();
        let out = spectrogram(&tone);
        let column = |c: usize| (0..BANDS).map(|b| out[b * COLUMNS + c]).collect::<Vec<_>>();
        let sounding = column(750);
        let loudest = (0..BANDS).max_by(|a, b| sounding[*a].total_cmp(&sounding[*b]));
        let band = loudest.unwrap();
        let edge = |i: usize| mel_to_hz(mel_max() * i as f64 / (BANDS + 1) as f64);
        assert!(edge(band) < 1000.0 && 1000.0 < edge(band + 2), "{band}");
        assert!(column(300).iter().all(|v| *v < sounding[band] - 1.0));
    }

    #[test]
    fn every_bin_but_the_first_is_under_some_filter_and_each_filter_has_one() {
        let filters = filters();
        assert!(filters.iter().all(|f| !f.weights.is_empty()));
        assert!((mel_to_hz(mel_max()) - 8000.0).abs() < 1e-6);
        // Area 1 in Hz, up to the grid of 40 Hz, where a filter is wide enough for it.
        let widest = &filters[BANDS - 1];
        let area: f64 = widest.weights.iter().sum::<f64>() * 40.0;
        assert!((area - 1.0).abs() < 0.02, "{area}");
    }

    #[test]
    fn silence_and_nothing_at_all_are_the_same() {
        assert_eq!(spectrogram(&[]), spectrogram(&vec![0; SAMPLES]));
    }

    #[test]
    fn what_is_older_than_eight_seconds_does_not_count() {
        let new: Vec<i16> = (0..SAMPLES).map(|i| (i * 31 % 2000) as i16).collect();
        let old = [vec![i16::MAX; 5000], new.clone()].concat();
        assert_eq!(spectrogram(&old), spectrogram(&new));
    }

    #[test]
    fn the_ends_are_mirrored() {
        assert_eq!(mirrored(-3), 3);
        assert_eq!(mirrored(0), 0);
        assert_eq!(mirrored(SAMPLES as isize), SAMPLES - 2);
    }
}
