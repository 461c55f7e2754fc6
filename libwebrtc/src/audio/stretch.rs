//! Takes a period out of a sound, or plays one twice, so that nobody hears it.
//!
//! Waveform similarity overlap-add (Verhelst and Roelands, "An overlap-add technique based on
//! waveform similarity for high quality time-scale modification of speech", ICASSP 1993), one
//! period at a time as a jitter buffer needs it (Liang, Färber and Girod, "Adaptive playout
//! scheduling and loss concealment for voice communication over IP networks", IEEE Transactions on
//! Multimedia 5(4), 2003): at the distance at which the sound resembles itself best, it goes over
//! from the one place into the other. Pitch stays as it is. It allocates nothing.

use super::{format::CHANNELS_MAX, resample::dot};

/// The shortest and the longest piece that is taken out or repeated, in samples per channel:
/// 2.5–15 ms, the periods of voices from 400 Hz down to 67 Hz.
const LAG_MIN: usize = 120;
pub(super) const LAG_MAX: usize = 720;

/// How long the one sound goes over into the other, and how much of both is compared: 10 ms, a
/// period of a low voice.
const OVERLAP: usize = 480;

/// The sound that is looked at, in samples per channel.
pub(super) const WINDOW: usize = OVERLAP + LAG_MAX;

/// Distances are tried on every sixth sample, averaged, first, and then one by one around the best.
const COARSE: usize = 6;

/// Power of both pieces below which they are silence: one step of 16 bits in each sample.
const SILENCE: f32 = 1.0;

/// Working space for one track.
pub(super) struct Stretcher {
    fine: Box<[f32]>,
    coarse: Box<[f32]>,
}

/// Where a sound resembles its beginning best.
#[derive(Debug, Clone, Copy)]
struct Likeness {
    /// The distance in samples per channel.
    lag: usize,
    /// Normalised correlation: 1 is the same but for the loudness, 0 has nothing in common.
    similarity: f32,
}

impl Stretcher {
    pub fn new() -> Self {
        Self {
            fine: vec![0.0; WINDOW * CHANNELS_MAX].into(),
            coarse: vec![0.0; WINDOW / COARSE * CHANNELS_MAX].into(),
        }
    }

    /// Takes a piece out of the first [`WINDOW`] of `pcm`, one or two interleaved channels at 48 kHz, and
    /// says how long it was in samples per channel. None when there is too little sound, or when no two
    /// places are as similar as `similarity_min`; nothing has changed then.
    pub fn shorten(
        &mut self,
        pcm: &mut Vec<i16>,
        channels: usize,
        similarity_min: f32,
    ) -> Option<usize> {
        let likeness = self.find(pcm, channels, similarity_min)?;
        let piece = likeness.lag * channels;
        let fade = Fade::new(likeness.similarity);
        // Backwards, so that what is read has not been written yet.
        for index in (0..OVERLAP * channels).rev() {
            pcm[piece + index] = fade.mix(pcm[index], pcm[piece + index], index / channels);
        }
        pcm.drain(..piece);
        Some(likeness.lag)
    }

    /// Repeats a piece within the first [`WINDOW`] of `pcm`, in the same terms.
    pub fn lengthen(
        &mut self,
        pcm: &mut Vec<i16>,
        channels: usize,
        similarity_min: f32,
    ) -> Option<usize> {
        let likeness = self.find(pcm, channels, similarity_min)?;
        let piece = likeness.lag * channels;
        let fade = Fade::new(likeness.similarity);
        let before = pcm.len();
        pcm.resize(before + piece, 0);
        pcm.copy_within(..before, piece);
        for index in 0..OVERLAP * channels {
            let (from, to) = (pcm[2 * piece + index], pcm[piece + index]);
            pcm[piece + index] = fade.mix(from, to, index / channels);
        }
        Some(likeness.lag)
    }

    fn find(&mut self, pcm: &[i16], channels: usize, similarity_min: f32) -> Option<Likeness> {
        let window = pcm.get(..WINDOW * channels)?;
        let fine = &mut self.fine[..WINDOW * channels];
        for (to, &from) in fine.iter_mut().zip(window) {
            *to = f32::from(from);
        }
        let coarse = &mut self.coarse[..WINDOW / COARSE * channels];
        for (index, to) in coarse.iter_mut().enumerate() {
            let (step, channel) = (index / channels, index % channels);
            let from = &fine[(step * COARSE) * channels..][..COARSE * channels];
            *to = from.iter().skip(channel).step_by(channels).sum::<f32>() / COARSE as f32;
        }
        let rough = best(
            coarse,
            OVERLAP / COARSE * channels,
            channels,
            LAG_MIN / COARSE..=LAG_MAX / COARSE,
        )?;
        let around = rough.lag * COARSE;
        let lags = (around - COARSE).max(LAG_MIN)..=(around + COARSE).min(LAG_MAX);
        best(fine, OVERLAP * channels, channels, lags)
            .filter(|found| found.similarity >= similarity_min)
    }
}

/// The lag at which `overlap` interleaved samples are most like those at the beginning.
fn best(
    signal: &[f32],
    overlap: usize,
    channels: usize,
    lags: std::ops::RangeInclusive<usize>,
) -> Option<Likeness> {
    // Interleaved channels add up by themselves in each of the sums.
    let here = &signal[..overlap];
    let energy_here = dot(here, here);
    let silence = SILENCE * overlap as f32;
    lags.map(|lag| {
        let there = &signal[lag * channels..][..overlap];
        let energy_there = dot(there, there);
        let similarity = if energy_here.max(energy_there) < silence {
            1.0
        } else {
            dot(here, there) / (energy_here * energy_there).sqrt().max(1.0)
        };
        Likeness { lag, similarity }
    })
    .max_by(|one, other| one.similarity.total_cmp(&other.similarity))
}

/// Goes over from one sound to another that is similar to it, without a dip or a hump in loudness:
/// sounds with nothing in common add up by their power, the same sound adds up by its amplitude
/// (Fink, Holters and Zölzer, "Signal-matched power-complementary cross-fading and dry-wet mixing",
/// DAFx 2016).
struct Fade {
    similarity: f32,
}

impl Fade {
    fn new(similarity: f32) -> Self {
        Self {
            similarity: similarity.clamp(0.0, 1.0),
        }
    }

    /// The mixture `at` so many samples after the beginning.
    fn mix(&self, from: i16, to: i16, at: usize) -> i16 {
        let new = (at as f32 + 0.5) / OVERLAP as f32;
        let old = 1.0 - new;
        let power = new * new + old * old + 2.0 * new * old * self.similarity;
        let mixed = (f32::from(from) * old + f32::from(to) * new) / power.sqrt();
        // A cast from float saturates, which is the clipping that is wanted.
        mixed.round() as i16
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use proptest::prelude::*;

    use super::*;

    const CHANNELS: usize = CHANNELS_MAX;

    fn stereo(mono: impl Iterator<Item = f64>) -> Vec<i16> {
        mono.flat_map(|sample| [sample.round() as i16; CHANNELS])
            .collect()
    }

    fn sine(hz: f64, samples: usize) -> Vec<i16> {
        stereo((0..samples).map(|n| 12_000.0 * (TAU * hz * n as f64 / 48_000.0).sin()))
    }

    fn noise(samples: usize) -> Vec<i16> {
        let mut seed = 1_u32;
        stereo((0..samples).map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(seed >> 18) - 8_192.0
        }))
    }

    /// The largest step between neighbouring samples of a channel.
    fn step_max(pcm: &[i16]) -> i32 {
        pcm.windows(CHANNELS + 1)
            .map(|w| (i32::from(w[CHANNELS]) - i32::from(w[0])).abs())
            .max()
            .unwrap()
    }

    /// The root mean square of the left channel.
    fn rms(pcm: &[i16]) -> f64 {
        let squares = pcm.iter().map(|&s| f64::from(s).powi(2));
        (squares.sum::<f64>() / pcm.len() as f64).sqrt()
    }

    type Change = fn(&mut Stretcher, &mut Vec<i16>, usize, f32) -> Option<usize>;

    #[test]
    fn a_sine_of_any_pitch_stays_one_without_a_step() {
        for hz in [70.0, 97.0, 144.0, 233.0, 440.0, 1_000.0, 3_333.0] {
            let steady = sine(hz, 4 * WINDOW);
            for change in [Stretcher::shorten as Change, Stretcher::lengthen] {
                let mut pcm = steady.clone();
                let lag = change(&mut Stretcher::new(), &mut pcm, CHANNELS, 0.9).unwrap();
                assert!((LAG_MIN..=LAG_MAX).contains(&lag), "{hz} Hz: {lag}");
                assert_eq!(pcm.len().abs_diff(steady.len()), lag * CHANNELS);
                let (before, after) = (step_max(&steady), step_max(&pcm));
                assert!(
                    after <= before + before / 20 + 8,
                    "{hz} Hz: {after} after {before}"
                );
                // It is the same sine, shifted: at 70 Hz no lag is a whole number of periods but one.
                let periods = lag as f64 * hz / 48_000.0;
                let off = (periods - periods.round()).abs();
                assert!(off < 0.08, "{hz} Hz: {periods} periods");
            }
        }
    }

    #[test]
    fn noise_keeps_its_loudness_where_it_is_changed() {
        let steady = noise(4 * WINDOW);
        for change in [Stretcher::shorten as Change, Stretcher::lengthen] {
            let mut pcm = steady.clone();
            assert!(change(&mut Stretcher::new(), &mut pcm, CHANNELS, 0.9).is_none());
            assert_eq!(pcm, steady);
            change(&mut Stretcher::new(), &mut pcm, CHANNELS, -1.0).unwrap();
            let (before, after) = (rms(&steady), rms(&pcm[..2 * WINDOW]));
            assert!((after / before - 1.0).abs() < 0.1, "{after} after {before}");
        }
    }

    #[test]
    fn silence_gives_way_by_the_longest_piece() {
        let mut pcm = vec![0; 2 * WINDOW * CHANNELS];
        assert_eq!(
            Stretcher::new().shorten(&mut pcm, CHANNELS, 0.9),
            Some(LAG_MAX)
        );
        assert!(pcm.iter().all(|&sample| sample == 0));
    }

    #[test]
    fn a_change_touches_nothing_but_its_window() {
        let steady = sine(200.0, 4 * WINDOW);
        let mut pcm = steady.clone();
        let lag = Stretcher::new().shorten(&mut pcm, CHANNELS, 0.9).unwrap();
        assert_eq!(
            pcm[OVERLAP * CHANNELS..],
            steady[(OVERLAP + lag) * CHANNELS..]
        );
        let mut pcm = steady.clone();
        let lag = Stretcher::new().lengthen(&mut pcm, CHANNELS, 0.9).unwrap();
        assert_eq!(pcm[..lag * CHANNELS], steady[..lag * CHANNELS]);
        assert_eq!(
            pcm[(lag + OVERLAP) * CHANNELS..],
            steady[OVERLAP * CHANNELS..]
        );
    }

    #[test]
    fn channels_stay_apart() {
        let mut pcm = sine(200.0, 2 * WINDOW);
        pcm.iter_mut()
            .skip(1)
            .step_by(CHANNELS)
            .for_each(|right| *right = 0);
        Stretcher::new().shorten(&mut pcm, CHANNELS, 0.9).unwrap();
        assert!(
            pcm.iter()
                .skip(1)
                .step_by(CHANNELS)
                .all(|&right| right == 0)
        );
    }

    #[test]
    fn one_channel_is_changed_as_two_equal_ones_are() {
        let left = |pcm: &[i16]| pcm.iter().step_by(CHANNELS).copied().collect::<Vec<_>>();
        for both in [sine(144.0, 4 * WINDOW), noise(4 * WINDOW)] {
            for change in [Stretcher::shorten as Change, Stretcher::lengthen] {
                let (mut one, mut two) = (left(&both), both.clone());
                let lag = change(&mut Stretcher::new(), &mut one, 1, -1.0).unwrap();
                let same = change(&mut Stretcher::new(), &mut two, CHANNELS, -1.0);
                assert_eq!(same, Some(lag));
                assert_eq!(one, left(&two));
            }
        }
    }

    #[test]
    fn too_little_sound_is_left_alone() {
        let mut pcm = sine(200.0, WINDOW - 1);
        assert!(Stretcher::new().shorten(&mut pcm, CHANNELS, -1.0).is_none());
        assert!(
            Stretcher::new()
                .lengthen(&mut pcm, CHANNELS, -1.0)
                .is_none()
        );
        assert_eq!(pcm.len(), (WINDOW - 1) * CHANNELS);
    }

    proptest! {
        #[test]
        fn any_sound_changes_by_what_is_said(
            pcm in prop::collection::vec(any::<i16>(), (WINDOW * CHANNELS)..(WINDOW * CHANNELS + 40)),
            loud in any::<bool>(),
        ) {
            let pcm: Vec<i16> = pcm.chunks_exact(CHANNELS).flatten()
                .map(|&sample| if loud { if sample > 0 { i16::MAX } else { i16::MIN } } else { sample })
                .collect();
            let mut shorter = pcm.clone();
            let lag = Stretcher::new().shorten(&mut shorter, CHANNELS, -1.0).unwrap();
            prop_assert_eq!(shorter.len() + lag * CHANNELS, pcm.len());
            let mut longer = pcm.clone();
            let lag = Stretcher::new().lengthen(&mut longer, CHANNELS, -1.0).unwrap();
            prop_assert_eq!(longer.len(), pcm.len() + lag * CHANNELS);
        }
    }
}
