//! Gives a journal that was restored from a copy what it lacks, and lets its interviews go on.
//!
//! The journal holds the live interviews of such a file, because their ends may be missing. Postgres has these ends,
//! and what began after the copy was made.

use std::collections::HashSet;

use super::Copier;
use super::archive::There;
use super::error::SyncError;
use crate::interview::InterviewId;
use crate::journal::{IMPORTED_CAUSE, InterviewRow, JournalError, RESTORED_CAUSE};

/// Interviews that are looked for with one query.
const PAGE: usize = 500;

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
            if let Some(there) = self.archive.interview(&id).await? {
                fetched += self.archive.fetch(&there, 0).await?.unwrap_or(0);
                went_on.extend(self.readmit(&there).await?);
            }
        }
        for row in here.iter().filter(held) {
            let Some(there) = self.archive.interview(&row.id).await? else {
                continue;
            };
            if *there.appliance != *self.mine.name {
                tracing::warn!(
                    interview_id = %row.id,
                    "the interview was gone on with by {} and stays set aside here",
                    there.appliance
                );
                continue;
            }
            fetched += self.archive.fetch(&there, row.events).await?.unwrap_or(0);
            went_on.extend(self.readmit(&there).await?);
        }
        if fetched > 0 {
            tracing::info!(
                "the restored journal got {fetched} events from PostgreSQL that it lacked"
            );
        }
        if let Some(successor) = &self.successor {
            successor.take_up(went_on);
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
                &self.mine.name as &str,
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
