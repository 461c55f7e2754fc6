//! Where the time of a turn went, from the candidate's last word to the interviewer's first sound.

use std::time::Duration;

use tokio::time::Instant;

use crate::health::metrics;
use crate::telemetry::traces::InterviewTrace;

/// The stages of the reply that is being made.
#[derive(Debug)]
pub struct TurnFigures {
    trace: Option<InterviewTrace>,
    turn: Turn,
}

#[derive(Debug, Default)]
struct Turn {
    speech_ended: Option<Instant>,
    words_ms: u128,
    mind_asked: Option<Instant>,
    mind_ms: u128,
    journal_ms: u128,
}

impl TurnFigures {
    /// Of an interview that is told to a collector, where there is one.
    pub fn new(trace: Option<InterviewTrace>) -> Self {
        Self {
            trace,
            turn: Turn::default(),
        }
    }

    /// The candidate's turn is in words.
    pub fn heard(&mut self, speech_ended: Instant) {
        self.turn = Turn {
            speech_ended: Some(speech_ended),
            words_ms: speech_ended.elapsed().as_millis(),
            ..Turn::default()
        };
    }

    /// The language model was asked.
    pub fn mind_asked(&mut self) {
        self.turn.mind_asked = Some(Instant::now());
    }

    /// The language model answered or failed.
    pub fn mind_done(&mut self) {
        self.turn.mind_ms += self
            .turn
            .mind_asked
            .take()
            .map_or(0, |asked| asked.elapsed().as_millis());
    }

    /// Events were written, having taken since `begun`.
    pub fn written(&mut self, begun: Instant) {
        self.turn.journal_ms += begun.elapsed().as_millis();
    }

    /// The reply's first sound is on its way: logs where the time went.
    pub fn first_sound(&mut self, interview: &str, first_sound_ms: u32) {
        let Some(ended) = self.turn.speech_ended.take() else {
            return;
        };
        let turn = ended.elapsed();
        self.tell(turn, first_sound_ms);
        for (stage, ms) in [
            ("words", self.turn.words_ms),
            ("mind", self.turn.mind_ms),
            ("journal", self.turn.journal_ms),
            ("tts", u128::from(first_sound_ms)),
            ("turn", turn.as_millis()),
        ] {
            let ms = u64::try_from(ms).unwrap_or(u64::MAX);
            metrics::turn_stage(stage, Duration::from_millis(ms));
        }
        tracing::info!(
            interview_id = interview,
            turn_ms = turn.as_millis(),
            words_ms = self.turn.words_ms,
            mind_ms = self.turn.mind_ms,
            journal_ms = self.turn.journal_ms,
            tts_ms = first_sound_ms,
            "replied"
        );
    }

    /// Where each stage began is not taken: they follow each other, with the journal between.
    fn tell(&self, turn: Duration, first_sound_ms: u32) {
        let Some(trace) = &self.trace else { return };
        let ms = |ms: u128| Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX)).min(turn);
        let (words, mind) = (ms(self.turn.words_ms), ms(self.turn.mind_ms));
        let tts = ms(first_sound_ms.into());
        let mut stages = vec![("words", Duration::ZERO, words)];
        if !mind.is_zero() {
            stages.push(("mind", words, mind));
        }
        stages.push(("tts", turn.saturating_sub(tts), tts));
        trace.reply(turn, &stages);
    }
}
