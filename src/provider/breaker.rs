//! Sets a failing engine aside for a while, so that a conversation does not wait for it at every sentence.
//!
//! A state machine without a clock: time is an argument. Closed lets everything through; after
//! [`FAILURES_TO_OPEN`] failures in a row it opens; after a back-off it is half open and lets one trial through, whose
//! outcome closes it or opens it for longer.

use std::time::Duration;

use tokio::time::Instant;

use super::retry::backoff;

/// Failures in a row that open it. Each is already several tries or a whole time-out, so two are a pattern.
pub const FAILURES_TO_OPEN: u32 = 2;
/// First time set aside.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// Longest time set aside: a provider that is back serves again within a minute.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What a breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything.
    Closed,
    /// Nothing, for this long.
    Open {
        /// Time until the next trial.
        retry_in_ms: u64,
    },
    /// One trial.
    HalfOpen,
}

/// The breaker of one engine.
#[derive(Debug, Default)]
pub struct Breaker {
    failures_in_row: u32,
    /// How often it opened since it was last closed, and until when it is open.
    open: Option<(u32, Instant)>,
    trial: bool,
    last_error: Option<String>,
}

impl Breaker {
    /// What it lets through at this moment.
    #[must_use]
    pub fn state(&self, now: Instant) -> BreakerState {
        match self.open {
            None => BreakerState::Closed,
            Some((_, until)) if until > now && !self.trial => BreakerState::Open {
                retry_in_ms: u64::try_from((until - now).as_millis())
                    .unwrap_or(u64::MAX)
                    .max(1),
            },
            Some(_) => BreakerState::HalfOpen,
        }
    }

    /// Takes the one trial of a half-open breaker. Whoever gets `true` must report [`succeeded`](Self::succeeded),
    /// [`failed`](Self::failed) or [`given_up`](Self::given_up).
    pub fn take_trial(&mut self, now: Instant) -> bool {
        let due = self.state(now) == BreakerState::HalfOpen && !self.trial;
        self.trial |= due;
        due
    }

    /// The engine did its work: closed again.
    pub fn succeeded(&mut self) {
        self.failures_in_row = 0;
        self.open = None;
        self.trial = false;
    }

    /// The engine failed. `for_long` opens at once and for the longest time: a refused key is not better in a moment.
    /// Returns whether this opened a closed breaker.
    pub fn failed(&mut self, now: Instant, error: String, for_long: bool) -> bool {
        self.last_error = Some(error);
        self.failures_in_row = self.failures_in_row.saturating_add(1);
        let was_closed = self.open.is_none();
        let still_open = !self.trial && matches!(self.open, Some((_, until)) if until > now);
        self.trial = false;
        if (was_closed && !for_long && self.failures_in_row < FAILURES_TO_OPEN) || still_open {
            return false;
        }
        let times = self.open.map_or(0, |(times, _)| times) + 1;
        let first = if for_long { WAIT_MAX } else { FIRST_WAIT };
        self.open = Some((times, now + backoff(first, WAIT_MAX, times)));
        was_closed
    }

    /// A trial ended without an outcome, because nobody wanted it any more.
    pub fn given_up(&mut self) {
        self.trial = false;
    }

    /// What was wrong the last time, with when it happened left to the log.
    #[must_use]
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        assert!(!breaker.failed(now, "one".into(), false));
        assert!(breaker.failed(now, "two".into(), false));
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..5 {
            breaker.failed(now, "no".into(), false);
            breaker.succeeded();
        }
        assert_eq!(breaker.state(now), BreakerState::Closed);
        assert!(matches!(open(now).state(now), BreakerState::Open { .. }));
    }

    #[test]
    fn a_refused_key_opens_it_at_once_and_for_long() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        assert!(breaker.failed(now, "401".into(), true));
        let BreakerState::Open { retry_in_ms } = breaker.state(now) else {
            panic!("closed")
        };
        assert!(retry_in_ms >= 30_000, "{retry_in_ms}");
    }

    #[test]
    fn after_a_while_one_trial_is_let_through_and_closes_it() {
        let now = Instant::now();
        let mut breaker = open(now);
        assert!(!breaker.take_trial(now));
        let later = now + FIRST_WAIT;
        assert_eq!(breaker.state(later), BreakerState::HalfOpen);
        assert!(breaker.take_trial(later));
        assert!(
            !breaker.take_trial(later),
            "a second trial at the same time"
        );
        breaker.succeeded();
        assert_eq!(breaker.state(later), BreakerState::Closed);
        assert_eq!(breaker.last_error(), Some("two"));
    }

    #[test]
    fn each_failed_trial_sets_it_aside_for_longer_up_to_a_limit() {
        let mut now = Instant::now();
        let mut breaker = open(now);
        let mut last_ms = 0;
        for round in 0..8 {
            now += WAIT_MAX;
            assert!(breaker.take_trial(now));
            assert!(!breaker.failed(now, "again".into(), false));
            let BreakerState::Open { retry_in_ms } = breaker.state(now) else {
                panic!("not open")
            };
            // Jitter halves at most, so a step that doubles can't shrink; the fourth (60 s for 80 s) already can.
            assert!(
                retry_in_ms + 1 >= last_ms || round >= 3,
                "{round}: {last_ms} {retry_in_ms}"
            );
            assert!(retry_in_ms <= 60_000);
            last_ms = retry_in_ms;
        }
        assert!(last_ms >= 30_000, "{last_ms}");
    }

    #[test]
    fn a_trial_that_nobody_wanted_to_the_end_can_be_made_again() {
        let now = Instant::now();
        let mut breaker = open(now);
        let later = now + FIRST_WAIT;
        assert!(breaker.take_trial(later));
        breaker.given_up();
        assert!(breaker.take_trial(later));
    }

    #[test]
    fn a_forced_try_that_fails_while_it_is_open_does_not_prolong_it() {
        let now = Instant::now();
        let mut breaker = open(now);
        let before = breaker.state(now);
        breaker.failed(now, "forced".into(), false);
        assert_eq!(breaker.state(now), before);
    }
}
