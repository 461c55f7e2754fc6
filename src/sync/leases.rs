//! Says in Postgres which interviews are conducted here, and knows which ones are conducted elsewhere.
//!
//! A lease begins, lasts and ends by the clock of Postgres. What was read of others' leases is trusted here for as long
//! as they last, by a clock that goes on while the machine sleeps. With Postgres out of reach nothing is known of
//! others, and whoever conducts an interview goes on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use sqlx::PgConnection;

use super::Copier;
use super::error::SyncError;
use crate::interview::InterviewId;

/// How long a lease lasts: several renewals may fail, and the longest transaction of a copy is shorter.
const LEASE_S: i32 = 60;
/// Leases are renewed, and others' are read, so often.
pub(super) const RENEW_EVERY: Duration = Duration::from_secs(5);

/// The interviews that other appliances conduct; clones know the same.
#[derive(Debug, Clone, Default)]
pub struct Elsewhere(Arc<Mutex<HashMap<InterviewId, Lease>>>);

#[derive(Debug)]
struct Lease {
    appliance: String,
    /// Since the machine started.
    until: Duration,
}

impl Elsewhere {
    /// Who conducts an interview, if it is another appliance.
    #[must_use]
    pub fn holder(&self, id: &InterviewId) -> Option<String> {
        let leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lease = leases.get(id).filter(|lease| lease.until > since_boot())?;
        Some(lease.appliance.clone())
    }

    fn set(&self, leases: HashMap<InterviewId, Lease>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = leases;
    }
}

impl Copier {
    /// Renews the leases of what is conducted here and reads the others'.
    pub(super) async fn keep_leases(&mut self) -> Result<(), SyncError> {
        let live = self.read(|outbox| outbox.reader()?.live()).await?;
        let ids: Vec<&str> = live.iter().map(|row| row.id.as_str()).collect();
        let terms: Vec<i64> = live
            .iter()
            .map(|row| i64::try_from(row.term).unwrap_or(i64::MAX))
            .collect();
        let mut connection = self.link.acquire().await?;
        let asked = since_boot();
        let renewing = renew(&mut connection, &self.appliance, &ids, &terms);
        let done = tokio::time::timeout(self.link.work_limit(), renewing).await;
        let others = self.link.settle(connection, done)?;
        let leases = others.into_iter().filter_map(|(id, appliance, lasts_s)| {
            // From the moment of the question on, which is before that of the answer.
            let until = asked + Duration::try_from_secs_f64(lasts_s).ok()?;
            Some((InterviewId::new(id).ok()?, Lease { appliance, until }))
        });
        self.elsewhere.set(leases.collect());
        Ok(())
    }
}

/// Interviews of others, who conducts them, and for how many seconds still.
async fn renew(
    connection: &mut PgConnection,
    appliance: &str,
    ids: &[&str],
    terms: &[i64],
) -> Result<Vec<(String, String, f64)>, sqlx::Error> {
    // One that somebody else has is theirs until it expires. An interview that is not there yet gets its lease later.
    sqlx::query!(
        "INSERT INTO leases (interview_id, appliance, term, expires_at)
         SELECT id, $1, held.term, now() + make_interval(secs => $4)
         FROM UNNEST($2::text[], $3::bigint[]) AS held (id, term)
         JOIN interviews ON interview_id = id AND ended_at IS NULL
         ORDER BY id
         ON CONFLICT (interview_id) DO UPDATE
           SET appliance = excluded.appliance, term = excluded.term, expires_at = excluded.expires_at
           WHERE leases.appliance = excluded.appliance OR leases.expires_at <= now()",
        appliance,
        &ids as _,
        terms,
        f64::from(LEASE_S)
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "DELETE FROM leases WHERE appliance = $1 AND interview_id <> ALL ($2::text[])",
        appliance,
        &ids as _
    )
    .execute(&mut *connection)
    .await?;
    let others = sqlx::query!(
        r#"SELECT interview_id, appliance, extract(epoch FROM expires_at - now())::float8 AS "lasts_s!"
           FROM leases WHERE appliance <> $1 AND expires_at > now()"#,
        appliance
    )
    .fetch_all(connection)
    .await?;
    let others = others
        .into_iter()
        .map(|row| (row.interview_id, row.appliance, row.lasts_s));
    Ok(others.collect())
}

/// Goes on while the machine sleeps.
fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_believed_until_it_ends() {
        let elsewhere = Elsewhere::default();
        let [lasting, over] = ["lasting", "over"].map(|id| InterviewId::new(id).unwrap());
        let lease = |until| Lease {
            appliance: "viva-b".into(),
            until,
        };
        let hour = Duration::from_secs(3600);
        elsewhere.set(HashMap::from([
            (lasting.clone(), lease(since_boot() + hour)),
            (over.clone(), lease(since_boot())),
        ]));
        assert_eq!(elsewhere.holder(&lasting).as_deref(), Some("viva-b"));
        assert_eq!(elsewhere.holder(&over), None);
    }
}
