//! What is to be done with events, given what Postgres has of their interview: a decision without I/O.

use crate::interview::InterviewId;
use crate::journal::{StoredEvent, first_link};

/// The end of an interview as Postgres has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) term: u64,
    /// The number of the last event.
    pub(super) events: u64,
    /// Its hash; nothing before the first.
    pub(super) hash: Option<[u8; 32]>,
    pub(super) plan_hash: String,
}

/// Why an event is no part of the interview.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Another event has its number.
    OtherEvent,
    /// The interview was taken over, under a higher term.
    LowerTerm,
    /// It follows one of these.
    AfterAnother,
}

impl Reason {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OtherEvent => "other_event",
            Self::LowerTerm => "lower_term",
            Self::AfterAnother => "after_another",
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The first `known` events are there already, the next `new` ones are to be added, the rest refused for a reason.
    Take {
        known: usize,
        new: usize,
        refused: Option<Reason>,
    },
    /// Events before the first one are missing.
    Behind,
    /// The first event that is not there does not follow the last one that is.
    Unchained,
}

/// Judges events that follow each other. `stored` knows the hashes of those that are there. With neither known nor new
/// events and no reason, there were none to judge.
pub(super) fn judge(
    head: &Head,
    events: &[StoredEvent],
    stored: impl Fn(u64) -> Option<[u8; 32]>,
) -> Verdict {
    let mut known = 0;
    for event in events {
        if event.seq > head.events {
            break;
        }
        if stored(event.seq) != Some(event.hash) {
            return Verdict::Take {
                known,
                new: 0,
                refused: Some(Reason::OtherEvent),
            };
        }
        known += 1;
    }
    let mut end = head.clone();
    for (new, event) in events[known..].iter().enumerate() {
        let refused = if event.term < end.term {
            Some(Reason::LowerTerm)
        } else if event.seq == end.events + 1 && event.follows(&end.link(&event.interview_id)) {
            end.events = event.seq;
            end.term = event.term;
            end.hash = Some(event.hash);
            continue;
        } else {
            None
        };
        // What comes before is good. Without a reason, the next parcel begins here and is judged by itself.
        if new > 0 || known > 0 || refused.is_some() {
            return Verdict::Take {
                known,
                new,
                refused,
            };
        }
        return if event.seq > end.events + 1 {
            Verdict::Behind
        } else {
            Verdict::Unchained
        };
    }
    Verdict::Take {
        known,
        new: events.len() - known,
        refused: None,
    }
}

impl Head {
    /// What the next event is chained to.
    fn link(&self, id: &InterviewId) -> [u8; 32] {
        self.hash.unwrap_or_else(|| first_link(id, &self.plan_hash))
    }
}

#[cfg(test)]
mod tests;
