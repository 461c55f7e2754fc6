//! A session's sign of life: what it is doing now, noted without a lock, for the watch that looks at it from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::conduct::{REJOIN_LIMIT, REJOIN_MAX};
use super::live::{APPEND_LIMIT, FAREWELL_LIMIT, HAND_OVER_LIMIT};
use crate::health::vitals::STUCK_AFTER;
use crate::room::{JOIN_LIMIT, LEAVE_LIMIT};
use crate::worker::STATUS_LIMIT;

/// A session that has nothing to do comes round so often: a few times within [`STUCK_AFTER`].
pub(super) const ROUND: Duration = Duration::from_secs(1);

/// The journal gives what it has of an interview, from a disk that may be slow; its writer is looked at by itself.
const READ_LIMIT: Duration = Duration::from_secs(30);

/// What a session can be doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    Joins,
    Reads,
    LooksForOthers,
    Pauses,
    Waits,
    TakesNews,
    Hears,
    Understands,
    Speaks,
    Thinks,
    Ticks,
    Writes,
    HandsOver,
    SaysFarewell,
    Tells,
    Leaves,
}

impl Doing {
    /// Each at the place of its number.
    const ALL: [Self; 16] = [
        Self::Joins,
        Self::Reads,
        Self::LooksForOthers,
        Self::Pauses,
        Self::Waits,
        Self::TakesNews,
        Self::Hears,
        Self::Understands,
        Self::Speaks,
        Self::Thinks,
        Self::Ticks,
        Self::Writes,
        Self::HandsOver,
        Self::SaysFarewell,
        Self::Tells,
        Self::Leaves,
    ];

    /// In words, for the log.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Joins => "joining the room",
            Self::Reads => "reading its events",
            Self::LooksForOthers => "looking for others who conduct it",
            Self::Pauses => "waiting before it joins again",
            Self::Waits => "waiting for what happens",
            Self::TakesNews => "at news of the room",
            Self::Hears => "listening",
            Self::Understands => "at the candidate's words",
            Self::Speaks => "at what the speaker told",
            Self::Thinks => "at the language model's reply",
            Self::Ticks => "at what was due",
            Self::Writes => "writing to the journal",
            Self::HandsOver => "handing over",
            Self::SaysFarewell => "saying farewell",
            Self::Tells => "telling LiveKit that it is over",
            Self::Leaves => "leaving the room",
        }
    }

    /// For how long it may be at that: the limit that holds there by itself, and as long as any part may stand still.
    pub(super) fn limit(self) -> Duration {
        let own = match self {
            Self::Joins => JOIN_LIMIT,
            Self::Reads => READ_LIMIT,
            Self::LooksForOthers => REJOIN_LIMIT,
            Self::Pauses => REJOIN_MAX,
            Self::Writes => APPEND_LIMIT,
            Self::HandsOver => HAND_OVER_LIMIT,
            Self::SaysFarewell => FAREWELL_LIMIT,
            Self::Tells => STATUS_LIMIT,
            Self::Leaves => LEAVE_LIMIT,
            Self::Waits
            | Self::TakesNews
            | Self::Hears
            | Self::Understands
            | Self::Speaks
            | Self::Thinks
            | Self::Ticks => Duration::ZERO,
        };
        own + STUCK_AFTER
    }
}

/// What one session notes and the watch reads; a clone is the same one.
#[derive(Debug, Clone)]
pub(super) struct Pulse(Arc<AtomicU64>);

/// A moment of a pulse: it is another one whenever the session has noted something since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Beat(u64);

/// The bits of a beat that say what the session does; the others count.
const DOING_BITS: u32 = 8;

impl Default for Pulse {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(Doing::Joins as u64)))
    }
}

impl Pulse {
    /// The session does this from now on. One task notes at a time.
    pub(super) fn note(&self, doing: Doing) {
        let count = (self.0.load(Relaxed) >> DOING_BITS).wrapping_add(1);
        self.0.store(count << DOING_BITS | doing as u64, Relaxed);
    }

    pub(super) fn beat(&self) -> Beat {
        Beat(self.0.load(Relaxed))
    }
}

impl Beat {
    pub(super) fn doing(self) -> Doing {
        let number = usize::try_from(self.0 & ((1 << DOING_BITS) - 1)).unwrap_or(0);
        Doing::ALL.get(number).copied().unwrap_or(Doing::Waits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_read_and_each_note_is_another_beat() {
        let pulse = Pulse::default();
        let mut before = pulse.beat();
        for doing in Doing::ALL {
            for _ in 0..2 {
                pulse.note(doing);
                assert_eq!(pulse.beat().doing(), doing);
                assert_ne!(pulse.beat(), before);
                before = pulse.beat();
            }
        }
    }
}
