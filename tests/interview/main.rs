//! The interview as a machine of states: no server, no disk, no real time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail"
)]

mod dialogue;
mod properties;
mod resume;
mod talk;
