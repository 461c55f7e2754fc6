//! The plan of an interview: its questions in order, how deep to dig and how long to take.
//!
//! ```
//! use viva::interview::plan::Plan;
//!
//! let plan = Plan::parse(
//!     r#"
//!     title = "Backend engineer"
//!     time_minutes = 30
//!
//!     [[sections]]
//!     title = "Databases"
//!
//!     [[sections.questions]]
//!     text = "What does an index cost?"
//!     follow_ups_max = 2
//!     "#,
//!     "backend.toml",
//! )?;
//! assert_eq!(plan.questions().len(), 1);
//! assert_eq!(plan.hash().len(), 64);
//! # Ok::<(), viva::interview::plan::PlanError>(())
//! ```

mod error;
mod read;

use std::sync::Arc;

use sha2::{Digest, Sha256};

pub use error::{PlanError, PlanProblem};

/// Largest plan file; far more than anybody asks in four hours.
pub const PLAN_BYTES_MAX: usize = 256 * 1024;
/// Longest title, name or id, so that it can be spoken and shown in one line.
pub const TITLE_CHARS_MAX: usize = 200;
/// Longest question, intro or closing: about a minute and a half of speech.
pub const TEXT_CHARS_MAX: usize = 1500;
/// Most sections of a plan.
pub const SECTIONS_MAX: usize = 50;
/// Most questions of a plan, all sections together.
pub const QUESTIONS_MAX: usize = 200;
/// Most follow-ups to one question; beyond that it is an interrogation.
pub const FOLLOW_UPS_MAX: u32 = 5;
/// Follow-ups to a question whose plan does not say.
pub const FOLLOW_UPS_DEFAULT: u32 = 1;
/// Longest interview. Nobody should be asked for more in one sitting.
pub const TIME_MINUTES_MAX: u32 = 240;
/// The interviewer's name where the plan gives none.
pub const INTERVIEWER_DEFAULT: &str = "Viva";

/// An interview's plan, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    body: String,
    hash: String,
    title: String,
    interviewer: String,
    intro: Option<String>,
    closing: Option<String>,
    time_ms: u64,
    sections: Vec<String>,
    questions: Vec<Question>,
}

/// One question of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The section's place in [`Plan::sections`], from 0.
    pub section: usize,
    /// Unique in the plan; `q1`, `q2` … by place where the plan gives none.
    pub id: String,
    /// As it is spoken.
    pub text: String,
    /// Follow-ups a language model may ask, 0 to [`FOLLOW_UPS_MAX`].
    pub follow_ups_max: u32,
    /// After this time no follow-up is asked.
    pub time_ms: Option<u64>,
}

impl Plan {
    /// Of a state that has not got its plan yet.
    pub(super) fn unknown() -> Arc<Self> {
        Arc::new(Self {
            body: String::new(),
            hash: String::new(),
            title: String::new(),
            interviewer: String::new(),
            intro: None,
            closing: None,
            time_ms: 0,
            sections: Vec::new(),
            questions: Vec::new(),
        })
    }

    /// Reads a plan from TOML; `origin` is the file's name, for messages.
    ///
    /// # Errors
    /// Every mistake of meaning at once, or the first of grammar, each with its line and key.
    pub fn parse(text: &str, origin: &str) -> Result<Self, PlanError> {
        let body = canonical(text);
        let hash = hex(&Sha256::digest(body.as_bytes()));
        read::read(body, hash, origin)
    }

    /// The plan's text: what was parsed, with plain line ends and exactly one at the end of the file.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// SHA-256 of [`Plan::body`] in lower-case hexadecimal; the plan's name in the journal.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// What the interview is about.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The name that the interviewer gives.
    pub fn interviewer(&self) -> &str {
        &self.interviewer
    }

    /// Said after the greeting instead of the usual explanation.
    pub fn intro(&self) -> Option<&str> {
        self.intro.as_deref()
    }

    /// Said at the end instead of the usual goodbye.
    pub fn closing(&self) -> Option<&str> {
        self.closing.as_deref()
    }

    /// Time from the greeting after which no new question is asked.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// The sections' titles in order.
    pub fn sections(&self) -> &[String] {
        &self.sections
    }

    /// All questions in the order in which they are asked; at least one.
    pub fn questions(&self) -> &[Question] {
        &self.questions
    }

    /// The question of a number, from 1.
    pub fn question(&self, number: u32) -> Option<&Question> {
        self.questions
            .get(usize::try_from(number.checked_sub(1)?).ok()?)
    }

    /// The title of the section that a question of this number is in, or an empty text.
    pub fn section_of(&self, number: u32) -> &str {
        self.question(number)
            .and_then(|q| self.sections.get(q.section))
            .map_or("", String::as_str)
    }
}

/// The same plan saved by another editor has the same hash.
fn canonical(text: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut body = text.replace("\r\n", "\n").trim_end().to_owned();
    body.push('\n');
    body
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
