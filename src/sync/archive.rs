//! Gets interviews out of Postgres and into the journal here.

use super::error::SyncError;
use super::link::Link;
use crate::clock::unix_ms;
use crate::interview::InterviewId;
use crate::journal::{Arrival, CarriedInterview, Journal, JournalError, StoredEvent};

/// The way from Postgres into the journal.
#[derive(Debug, Clone)]
pub(super) struct Archive {
    pub(super) link: Link,
    pub(super) journal: Journal,
}

/// An interview in Postgres.
#[derive(Debug)]
pub(super) struct There {
    pub(super) interview: CarriedInterview,
    pub(super) events: u64,
    /// Who wrote last.
    pub(super) appliance: String,
}

impl Archive {
    pub(super) async fn interview(&self, id: &InterviewId) -> Result<Option<There>, SyncError> {
        let mut connection = self.link.acquire().await?;
        let asking = sqlx::query!(
            "SELECT room, candidate, plan_name, plan_hash, body, begun_at_unix_ms, term, events, appliance
               FROM interviews JOIN plans ON hash = plan_hash WHERE interview_id = $1",
            id.as_str()
        )
        .fetch_optional(&mut *connection);
        let done = tokio::time::timeout(self.link.work_limit(), asking).await;
        let row = self.link.settle(connection, done)?;
        Ok(row.map(|row| There {
            interview: CarriedInterview {
                id: id.clone(),
                room: row.room,
                candidate: row.candidate,
                plan_name: row.plan_name,
                plan_hash: row.plan_hash,
                plan_body: Some(row.body),
                term: number(row.term),
                begun_at_unix_ms: number(row.begun_at_unix_ms),
            },
            events: number(row.events),
            appliance: row.appliance,
        }))
    }

    /// Takes in the events behind the first `have`, and tells how many were new here; nothing where what is here and
    /// what is there are two histories, or where the interview was deleted. It stays as it is then.
    pub(super) async fn fetch(&self, there: &There, have: u64) -> Result<Option<u64>, SyncError> {
        let id = &there.interview.id;
        let mut connection = self.link.acquire().await?;
        let asking = sqlx::query!(
            "SELECT seq, term, at_unix_ms, elapsed_ms, kind, payload, hash FROM events
             WHERE interview_id = $1 AND seq > $2 ORDER BY seq",
            id.as_str(),
            i64::try_from(have).unwrap_or(i64::MAX)
        )
        .fetch_all(&mut *connection);
        let done = tokio::time::timeout(self.link.work_limit(), asking).await;
        let rows = self.link.settle(connection, done)?;
        let events = rows.into_iter().filter_map(|row| {
            Some(StoredEvent {
                interview_id: id.clone(),
                term: number(row.term),
                seq: number(row.seq),
                at_unix_ms: number(row.at_unix_ms),
                elapsed_ms: number(row.elapsed_ms),
                kind: row.kind,
                payload: row.payload,
                hash: row.hash.try_into().ok()?,
            })
        });
        let arrival = Arrival {
            interview: there.interview.clone(),
            events: events.collect(),
        };
        match self.journal.arrive(arrival, unix_ms()).await {
            Ok(arrived) => Ok(Some(arrived.added)),
            Err(error @ (JournalError::Closed | JournalError::Failed { .. })) => Err(error.into()),
            Err(error) => {
                tracing::error!(interview_id = %id, "what PostgreSQL has of the interview is not taken in: {error}");
                Ok(None)
            }
        }
    }
}

fn number(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
