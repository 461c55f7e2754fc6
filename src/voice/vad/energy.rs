//! The fallback detector: how far a frame stands above the noise of its own stream.

use super::FRAME_SAMPLES;
use crate::speech::INPUT_RATE_HZ;

/// Nothing below this is speech, however quiet the line: a whisper into a laptop is at about -45 dBFS.
const SPEECH_DBFS_MIN: f32 = -55.0;
/// Speech stands this far above the floor when the answer is one half. Fans and rooms vary by some 6 dB, the quiet
/// syllables of a sentence are 15–20 dB above a room.
const MARGIN_DB: f32 = 11.0;
/// Width of the step from no to yes.
const SLOPE_DB: f32 = 2.5;
/// The floor before anything was heard.
const FLOOR_START_DBFS: f32 = -50.0;
/// The floor rises slowly, so that a long sentence does not become its own noise, and falls in a few frames, so that the
/// first pause teaches it the room.
const FLOOR_RISE_DB_PER_S: f32 = 1.5;
const FLOOR_FALL_SHARE: f32 = 0.3;
/// The floor of a muted line, else it would take a minute to come back from digital silence.
const FLOOR_DBFS_MIN: f32 = -70.0;

/// One stream's noise floor.
#[derive(Debug, Clone)]
pub(super) struct Energy {
    floor_dbfs: f32,
}

impl Energy {
    pub(super) fn new() -> Self {
        Self {
            floor_dbfs: FLOOR_START_DBFS,
        }
    }

    /// Takes a frame and gives a number that can be compared with the model's probabilities.
    pub(super) fn probability(&mut self, pcm: &[i16; FRAME_SAMPLES]) -> f32 {
        let level = level_dbfs(pcm);
        if level < self.floor_dbfs {
            self.floor_dbfs += FLOOR_FALL_SHARE * (level.max(FLOOR_DBFS_MIN) - self.floor_dbfs);
        } else {
            let frame_s = FRAME_SAMPLES as f32 / INPUT_RATE_HZ as f32;
            self.floor_dbfs = (self.floor_dbfs + FLOOR_RISE_DB_PER_S * frame_s).min(level);
        }
        if level < SPEECH_DBFS_MIN {
            return 0.0;
        }
        1.0 / (1.0 + ((MARGIN_DB - (level - self.floor_dbfs)) / SLOPE_DB).exp())
    }
}

fn level_dbfs(pcm: &[i16; FRAME_SAMPLES]) -> f32 {
    let sum: f32 = pcm
        .iter()
        .map(|s| f32::from(*s) / 32768.0)
        .map(|s| s * s)
        .sum();
    10.0 * (sum / FRAME_SAMPLES as f32).max(1e-12).log10()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tone(dbfs: f32) -> [i16; FRAME_SAMPLES] {
        let amplitude = 32768.0 * 2f32.sqrt() * 10f32.powf(dbfs / 20.0);
        std::array::from_fn(|i| (amplitude * (i as f32 * 0.3).sin()) as i16)
    }

    #[test]
    fn a_voice_above_a_steady_fan_is_heard_and_the_fan_is_not() {
        let mut energy = Energy::new();
        let fan: Vec<f32> = (0..400).map(|_| energy.probability(&tone(-48.0))).collect();
        assert!(fan[200..].iter().all(|p| *p < 0.1));
        assert!(energy.probability(&tone(-25.0)) > 0.95);
    }

    #[test]
    fn a_speaker_who_pauses_for_breath_is_heard_to_the_end_of_a_minute() {
        let mut energy = Energy::new();
        for _ in 0..20 {
            (0..80).for_each(|_| assert!(energy.probability(&tone(-28.0)) > 0.9));
            (0..14).for_each(|_| assert!(energy.probability(&tone(-60.0)) < 0.1));
        }
    }

    #[test]
    fn digital_silence_is_not_speech_nor_is_the_hiss_after_it() {
        let mut energy = Energy::new();
        (0..1000).for_each(|_| assert!(energy.probability(&[0; FRAME_SAMPLES]) < 0.01));
        assert!(energy.probability(&tone(-58.0)) < 0.01);
    }

    proptest! {
        #[test]
        fn it_is_a_probability_whatever_comes(frames in prop::collection::vec(prop::array::uniform8(any::<i16>()), 1..50)) {
            let mut energy = Energy::new();
            for seed in frames {
                let p = energy.probability(&std::array::from_fn(|i| seed[i % 8]));
                prop_assert!((0.0..=1.0).contains(&p));
            }
        }
    }
}
