//! What a running journal needs from time to time: deletions that another process asked for, and retention.

use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::{Journal, JournalError};
use crate::clock::unix_ms;

/// `viva interview delete` promises this.
const BURY_INTERVAL: Duration = Duration::from_secs(60);
/// Retention counts days.
const EXPIRE_INTERVAL_MINUTES: u64 = 24 * 60;
const DAY_MS: u64 = 24 * 3600 * 1000;

impl Journal {
    /// Works for as long as it is polled. With `retention_days` of 0 nothing expires.
    pub async fn upkeep(self, retention_days: u32) {
        let mut interval = tokio::time::interval(BURY_INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for minute in 0u64.. {
            interval.tick().await;
            match self.bury().await {
                Ok(0) => {}
                Ok(deleted) => tracing::info!("{deleted} interviews were deleted"),
                Err(JournalError::Closed) => return,
                Err(error) => {
                    tracing::warn!("interviews that are to be deleted are still here: {error}")
                }
            }
            if retention_days == 0 || !minute.is_multiple_of(EXPIRE_INTERVAL_MINUTES) {
                continue;
            }
            let before = unix_ms().saturating_sub(u64::from(retention_days) * DAY_MS);
            match self.expire(before).await {
                Ok(0) => {}
                Ok(deleted) => tracing::info!(
                    "{deleted} interviews were over for {retention_days} days and are deleted"
                ),
                Err(JournalError::Closed) => return,
                Err(error) => tracing::warn!(
                    "interviews that are over for {retention_days} days are still here: {error}"
                ),
            }
        }
    }
}
