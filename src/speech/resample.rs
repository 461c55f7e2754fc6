//! Changes the rate of whole pieces of sound: a windowed-sinc interpolator for any ratio.
//!
//! The method is J. O. Smith's "Digital Audio Resampling": the ideal low-pass filter's impulse response under a Kaiser
//! window, looked up in a table with linear interpolation between its entries.

use std::f64::consts::PI;

/// Zero crossings of the filter on each side. With [`KAISER_BETA`] the stop band is 80 dB down, below 16-bit noise in
/// speech.
const CROSSINGS: usize = 24;
/// Table entries per zero crossing; linear interpolation between them is then 100 dB good.
const STEPS: usize = 512;
/// Shape of the window: 80 dB of attenuation.
const KAISER_BETA: f64 = 8.0;
/// The filter's edge, as a share of the lower of the two Nyquist frequencies: the transition band ends just there.
const EDGE: f64 = 0.93;

/// A fixed change of rate. Holds the filter; makes no allocation but its output.
#[derive(Debug, Clone)]
pub struct Resampler {
    /// The filter's right half, sampled at `STEPS` per zero crossing.
    table: Vec<f32>,
    /// Input samples per output sample.
    step: f64,
    /// Zero crossings of the filter per input sample.
    density: f64,
}

impl Resampler {
    /// From one rate to another, in hertz; both must be positive.
    #[must_use]
    pub fn new(from_hz: f64, to_hz: f64) -> Self {
        let density = (to_hz / from_hz).min(1.0) * EDGE;
        let table = (0..=CROSSINGS * STEPS + 1)
            .map(|i| {
                let x = i as f64 / STEPS as f64;
                (density * sinc(x) * kaiser(x / CROSSINGS as f64)) as f32
            })
            .collect();
        Self {
            table,
            step: from_hz / to_hz,
            density,
        }
    }

    /// The same sound at the other rate; before its start and after its end there is silence.
    #[must_use]
    pub fn process(&self, input: &[f32]) -> Vec<f32> {
        let length = (input.len() as f64 / self.step).ceil() as usize;
        let reach = CROSSINGS as f64 / self.density;
        (0..length)
            .map(|i| {
                let at = i as f64 * self.step;
                let first = (at - reach).ceil().max(0.0) as usize;
                let end = ((at + reach).floor() as usize + 1).min(input.len());
                let taps = input.get(first..end).unwrap_or_default();
                taps.iter()
                    .enumerate()
                    .map(|(k, sample)| sample * self.weight((first + k) as f64 - at))
                    .sum()
            })
            .collect()
    }

    /// The filter at a distance in input samples.
    fn weight(&self, distance: f64) -> f32 {
        let x = distance.abs() * self.density * STEPS as f64;
        let i = x as usize;
        match self.table.get(i..i + 2) {
            Some(pair) => pair[0] + (pair[1] - pair[0]) * (x - i as f64) as f32,
            None => 0.0,
        }
    }
}

/// Full scale to 16 bits; what is louder is clipped.
#[must_use]
pub fn to_pcm(sound: &[f32]) -> Vec<i16> {
    // A cast from float saturates, and makes 0 of what is not a number.
    sound.iter().map(|s| (s * 32767.0).round() as i16).collect()
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        1.0
    } else {
        (PI * x).sin() / (PI * x)
    }
}

/// The Kaiser window at `x` between 0 (its middle) and 1 (its edge).
fn kaiser(x: f64) -> f64 {
    if x >= 1.0 {
        0.0
    } else {
        bessel_i0(KAISER_BETA * (1.0 - x * x).sqrt()) / bessel_i0(KAISER_BETA)
    }
}

/// The modified Bessel function of the first kind and order zero, by its power series, which for arguments up to
/// [`KAISER_BETA`] has converged after 30 terms.
fn bessel_i0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    (1..30)
        .scan(1.0, |term, k| {
            *term *= quarter / f64::from(k * k);
            Some(*term)
        })
        .sum::<f64>()
        + 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tone(hz: f64, rate_hz: f64, seconds: f64) -> Vec<f32> {
        (0..(rate_hz * seconds) as usize)
            .map(|i| (2.0 * PI * hz * i as f64 / rate_hz).sin() as f32 * 0.5)
            .collect()
    }

    fn power_db(sound: &[f32]) -> f32 {
        10.0 * (sound.iter().map(|s| s * s).sum::<f32>() / sound.len() as f32)
            .max(1e-20)
            .log10()
    }

    /// The part that the silence around the piece does not reach.
    fn middle(sound: &[f32]) -> &[f32] {
        &sound[sound.len() / 4..sound.len() * 3 / 4]
    }

    #[test]
    fn a_tone_stays_the_same_tone() {
        for (from, to) in [
            (22_050.0, 24_000.0),
            (48_000.0, 16_000.0),
            (22_050.0 * 1.17, 24_000.0),
            (16_000.0, 48_000.0),
        ] {
            let got = Resampler::new(from, to).process(&tone(1000.0, from, 0.2));
            let want = tone(1000.0, to, 0.2);
            assert!(got.len().abs_diff(want.len()) <= 1);
            let difference: Vec<f32> = middle(&want)
                .iter()
                .zip(middle(&got))
                .map(|(a, b)| a - b)
                .collect();
            // A quarter of either length may begin at neighbouring samples when the lengths differ by one.
            if got.len() == want.len() {
                let noise = power_db(&difference) - power_db(middle(&want));
                assert!(noise < -70.0, "{from} to {to}: {noise} dB");
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_carry_is_silenced_and_not_folded_back() {
        let folded = Resampler::new(48_000.0, 16_000.0).process(&tone(9_000.0, 48_000.0, 0.2));
        assert!(power_db(middle(&folded)) < -70.0);
    }

    #[test]
    fn no_sound_gives_no_sound() {
        assert!(Resampler::new(22_050.0, 24_000.0).process(&[]).is_empty());
    }

    #[test]
    fn loud_and_senseless_samples_are_clipped() {
        assert_eq!(to_pcm(&[2.0, -2.0, f32::NAN, 0.0]), [32767, -32768, 0, 0]);
    }

    proptest! {
        #[test]
        fn the_length_follows_the_ratio(from in 8_000u32..48_000, to in 8_000u32..48_000, n in 0usize..2_000) {
            let length = Resampler::new(from.into(), to.into()).process(&vec![0.1; n]).len();
            let exact = n as f64 * f64::from(to) / f64::from(from);
            prop_assert!((length as f64 - exact).abs() <= 1.0);
        }
    }
}
