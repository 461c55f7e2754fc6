//! Where the time of a turn went, from the candidate's last word to the interviewer's first sound.

use std::time::Duration;

use tokio::time::Instant;

use crate::health::metrics;

/// The stages of the reply that is being made.
#[derive(Debug, Default)]
pub struct TurnFigures {
    speech_ended: Option<Instant>,
    words_ms: u128,
    mind_asked: Option<Instant>,
    mind_ms: u128,
    journal_ms: u128,
}

impl TurnFigures {
    /// The candidate's turn is in words.
    pub fn heard(&mut self, speech_ended: Instant) {
        *self = Self {
            speech_ended: Some(speech_ended),
            words_ms: speech_ended.elapsed().as_millis(),
            ..Self::default()
        };
    }

    /// The language model was asked.
    pub fn mind_asked(&mut self) {
        self.mind_asked = Some(Instant::now());
    }

    /// The language model answered or failed.
    pub fn mind_done(&mut self) {
        self.mind_ms += self
            .mind_asked
            .take()
            .map_or(0, |asked| asked.elapsed().as_millis());
    }

    /// Events were written, having taken since `begun`.
    pub fn written(&mut self, begun: Instant) {
        self.journal_ms += begun.elapsed().as_millis();
    }

    /// The reply's first sound is on its way: logs where the time went.
    pub fn first_sound(&mut self, interview: &str, first_sound_ms: u32) {
        let Some(ended) = self.speech_ended.take() else {
            return;
        };
        let turn = ended.elapsed();
        for (stage, ms) in [
            ("words", self.words_ms),
            ("mind", self.mind_ms),
            ("journal", self.journal_ms),
            ("tts", u128::from(first_sound_ms)),
            ("turn", turn.as_millis()),
        ] {
            let ms = u64::try_from(ms).unwrap_or(u64::MAX);
            metrics::turn_stage(stage, Duration::from_millis(ms));
        }
        tracing::info!(
            interview_id = interview,
            turn_ms = turn.as_millis(),
            words_ms = self.words_ms,
            mind_ms = self.mind_ms,
            journal_ms = self.journal_ms,
            tts_ms = first_sound_ms,
            "replied"
        );
    }
}
