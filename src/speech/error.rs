//! What can go wrong between sound and words, in both directions.

use super::UTTERANCE_MS_MAX;
use crate::provider::ProviderError;

/// Why an utterance has no transcript.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SttError {
    /// A server did not do it; the message names its base URL.
    #[error("speech to text: {0}")]
    Provider(#[from] ProviderError),
    /// The utterance is longer than its buffer.
    #[error("the utterance is longer than {} s; end the turn before that", UTTERANCE_MS_MAX / 1000)]
    TooLong,
    /// An engine on this machine took longer than it may.
    #[error(
        "speech to text on this machine did not finish within {ms} ms; fewer interviews at once need less time"
    )]
    Timeout {
        /// The limit.
        ms: u64,
    },
    /// An engine on this machine failed; its own words.
    #[error("speech to text on this machine failed: {0}")]
    Engine(String),
    /// There was no sound to transcribe.
    #[error("there is no sound to transcribe")]
    Empty,
    /// A chain without engines.
    #[error(
        "there is no speech-to-text engine; set a base_url or key, or install the embedded models"
    )]
    NoEngine,
}

/// Why a text was not spoken, or not to its end.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TtsError {
    /// A server did not do it; the message names its base URL.
    #[error("text to speech: {0}")]
    Provider(#[from] ProviderError),
    /// An engine on this machine took longer than it may.
    #[error(
        "text to speech on this machine did not finish within {ms} ms; fewer interviews at once need less time"
    )]
    Timeout {
        /// The limit.
        ms: u64,
    },
    /// The text is longer than an engine takes.
    #[error(
        "the text to speak has more than {chars_max} characters; speak it sentence by sentence"
    )]
    TooLong {
        /// The limit.
        chars_max: usize,
    },
    /// An engine on this machine failed; its own words.
    #[error("text to speech on this machine failed: {0}")]
    Engine(String),
    /// There was nothing to say, or an engine said nothing.
    #[error("there is no text to speak")]
    Empty,
    /// A chain without engines.
    #[error(
        "there is no text-to-speech engine; set a base_url or key, or install the embedded models"
    )]
    NoEngine,
}

impl SttError {
    /// Whether the same request may succeed a moment later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Provider(e) => e.is_transient(),
            Self::Timeout { .. } => true,
            Self::TooLong | Self::Engine(_) | Self::Empty | Self::NoEngine => false,
        }
    }
}

impl TtsError {
    /// Whether the same request may succeed a moment later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Provider(e) => e.is_transient(),
            Self::Timeout { .. } => true,
            Self::TooLong { .. } | Self::Engine(_) | Self::Empty | Self::NoEngine => false,
        }
    }
}
