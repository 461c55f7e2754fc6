//! Takes over interviews whose appliance is gone.
//!
//! The lease has to be over by the clock of Postgres, and LiveKit, which is asked first, has to say for some time that
//! nobody who is alive conducts the interview. Then the lease and a higher term are taken in one transaction, so that one appliance
//! alone can do it and nothing that the old one still sends is taken any more; the journal here gets what Postgres has
//! of the interview, and it is gone on with as after a restart.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::arbiter::{Arbiter, Leased, Sign, Watch};
use super::archive::{Archive, There};
use super::error::SyncError;
use super::leases::LEASE;
use super::{BACKOFF_MAX, Successor};
use crate::health::metrics;
use crate::interview::InterviewId;
use crate::journal::{
    IMPORTED_CAUSE, InterviewRow, Journal, JournalError, JournalReader, REPLACED_CAUSE,
};

/// Abandoned interviews are looked for so often.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// And so many of them at once; the longest abandoned first.
const LOOK_MAX: i64 = 100;
/// A lease that was not renewed for so long is watched, so that all is known when it is over.
const UNRENEWED: Duration = Duration::from_secs(20);
/// Postgres has to have answered for so long: after an outage, those that were cut off like us come first, with what
/// they have not sent yet. Longer than the longest wait of theirs between two tries.
const SETTLED: Duration = Duration::from_secs(20);
const _: () = assert!(SETTLED.as_secs() > BACKOFF_MAX.as_secs());

/// The task that takes over.
pub struct Claimer {
    arbiter: Arbiter,
    archive: Archive,
    directory: PathBuf,
    successor: Arc<dyn Successor>,
    watched: HashMap<InterviewId, Watch>,
    /// What the journal here can't go on with.
    refused: HashSet<InterviewId>,
    /// Postgres has answered since then.
    well_since: Option<Instant>,
}

/// An interview that nobody may be conducting.
#[derive(Debug)]
struct Abandoned {
    id: InterviewId,
    room: String,
    appliance: String,
    /// The lease is ours: a takeover was begun and not finished.
    is_ours: bool,
    /// The lease is over.
    is_over: bool,
    events: u64,
}

impl Claimer {
    /// Takes over into `journal`, which is in `directory`.
    #[must_use]
    pub fn new(
        arbiter: Arbiter,
        journal: Journal,
        directory: PathBuf,
        successor: Arc<dyn Successor>,
    ) -> Self {
        let archive = Archive {
            link: arbiter.link.clone(),
            journal,
        };
        Self {
            arbiter,
            archive,
            directory,
            successor,
            watched: HashMap::new(),
            refused: HashSet::new(),
            well_since: None,
        }
    }

    /// Looks for ever, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let looking = async {
            loop {
                // Two appliances that look in the same moment ask LiveKit twice, and one of them in vain.
                tokio::time::sleep(LOOK_EVERY.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
                match Box::pin(self.look()).await {
                    Ok(()) => {}
                    Err(SyncError::Journal(JournalError::Closed)) => return,
                    Err(error) => {
                        self.well_since = None;
                        // The copy tells what is wrong with Postgres, and when it is well again.
                        tracing::debug!("nothing is taken over for now: {error}");
                    }
                }
            }
        };
        tokio::select! {
            () = looking => {}
            () = stop.cancelled() => {}
        }
    }

    async fn look(&mut self) -> Result<(), SyncError> {
        let abandoned = self.abandoned().await?;
        let well_since = *self.well_since.get_or_insert_with(Instant::now);
        let is_settled = well_since.elapsed() >= SETTLED;
        self.watched
            .retain(|id, _| abandoned.iter().any(|there| there.id == *id));
        for there in abandoned {
            if self.refused.contains(&there.id) || !self.successor.has_room() {
                continue;
            }
            let here = self.here(&there.id).await?;
            if there.is_ours {
                self.finish(&there, here).await?;
            } else if self.may_go_on(&there, here.as_ref()) {
                let is_dead = self.is_dead(&there).await;
                if is_dead && there.is_over && is_settled {
                    self.take_over(&there, here).await?;
                }
            }
        }
        Ok(())
    }

    /// Interviews on our LiveKit whose lease is over or about to be, and those whose takeover here was not finished.
    async fn abandoned(&self) -> Result<Vec<Abandoned>, SyncError> {
        let link = &self.archive.link;
        let mine = &self.arbiter.mine;
        let mut connection = link.acquire().await?;
        let asking = sqlx::query!(
            r#"SELECT interview_id, room, events, leases.appliance, expires_at <= now() AS "is_over!"
               FROM leases JOIN interviews USING (interview_id)
               WHERE ended_at IS NULL
                 AND (leases.appliance = $1 OR (expires_at <= now() + make_interval(secs => $4) AND livekit = $2))
               ORDER BY expires_at LIMIT $3"#,
            &mine.name as &str,
            &mine.livekit as &str,
            LOOK_MAX,
            LEASE.saturating_sub(UNRENEWED).as_secs_f64()
        )
        .fetch_all(&mut *connection);
        let done = tokio::time::timeout(link.work_limit(), asking).await;
        let rows = link.settle(connection, done)?;
        let found = rows.into_iter().filter_map(|row| {
            Some(Abandoned {
                id: InterviewId::new(row.interview_id).ok()?,
                room: row.room,
                is_ours: *row.appliance == *mine.name,
                appliance: row.appliance,
                is_over: row.is_over,
                events: super::batch::uint(row.events),
            })
        });
        Ok(found.collect())
    }

    /// Whether the journal here could go on with it: it does not know the interview, or no more of it than Postgres.
    fn may_go_on(&mut self, there: &Abandoned, here: Option<&InterviewRow>) -> bool {
        let Some(row) = here else { return true };
        let may = row.ended.is_none() && is_set_aside_for_others(row) && row.events <= there.events;
        if !may {
            self.refuse(&there.id, "the journal here has other events of it");
        }
        may
    }

    fn refuse(&mut self, id: &InterviewId, cause: &str) {
        tracing::warn!(interview_id = %id, "the interview is abandoned and can't be taken over here: {cause}");
        self.refused.insert(id.clone());
    }

    /// Whether LiveKit knows of nobody who conducts it. Nothing is taken over while LiveKit does not say so.
    async fn is_dead(&mut self, there: &Abandoned) -> bool {
        let presence = match self.arbiter.rooms.interviewer(&there.room).await {
            Ok(presence) => presence,
            Err(error) => {
                tracing::debug!(interview_id = %there.id, "not taken over for now: {error}");
                return false;
            }
        };
        if !self.watched.contains_key(&there.id) {
            tracing::info!(
                interview_id = %there.id,
                "{} does not renew its lease any more; LiveKit says that the interviewer is {presence:?}",
                there.appliance
            );
        }
        let watch = self.watched.entry(there.id.clone()).or_default();
        watch.look(presence, Instant::now()) == Sign::Dead
    }

    async fn take_over(
        &mut self,
        there: &Abandoned,
        here: Option<InterviewRow>,
    ) -> Result<(), SyncError> {
        let link = &self.archive.link;
        let mut connection = link.acquire().await?;
        let claiming = self.claim(&mut connection, there);
        let done = tokio::time::timeout(link.work_limit(), claiming).await;
        let Some(term) = link.settle(connection, done)? else {
            // Another one was faster, or the old one is back.
            return Ok(());
        };
        tracing::warn!(interview_id = %there.id, term, "the interview is taken over from {}", there.appliance);
        metrics::interview_taken_over();
        self.watched.remove(&there.id);
        self.finish(there, here).await
    }

    /// The new term, if the lease was still over. Whatever an older term still sends is refused from then on.
    async fn claim(
        &self,
        connection: &mut PgConnection,
        there: &Abandoned,
    ) -> Result<Option<i64>, sqlx::Error> {
        let mine = &self.arbiter.mine;
        let mut transaction = connection.begin().await?;
        // Whoever sends events waits for this row, and finds the new term.
        let live = sqlx::query_scalar!(
            "SELECT term FROM interviews WHERE interview_id = $1 AND ended_at IS NULL FOR UPDATE",
            there.id.as_str()
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(last) = live else { return Ok(None) };
        let claimed = sqlx::query_scalar!(
            "UPDATE leases SET appliance = $2, term = greatest(term, $3) + 1, livekit = $4,
               expires_at = now() + make_interval(secs => $5)
             WHERE interview_id = $1 AND appliance = $6 AND expires_at <= now() RETURNING term",
            there.id.as_str(),
            &mine.name as &str,
            last,
            &mine.livekit as &str,
            LEASE.as_secs_f64(),
            there.appliance
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(term) = claimed else { return Ok(None) };
        sqlx::query!(
            "UPDATE interviews SET term = $2, appliance = $3 WHERE interview_id = $1",
            there.id.as_str(),
            term,
            &mine.name as &str
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Some(term))
    }

    /// Gets what Postgres has of an interview whose lease is ours, and goes on with it.
    async fn finish(
        &mut self,
        there: &Abandoned,
        here: Option<InterviewRow>,
    ) -> Result<(), SyncError> {
        let id = &there.id;
        if here.is_some_and(|row| row.ended.is_some() || !is_set_aside_for_others(&row)) {
            // It is being conducted, over, or not to be taken up.
            return Ok(());
        }
        if self.arbiter.leased(id).await? != Leased::Here {
            return Ok(());
        }
        let Some(mut found) = self.archive.interview(id).await? else {
            return Ok(());
        };
        // Taking it up raises the term once more, to the one that was claimed.
        found.interview.term = found.interview.term.saturating_sub(1);
        match self.fetch(&found).await? {
            Some(row) => {
                self.archive.journal.readmit(id).await?;
                self.successor.take_up(vec![row]);
                Ok(())
            }
            None => {
                self.refuse(id, "what the journal here has of it is another history");
                self.give_back(id).await
            }
        }
    }

    /// The interview as it is here afterwards, if all of it is.
    async fn fetch(&self, there: &There) -> Result<Option<InterviewRow>, SyncError> {
        if self.archive.fetch(there, 0).await?.is_none() {
            return Ok(None);
        }
        let row = self.here(&there.interview.id).await?;
        Ok(row.filter(|row| row.events == there.events && row.ended.is_none()))
    }

    /// For another appliance to take.
    async fn give_back(&self, id: &InterviewId) -> Result<(), SyncError> {
        let link = &self.archive.link;
        let mut connection = link.acquire().await?;
        let giving = sqlx::query!(
            "UPDATE leases SET expires_at = now() WHERE interview_id = $1 AND appliance = $2",
            id.as_str(),
            &self.arbiter.mine.name as &str
        )
        .execute(&mut *connection);
        let done = tokio::time::timeout(link.work_limit(), giving).await;
        link.settle(connection, done)?;
        Ok(())
    }

    async fn here(&self, id: &InterviewId) -> Result<Option<InterviewRow>, SyncError> {
        let (directory, id) = (self.directory.clone(), id.clone());
        let reading =
            tokio::task::spawn_blocking(move || JournalReader::open(&directory)?.interview(&id));
        let row = reading.await.map_err(|panic| JournalError::Failed {
            cause: format!("a reader broke down: {panic}"),
        })?;
        Ok(row?)
    }
}

/// It waits for whoever has all of it: it came from elsewhere, or went there.
fn is_set_aside_for_others(row: &InterviewRow) -> bool {
    let causes = [IMPORTED_CAUSE, REPLACED_CAUSE];
    let cause = row.set_aside.as_deref();
    cause.is_some_and(|cause| causes.contains(&cause))
}
