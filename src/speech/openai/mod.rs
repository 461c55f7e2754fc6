//! Speech to text and text to speech by an OpenAI-compatible server.

mod pcm;
mod stt;
mod transcript;
mod tts;
mod wav;

pub use stt::OpenAiStt;
pub use tts::OpenAiTts;

/// What logs, metrics and transcripts call these engines.
const NAME: &str = "openai";
