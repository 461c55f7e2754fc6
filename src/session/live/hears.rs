//! What a session makes of the candidate's speech and of the words in it.

use tokio::time::Instant;

use super::{Ledger, Session, millis};
use crate::interview::Input;
use crate::interview::event::Hearing;
use crate::journal::JournalError;
use crate::voice::listen::ListenEvent;
use crate::voice::turn::Utterance;

/// A sound shorter than this (with the margins that go to STT) in which no words are found is not worth a "sorry?".
const NOISE_MS_MAX: u32 = 1_200;

impl<L: Ledger> Session<L> {
    pub(super) fn listened(&mut self, event: ListenEvent) {
        match event {
            ListenEvent::Began => {
                self.in_turn = true;
                self.transcriber.begin();
            }
            ListenEvent::Sustained => {
                if let Some(stay) = &mut self.stay
                    && stay.speaking_now.as_ref().is_some_and(|s| s.interruptible)
                    && stay.speaker.pause().is_ok()
                {
                    stay.held = true;
                }
            }
            ListenEvent::Paused(segment) => self.transcriber.segment(segment),
            ListenEvent::WentOn => {}
            ListenEvent::Finished { silence_ms } => {
                self.in_turn = false;
                self.quiet_since = Some(Instant::now());
                self.words_pending += 1;
                self.transcriber.finish(silence_ms);
            }
            ListenEvent::Closed => self.in_turn = false,
        }
    }

    pub(super) async fn understood(&mut self, utterance: Utterance) -> Result<(), JournalError> {
        self.words_pending = self.words_pending.saturating_sub(1);
        if let Some(cause) = &utterance.failure {
            tracing::warn!(interview_id = %self.id, "speech was not understood: {cause}");
        }
        let held = self.stay.as_ref().is_some_and(|stay| stay.held);
        if utterance.text.is_empty() {
            if held {
                self.speak_on();
                return Ok(());
            }
            if utterance.speech_ms <= NOISE_MS_MAX && utterance.failure.is_none() {
                return Ok(());
            }
            return self.input(Input::NotUnderstood).await;
        }
        self.show_candidate(&utterance.text);
        if let Some(stay) = &mut self.stay
            && held
            && stay.speaker.interrupt().is_ok()
        {
            stay.after_interruption = Some(utterance);
            return Ok(());
        }
        self.answered(utterance).await
    }

    /// What made us pause had no words in it.
    fn speak_on(&mut self) {
        if let Some(stay) = &mut self.stay {
            stay.held = false;
            if stay.speaker.resume().is_err() {
                tracing::error!(interview_id = %self.id, "the speaker is gone; it can't go on");
            }
        }
    }

    pub(super) async fn answered(&mut self, utterance: Utterance) -> Result<(), JournalError> {
        let heard = self.heard(utterance);
        self.input(heard).await
    }

    pub(super) fn heard(&mut self, utterance: Utterance) -> Input {
        self.figures.heard(utterance.speech_ended);
        Input::Heard {
            text: utterance.text,
            heard_by: Hearing {
                engine: utterance.engine.to_owned(),
                speech_ms: utterance.speech_ms,
                stt_ms: utterance.stt_ms,
                wait_ms: millis(utterance.speech_ended.elapsed()),
            },
        }
    }
}
