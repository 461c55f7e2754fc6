//! The interviewer's ear and mouth: VAD, endpointing, what was said in a turn, and playout.

pub mod endpoint;
pub mod heard;
pub mod listen;
pub mod playout;
pub mod speaker;
pub mod turn;
pub mod turn_model;
pub mod vad;
