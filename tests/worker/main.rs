//! The worker at LiveKit's desk.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail"
)]
#![allow(
    clippy::result_large_err,
    reason = "the callback of the handshake is the library's"
)]

#[path = "../support/desk.rs"]
mod desk;
mod fake_server;
mod livekit;
#[path = "../support/livekit_server.rs"]
mod livekit_server;
