//! Notices when an audio thread has too little time for its beats, and when it has enough again.

use std::time::Duration;

use crate::audio::clock::TICK;

/// Work that takes this share of the time leaves too little for a beat that takes longer than
/// others: the next one would begin late.
const BUSY_MAX: f32 = 0.5;

/// With less than this there is time enough. It takes an encoder 3.5 times as long to do its best,
/// so that a thread that does nothing else would not be led straight back.
const BUSY_CALM: f32 = 0.12;

/// A beat's weight in the average: half a second of them decides.
const WEIGHT: f32 = 0.02;

/// It has to be calm for so many beats, 10 s, before encoders do their best again.
const CALM_BEATS_MIN: u32 = 1_000;

/// How busy one thread is.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    /// The share of the time that work takes, lately.
    busy: f32,
    calm_beats: u32,
    is_high: bool,
}

impl Pressure {
    /// Takes `beats` in that were served in this time.
    pub fn count(&mut self, beats: u32, took: Duration) {
        let share = took.as_secs_f32() / (TICK * beats.max(1)).as_secs_f32();
        for _ in 0..beats {
            self.busy += (share - self.busy) * WEIGHT;
            self.calm_beats = if self.busy < BUSY_CALM {
                self.calm_beats.saturating_add(1)
            } else {
                0
            };
            if self.busy > BUSY_MAX {
                self.is_high = true;
            } else if self.calm_beats >= CALM_BEATS_MIN {
                self.is_high = false;
            }
        }
    }

    /// Whether what can be left out should be.
    pub fn is_high(&self) -> bool {
        self.is_high
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beats(pressure: &mut Pressure, count: u32, busy_us: u64) {
        for _ in 0..count {
            pressure.count(1, Duration::from_micros(busy_us));
        }
    }

    #[test]
    fn it_rises_within_a_second_when_work_takes_most_of_the_time() {
        let mut pressure = Pressure::default();
        beats(&mut pressure, 100, 8_000);
        assert!(pressure.is_high());
    }

    #[test]
    fn a_single_beat_that_takes_long_is_no_pressure() {
        let mut pressure = Pressure::default();
        for _ in 0..100 {
            beats(&mut pressure, 99, 3_000);
            beats(&mut pressure, 1, 40_000);
        }
        assert!(!pressure.is_high());
    }

    #[test]
    fn it_does_not_fall_because_encoders_do_with_less() {
        let mut pressure = Pressure::default();
        beats(&mut pressure, 200, 6_000);
        assert!(pressure.is_high());
        // By as much as libopus takes less for read speech.
        beats(&mut pressure, 6_000, 6_000 * 84 / 295);
        assert!(pressure.is_high());
    }

    #[test]
    fn it_falls_after_a_calm_time() {
        let mut pressure = Pressure::default();
        beats(&mut pressure, 100, 8_000);
        beats(&mut pressure, CALM_BEATS_MIN, 1_000);
        assert!(pressure.is_high());
        beats(&mut pressure, 200, 1_000);
        assert!(!pressure.is_high());
    }

    #[test]
    fn beats_that_are_caught_up_at_once_count_as_what_they_took() {
        let mut pressure = Pressure::default();
        for _ in 0..100 {
            pressure.count(10, Duration::from_millis(30));
        }
        assert!(!pressure.is_high());
        for _ in 0..10 {
            pressure.count(10, Duration::from_millis(80));
        }
        assert!(pressure.is_high());
    }
}
