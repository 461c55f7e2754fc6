//! Viva conducts technical voice interviews in LiveKit rooms.
//!
//! An interview is a state machine without I/O ([`interview`]); everything that touches the world is a thin
//! shell around it. `docs/architecture.md` has the map.

mod backoff;
pub mod boot;
pub mod cli;
pub mod clock;
pub mod config;
pub mod health;
pub mod interview;
pub mod journal;
pub mod llm;
mod misspelt;
pub mod models;
pub mod onnx;
mod priority;
pub mod provider;
pub mod room;
pub mod session;
pub mod spawn;
pub mod speech;
pub mod sync;
pub mod telemetry;
pub mod voice;
pub mod web;
pub mod webhook;
pub mod worker;
