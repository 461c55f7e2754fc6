//! Providers of speech and language: what they may do, and who stands in for them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail"
)]

mod chain;
#[path = "../support/fake_engines.rs"]
mod fake_engines;
#[path = "../support/fake_provider.rs"]
mod fake_provider;
mod llm;
mod stt;
mod tts;
