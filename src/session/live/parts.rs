//! How a session takes its leave: to another process at a sentence's end, or with a goodbye when the disk has failed.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Ledger, Session};
use crate::journal::JournalError;
use crate::voice::listen::ListenEvent;
use crate::voice::speaker::SpeakerEvent;

/// Time for the goodbye when the journal has failed.
pub(in crate::session) const FAREWELL_LIMIT: Duration = Duration::from_secs(10);

/// Time for the sentence that is being spoken, and for words that are being understood, before another process goes on:
/// neither a deployment nor a reboot waits for an interview.
pub(in crate::session) const HAND_OVER_LIMIT: Duration = Duration::from_secs(2);

/// What is said when nothing can be written down any more. The one sentence besides fillers that no journal holds.
const FAREWELL: &str = "I am sorry, there is a technical problem on our side, so I have to end our conversation here. \
                        What you said until now is kept. Goodbye.";

/// Names the farewell, which has no number of its own.
const FAREWELL_SEGMENT: u32 = u32::MAX;

impl<L: Ledger> Session<L> {
    /// Ends the sentence and writes down what was said until now, so that another process goes on from there.
    pub(super) async fn hand_over(
        &mut self,
        speaking: &mut mpsc::Receiver<SpeakerEvent>,
    ) -> Result<(), JournalError> {
        let limit = Instant::now() + HAND_OVER_LIMIT;
        if let Some(stay) = &self.stay
            && stay.speaker.finish_sentence().is_err()
        {
            return Ok(());
        }
        while let Ok(event) = self.hearing.try_recv() {
            self.heard_at_last(event);
        }
        loop {
            let speaks = self.stay.as_ref().is_some_and(|s| s.speaking_now.is_some());
            if !speaks && !self.in_turn && self.words_pending == 0 {
                return Ok(());
            }
            tokio::select! {
                Some(event) = self.hearing.recv() => self.heard_at_last(event),
                event = speaking.recv() => match event {
                    Some(SpeakerEvent::Ended { segment, .. } | SpeakerEvent::Failed { segment, .. }) => {
                        self.segment_over(segment);
                    }
                    Some(SpeakerEvent::Started { .. }) => {}
                    None => return Ok(()),
                },
                utterance = self.transcriber.next() => {
                    self.words_pending = self.words_pending.saturating_sub(1);
                    if !utterance.text.is_empty() {
                        let heard = self.heard(utterance);
                        self.write(heard).await?;
                    }
                }
                () = tokio::time::sleep_until(limit) => return Ok(()),
            }
        }
    }

    /// Words still count; nobody is made to pause any more.
    fn heard_at_last(&mut self, event: ListenEvent) {
        if !matches!(event, ListenEvent::Sustained) {
            self.listened(event);
        }
    }

    /// The goodbye of a failed disk.
    pub(super) async fn say_farewell(&mut self, speaking: &mut mpsc::Receiver<SpeakerEvent>) {
        let Some(stay) = &self.stay else { return };
        let sentences = vec![FAREWELL.to_owned()];
        if self.candidate.is_none() || stay.speaker.say(FAREWELL_SEGMENT, sentences).is_err() {
            return;
        }
        let mut said = pin!(tokio::time::sleep(FAREWELL_LIMIT));
        loop {
            tokio::select! {
                event = speaking.recv() => match event {
                    Some(SpeakerEvent::Ended { segment: FAREWELL_SEGMENT, .. } | SpeakerEvent::Failed { segment: FAREWELL_SEGMENT, .. }) | None => return,
                    Some(_) => {}
                },
                () = &mut said => return,
            }
        }
    }
}
