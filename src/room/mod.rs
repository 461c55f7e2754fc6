//! One joined LiveKit room: whose voice it is, our own track, transcripts and state for the page.

mod announce;
mod candidate;
mod joined;
mod leaving;
pub mod signalling;

pub use announce::{AgentState, Announcement, Announcer, Author, BEAT_EVERY, Line};
pub use candidate::{CandidateChooser, Kind};
pub use joined::{JOIN_LIMIT, JoinError, JoinedRoom, RoomNews};
pub use leaving::{LEAVE_LIMIT, leave};
