//! Gives a journal that was restored from a copy what it lacks, and lets its interviews go on.
//!
//! The journal holds the live interviews of such a file, because their ends may be missing. Postgres has these ends,
//! and what began after the copy was made.

use std::collections::HashSet;

use super::error::SyncError;
use super::{Copier, TakeUp, unix_ms};
use crate::interview::InterviewId;
use crate::journal::{
    Arrival, CarriedInterview, IMPORTED_CAUSE, InterviewRow, JournalError, RESTORED_CAUSE,
    StoredEvent,
};

/// Interviews that are looked for with one query.
const PAGE: usize = 500;

/// An interview in Postgres.
#[derive(Debug)]
struct There {
    interview: CarriedInterview,
    events: u64,
    /// Who wrote last.
    appliance: String,
}

impl Copier {
    /// Fetches what the journal lacks, if it was restored. What Postgres does not know stays held until an operator
    /// adopts it.
    pub(super) async fn restore(&mut self) -> Result<(), SyncError> {
        let here = self.read(|outbox| outbox.reader()?.interviews()).await?;
        let held = |row: &&InterviewRow| row.set_aside.as_deref() == Some(RESTORED_CAUSE);
        if self.journal.restored().is_none() && !here.iter().any(|row| held(&row)) {
            return Ok(());
        }
        let mut went_on = Vec::new();
        let known: HashSet<String> = here.iter().map(|row| row.id.as_str().to_owned()).collect();
        let mut fetched = 0;
        for id in self.ours_there(&known).await? {
            if let Some(there) = self.interview_there(&id).await? {
                fetched += self.fetch(&there, 0).await?;
                went_on.extend(self.readmit(&there).await?);
            }
        }
        for row in here.iter().filter(held) {
            let Some(there) = self.interview_there(&row.id).await? else {
                continue;
            };
            if there.appliance != self.appliance {
                tracing::warn!(
                    interview_id = %row.id,
                    "the interview was gone on with by {} and stays set aside here",
                    there.appliance
                );
                continue;
            }
            fetched += self.fetch(&there, row.events).await?;
            went_on.extend(self.readmit(&there).await?);
        }
        if fetched > 0 {
            tracing::info!(
                "the restored journal got {fetched} events from PostgreSQL that it lacked"
            );
        }
        if let Some(TakeUp(take_up)) = &self.readmitted {
            take_up(went_on);
        }
        Ok(())
    }

    /// Interviews of which this appliance wrote the last event, and that are not here.
    async fn ours_there(&self, known: &HashSet<String>) -> Result<Vec<InterviewId>, SyncError> {
        let mut ours = Vec::new();
        let mut after = String::new();
        loop {
            let mut connection = self.link.acquire().await?;
            let asking = sqlx::query!(
                "SELECT interview_id FROM interviews WHERE appliance = $1 AND interview_id > $2
                 ORDER BY interview_id LIMIT $3",
                self.appliance,
                after,
                PAGE as i64
            )
            .fetch_all(&mut *connection);
            let done = tokio::time::timeout(self.link.work_limit(), asking).await;
            let rows = self.link.settle(connection, done)?;
            let Some(last) = rows.last() else { break };
            after.clone_from(&last.interview_id);
            let missing = rows
                .into_iter()
                .filter(|row| !known.contains(&row.interview_id));
            ours.extend(missing.filter_map(|row| InterviewId::new(row.interview_id).ok()));
        }
        Ok(ours)
    }

    async fn interview_there(&self, id: &InterviewId) -> Result<Option<There>, SyncError> {
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

    /// Takes in the events behind those that are here, and tells how many.
    async fn fetch(&self, there: &There, have: u64) -> Result<u64, SyncError> {
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
            Ok(arrived) => Ok(arrived.added),
            Err(error @ (JournalError::Closed | JournalError::Failed { .. })) => Err(error.into()),
            // What is here and what is there are two histories, or it was deleted: it stays as it is.
            Err(error) => {
                tracing::error!(interview_id = %id, "what PostgreSQL has of the interview is not taken in: {error}");
                Ok(0)
            }
        }
    }

    /// The interview, which goes on where it has all that there is and is not over.
    async fn readmit(&mut self, there: &There) -> Result<Option<InterviewRow>, SyncError> {
        let id = there.interview.id.clone();
        let row = self
            .read(move |outbox| outbox.reader()?.interview(&id))
            .await?;
        let Some(row) = row.filter(|row| row.ended.is_none() && row.events >= there.events) else {
            return Ok(None);
        };
        let held = [RESTORED_CAUSE, IMPORTED_CAUSE];
        if !row
            .set_aside
            .as_deref()
            .is_some_and(|cause| held.contains(&cause))
        {
            return Ok(None);
        }
        match self.journal.readmit(&row.id).await {
            Ok(()) => Ok(Some(row)),
            Err(JournalError::UnknownInterview { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn number(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
