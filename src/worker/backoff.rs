//! How long to wait before the next try to connect.

use std::time::Duration;

/// Before the second try: a server that is only being restarted is found again at once.
const FIRST: Duration = Duration::from_millis(250);
/// Longest wait: a caller should not find the appliance absent for longer than this after an outage.
const LONGEST: Duration = Duration::from_secs(5);

/// Doubling waits with jitter, so that many appliances do not come back in the same moment.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// The wait before the next try: between half and all of a time that doubles up to a limit.
    pub fn next_wait(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(LONGEST);
        whole.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_limit_and_stay_there() {
        let mut backoff = Backoff::default();
        let waits: Vec<Duration> = (0..20).map(|_| backoff.next_wait()).collect();
        assert!(waits[0] <= FIRST && waits[0] >= FIRST / 2);
        assert!(
            waits[10..]
                .iter()
                .all(|wait| *wait <= LONGEST && *wait >= LONGEST / 2)
        );
    }

    #[test]
    fn two_appliances_do_not_wait_alike() {
        let (mut a, mut b) = (Backoff::default(), Backoff::default());
        assert!((0..20).any(|_| a.next_wait() != b.next_wait()));
    }
}
