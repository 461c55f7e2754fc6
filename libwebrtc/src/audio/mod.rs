//! Plays received audio and sends captured audio, on one 10 ms clock for the whole process.
//!
//! A few plain threads ([`clock_stats`]) serve all tracks; nothing on them waits for anything but
//! the clock. Deadlines follow from the first one, so lateness never adds up; a short stall is
//! caught up, a long one skipped. The threads beat one after the other, so that they are not in each
//! other's way; one with too little time has its encoders do with less ([`ClockStats::hurried`]).
//!
//! **In.** The network driver calls [`RemoteAudio::push_rtp`]. On each beat the audio thread puts
//! what came into the jitter buffer, decodes what is due at 48 kHz, once per track and in one
//! channel until the sender uses two, and hands every [`AudioSink`] 10 ms in its own format,
//! whether or not packets came: what is missing is recovered from in-band redundancy, concealed
//! for up to 500 ms, and then silent. A sender's clock that is off and delay that is not needed
//! any more are made up for by leaving out or repeating periods of the sound, in pauses first
//! ([`steering`], [`stretch`]).
//!
//! **Out.** A source is fed by `capture_frame` through a queue, or by an [`AudioPull`] that is
//! called on the beat. A capturer that is a beat or two late is waited for, so that nothing has to
//! be kept in hand against it; in the next pause the sound comes back to the clock. [`start_send`]
//! attaches a sender, which encodes packets of 20 ms, at the source's rate where Opus takes it and
//! resampled to the next above where not, and hands each to its callback.
//!
//! Sinks and hooks run on the audio threads, so that an application's media need not cross its
//! asynchronous runtime.

pub(crate) mod capture;
mod clock;
mod convert;
mod decoder;
mod engine;
mod fade;
mod format;
mod jitter;
mod level;
mod playout;
mod reception;
mod remote;
mod resample;
mod send;
mod sink;
mod steering;
mod stretch;
#[cfg(test)]
mod tests;

pub use self::{
    capture::AudioPull,
    engine::{ClockStats, Lateness},
    remote::{RemoteAudio, RemoteAudioStats, RtpAudio},
    send::{AudioSend, EncodedAudio, OpusSend, start_send},
    sink::{AudioSink, SinkHandle},
};
#[cfg(any(fuzzing, test))]
pub(crate) use self::{
    clock::TICK,
    playout::{Frame, Playout, PlayoutStats},
};

/// How well the audio clock has kept time since the process started.
#[must_use]
pub fn clock_stats() -> ClockStats {
    engine::Pool::global().stats()
}
