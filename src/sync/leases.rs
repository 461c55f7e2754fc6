//! Says in Postgres which interviews are conducted here, and knows which ones are conducted elsewhere.
//!
//! A lease begins, lasts and ends by the clock of Postgres. What was read of others' leases is trusted here for as long
//! as they last, by a clock that goes on while the machine sleeps. With Postgres out of reach nothing is known of
//! others, and whoever conducts an interview goes on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::PgConnection;

use super::error::SyncError;
use super::tenure::Tenure;
use super::{Appliance, Copier};
use crate::clock::since_boot;
use crate::interview::InterviewId;
use crate::journal::{IMPORTED_CAUSE, InterviewRow};

/// How long a lease lasts. Several renewals may fail. It is longer than a session tries to mend a broken connection
/// by itself, so that whoever was cut off from everything asks before it comes back.
pub const LEASE: Duration = Duration::from_secs(40);
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

/// What another appliance has to do with an interview.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holding {
    /// It conducts the interview.
    Conducted(String),
    /// It did, and somebody is about to take the interview over.
    Abandoned(String),
}

impl Elsewhere {
    /// Which other appliance conducts an interview, or did until its lease was over.
    #[must_use]
    pub fn holding(&self, id: &InterviewId) -> Option<Holding> {
        let leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lease = leases.get(id)?;
        let appliance = lease.appliance.clone();
        Some(if lease.until > since_boot() {
            Holding::Conducted(appliance)
        } else {
            Holding::Abandoned(appliance)
        })
    }

    fn set(&self, leases: HashMap<InterviewId, Lease>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = leases;
    }
}

impl Copier {
    /// Renews the leases of what is conducted here, gives up those of what is not, and reads the others'. What is
    /// conducted here and belongs to another appliance is given up.
    pub(super) async fn keep_leases(&mut self) -> Result<(), SyncError> {
        let live = self.read(|outbox| outbox.reader()?.live()).await?;
        let asked = since_boot();
        let mut connection = self.link.acquire().await?;
        let renewing = renew(&mut connection, &self.mine, &live);
        let done = tokio::time::timeout(self.link.work_limit(), renewing).await;
        let Renewed { strays, others } = self.link.settle(connection, done)?;
        // From the moment of the question on, which is before that of the answer.
        if !live.is_empty() {
            self.note_tenure(Tenure::from(asked)).await;
        }
        self.release(strays).await?;
        for row in &live {
            let other = others.iter().find(|(id, ..)| id == row.id.as_str());
            if let (Some((_, appliance, lasts_s)), Some(successor)) = (other, &self.successor)
                && *lasts_s > 0.0
            {
                successor.superseded(&row.id, appliance);
            }
        }
        let leases = others.into_iter().filter_map(|(id, appliance, lasts_s)| {
            let lasts = Duration::try_from_secs_f64(lasts_s).unwrap_or_default();
            let until = asked + lasts;
            Some((InterviewId::new(id).ok()?, Lease { appliance, until }))
        });
        self.elsewhere.set(leases.collect());
        Ok(())
    }

    /// For the next process, which asks first where this can't be noted.
    async fn note_tenure(&self, tenure: Tenure) {
        let directory = self.outbox.directory().to_owned();
        let noting = tokio::task::spawn_blocking(move || tenure.note(&directory));
        if let Ok(Err(error)) = noting.await {
            tracing::warn!("the next start will ask before it goes on with interviews: {error}");
        }
    }

    /// Gives up the leases of what is over here or was set aside. An interview that is being taken over is neither.
    async fn release(&mut self, strays: Vec<String>) -> Result<(), SyncError> {
        let ids: Vec<InterviewId> = strays
            .into_iter()
            .filter_map(|id| InterviewId::new(id).ok())
            .collect();
        if ids.is_empty() {
            return Ok(());
        }
        let rows = self
            .read(move |outbox| {
                let reader = outbox.reader()?;
                ids.iter().map(|id| reader.head(id)).collect()
            })
            .await?;
        let rows: Vec<Option<InterviewRow>> = rows;
        let over: Vec<String> = rows
            .into_iter()
            .flatten()
            .filter(|row| row.set_aside.as_deref() != Some(IMPORTED_CAUSE))
            .map(|row| row.id.as_str().to_owned())
            .collect();
        let mut connection = self.link.acquire().await?;
        let releasing = sqlx::query!(
            "DELETE FROM leases WHERE appliance = $1 AND interview_id = ANY ($2::text[])",
            &self.mine.name as &str,
            &over
        )
        .execute(&mut *connection);
        let done = tokio::time::timeout(self.link.work_limit(), releasing).await;
        self.link.settle(connection, done)?;
        Ok(())
    }
}

/// What a renewal learned.
struct Renewed {
    /// Leases of ours on interviews that are not live here.
    strays: Vec<String>,
    /// Interviews of others, who conducts them, and for how many seconds still: none are left where somebody may take
    /// the interview over.
    others: Vec<(String, String, f64)>,
}

async fn renew(
    connection: &mut PgConnection,
    mine: &Appliance,
    live: &[InterviewRow],
) -> Result<Renewed, sqlx::Error> {
    let ids: Vec<&str> = live.iter().map(|row| row.id.as_str()).collect();
    let terms: Vec<i64> = live.iter().map(|row| super::batch::int(row.term)).collect();
    // What another one on our LiveKit has is another one's, also when the lease is over: it may be conducting the
    // interview, cut off from here. An interview that is not there yet gets its lease with its first events.
    sqlx::query!(
        "INSERT INTO leases (interview_id, appliance, term, expires_at, livekit)
         SELECT id, $1, held.term, now() + make_interval(secs => $4), $5
         FROM UNNEST($2::text[], $3::bigint[]) AS held (id, term)
         JOIN interviews ON interview_id = id AND ended_at IS NULL
         ORDER BY id
         ON CONFLICT (interview_id) DO UPDATE
           SET term = excluded.term, expires_at = excluded.expires_at, livekit = excluded.livekit
           WHERE leases.appliance = excluded.appliance
             OR (leases.expires_at <= now() AND leases.livekit IS DISTINCT FROM excluded.livekit)",
        &mine.name as &str,
        &ids as _,
        &terms,
        LEASE.as_secs_f64(),
        &mine.livekit as &str
    )
    .execute(&mut *connection)
    .await?;
    let strays = sqlx::query_scalar!(
        "SELECT interview_id FROM leases WHERE appliance = $1 AND interview_id <> ALL ($2::text[])",
        &mine.name as &str,
        &ids as _
    )
    .fetch_all(&mut *connection)
    .await?;
    let others = sqlx::query!(
        r#"SELECT interview_id, appliance, extract(epoch FROM expires_at - now())::float8 AS "lasts_s!"
           FROM leases WHERE appliance <> $1 AND (expires_at > now() OR livekit = $2)"#,
        &mine.name as &str,
        &mine.livekit as &str
    )
    .fetch_all(connection)
    .await?;
    let others = others
        .into_iter()
        .map(|row| (row.interview_id, row.appliance, row.lasts_s));
    Ok(Renewed {
        strays,
        others: others.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_believed_until_it_ends() {
        let elsewhere = Elsewhere::default();
        let [lasting, over, free] =
            ["lasting", "over", "free"].map(|id| InterviewId::new(id).unwrap());
        let lease = |until| Lease {
            appliance: "viva-b".into(),
            until,
        };
        let hour = Duration::from_secs(3600);
        elsewhere.set(HashMap::from([
            (lasting.clone(), lease(since_boot() + hour)),
            (over.clone(), lease(since_boot())),
        ]));
        assert_eq!(
            elsewhere.holding(&lasting),
            Some(Holding::Conducted("viva-b".into()))
        );
        assert_eq!(
            elsewhere.holding(&over),
            Some(Holding::Abandoned("viva-b".into()))
        );
        assert_eq!(elsewhere.holding(&free), None);
    }
}
