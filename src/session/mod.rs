//! Conducts interviews: feeds what happens to the interview's state machine, writes its events down, and acts on them.

mod conduct;
mod desk;
mod ear;
mod figures;

pub use conduct::{Conductor, Engagement, SessionError};
pub use desk::Desk;
