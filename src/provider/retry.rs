//! Tries again what may succeed, with back-off and jitter, within one limit for all tries together.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::ProviderError;

/// Wait before the second try: long enough for a load balancer to take another server, short in a conversation.
const FIRST_WAIT: Duration = Duration::from_millis(150);
/// Longest wait between two tries that was not asked for by the server.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Tries at most: with these waits a fifth one would come after more than two seconds, when the next engine is better.
const TRIES_MAX: u32 = 4;

/// How long all tries together may take, and what is waited for.
#[derive(Clone, Copy)]
pub(crate) struct Limit<'a> {
    /// The server's root, for the error.
    pub(crate) base_url: &'a str,
    /// What is waited for, for the error.
    pub(crate) what: &'static str,
    /// The limit.
    pub(crate) ms: u64,
}

/// Runs `attempt` until it succeeds, fails for good, or there is no time for another try. The error is that of the
/// last try; dropping the future cancels the try under way.
pub(crate) async fn retrying<T, F, Fut>(
    limit: Limit<'_>,
    mut attempt: F,
) -> Result<T, ProviderError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, ProviderError>>,
{
    let deadline = Instant::now() + Duration::from_millis(limit.ms);
    let mut tries = 1;
    loop {
        let Ok(outcome) = timeout_at(deadline, attempt()).await else {
            return Err(ProviderError::Timeout {
                base_url: limit.base_url.to_owned(),
                what: limit.what,
                ms: limit.ms,
            });
        };
        let error = match outcome {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let wait =
            backoff(FIRST_WAIT, WAIT_MAX, tries).max(error.retry_after().unwrap_or_default());
        if !error.is_transient() || tries == TRIES_MAX || Instant::now() + wait >= deadline {
            return Err(error);
        }
        tracing::debug!(error = %error, wait_ms = wait.as_millis(), "trying again");
        sleep(wait).await;
        tries += 1;
    }
}

/// The wait after the `failures`-th failure in a row (from 1): doubling from `first` to `max`, of which a random part
/// between a half and the whole is taken, so that many sessions do not come back at the same moment.
pub(super) fn backoff(first: Duration, max: Duration, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let whole = first.saturating_mul(1 << doublings).min(max);
    whole.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const LIMIT: Limit<'static> = Limit {
        base_url: "http://p",
        what: "words",
        ms: 6000,
    };

    fn server() -> ProviderError {
        ProviderError::Server {
            base_url: "http://p".into(),
            status: 503,
        }
    }

    fn limited(retry_after_ms: u64) -> ProviderError {
        ProviderError::RateLimited {
            base_url: "http://p".into(),
            retry_after_ms: Some(retry_after_ms),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_of_the_moment_is_tried_again() {
        let tries = Cell::new(0);
        let outcome = retrying(LIMIT, || async {
            tries.set(tries.get() + 1);
            if tries.get() < 3 {
                Err(server())
            } else {
                Ok(tries.get())
            }
        });
        assert_eq!(outcome.await, Ok(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_for_good_is_not_tried_again() {
        let tries = Cell::new(0);
        let wrong = ProviderError::Garbled {
            base_url: "http://p".into(),
            reason: "noise".into(),
        };
        let outcome = retrying(LIMIT, || async {
            tries.set(tries.get() + 1);
            Err::<(), _>(wrong.clone())
        });
        assert_eq!(outcome.await, Err(wrong.clone()));
        assert_eq!(tries.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_tries_is_bounded() {
        let tries = Cell::new(0);
        let outcome = retrying(LIMIT, || async {
            tries.set(tries.get() + 1);
            Err::<(), _>(server())
        });
        assert_eq!(outcome.await, Err(server()));
        assert_eq!(tries.get(), TRIES_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_try_ends_with_the_limit() {
        let start = Instant::now();
        let outcome = retrying(LIMIT, std::future::pending::<Result<(), _>>).await;
        assert!(matches!(
            outcome,
            Err(ProviderError::Timeout { ms: 6000, .. })
        ));
        assert_eq!(start.elapsed(), Duration::from_secs(6));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_the_server_asks_for_is_kept_and_a_too_long_one_is_not_waited_for() {
        let start = Instant::now();
        let asked = Cell::new(false);
        let outcome = retrying(LIMIT, || async {
            if asked.replace(true) {
                Ok(())
            } else {
                Err(limited(1500))
            }
        });
        assert_eq!(outcome.await, Ok(()));
        assert_eq!(start.elapsed(), Duration::from_millis(1500));

        let start = Instant::now();
        let outcome = retrying(LIMIT, || async { Err::<(), _>(limited(60_000)) }).await;
        assert_eq!(outcome, Err(limited(60_000)));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[test]
    fn waits_double_and_stay_between_half_and_whole() {
        for (failures, whole_ms) in [(1, 150), (2, 300), (3, 600), (5, 2000), (u32::MAX, 2000)] {
            for _ in 0..50 {
                let wait = backoff(FIRST_WAIT, WAIT_MAX, failures).as_secs_f64() * 1000.0;
                assert!(
                    (whole_ms as f64 / 2.0 - 0.1..=whole_ms as f64 + 0.1).contains(&wait),
                    "{failures}: {wait}"
                );
            }
        }
    }
}
