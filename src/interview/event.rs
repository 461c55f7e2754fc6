//! What happened in an interview, as it is kept for ever.
//!
//! An event is written to disk before anything is done about it. Old events are read by every later
//! release: fields may be added with a default, but a field never changes its meaning. A change that breaks
//! this raises [`EVENT_SCHEMA`].

use serde::{Deserialize, Serialize};

use super::id::InterviewId;
use super::mind::{Mind, MindReply, MindRequest};

/// The version in each event's payload.
pub const EVENT_SCHEMA: u64 = 1;

/// An event with its place in the interview.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Counts from 1 without a gap.
    pub seq: u64,
    /// Wall clock, milliseconds since 1970; may jump.
    pub at_unix_ms: u64,
    /// Monotonic milliseconds of the session; budgets and silences use these.
    pub elapsed_ms: u64,
    /// What happened.
    pub event: Event,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// The interview exists.
    Opened {
        /// Its name.
        interview_id: InterviewId,
        /// The LiveKit room.
        room: String,
        /// Which plan, by [`super::plan::Plan::hash`].
        plan_hash: String,
        /// Who chooses the words between the questions.
        mind: Mind,
    },
    /// The candidate is in the room, for the first time or again.
    CandidateJoined {
        /// LiveKit's participant identity.
        identity: String,
    },
    /// The candidate is not in the room any more.
    CandidateLeft,
    /// A process has taken the interview up after the one before it ended without a word.
    Resumed {
        /// Wall-clock time since the event before, in which nobody conducted; 0 where the clock was set back.
        gap_ms: u64,
    },
    /// This is going to be said.
    SegmentPlanned {
        /// Counts from 1.
        segment: u32,
        /// Why.
        purpose: Purpose,
        /// What, sentence by sentence.
        sentences: Vec<String>,
        /// Whether the candidate may talk over it.
        interruptible: bool,
    },
    /// A segment is over.
    SegmentHeard {
        /// Which.
        segment: u32,
        /// What of it reached the candidate.
        heard: Heard,
        /// How it was spoken, where it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        playout: Option<Playout>,
    },
    /// The candidate finished a turn.
    TurnHeard {
        /// Counts from 1.
        turn: u32,
        /// The number of the question that it belongs to, from 1; none before the first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        about: Option<u32>,
        /// What it was taken for.
        role: Role,
        /// The words.
        text: String,
        /// How they were heard.
        heard_by: Hearing,
    },
    /// The candidate spoke and no words came of it.
    TurnNotUnderstood {
        /// The number of the open question, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        about: Option<u32>,
    },
    /// The language model is asked.
    MindAsked {
        /// With these words.
        request: MindRequest,
    },
    /// The language model answered.
    MindAnswered {
        /// The turn of the request.
        turn: u32,
        /// What of the answer is used.
        reply: MindReply,
    },
    /// The language model did not answer, or not in time.
    MindFailed {
        /// The turn of the request.
        turn: u32,
        /// Why.
        cause: String,
    },
    /// A question is done with.
    QuestionClosed {
        /// Its number, from 1.
        question: u32,
        /// How it ended.
        outcome: Outcome,
    },
    /// The interview is over.
    Ended {
        /// Why.
        reason: EndReason,
    },
}

/// Why a segment is said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Purpose {
    /// Hello, who is speaking, and how this works.
    Greeting,
    /// A question of the plan, or a follow-up to it.
    Question {
        /// The plan's question, from 1.
        question: u32,
        /// In which form.
        ask: Ask,
        /// The question alone, without what leads to it.
        text: String,
    },
    /// A gentle word into a silence.
    Prompt {
        /// The open question, from 1.
        question: u32,
    },
    /// The candidate's words were not understood.
    SayAgain {
        /// The open question, from 1.
        question: u32,
    },
    /// The last words.
    Goodbye {
        /// Why the interview ends.
        reason: EndReason,
    },
}

/// In which form a question is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// For the first time.
    First,
    /// The language model's question about the answer.
    FollowUp,
    /// Again, because the candidate asked for it.
    RepeatOnRequest,
    /// Again, because nothing was said to it.
    RepeatAfterSilence,
    /// Again, because it was talked over.
    RepeatAfterOverlap,
    /// Again, because the candidate had left and is back.
    RepeatOnReturn,
    /// Again, because the interviewer was gone for a moment.
    RepeatOnResume,
}

/// What of a segment reached the candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "was", rename_all = "snake_case")]
pub enum Heard {
    /// All of it.
    Whole,
    /// It was cut off.
    Part {
        /// The words up to there.
        text: String,
    },
    /// It could not be spoken and was shown as text.
    Page {
        /// Why it could not be spoken.
        cause: String,
    },
    /// Nobody reported its end in time.
    Unknown,
}

/// How a segment was spoken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Playout {
    /// The TTS engine.
    pub engine: String,
    /// From the order to speak until the first sound.
    pub first_sound_ms: u32,
}

/// How a turn was heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hearing {
    /// The STT engine.
    pub engine: String,
    /// How long the candidate spoke.
    pub speech_ms: u32,
    /// How long the engine took.
    pub stt_ms: u32,
    /// From the end of the speech until the words were there: endpointing and STT together.
    pub wait_ms: u32,
}

/// What a turn was taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// An answer or a part of it.
    Answer,
    /// More of the answer to the question before, said into the beginning of the next one.
    Continuation,
    /// A request to hear the question again.
    RepeatRequest,
    /// A request to go on.
    SkipRequest,
    /// None of these: a greeting, a sound of listening, a word at the end.
    Aside,
}

/// How a question ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// With an answer.
    Answered,
    /// At the candidate's request.
    Skipped,
    /// In silence.
    Silent,
    /// With sounds that no words could be made of.
    NotUnderstood,
    /// Because the interview ended first.
    Unfinished,
}

/// Why an interview is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum EndReason {
    /// Every question was asked.
    Completed,
    /// The plan's time was used up.
    TimeUp,
    /// The candidate left and did not come back.
    CandidateGone,
    /// The candidate was never there.
    CandidateNeverCame,
    /// Viva could not go on.
    Fault {
        /// What failed.
        what: String,
    },
    /// The room was closed or lost.
    RoomGone {
        /// What LiveKit said.
        cause: String,
    },
}

impl EndReason {
    /// The reason in one word, as it is listed.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::TimeUp => "time_up",
            Self::CandidateGone => "candidate_gone",
            Self::CandidateNeverCame => "candidate_never_came",
            Self::Fault { .. } => "fault",
            Self::RoomGone { .. } => "room_gone",
        }
    }
}

/// Why a stored event can't be read.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Not JSON, an unknown kind of event, or a field that is missing or of the wrong type.
    #[error("the event can't be read: {0}; it was written by another version of Viva or damaged")]
    Unreadable(#[from] serde_json::Error),
    /// A later schema, whose meaning this release can't know.
    #[error(
        "the event has schema {found}; this release reads up to {EVENT_SCHEMA}, use a later one"
    )]
    TooNew {
        /// The event's schema.
        found: u64,
    },
    /// No schema at all.
    #[error("the event has no schema number `v`: it is not one of Viva's, or damaged")]
    NoSchema,
}

#[derive(Serialize)]
struct Payload<'a> {
    v: u64,
    #[serde(flatten)]
    event: &'a Event,
}

#[derive(Deserialize)]
struct Schema {
    v: Option<u64>,
}

impl Event {
    /// The event's name, as in its payload.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Opened { .. } => "opened",
            Self::CandidateJoined { .. } => "candidate_joined",
            Self::CandidateLeft => "candidate_left",
            Self::Resumed { .. } => "resumed",
            Self::SegmentPlanned { .. } => "segment_planned",
            Self::SegmentHeard { .. } => "segment_heard",
            Self::TurnHeard { .. } => "turn_heard",
            Self::TurnNotUnderstood { .. } => "turn_not_understood",
            Self::MindAsked { .. } => "mind_asked",
            Self::MindAnswered { .. } => "mind_answered",
            Self::MindFailed { .. } => "mind_failed",
            Self::QuestionClosed { .. } => "question_closed",
            Self::Ended { .. } => "ended",
        }
    }

    /// The event as one JSON object with its kind and schema; these bytes are what is stored and hashed.
    ///
    /// # Errors
    /// None in practice: an event is made of texts and numbers alone.
    pub fn to_payload(&self) -> Result<String, EventError> {
        let payload = Payload {
            v: EVENT_SCHEMA,
            event: self,
        };
        Ok(serde_json::to_string(&payload)?)
    }

    /// Reads a payload. Unknown fields are passed over, an unknown kind is an error.
    ///
    /// # Errors
    /// Not JSON, without a schema or with a later one, of an unknown kind, or with a field missing.
    pub fn from_payload(payload: &str) -> Result<Self, EventError> {
        match serde_json::from_str::<Schema>(payload)?.v {
            None => Err(EventError::NoSchema),
            Some(found) if found > EVENT_SCHEMA => Err(EventError::TooNew { found }),
            Some(_) => Ok(serde_json::from_str(payload)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_names_its_schema_and_kind_first() {
        let payload = Event::CandidateLeft.to_payload().unwrap();
        assert_eq!(payload, r#"{"v":1,"kind":"candidate_left"}"#);
    }

    #[test]
    fn a_field_of_a_later_release_is_passed_over() {
        let event = Event::from_payload(
            r#"{"v":1,"kind":"mind_failed","turn":3,"cause":"timeout","retries":2}"#,
        );
        assert_eq!(
            event.unwrap(),
            Event::MindFailed {
                turn: 3,
                cause: "timeout".into()
            }
        );
    }

    #[test]
    fn what_cannot_be_understood_is_an_error() {
        let read = |payload| Event::from_payload(payload).unwrap_err().to_string();
        assert!(read(r#"{"v":1,"kind":"scored"}"#).contains("scored"));
        assert!(read(r#"{"v":2,"kind":"candidate_left"}"#).contains("schema 2"));
        assert!(read(r#"{"kind":"candidate_left"}"#).contains("no schema"));
        assert!(read(r#"{"v":1,"kind":"mind_failed","turn":3}"#).contains("cause"));
        assert!(read("gibberish").contains("can't be read"));
    }
}
