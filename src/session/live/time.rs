//! A session's clock: what is due although nothing happens, and whether this process stood still.

use std::time::Duration;

use tokio::time::Instant;

use super::{Ledger, Session, millis};
use crate::clock::{since_boot, unix_ms};
use crate::interview::pace::TICK_AGAIN_MS;
use crate::interview::{Input, Now};
use crate::journal::JournalError;
use crate::sync::LEASE;

/// A connection that is being mended for longer than this is given up, and the room joined anew.
const MENDING_LIMIT: Duration = Duration::from_secs(30);

// Until then LiveKit's client comes back by itself, and it asks nobody whether the interview is still ours.
const _: () = assert!(MENDING_LIMIT.as_secs() < LEASE.as_secs());

/// The loop comes round each second, and no work in it takes so long: what is longer is a process or a machine that
/// stood still, in which time nobody conducted.
const STILL_MIN: Duration = Duration::from_secs(10);

/// How often the clock is looked at, to know when this process was stopped or the machine slept.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A process that stood still for so long may not conduct the interview any more, since its lease may be over.
const STOOD_STILL: Duration = Duration::from_secs(30);
const _: () = assert!(STOOD_STILL.as_secs() + 2 * LOOK_EVERY.as_secs() <= LEASE.as_secs());

impl<L: Ledger> Session<L> {
    pub(super) async fn time_went_by(&mut self) -> Result<(), JournalError> {
        let awaiting = self.stay.as_ref().and_then(|stay| stay.awaiting.as_ref());
        if awaiting.is_some_and(|(_, until)| *until <= Instant::now()) {
            return self.greet().await;
        }
        self.comes_round();
        self.ticked = Some(Instant::now());
        let quiet = if self.in_turn || self.words_pending > 0 {
            Duration::ZERO
        } else {
            self.quiet_since.unwrap_or(self.began).elapsed()
        };
        self.input(Input::Tick {
            quiet_ms: u64::from(millis(quiet)),
        })
        .await
    }

    /// How long this process stood still, where that was too long. The loop comes by here every few seconds otherwise.
    pub(super) fn stood_still(&mut self) -> Option<String> {
        let gap = since_boot().saturating_sub(self.looked?);
        self.looked = Some(since_boot());
        (gap >= STOOD_STILL).then(|| format!("this process stood still for {} s", gap.as_secs()))
    }

    pub(super) fn is_beyond_mending(&self) -> Option<String> {
        let since = self.stay.as_ref()?.broken_since?;
        (since.elapsed() >= MENDING_LIMIT).then(|| {
            format!(
                "the connection to the room was not mended within {} s",
                MENDING_LIMIT.as_secs()
            )
        })
    }

    /// When something is due although nothing happens.
    pub(super) fn due(&self) -> Instant {
        /// A look at the clock in any case.
        const IDLE_MS: u64 = 60_000;
        let now_ms = self.now_ms();
        let due_ms = self.state.next_deadline_ms().unwrap_or(u64::MAX);
        let wait_ms = due_ms.saturating_sub(now_ms).min(IDLE_MS);
        // What is overdue and changes nothing is looked at again after a while, not at once.
        let again = self
            .ticked
            .map(|at| at + Duration::from_millis(TICK_AGAIN_MS));
        let tick = Instant::now() + Duration::from_millis(wait_ms);
        let tick = tick.max(again.unwrap_or(tick));
        let stay = self.stay.as_ref();
        let awaited = stay.and_then(|s| s.awaiting.as_ref().map(|(_, until)| *until));
        let broken = stay.and_then(|s| s.broken_since.map(|since| since + MENDING_LIMIT));
        let look = self.looked.map(|_| Instant::now() + LOOK_EVERY);
        [awaited, broken, look]
            .into_iter()
            .flatten()
            .fold(tick, Instant::min)
    }

    /// The loop comes round, or asks for the time: whatever wakes it first after a pause must not take the pause for time. What the
    /// candidate could neither hear nor answer is not taken from theirs.
    pub(super) fn comes_round(&mut self) {
        let now = Instant::now();
        let gap = now.saturating_duration_since(std::mem::replace(&mut self.rounded, now));
        if gap < STILL_MIN {
            return;
        }
        tracing::warn!(interview_id = %self.id, "the session stood still for {} s, and so did its clock", gap.as_secs());
        self.began += gap;
        self.quiet_since = self.quiet_since.map(|since| since + gap);
    }

    /// The session's clock: it stood still while no process held the interview.
    fn now_ms(&self) -> u64 {
        self.base_ms + u64::from(millis(self.began.elapsed()))
    }

    pub(super) fn now(&self) -> Now {
        Now {
            at_unix_ms: unix_ms(),
            elapsed_ms: self.now_ms(),
        }
    }
}
