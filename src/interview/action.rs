//! What is to be done about an event, once it is on disk.

use super::event::{EndReason, Event};
use super::mind::MindRequest;
use super::state::{Phase, State};

/// An order to the world.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Speak this. It replaces whatever is being spoken; the end of both is to be reported as
    /// [`Input::SegmentEnded`](super::Input::SegmentEnded) or
    /// [`Input::SegmentFailed`](super::Input::SegmentFailed).
    Say {
        /// Names the segment in the report.
        segment: u32,
        /// What to say; one sentence at a time can be synthesised.
        sentences: Vec<String>,
        /// Whether the candidate may talk over it.
        interruptible: bool,
    },
    /// The candidate has the floor.
    Listen,
    /// Ask the language model. It replaces an older request.
    AskMind(MindRequest),
    /// Leave the room: all is said.
    End {
        /// Why.
        reason: EndReason,
    },
}

/// The orders that follow from an event; `state` is the one after it.
pub fn actions(state: &State, event: &Event) -> Vec<Action> {
    match event {
        Event::SegmentPlanned {
            segment,
            sentences,
            interruptible,
            ..
        } => vec![Action::Say {
            segment: *segment,
            sentences: sentences.clone(),
            interruptible: *interruptible,
        }],
        Event::SegmentHeard { .. } if state.phase == Phase::Listening => vec![Action::Listen],
        Event::MindAsked { request } => vec![Action::AskMind(request.clone())],
        Event::Ended { reason } => vec![Action::End {
            reason: reason.clone(),
        }],
        _ => Vec::new(),
    }
}
