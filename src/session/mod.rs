//! Conducts interviews: feeds what happens to the interview's state machine, writes its events down, and acts on them.

mod conduct;
mod desk;
mod ear;
mod figures;
mod live;
mod metadata;
mod pulse;
mod venue;
mod ward;

pub use conduct::{Conductor, Engagement, Outcome, SessionError};
pub use desk::{Desk, IDENTITY, NAME, Terms};
pub use live::Stops;

#[cfg(test)]
mod tests;
