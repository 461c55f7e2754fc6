//! Deletion reaches every copy: what was deleted here is deleted in Postgres, what was deleted there is deleted here,
//! and Postgres knows which appliances have done so.

use std::collections::HashSet;

use sqlx::{Connection, PgConnection};

use super::Copier;
use super::error::SyncError;
use super::link::Link;
use crate::interview::InterviewId;
use crate::journal::tombstones;

/// Deletions that are looked at with one query.
const PAGE: usize = 1_000;

/// How far deletions have come between here and Postgres, since this process connected for the first time.
#[derive(Debug, Default)]
pub(super) struct Burials {
    /// They are known to Postgres.
    told: HashSet<InterviewId>,
    /// The number of the last tombstone there that was acted on.
    seen: i64,
}

/// A deleted interview.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Deletion {
    /// Which.
    pub interview_id: String,
    /// The appliances that have not confirmed it; it is done when there are none.
    pub awaited: Vec<String>,
}

impl Copier {
    /// Carries deletions both ways and confirms what is done.
    pub(super) async fn exchange_burials(&mut self) -> Result<(), SyncError> {
        self.tell_burials().await?;
        loop {
            let page = self.burials_there().await?;
            let Some((number, _)) = page.last() else {
                break;
            };
            let number = *number;
            let ids = page.into_iter().map(|(_, id)| id).collect();
            self.bury_here(ids).await?;
            self.burials.seen = number;
        }
        let pending = self.confirm().await?;
        self.status.burials_pending(pending);
        Ok(())
    }

    /// What was deleted here is deleted there, with the same statement that keeps it from coming back.
    async fn tell_burials(&mut self) -> Result<(), SyncError> {
        let here = self.read(|outbox| tombstones(outbox.directory())).await?;
        let new: Vec<InterviewId> = here
            .into_iter()
            .filter(|id| !self.burials.told.contains(id))
            .collect();
        for page in new.chunks(PAGE) {
            let ids: Vec<&str> = page.iter().map(InterviewId::as_str).collect();
            let mut connection = self.link.acquire().await?;
            let burying = bury(&mut connection, &ids);
            let done = tokio::time::timeout(self.link.work_limit(), burying).await;
            self.link.settle(connection, done)?;
            self.burials.told.extend(page.iter().cloned());
        }
        Ok(())
    }

    /// The next tombstones there. A name that can't be one of ours names nothing here.
    async fn burials_there(&self) -> Result<Vec<(i64, Option<InterviewId>)>, SyncError> {
        let mut connection = self.link.acquire().await?;
        let asking = sqlx::query!(
            "SELECT number, interview_id FROM tombstones WHERE number > $1 ORDER BY number LIMIT $2",
            self.burials.seen,
            PAGE as i64
        )
        .fetch_all(&mut *connection);
        let done = tokio::time::timeout(self.link.work_limit(), asking).await;
        let rows = self.link.settle(connection, done)?;
        let named = rows
            .into_iter()
            .map(|row| (row.number, InterviewId::new(row.interview_id).ok()));
        Ok(named.collect())
    }

    async fn bury_here(&mut self, ids: Vec<Option<InterviewId>>) -> Result<(), SyncError> {
        let ids: Vec<InterviewId> = ids.into_iter().flatten().collect();
        let here = self
            .read(move |outbox| {
                let reader = outbox.reader()?;
                let mut here = Vec::new();
                for id in ids {
                    if reader.head(&id)?.is_some() {
                        here.push(id);
                    }
                }
                Ok(here)
            })
            .await?;
        if here.is_empty() {
            return Ok(());
        }
        let deleted = self.journal.delete(here).await?;
        tracing::info!("{deleted} interviews were deleted elsewhere and are deleted here");
        Ok(())
    }

    /// Says how far we are, and tells how many deletions wait for somebody.
    async fn confirm(&self) -> Result<u64, SyncError> {
        let mut connection = self.link.acquire().await?;
        let confirming = async {
            sqlx::query!(
                "INSERT INTO appliances (appliance, buried) VALUES ($1, $2)
                 ON CONFLICT (appliance) DO UPDATE SET seen_at = now(), buried = excluded.buried",
                &self.mine.name as &str,
                self.burials.seen
            )
            .execute(&mut *connection)
            .await?;
            sqlx::query_scalar!(
                r#"SELECT count(*) AS "pending!" FROM deletions WHERE state = 'pending'"#
            )
            .fetch_one(&mut *connection)
            .await
        };
        let done = tokio::time::timeout(self.link.work_limit(), confirming).await;
        let pending = self.link.settle(connection, done)?;
        Ok(u64::try_from(pending).unwrap_or(0))
    }
}

/// The table's triggers delete all that is there of them.
async fn bury(connection: &mut PgConnection, ids: &[&str]) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    sqlx::query!(
        "INSERT INTO tombstones (interview_id) SELECT id FROM UNNEST($1::text[]) AS buried (id)
         WHERE NOT EXISTS (SELECT FROM tombstones WHERE interview_id = id) ORDER BY id
         ON CONFLICT DO NOTHING",
        &ids as _
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}

/// The deletions that Postgres knows of, the latest first, at most 1,000.
///
/// # Errors
/// The database can't be asked, or its schema is not ours.
pub async fn deletions(link: &Link) -> Result<Vec<Deletion>, SyncError> {
    let mut connection = link.connect().await?;
    let asking = async {
        super::schema::look(link, &mut connection).await?;
        let rows = sqlx::query!(
            r#"SELECT interview_id AS "interview_id!", awaited AS "awaited!" FROM deletions
               ORDER BY buried_at DESC, interview_id LIMIT $1"#,
            PAGE as i64
        )
        .fetch_all(&mut connection)
        .await
        .map_err(|e| link.named(e))?;
        let deletion = rows.into_iter().map(|row| Deletion {
            interview_id: row.interview_id,
            awaited: row.awaited,
        });
        Ok(deletion.collect())
    };
    match tokio::time::timeout(link.work_limit(), asking).await {
        Ok(found) => found,
        Err(_) => Err(link.silent()),
    }
}
