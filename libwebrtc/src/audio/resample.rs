//! Changes the sample rate of a running signal without a seam between its pieces.

use std::f64::consts::PI;

use super::format::common_divisor;

/// Zero crossings of the low-pass on each side of its centre, counted at the lower of both rates.
/// 24 make a transition band of about a tenth of that rate and a delay of 1.5 ms at 16 kHz.
const HALF_WIDTH: usize = 24;

/// Middle of the transition band as a share of the lower rate's Nyquist frequency: what folds back
/// above it lies above 7.4 kHz at 16 kHz, where speech has next to nothing.
const CUTOFF: f64 = 0.92;

/// Kaiser window parameter for a stop band of about 70 dB (Kaiser 1974: 0.1102 (A - 8.7)).
const KAISER_BETA: f64 = 6.76;

/// Independent sums, so that the compiler may use vector instructions.
const LANES: usize = 8;

/// A polyphase low-pass for the ratio of two whole rates.
///
/// After `n` input samples exactly `ceil(n * out / in)` output samples have come out, whatever the
/// pieces were, so the output of a 10 ms clock stays on that clock.
pub(crate) struct Resampler {
    channels: usize,
    up: usize,
    /// From one output to the next: whole input samples, and steps of `1 / up` of one.
    stride: (usize, usize),
    taps: usize,
    /// `up` rows of `taps` weights, each row in the order of the samples it is laid over.
    weights: Vec<f32>,
    /// The last `taps` and the new samples of each channel, one after the other.
    history: Vec<Vec<f32>>,
    /// Where the next output lies after the oldest new sample, in the same terms.
    next: (usize, usize),
}

impl Resampler {
    /// For `channels` interleaved channels from `in_hz` to `out_hz`; both rates are above zero.
    pub fn new(in_hz: u32, out_hz: u32, channels: usize) -> Self {
        let divisor = common_divisor(in_hz, out_hz).max(1);
        let up = (out_hz / divisor) as usize;
        let down = (in_hz / divisor) as usize;
        let widening = f64::from(in_hz) / f64::from(in_hz.min(out_hz));
        let half = (HALF_WIDTH as f64 * widening).ceil();
        let taps = (2 * half as usize).next_multiple_of(LANES);
        Self {
            channels,
            up,
            stride: (down / up, down % up),
            taps,
            weights: weights(up, taps, widening),
            history: vec![vec![0.0; taps - 1]; channels],
            next: (0, 0),
        }
    }

    /// Takes interleaved samples in and appends what they yield to `out`, interleaved.
    pub fn process(&mut self, input: &[i16], out: &mut Vec<i16>) {
        let frames = input.len() / self.channels;
        for (channel, history) in self.history.iter_mut().enumerate() {
            if self.channels == 1 {
                // Without steps the compiler takes several at once.
                history.extend(input.iter().map(|&sample| f32::from(sample)));
            } else {
                let samples = input.iter().skip(channel).step_by(self.channels);
                history.extend(samples.map(|&sample| f32::from(sample)));
            }
        }
        let (mut newest, mut phase) = self.next;
        while newest < frames {
            let row = &self.weights[phase * self.taps..][..self.taps];
            for history in &self.history {
                out.push(to_sample(dot(row, &history[newest..][..self.taps])));
            }
            // By sums: divisions by a rate would take as long as the products.
            newest += self.stride.0;
            phase += self.stride.1;
            if phase >= self.up {
                phase -= self.up;
                newest += 1;
            }
        }
        self.next = (newest - frames, phase);
        for history in &mut self.history {
            history.drain(..frames);
        }
    }
}

/// For each phase, the windowed sinc around the point that lies `phase / up` after a sample.
fn weights(up: usize, taps: usize, widening: f64) -> Vec<f32> {
    let mut weights = Vec::with_capacity(up * taps);
    let cutoff = CUTOFF / widening;
    let half = taps as f64 / 2.0;
    let edge = bessel_i0(KAISER_BETA);
    for phase in 0..up {
        let centre = half - 1.0 + phase as f64 / up as f64;
        let row = (0..taps).map(|tap| {
            let distance = tap as f64 - centre;
            let inside = (1.0 - (distance / half).powi(2)).max(0.0).sqrt();
            sinc(cutoff * distance) * bessel_i0(KAISER_BETA * inside) / edge
        });
        let row: Vec<f64> = row.collect();
        // Each row passes a constant signal unchanged; otherwise the phases would hum.
        let gain: f64 = row.iter().sum();
        weights.extend(row.iter().map(|weight| (weight / gain) as f32));
    }
    weights
}

fn sinc(x: f64) -> f64 {
    if x.abs() < 1e-9 {
        1.0
    } else {
        (PI * x).sin() / (PI * x)
    }
}

/// The modified Bessel function of order zero, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 1.0;
    for k in 1..32 {
        term *= (x / (2.0 * f64::from(k))).powi(2);
        sum += term;
    }
    sum
}

/// Both slices are of the same length, a multiple of [`LANES`].
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum()
}

fn to_sample(value: f32) -> i16 {
    // A cast from float cuts off and saturates, which is the clipping that is wanted. To round by `f32::round` would be
    // a call for each sample on processors without SSE 4.1, and so wherever the program is not built for one machine.
    (value + 0.5_f32.copysign(value)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [u32; 9] = [
        8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000,
    ];

    fn sine(hz: f64, rate: u32, samples: usize) -> Vec<i16> {
        (0..samples)
            .map(|n| (10_000.0 * (2.0 * PI * hz * n as f64 / f64::from(rate)).sin()) as i16)
            .collect()
    }

    fn resample(in_hz: u32, out_hz: u32, input: &[i16], piece: usize) -> Vec<i16> {
        let mut resampler = Resampler::new(in_hz, out_hz, 1);
        let mut out = Vec::new();
        for piece in input.chunks(piece) {
            resampler.process(piece, &mut out);
        }
        out
    }

    /// Signal to noise and distortion in dB of `signal` against its best-fitting sine of `hz`.
    fn sine_quality_db(signal: &[i16], hz: f64, rate: u32) -> f64 {
        let w = 2.0 * PI * hz / f64::from(rate);
        let (mut s, mut c) = (0.0, 0.0);
        for (n, &x) in signal.iter().enumerate() {
            s += f64::from(x) * (w * n as f64).sin();
            c += f64::from(x) * (w * n as f64).cos();
        }
        let scale = 2.0 / signal.len() as f64;
        let (s, c) = (s * scale, c * scale);
        let (mut wanted, mut rest) = (0.0, 1e-9);
        for (n, &x) in signal.iter().enumerate() {
            let fit = s * (w * n as f64).sin() + c * (w * n as f64).cos();
            wanted += fit * fit;
            rest += (f64::from(x) - fit).powi(2);
        }
        10.0 * (wanted / rest).log10()
    }

    #[test]
    fn a_tone_stays_clean_at_every_rate_there_and_back() {
        for rate in RATES.into_iter().filter(|&rate| rate != 48_000) {
            for (from, to) in [(48_000, rate), (rate, 48_000)] {
                let out = resample(from, to, &sine(1_000.0, from, from as usize), 441);
                // Whole periods, after the filter has run in.
                let steady = &out[to as usize / 10..][..to as usize / 2];
                let quality = sine_quality_db(steady, 1_000.0, to);
                assert!(quality > 65.0, "{from} -> {to}: {quality:.1} dB");
            }
        }
    }

    #[test]
    fn what_the_lower_rate_can_not_carry_is_removed() {
        let out = resample(48_000, 16_000, &sine(9_500.0, 48_000, 48_000), 480);
        let peak = out[1_600..]
            .iter()
            .map(|sample| sample.unsigned_abs())
            .max();
        assert!(peak < Some(10), "{peak:?}");
    }

    #[test]
    fn pieces_make_no_seams() {
        for (from, to) in [(48_000, 16_000), (22_050, 48_000), (48_000, 44_100)] {
            let input = sine(700.0, from, 9_600);
            let whole = resample(from, to, &input, input.len());
            for piece in [1, 7, 160, 480, 1_001] {
                assert_eq!(
                    resample(from, to, &input, piece),
                    whole,
                    "{from} -> {to} by {piece}"
                );
            }
        }
    }

    #[test]
    fn the_output_keeps_pace_with_the_input() {
        for from in RATES {
            for to in RATES {
                let mut resampler = Resampler::new(from, to, 1);
                let mut out = Vec::new();
                for n in 1..=200_u64 {
                    resampler.process(&[0; 37], &mut out);
                    let wanted = (n * 37 * u64::from(to)).div_ceil(u64::from(from));
                    assert_eq!(out.len() as u64, wanted, "{from} -> {to}");
                }
            }
        }
    }

    #[test]
    fn channels_do_not_mix() {
        let mut resampler = Resampler::new(48_000, 16_000, 2);
        let left = sine(500.0, 48_000, 4_800);
        let both: Vec<i16> = left.iter().flat_map(|&sample| [sample, 0]).collect();
        let mut out = Vec::new();
        resampler.process(&both, &mut out);
        assert!(out.iter().skip(1).step_by(2).all(|&sample| sample == 0));
        let mut alone = Vec::new();
        Resampler::new(48_000, 16_000, 1).process(&left, &mut alone);
        assert_eq!(out.iter().step_by(2).copied().collect::<Vec<_>>(), alone);
    }

    #[test]
    fn full_scale_clips_and_does_not_wrap() {
        let square: Vec<i16> = (0..4_800)
            .map(|n| if n / 60 % 2 == 0 { i16::MAX } else { i16::MIN })
            .collect();
        let out = resample(48_000, 44_100, &square, 480);
        // Inside each half period the sign is right; a wrapped overshoot would flip it.
        for (n, &sample) in out.iter().enumerate().skip(200) {
            let at = (n as f64 * 48.0 / 44.1 - 24.0).rem_euclid(120.0);
            if (10.0..50.0).contains(&at) {
                assert!(sample > 20_000, "{n}: {sample}");
            }
            if (70.0..110.0).contains(&at) {
                assert!(sample < -20_000, "{n}: {sample}");
            }
        }
    }
}
