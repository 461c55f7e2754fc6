//! What a platform reads of an interview, taken from its events: what was said, and by whom.

use crate::interview::Event;
use crate::interview::event::{Heard, Purpose, Role};
use crate::journal::StoredEvent;

/// What an event adds to the readable tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Readable {
    /// Something was said, or is going to be.
    Turn(Turn),
    /// What the interviewer was going to say is over.
    Heard(HeardTurn),
    /// The interview is over, and why.
    Ended(&'static str),
    /// Nothing.
    Nothing,
}

/// A row of `turns`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) speaker: &'static str,
    pub(super) number: i64,
    pub(super) question: Option<i64>,
    pub(super) role: &'static str,
    pub(super) text: String,
    pub(super) engine: Option<String>,
    pub(super) speech_ms: Option<i64>,
}

/// What becomes known of a turn of the interviewer's later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HeardTurn {
    pub(super) number: i64,
    pub(super) heard: &'static str,
    pub(super) text: Option<String>,
    pub(super) engine: Option<String>,
}

pub(super) const INTERVIEWER: &str = "interviewer";
pub(super) const CANDIDATE: &str = "candidate";

/// An event of a later release is copied like any other, and adds nothing readable until that release is here.
pub(super) fn readable(stored: &StoredEvent) -> Readable {
    let Ok(recorded) = stored.recorded() else {
        return Readable::Nothing;
    };
    match recorded.event {
        Event::SegmentPlanned {
            segment,
            purpose,
            sentences,
            ..
        } => {
            let (role, question) = purpose_of(&purpose);
            Readable::Turn(Turn {
                speaker: INTERVIEWER,
                number: segment.into(),
                question,
                role,
                text: storable(&sentences.join(" ")),
                engine: None,
                speech_ms: None,
            })
        }
        Event::SegmentHeard {
            segment,
            heard,
            playout,
        } => {
            let (heard, text) = match heard {
                Heard::Whole => ("whole", None),
                Heard::Part { text } => ("part", Some(storable(&text))),
                Heard::Page { .. } => ("page", None),
                Heard::Unknown => ("unknown", None),
            };
            Readable::Heard(HeardTurn {
                number: segment.into(),
                heard,
                text,
                engine: playout.map(|playout| storable(&playout.engine)),
            })
        }
        Event::TurnHeard {
            turn,
            about,
            role,
            text,
            heard_by,
        } => Readable::Turn(Turn {
            speaker: CANDIDATE,
            number: turn.into(),
            question: about.map(Into::into),
            role: role_of(role),
            text: storable(&text),
            engine: Some(storable(&heard_by.engine)),
            speech_ms: Some(heard_by.speech_ms.into()),
        }),
        Event::Ended { reason } => Readable::Ended(reason.name()),
        _ => Readable::Nothing,
    }
}

/// A text of PostgreSQL's can hold every character but U+0000.
pub(super) fn storable(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

fn purpose_of(purpose: &Purpose) -> (&'static str, Option<i64>) {
    match purpose {
        Purpose::Greeting => ("greeting", None),
        Purpose::Question { question, .. } => ("question", Some((*question).into())),
        Purpose::Prompt { question } => ("prompt", Some((*question).into())),
        Purpose::SayAgain { question } => ("say_again", Some((*question).into())),
        Purpose::Goodbye { .. } => ("goodbye", None),
    }
}

fn role_of(role: Role) -> &'static str {
    match role {
        Role::Answer => "answer",
        Role::Continuation => "continuation",
        Role::RepeatRequest => "repeat_request",
        Role::SkipRequest => "skip_request",
        Role::Aside => "aside",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interview::InterviewId;
    use crate::interview::event::Hearing;

    fn stored(payload: String) -> StoredEvent {
        StoredEvent {
            interview_id: InterviewId::new("a").unwrap(),
            term: 1,
            seq: 1,
            at_unix_ms: 1,
            elapsed_ms: 1,
            kind: String::new(),
            payload,
            hash: [0; 32],
        }
    }

    #[test]
    fn words_of_a_candidate_are_a_turn_whatever_characters_they_have() {
        let event = Event::TurnHeard {
            turn: 2,
            about: Some(1),
            role: Role::Answer,
            text: "a\0b \"ü\"".into(),
            heard_by: Hearing {
                engine: "whisper".into(),
                speech_ms: 900,
                stt_ms: 1,
                wait_ms: 2,
            },
        };
        let Readable::Turn(turn) = readable(&stored(event.to_payload().unwrap())) else {
            panic!("it is a turn");
        };
        assert_eq!(
            (turn.speaker, turn.number, turn.question),
            (CANDIDATE, 2, Some(1))
        );
        assert_eq!(turn.text, "a\u{FFFD}b \"ü\"");
    }

    #[test]
    fn an_event_of_a_later_release_adds_nothing_and_is_no_error() {
        let later = r#"{"v":99,"kind":"scored"}"#;
        assert_eq!(readable(&stored(later.into())), Readable::Nothing);
    }
}
