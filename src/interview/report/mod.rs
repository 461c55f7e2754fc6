//! What an interview was: who said what and when, which questions were answered, how quick the answers came.
//!
//! As JSON the report is the serialisation of [`Report`]; fields may be added, none changes its meaning
//! without a new [`REPORT_SCHEMA`]. Times named `…_ms` count from the first word of the greeting.

mod collect;
mod markdown;

pub use markdown::utc;
use serde::{Deserialize, Serialize};

use super::event::{EndReason, Outcome, Recorded};
use super::id::InterviewId;
use super::mind::Mind;
use super::plan::Plan;

/// The version of the JSON.
pub const REPORT_SCHEMA: u32 = 1;

/// An interview, told from its plan and its events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`REPORT_SCHEMA`].
    pub schema: u32,
    /// Its name.
    pub interview_id: InterviewId,
    /// The LiveKit room.
    pub room: String,
    /// The plan's title.
    pub title: String,
    /// The name that the interviewer gave.
    pub interviewer: String,
    /// Which plan.
    pub plan_hash: String,
    /// Who chose the words between the questions.
    pub mind: Mind,
    /// The candidate's identity in the room, if there was one.
    pub candidate: Option<String>,
    /// When it was opened: wall clock, milliseconds since 1970.
    pub opened_at_unix_ms: u64,
    /// From the first word to the end, or to the last event of a live interview.
    pub duration_ms: u64,
    /// Why it ended; nothing while it is live.
    pub end: Option<EndReason>,
    /// Which engines heard and spoke.
    pub engines: Engines,
    /// The plan's sections.
    pub sections: Vec<SectionReport>,
    /// All that was said, by time.
    pub transcript: Vec<Line>,
    /// How long the candidate waited for the interviewer.
    pub response: Option<ResponseTimes>,
}

/// The engines that took part, each once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Engines {
    /// Speech to text.
    pub stt: Vec<String>,
    /// Text to speech.
    pub tts: Vec<String>,
}

/// A section of the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SectionReport {
    /// Its title.
    pub title: String,
    /// Its questions.
    pub questions: Vec<QuestionReport>,
}

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuestionReport {
    /// From 1, through all sections.
    pub number: u32,
    /// The plan's id.
    pub id: String,
    /// The plan's text.
    pub text: String,
    /// When it was first asked; nothing if it never was.
    pub asked_at_ms: Option<u64>,
    /// How it ended; nothing if it was not asked or is open.
    pub outcome: Option<Outcome>,
    /// The follow-ups that were asked.
    pub follow_ups: Vec<String>,
}

/// One thing that was said, or that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When it began.
    pub at_ms: u64,
    /// Whose it is.
    pub who: Who,
    /// The number of the question that it belongs to.
    pub question: Option<u32>,
    /// The words; of an interrupted sentence those that were heard.
    pub text: String,
    /// How the words came across.
    pub delivery: Delivery,
    /// How quickly it was answered, for a turn of the candidate.
    pub latency: Option<TurnLatency>,
}

/// Who speaks in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// Viva.
    Interviewer,
    /// The candidate.
    Candidate,
    /// Nobody: something happened in the room.
    Room,
}

/// How the words of a line came across.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Spoken to the end.
    Whole,
    /// Cut off after these words.
    Cut,
    /// Shown as text, because no voice worked.
    Page,
    /// Begun; how much of it was heard is not known.
    Unknown,
    /// The candidate spoke and was not understood.
    NotUnderstood,
}

/// How quickly a turn was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnLatency {
    /// From the end of the candidate's speech until its words were there.
    pub words_ms: u32,
    /// The STT engine's share of that.
    pub stt_ms: u32,
    /// What the language model took, if it was asked.
    pub mind_ms: Option<u64>,
    /// From the end of the candidate's speech to the first sound of the interviewer's, if it answered at all.
    pub response_ms: Option<u64>,
}

/// The distribution of [`TurnLatency::response_ms`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseTimes {
    /// How many turns were answered.
    pub turns: u32,
    /// Half of them were answered within this.
    pub p50_ms: u64,
    /// Nineteen of twenty were.
    pub p95_ms: u64,
    /// All were.
    pub max_ms: u64,
}

/// Why there is no report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// The first event is not the opening.
    #[error("the interview has no opening event: it was begun and nothing has happened in it yet")]
    NotOpened,
    /// The plan is not the one of the interview.
    #[error(
        "the interview follows the plan {wanted}, and this one is {given}; take the plan from the journal"
    )]
    OtherPlan {
        /// The hash in the events.
        wanted: String,
        /// The hash of the plan given.
        given: String,
    },
}

impl Report {
    /// Tells an interview from its plan and its events, which may go on.
    ///
    /// # Errors
    /// There is no opening event, or the interview followed another plan.
    pub fn of(plan: &Plan, events: &[Recorded]) -> Result<Self, ReportError> {
        collect::collect(plan, events)
    }

    /// The report as indented JSON.
    ///
    /// # Errors
    /// None in practice: a report is made of texts and numbers alone.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// The report for people. All that comes from outside is escaped: it shows as it was said.
    pub fn to_markdown(&self) -> String {
        markdown::markdown(self)
    }
}

#[cfg(test)]
mod tests;
