//! The interview as a state machine without I/O: inputs become events, events become actions.
//!
//! [`decide`] says what happens because of an [`Input`]. The events are written to disk, then
//! [`State::apply`] takes them in and [`actions`] says what is to be done about them:
//!
//! ```
//! use std::sync::Arc;
//! use viva::interview::{Action, Input, Now, State, actions, decide};
//! use viva::interview::{id::InterviewId, mind::Mind, plan::Plan};
//!
//! let plan = Plan::parse(include_str!("../../plans/demo.toml"), "demo.toml")?;
//! let mut state = State::new(Arc::new(plan));
//! let mut said = Vec::new();
//! let inputs = [
//!     Input::Opened { interview_id: InterviewId::new("a1")?, room: "interview-a1".into(), mind: Mind::Plan },
//!     Input::CandidatePresent { identity: "candidate".into() },
//! ];
//! for (elapsed_ms, input) in (0..).step_by(1000).zip(inputs) {
//!     let now = Now { at_unix_ms: 1_800_000_000_000 + elapsed_ms, elapsed_ms };
//!     // A session writes these to the journal here.
//!     for recorded in decide(&state, now, input) {
//!         state.apply(&recorded);
//!         said.extend(actions(&state, &recorded.event));
//!     }
//! }
//! assert!(matches!(said.as_slice(), [Action::Say { segment: 1, interruptible: false, .. }]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod action;
mod decide;
pub mod event;
pub mod id;
mod intent;
pub mod mind;
pub mod pace;
mod phrases;
pub mod plan;
pub mod report;
pub mod sentences;
mod state;

pub use action::{Action, actions};
pub use decide::{Input, Now, decide};
pub use event::{Event, Recorded};
pub use id::{INTERVIEW_ID_CHARS_MAX, InterviewId};
pub use state::State;
