//! What clients in the room are shown of a session: its state, and the words of both sides.

use super::{Ledger, Session};
use crate::room::{AgentState, Author, Line};

impl<L: Ledger> Session<L> {
    pub(super) fn announce_state(&mut self) {
        let Some(stay) = &mut self.stay else { return };
        let state = if stay.speaking_now.is_some() && !stay.held {
            AgentState::Speaking
        } else if self.state.is_listening() && self.words_pending == 0 || stay.held {
            AgentState::Listening
        } else if self.candidate.is_none() {
            AgentState::Initializing
        } else {
            AgentState::Thinking
        };
        if state != stay.announced {
            stay.announced = state;
            stay.announcer.state(state);
        }
    }

    pub(super) fn show_interviewer(&self, segment: u32, text: String, is_final: bool) {
        if let Some(stay) = &self.stay {
            stay.announcer.line(Line {
                author: Author::Interviewer,
                segment: format!("{}-i{segment}", self.id),
                text,
                is_final,
            });
        }
    }

    pub(super) fn show_candidate(&mut self, text: &str) {
        self.utterances += 1;
        let (Some(stay), Some(identity)) = (&self.stay, &self.candidate) else {
            return;
        };
        stay.announcer.line(Line {
            author: Author::Candidate {
                identity: identity.clone(),
                track: stay.candidate_track.clone(),
            },
            // Another process that goes on counts from 1 again: the event's number keeps the names apart.
            segment: format!("{}-c{}-{}", self.id, self.state.seq(), self.utterances),
            text: text.to_owned(),
            is_final: true,
        });
    }
}
