//! What a session does because of an event: it speaks, listens, asks the language model, or is over.

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::Instrument;

use super::{Ledger, Session, SpeakingNow};
use crate::interview::mind::{MindReply, MindRequest};
use crate::interview::{Action, Input};
use crate::journal::JournalError;
use crate::llm::LlmError;

impl<L: Ledger> Session<L> {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Say {
                segment,
                sentences,
                interruptible,
            } => {
                let Some(stay) = &mut self.stay else { return };
                stay.held = false;
                stay.speaking_now = Some(SpeakingNow {
                    segment,
                    interruptible,
                });
                stay.texts.insert(segment, sentences.join(" "));
                if stay.speaker.say(segment, sentences).is_err() {
                    tracing::error!(interview_id = %self.id, "the speaker is gone; the room will be joined anew");
                }
            }
            Action::Listen => self.quiet_since = Some(Instant::now()),
            Action::AskMind(request) => self.ask_mind(request),
            Action::End { reason } => {
                tracing::info!(interview_id = %self.id, ?reason, "the interview is over")
            }
        }
    }

    fn ask_mind(&mut self, request: MindRequest) {
        if let Some((_, older)) = self.mind.take() {
            older.abort();
        }
        let Some(llm) = self.faculties.llm.clone() else {
            return;
        };
        self.figures.mind_asked();
        let turn = request.turn;
        #[expect(
            clippy::disallowed_methods,
            reason = "its panic is told to the session by the handle"
        )]
        let reply = tokio::spawn(async move { llm.reply(&request).await }.in_current_span());
        self.mind = Some((turn, reply));
    }

    pub(super) async fn mind_replied(
        &mut self,
        turn: u32,
        reply: Result<MindReply, String>,
    ) -> Result<(), JournalError> {
        self.figures.mind_done();
        match reply {
            Ok(reply) => self.input(Input::MindReplied { turn, reply }).await,
            Err(cause) => {
                tracing::warn!(interview_id = %self.id, turn, "the language model gave nothing: {cause}");
                self.input(Input::MindFailed { turn, cause }).await
            }
        }
    }
}

impl<L> Drop for Session<L> {
    fn drop(&mut self) {
        if let Some((_, asking)) = self.mind.take() {
            asking.abort();
        }
    }
}

/// The reply that is awaited, once it is there. Cancel-safe; waits for ever while none is.
pub(super) async fn mind_reply(
    mind: &mut Option<(u32, JoinHandle<Result<MindReply, LlmError>>)>,
) -> (u32, Result<MindReply, String>) {
    let Some((turn, asking)) = mind else {
        return std::future::pending().await;
    };
    let turn = *turn;
    let reply = match asking.await {
        Ok(reply) => reply.map_err(|e| e.to_string()),
        Err(broken) => Err(format!("its client broke down: {broken}")),
    };
    *mind = None;
    (turn, reply)
}
