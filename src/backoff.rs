//! How long to wait before something is tried again.

use std::time::Duration;

/// Doubling waits up to a limit, without an end, and with full jitter: any time up to the one that doubles, so that
/// many who lost the same server do not come back to it in the same moment.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Waits of at most `first` to begin with, and of at most `longest` in the end.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// The wait before the next try.
    pub fn next_wait(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.longest);
        whole.mul_f64(fastrand::f64())
    }

    /// It went well: the next wait is a short one again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(15);

    #[test]
    fn waits_have_no_end_a_limit_and_jitter() {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        let waits: Vec<Duration> = (0..1000).map(|_| backoff.next_wait()).collect();
        assert!(waits[0] <= FIRST && waits[1] <= 2 * FIRST);
        assert!(waits.iter().all(|wait| *wait <= LONGEST));
        let late = &waits[20..];
        assert!(late.iter().any(|wait| *wait < LONGEST / 4));
        assert!(late.iter().any(|wait| *wait > LONGEST * 3 / 4));
        backoff.reset();
        assert!(backoff.next_wait() <= FIRST);
    }

    #[test]
    fn two_appliances_do_not_wait_alike() {
        let [mut a, mut b] = [(); 2].map(|()| Backoff::new(FIRST, LONGEST));
        assert!((0..20).any(|_| a.next_wait() != b.next_wait()));
    }
}
