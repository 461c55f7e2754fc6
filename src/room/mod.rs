//! One joined LiveKit room: whose voice it is, our own track, transcripts and state for the page.

mod announce;
mod candidate;
mod joined;
pub mod signalling;

pub use announce::{AgentState, Announcement, Announcer, Author, BEAT_EVERY, Line};
pub use candidate::{CandidateChooser, Kind};
pub use joined::{JOIN_LIMIT, JoinError, JoinedRoom, LEAVE_LIMIT, RoomNews};
