//! What a session makes of what its speaker tells.

use super::{Ledger, Session};
use crate::interview::Input;
use crate::interview::event::{Heard, Playout};
use crate::journal::JournalError;
use crate::voice::speaker::{self, SpeakerEvent};

/// A speaker that has to speak and has not come round for so many rounds of the session, a second each, is stuck.
const SPEAKER_LOOKS_MAX: u32 = 5;

impl<L: Ledger> Session<L> {
    /// Why the room is to be joined anew, with another speaker: the one that is to speak stands still, or is gone.
    pub(super) fn speaker_stands_still(&mut self) -> Option<String> {
        let stay = self.stay.as_mut()?;
        let rounds = stay.speaker.rounds();
        let (seen, looks) = &mut stay.speaker_seen;
        if stay.speaking_now.is_none() || *seen != rounds {
            (*seen, *looks) = (rounds, 0);
            return None;
        }
        *looks += 1;
        (*looks >= SPEAKER_LOOKS_MAX).then(|| "the speaker stands still".to_owned())
    }

    pub(super) async fn spoken(&mut self, event: SpeakerEvent) -> Result<(), JournalError> {
        match event {
            SpeakerEvent::Started {
                segment,
                first_sound_ms,
                engine,
            } => {
                self.began_to_speak(segment, first_sound_ms, engine);
                Ok(())
            }
            SpeakerEvent::Ended { segment, heard } => {
                let heard = match heard {
                    speaker::Heard::Whole => Heard::Whole,
                    speaker::Heard::Part(text) => Heard::Part { text },
                };
                let (text, playout) = self.segment_over(segment);
                let shown = if let Heard::Part { text } = &heard {
                    text.clone()
                } else {
                    text.unwrap_or_default()
                };
                self.show_interviewer(segment, shown, true);
                self.input(Input::SegmentEnded {
                    segment,
                    heard,
                    playout,
                })
                .await?;
                let interrupted_by = self.stay.as_mut().and_then(|s| s.after_interruption.take());
                match interrupted_by {
                    Some(utterance) => self.answered(utterance).await,
                    None => Ok(()),
                }
            }
            SpeakerEvent::Failed { segment, cause, .. } => {
                tracing::warn!(interview_id = %self.id, segment, "not spoken, shown as text: {cause}");
                let (text, _) = self.segment_over(segment);
                if let Some(text) = text {
                    self.show_interviewer(segment, text, true);
                }
                self.input(Input::SegmentFailed { segment, cause }).await
            }
        }
    }

    fn began_to_speak(&mut self, segment: u32, first_sound_ms: u32, engine: &str) {
        self.figures.first_sound(self.id.as_str(), first_sound_ms);
        let Some(stay) = &mut self.stay else { return };
        stay.playouts.insert(
            segment,
            Playout {
                engine: engine.to_owned(),
                first_sound_ms,
            },
        );
        if let Some(text) = stay.texts.get(&segment).cloned() {
            self.show_interviewer(segment, text, false);
        }
    }

    /// The segment's text and how it was spoken, as far as they are known.
    pub(super) fn segment_over(&mut self, segment: u32) -> (Option<String>, Option<Playout>) {
        let Some(stay) = &mut self.stay else {
            return (None, None);
        };
        let now = &stay.speaking_now;
        if now.as_ref().is_some_and(|s| s.segment == segment) {
            stay.speaking_now = None;
            stay.held = false;
        }
        (stay.texts.remove(&segment), stay.playouts.remove(&segment))
    }
}
