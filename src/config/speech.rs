//! The settings of hearing, understanding and speaking.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Endpointing.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Voice {
    /// Silero's probability above which a 32 ms frame is speech (0–1).
    pub speech_threshold: f32,
    /// Silence after which what was said so far goes to STT, before the turn is known to be over.
    pub pause_ms: u32,
    /// Silence after which the candidate's turn is over.
    pub turn_end_ms: u32,
}

impl Default for Voice {
    fn default() -> Self {
        Self {
            speech_threshold: 0.5,
            pause_ms: 200,
            turn_end_ms: 512,
        }
    }
}

/// Which implementation of STT or TTS comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// OpenAI-compatible where a key or a `base_url` is set, else embedded.
    #[default]
    Auto,
    /// An OpenAI-compatible server; the embedded engine, where its models are there, is the fallback.
    Openai,
    /// Models on this machine.
    Embedded,
}

/// Speech to text.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stt {
    /// Which engine comes first.
    pub engine: Engine,
    /// The OpenAI-compatible server's root, for example `https://stt.example.org/v1`.
    pub base_url: Option<String>,
    /// A file with the API key; else `$CREDENTIALS_DIRECTORY/stt-key`, else `OPENAI_API_KEY`.
    pub api_key_file: Option<PathBuf>,
    /// The transcription model.
    pub model: String,
    /// Time for one transcription, all tries together.
    pub timeout_ms: u32,
}

impl Default for Stt {
    fn default() -> Self {
        Self {
            engine: Engine::Auto,
            base_url: None,
            api_key_file: None,
            model: "whisper-1".into(),
            timeout_ms: 6000,
        }
    }
}

/// Text to speech.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tts {
    /// Which engine comes first.
    pub engine: Engine,
    /// The OpenAI-compatible server's root.
    pub base_url: Option<String>,
    /// A file with the API key; else `$CREDENTIALS_DIRECTORY/tts-key`, else `OPENAI_API_KEY`.
    pub api_key_file: Option<PathBuf>,
    /// The speech model.
    pub model: String,
    /// The voice.
    pub voice: String,
    /// Time until the first sound of a sentence, all tries together.
    pub timeout_ms: u32,
    /// The `espeak-ng` program, which gives the embedded voice its phonemes.
    pub espeak: PathBuf,
}

impl Default for Tts {
    fn default() -> Self {
        Self {
            engine: Engine::Auto,
            base_url: None,
            api_key_file: None,
            model: "tts-1".into(),
            voice: "alloy".into(),
            timeout_ms: 4000,
            espeak: PathBuf::from("espeak-ng"),
        }
    }
}

/// The language model.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Llm {
    /// The OpenAI-compatible server's root; with neither it nor a key, no language model is used.
    pub base_url: Option<String>,
    /// A file with the API key; else `$CREDENTIALS_DIRECTORY/llm-key`, else `OPENAI_API_KEY`.
    pub api_key_file: Option<PathBuf>,
    /// The chat model.
    pub model: String,
    /// Time for one reply, all tries together.
    pub timeout_ms: u32,
}

impl Default for Llm {
    fn default() -> Self {
        Self {
            base_url: None,
            api_key_file: None,
            model: "gpt-4o-mini".into(),
            timeout_ms: 6000,
        }
    }
}
