//! Decides when a track's delay is bent back to its target, and how well that has to be hidden.

use super::{format::CORE_TICK_SAMPLES, level::LEVEL_PAUSE};

/// The delay may exceed its target by this before a pause is shortened: more than one beat, so that
/// the grid of packets and beats alone causes nothing.
const EXCESS_PAUSE_US: i64 = 11_000;

/// From here on speech is shortened too, where it repeats itself.
const EXCESS_US: i64 = 13_000;

/// The delay may fall short of its target by this before a pause is lengthened. A period is 15 ms
/// at most, so it never leads from one limit to the other.
const SHORTFALL_PAUSE_US: i64 = -6_000;

/// From here on speech is lengthened too, where it repeats itself.
const SHORTFALL_US: i64 = -8_000;

/// What counts as repeating itself: the correlation of two neighbouring periods of a vowel.
const SIMILARITY_VOICED: f32 = 0.9;

/// Any two places will do, the most similar of them.
const SIMILARITY_ANY: f32 = -1.0;

/// Speech that does not repeat itself for so long, as noise or breath does, is bent where it is.
const PATIENCE_BEATS: u32 = 10;

/// After a change of so many samples, speech is left alone for this many times as long: it gets 5 %
/// faster or slower at most, which nobody notices (Liang, Färber and Girod found none at 25 %).
const REST_SPEECH: usize = 20;

/// The same in pauses, which may change by a third.
const REST_PAUSE: usize = 3;

/// Which way to bend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bend {
    Shorten,
    Lengthen,
}

/// A change that is due.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Wish {
    pub bend: Bend,
    /// The least correlation of the places between which the sound may go over.
    pub similarity_min: f32,
}

/// What one track's steering has to remember.
#[derive(Debug, Default)]
pub(super) struct Steering {
    /// Beats until speech may be changed again, and until a pause may.
    speech_rest: usize,
    pause_rest: usize,
    /// Beats for which a change has been due in speech.
    due_beats: u32,
}

impl Steering {
    /// Lets a beat go by.
    pub fn beat(&mut self) {
        self.speech_rest = self.speech_rest.saturating_sub(1);
        self.pause_rest = self.pause_rest.saturating_sub(1);
    }

    /// Whether a delay that exceeds its target by `excess_us` may need a change at all.
    pub fn is_off(excess_us: i64) -> bool {
        !(SHORTFALL_PAUSE_US..=EXCESS_PAUSE_US).contains(&excess_us)
    }

    /// What to do with a delay that is off, and sound of this level in dB below full scale.
    pub fn wish(&mut self, excess_us: i64, level: u8) -> Option<Wish> {
        let bend = if excess_us > 0 {
            Bend::Shorten
        } else {
            Bend::Lengthen
        };
        if level >= LEVEL_PAUSE {
            return (Self::is_off(excess_us) && self.pause_rest == 0).then_some(Wish {
                bend,
                similarity_min: SIMILARITY_ANY,
            });
        }
        if (SHORTFALL_US..=EXCESS_US).contains(&excess_us) || self.speech_rest > 0 {
            self.due_beats = 0;
            return None;
        }
        self.due_beats += 1;
        let similarity_min = if self.due_beats > PATIENCE_BEATS {
            SIMILARITY_ANY
        } else {
            SIMILARITY_VOICED
        };
        Some(Wish {
            bend,
            similarity_min,
        })
    }

    /// A wish was fulfilled by so many samples per channel.
    pub fn fulfilled(&mut self, samples: usize) {
        self.speech_rest = (samples * REST_SPEECH).div_ceil(CORE_TICK_SAMPLES);
        self.pause_rest = (samples * REST_PAUSE).div_ceil(CORE_TICK_SAMPLES);
        self.due_beats = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEECH: u8 = 25;
    const PAUSE: u8 = 60;

    #[test]
    fn what_is_near_the_target_is_left_alone() {
        let mut steering = Steering::default();
        for excess_us in [-5_900, 0, 5_000, 10_900] {
            assert_eq!(steering.wish(excess_us, SPEECH), None);
            assert_eq!(steering.wish(excess_us, PAUSE), None);
        }
    }

    #[test]
    fn a_pause_is_changed_before_speech_is() {
        let mut steering = Steering::default();
        assert_eq!(steering.wish(12_000, SPEECH), None);
        let wish = steering.wish(12_000, PAUSE).unwrap();
        assert_eq!(wish.bend, Bend::Shorten);
        assert_eq!(steering.wish(-7_000, SPEECH), None);
        assert_eq!(steering.wish(-7_000, PAUSE).unwrap().bend, Bend::Lengthen);
    }

    #[test]
    fn speech_is_changed_where_it_repeats_itself_and_in_the_end_anywhere() {
        let mut steering = Steering::default();
        for _ in 0..PATIENCE_BEATS {
            let wish = steering.wish(20_000, SPEECH).unwrap();
            assert_eq!(wish.similarity_min, SIMILARITY_VOICED);
        }
        let wish = steering.wish(20_000, SPEECH).unwrap();
        assert_eq!(wish.similarity_min, SIMILARITY_ANY);
    }

    #[test]
    fn speech_changes_by_five_percent_at_most() {
        let mut steering = Steering::default();
        let (mut beats, mut removed) = (0, 0);
        while removed < 48_000 {
            beats += 1;
            steering.beat();
            if steering.wish(200_000, SPEECH).is_some() {
                steering.fulfilled(500);
                removed += 500;
            }
        }
        let share = removed as f64 / f64::from(beats * 480);
        assert!((0.04..=0.0525).contains(&share), "{share}");
    }
}
