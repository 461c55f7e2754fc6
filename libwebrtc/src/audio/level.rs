//! Loudness as RTP carries it: decibels below digital full scale.

/// The level of silence, the lowest that RFC 6464 can say.
pub(crate) const LEVEL_SILENCE: u8 = 127;

/// Quieter than this is taken for a pause. Speech of a usual microphone lies at 15–45, its
/// background at 55 and more.
pub(crate) const LEVEL_PAUSE: u8 = 50;

/// The mean power of interleaved samples, from 0 to 1 of a full-scale square wave's.
pub(crate) fn power(samples: &[i16]) -> f64 {
    if samples.is_empty() {
        return 0.0;
    }
    // i16 squared fits u32; 2^32 frames of them fit u64.
    let sum: u64 = samples
        .iter()
        .map(|&s| u64::from(s.unsigned_abs()).pow(2))
        .sum();
    let full_scale = f64::from(i16::MAX).powi(2);
    sum as f64 / samples.len() as f64 / full_scale
}

/// `-dBov` as in RFC 6464: 0 is full scale, 127 is silence.
pub(crate) fn level_dbov(power: f64) -> u8 {
    if power <= 0.0 {
        return LEVEL_SILENCE;
    }
    let below = -10.0 * power.log10();
    below.round().clamp(0.0, f64::from(LEVEL_SILENCE)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(samples: &[i16]) -> u8 {
        level_dbov(power(samples))
    }

    #[test]
    fn full_scale_is_zero_and_silence_is_the_floor() {
        assert_eq!(level(&[i16::MAX, i16::MIN]), 0);
        assert_eq!(level(&[0; 960]), LEVEL_SILENCE);
        assert_eq!(level(&[]), LEVEL_SILENCE);
    }

    #[test]
    fn a_full_scale_sine_is_three_decibels_below() {
        let sine: Vec<i16> = (0..480)
            .map(|n| (32_767.0 * (f64::from(n) * std::f64::consts::TAU / 48.0).sin()) as i16)
            .collect();
        assert_eq!(level(&sine), 3);
    }

    #[test]
    fn a_tenth_of_the_amplitude_is_twenty_decibels_less() {
        assert_eq!(level(&[3_277, -3_277]), 20);
    }
}
