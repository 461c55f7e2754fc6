//! The parts of the original's surface that this implementation does not have.
//!
//! `livekit` names them, so they exist; using them gives an error, `false` or nothing.

pub mod packet_trailer;
pub mod platform_audio;
pub mod video_frame;
pub mod video_source;
pub mod video_stream;
pub mod video_track;
