//! Endpointing: from speech probabilities to "began", "paused", "went on" and "finished". Pure; its clock is the audio itself.
//!
//! One frame is 512 samples at 16 kHz, 32 ms. Frames come on the audio clock whether or not packets
//! arrive, so silence is counted in time and a client that sends nothing while it is silent still finishes a turn.

/// Milliseconds of one VAD frame.
pub const FRAME_MS: u32 = 32;

/// Speech must hold for this many frames to begin: one loud frame is a click.
const ONSET_FRAMES: u32 = 3;

/// A frame counts as silence only this far below the threshold, so that a probability that hovers
/// there does not chop speech (Silero's own streaming iterator uses the same distance).
const HYSTERESIS: f32 = 0.15;

/// Speech that has lasted this long is meant: it interrupts the interviewer.
const SUSTAINED_MS: u32 = 500;

/// When a turn begins and ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EndpointSettings {
    /// Probability from which a frame is speech.
    pub speech_threshold: f32,
    /// Silence after which the turn may be over.
    pub pause_ms: u32,
    /// Silence after which it is over.
    pub turn_end_ms: u32,
}

/// What a frame changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// A turn began, this many ms before the end of this frame.
    Began {
        /// Speech already in the past.
        ago_ms: u32,
    },
    /// This turn's speech has lasted long enough to be meant.
    Sustained,
    /// The turn may be over.
    Paused {
        /// Silence since the last speech.
        silence_ms: u32,
    },
    /// It was not: speech again.
    WentOn,
    /// The turn is over; its last speech was this long ago.
    Finished {
        /// Silence since the last speech.
        silence_ms: u32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Silent,
    Speaking,
    Paused,
}

/// The endpointing state of one voice.
#[derive(Debug, Clone)]
pub struct Endpointer {
    settings: EndpointSettings,
    phase: Phase,
    loud_frames: u32,
    silence_ms: u32,
    speech_ms: u32,
    sustained: bool,
}

impl Endpointer {
    /// A voice that is silent.
    pub fn new(settings: EndpointSettings) -> Self {
        Self {
            settings,
            phase: Phase::Silent,
            loud_frames: 0,
            silence_ms: 0,
            speech_ms: 0,
            sustained: false,
        }
    }

    /// Is a turn under way?
    pub fn in_turn(&self) -> bool {
        self.phase != Phase::Silent
    }

    /// Takes the speech probability of the next frame.
    pub fn frame(&mut self, probability: f32) -> Change {
        let loud = probability >= self.settings.speech_threshold;
        self.loud_frames = if loud { self.loud_frames + 1 } else { 0 };
        match self.phase {
            Phase::Silent => self.silent(),
            Phase::Speaking => self.speaking(probability),
            Phase::Paused => self.paused(),
        }
    }

    fn silent(&mut self) -> Change {
        if self.loud_frames < ONSET_FRAMES {
            return Change::None;
        }
        self.phase = Phase::Speaking;
        self.silence_ms = 0;
        self.speech_ms = self.loud_frames * FRAME_MS;
        self.sustained = false;
        Change::Began {
            ago_ms: self.speech_ms,
        }
    }

    fn speaking(&mut self, probability: f32) -> Change {
        if probability < self.settings.speech_threshold - HYSTERESIS {
            self.silence_ms += FRAME_MS;
            if self.silence_ms >= self.settings.pause_ms {
                self.phase = Phase::Paused;
                return Change::Paused {
                    silence_ms: self.silence_ms,
                };
            }
            return Change::None;
        }
        self.speech_ms += FRAME_MS + self.silence_ms;
        self.silence_ms = 0;
        if !self.sustained && self.speech_ms >= SUSTAINED_MS {
            self.sustained = true;
            return Change::Sustained;
        }
        Change::None
    }

    fn paused(&mut self) -> Change {
        if self.loud_frames >= ONSET_FRAMES {
            self.phase = Phase::Speaking;
            self.speech_ms += self.loud_frames * FRAME_MS;
            self.silence_ms = 0;
            return Change::WentOn;
        }
        self.silence_ms += FRAME_MS;
        if self.silence_ms >= self.settings.turn_end_ms && self.loud_frames == 0 {
            self.phase = Phase::Silent;
            return Change::Finished {
                silence_ms: self.silence_ms,
            };
        }
        Change::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: EndpointSettings = EndpointSettings {
        speech_threshold: 0.5,
        pause_ms: 192,
        turn_end_ms: 544,
    };

    /// Feeds `ms` of frames and returns each change with the time at which it came.
    fn feed(
        endpointer: &mut Endpointer,
        at_ms: &mut u32,
        probability: f32,
        ms: u32,
    ) -> Vec<(u32, Change)> {
        let mut changes = Vec::new();
        for _ in 0..ms / FRAME_MS {
            *at_ms += FRAME_MS;
            let change = endpointer.frame(probability);
            if change != Change::None {
                changes.push((*at_ms, change));
            }
        }
        changes
    }

    #[test]
    fn a_turn_begins_is_sustained_pauses_and_ends() {
        let (mut voice, mut now) = (Endpointer::new(SETTINGS), 0);
        assert_eq!(feed(&mut voice, &mut now, 0.0, 320), []);
        assert_eq!(
            feed(&mut voice, &mut now, 0.9, 640),
            [
                (416, Change::Began { ago_ms: 96 }),
                (832, Change::Sustained)
            ]
        );
        assert_eq!(
            feed(&mut voice, &mut now, 0.0, 640),
            [
                (960 + 192, Change::Paused { silence_ms: 192 }),
                (960 + 544, Change::Finished { silence_ms: 544 })
            ]
        );
        assert!(!voice.in_turn());
    }

    #[test]
    fn speech_within_the_turn_end_goes_on_with_the_same_turn() {
        let (mut voice, mut now) = (Endpointer::new(SETTINGS), 0);
        feed(&mut voice, &mut now, 0.9, 320);
        assert_eq!(
            feed(&mut voice, &mut now, 0.0, 480),
            [(512, Change::Paused { silence_ms: 192 })]
        );
        assert_eq!(feed(&mut voice, &mut now, 0.9, 96), [(896, Change::WentOn)]);
        assert!(voice.in_turn());
    }

    #[test]
    fn a_click_neither_begins_a_turn_nor_keeps_one_open() {
        let (mut voice, mut now) = (Endpointer::new(SETTINGS), 0);
        assert_eq!(feed(&mut voice, &mut now, 0.9, 64), []);
        assert_eq!(feed(&mut voice, &mut now, 0.0, 320), []);
        feed(&mut voice, &mut now, 0.9, 320);
        feed(&mut voice, &mut now, 0.0, 320);
        feed(&mut voice, &mut now, 0.9, 32);
        let changes = feed(&mut voice, &mut now, 0.0, 320);
        assert!(
            matches!(changes[..], [(_, Change::Finished { .. })]),
            "{changes:?}"
        );
    }

    #[test]
    fn a_probability_that_hovers_at_the_threshold_does_not_chop_speech() {
        let (mut voice, mut now) = (Endpointer::new(SETTINGS), 0);
        feed(&mut voice, &mut now, 0.9, 640);
        assert_eq!(feed(&mut voice, &mut now, 0.4, 960), []);
        assert!(voice.in_turn());
    }
}
