//! The name of an interview, safe in a file name, a URL and a log line.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name: it has to fit into a LiveKit room name together with a prefix.
pub const INTERVIEW_ID_CHARS_MAX: usize = 128;

/// Names one interview: 1 to 128 of `A-Z a-z 0-9 _ . -`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterviewId(String);

/// Why a text can't name an interview.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InterviewIdError {
    /// Nothing at all.
    #[error(
        "the interview id is empty; it takes 1 to {INTERVIEW_ID_CHARS_MAX} of A-Z a-z 0-9 _ . -"
    )]
    Empty,
    /// Longer than [`INTERVIEW_ID_CHARS_MAX`].
    #[error(
        "the interview id has {chars} characters; {INTERVIEW_ID_CHARS_MAX} is the most, shorten it"
    )]
    TooLong {
        /// How long it is.
        chars: usize,
    },
    /// A character that is not in the alphabet.
    #[error(
        "the interview id has {found:?} at character {position}; only A-Z a-z 0-9 _ . - may be used"
    )]
    Character {
        /// The character.
        found: char,
        /// Where, from 1.
        position: usize,
    },
    /// `.` or `..`, which mean something else to a file system.
    #[error("the interview id is only dots; add a letter or a digit")]
    OnlyDots,
}

impl InterviewId {
    /// Checks the text and takes it as a name.
    ///
    /// # Errors
    /// It is empty, too long, only dots, or has a character outside the alphabet.
    pub fn new(text: impl Into<String>) -> Result<Self, InterviewIdError> {
        let text = text.into();
        if text.is_empty() {
            return Err(InterviewIdError::Empty);
        }
        let stranger = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
        if let Some((at, found)) = text.chars().enumerate().find(|(_, c)| stranger(c)) {
            return Err(InterviewIdError::Character {
                found,
                position: at + 1,
            });
        }
        if text.len() > INTERVIEW_ID_CHARS_MAX {
            return Err(InterviewIdError::TooLong { chars: text.len() });
        }
        if text.chars().all(|c| c == '.') {
            return Err(InterviewIdError::OnlyDots);
        }
        Ok(Self(text))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterviewId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for InterviewId {
    type Err = InterviewIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<String> for InterviewId {
    type Error = InterviewIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<InterviewId> for String {
    fn from(id: InterviewId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_alphabet_is_taken() {
        for good in ["a", "2026-11-24_backend.1", &"x".repeat(128)] {
            assert_eq!(InterviewId::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn whatever_could_leave_a_directory_or_a_log_line_is_refused() {
        for bad in ["", ".", "..", "a/b", "a b", "é", "a\n", &"x".repeat(129)] {
            assert!(InterviewId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_stored_name_is_checked_when_it_is_read() {
        assert!(serde_json::from_str::<InterviewId>("\"../etc\"").is_err());
    }
}
