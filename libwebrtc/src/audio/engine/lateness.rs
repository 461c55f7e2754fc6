//! How late beats begin, as counts by steps of a quarter of a millisecond.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The width of a step.
const STEP_US: u64 = 250;
/// Steps up to 25 ms; what is later counts as the last one.
const STEPS: usize = 100;

/// Counts that are being made.
pub(super) struct LatenessCounter([AtomicU64; STEPS]);

impl Default for LatenessCounter {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; STEPS])
    }
}

impl LatenessCounter {
    pub fn count(&self, late_us: u64) {
        let step = usize::try_from(late_us / STEP_US).unwrap_or(STEPS);
        self.0[step.min(STEPS - 1)].fetch_add(1, Ordering::Relaxed);
    }

    pub fn add_to(&self, lateness: &mut Lateness) {
        for (sum, count) in lateness.0.iter_mut().zip(&self.0) {
            *sum += count.load(Ordering::Relaxed);
        }
    }
}

/// How late beats began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lateness([u64; STEPS]);

impl Default for Lateness {
    fn default() -> Self {
        Self([0; STEPS])
    }
}

impl Lateness {
    /// What has been counted since an earlier look.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = *self;
        for (now, before) in since.0.iter_mut().zip(&earlier.0) {
            *now = now.saturating_sub(*before);
        }
        since
    }

    /// The lateness that this share of beats did not exceed, rounded up to a quarter of a millisecond; 25 ms stands for all
    /// that is later, and zero for no beats.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let beats: u64 = self.0.iter().sum();
        let wanted = beats as f64 * share;
        let mut seen = 0;
        for (step, count) in (1..).zip(&self.0) {
            seen += count;
            if seen > 0 && seen as f64 >= wanted {
                return Duration::from_micros(STEP_US * step);
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(late_us: impl IntoIterator<Item = u64>) -> Lateness {
        let counter = LatenessCounter::default();
        late_us.into_iter().for_each(|us| counter.count(us));
        let mut lateness = Lateness::default();
        counter.add_to(&mut lateness);
        lateness
    }

    #[test]
    fn a_quantile_is_the_upper_end_of_its_step() {
        let lateness = counted((0..999).map(|_| 90).chain([7_100]));
        assert_eq!(lateness.quantile(0.5), Duration::from_micros(250));
        assert_eq!(lateness.quantile(0.999), Duration::from_micros(250));
        assert_eq!(lateness.quantile(1.0), Duration::from_micros(7_250));
    }

    #[test]
    fn what_is_very_late_counts_as_the_last_step() {
        assert_eq!(counted([u64::MAX]).quantile(0.5), Duration::from_millis(25));
        assert_eq!(counted([]).quantile(0.5), Duration::ZERO);
    }

    #[test]
    fn what_was_counted_before_can_be_taken_off() {
        let (before, after) = (counted([90, 90]), counted([90, 90, 3_000]));
        assert_eq!(after.since(&before), counted([3_000]));
    }
}
