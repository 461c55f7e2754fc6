//! The journal on real files and real disks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test may fail"
)]

mod cli;
mod erasure;
mod faults;
#[path = "../support/journal.rs"]
mod journal_support;
mod kill;
mod litestream;
mod log;
#[path = "../support/preload.rs"]
mod preload;
mod salvage;
mod snapshots;
mod take_up;
mod upgrade;
