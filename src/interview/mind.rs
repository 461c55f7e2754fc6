//! What is asked of a language model between an answer and the next question, and what it may say.

use serde::{Deserialize, Serialize};

/// Who chooses the words between the plan's questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mind {
    /// Nobody: the plan's own questions in order, with short fixed acknowledgements.
    Plan,
    /// A language model, which acknowledges each answer and may ask a follow-up.
    Llm,
}

/// What the language model is asked after an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MindRequest {
    /// The candidate's turn that completed the answer; a reply to an older turn is ignored.
    pub turn: u32,
    /// The title of the plan's section.
    pub section: String,
    /// The question as it was last asked, which may be a follow-up.
    pub question: String,
    /// All that the candidate said to it, oldest words first.
    pub answer: String,
    /// Whether one more follow-up may be asked.
    pub follow_up_allowed: bool,
}

/// What it may say: a short acknowledgement, and at most one follow-up question (None moves on).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MindReply {
    /// One short sentence; empty takes a fixed one.
    pub acknowledgement: String,
    /// A question that digs deeper, or nothing.
    pub follow_up: Option<String>,
}
