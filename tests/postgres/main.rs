//! The copy in PostgreSQL, and what appliances agree on there. Real PostgreSQL.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail"
)]

mod copy;
#[path = "../support/copying.rs"]
mod copying;
mod erasure;
mod faults;
#[path = "../support/journal.rs"]
mod journal_support;
mod leases;
#[path = "../support/livekit_server.rs"]
mod livekit_server;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/proxy.rs"]
mod proxy;
mod restore;
#[path = "../support/service.rs"]
mod service;
mod strangers;
