//! Compares what was acknowledged with what Postgres has: a database that was restored, or that failed over to a
//! standby which had not got everything, is sent again what it lacks.

use std::collections::HashMap;

use super::Copier;
use super::error::SyncError;
use super::outbox::{After, Errand, Origin};
use crate::journal::Place;

/// Interviews that are compared with one query.
const PAGE: usize = 1_000;

impl Copier {
    /// The interviews of which Postgres lacks something that it had acknowledged.
    pub(super) async fn compare(&mut self) -> Result<Vec<Errand>, SyncError> {
        let mut lacking = Vec::new();
        let mut after = String::new();
        loop {
            let from = after.clone();
            let page = self
                .read(move |outbox| outbox.reader()?.acknowledged(&from, PAGE))
                .await?;
            let Some(last) = page.last() else { break };
            after = last.id.as_str().to_owned();
            let there = self.events_there(&page).await?;
            lacking.extend(page.into_iter().filter_map(|place| {
                let has = there.get(place.id.as_str()).copied().unwrap_or(0);
                (has < place.seq).then_some(Errand {
                    id: place.id,
                    after: After::Number(has),
                    origin: Origin::Repair,
                })
            }));
        }
        if !lacking.is_empty() {
            tracing::warn!(
                "PostgreSQL lacks events of {} interviews that it had, as after a restore; they are sent again",
                lacking.len()
            );
        }
        Ok(lacking)
    }

    /// The number of the last event of each interview that is there.
    async fn events_there(&self, places: &[Place]) -> Result<HashMap<String, u64>, SyncError> {
        let ids: Vec<&str> = places.iter().map(|place| place.id.as_str()).collect();
        let mut connection = self.link.acquire().await?;
        let asking = sqlx::query!(
            "SELECT interview_id, events FROM interviews WHERE interview_id = ANY ($1::text[])",
            &ids as _
        )
        .fetch_all(&mut *connection);
        let done = tokio::time::timeout(self.link.work_limit(), asking).await;
        let rows = self.link.settle(connection, done)?;
        let there = rows
            .into_iter()
            .map(|row| (row.interview_id, u64::try_from(row.events).unwrap_or(0)));
        Ok(there.collect())
    }
}
