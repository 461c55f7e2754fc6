//! The models of this machine: fetched, prepared, and right about people's speech.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail"
)]

mod fetch;
mod prepare;
mod speech;
mod support;
mod turn;
mod vad;
