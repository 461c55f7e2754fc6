//! Stands in LiveKit's queue for work: registers as an agent worker, answers offers of rooms, and
//! reports how the jobs go.
//!
//! [`Worker::run`] keeps the registration for ever; a [`JobDesk`] decides about offers and does the
//! work. The rules of the protocol are in [`protocol`], which knows neither sockets nor clocks.

mod client;
mod connect;
mod endpoint;
mod error;
mod job;
mod load;
pub mod presence;
mod probe;
pub mod protocol;
mod shared;
mod slots;
mod status;
pub mod token;
mod wire;

pub use client::{Worker, WorkerOptions};
pub use endpoint::{BadUrl, check_url};
pub use error::WorkerError;
pub use job::{Assignment, JobDesk, JobOffer, JobStatus, STATUS_LIMIT, StatusError, Verdict};
pub use probe::{ProbeError, probe};
pub use slots::{Slot, Slots};
pub use status::{Phase, WorkerStatus};
