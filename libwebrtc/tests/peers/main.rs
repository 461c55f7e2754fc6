//! What two peers on one machine do for each other, and what they do not put up with.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // That is how a test fails.

mod audio;
#[path = "../common/mod.rs"]
mod common;
mod data;
mod hostile;
mod negotiation;
mod security;
