//! A journal that is being copied to a Postgres, and what has to be true of the copy.
#![allow(dead_code, reason = "no test needs all of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on says so"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use sqlx::Connection;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use viva::boot::Timeline;
use viva::config::{Config, Environment};
use viva::health::Health;
use viva::interview::{InterviewId, Recorded};
use viva::journal::{Journal, JournalReader};
use viva::sync::{Appliance, Copier, Elsewhere, Link, Phase, Standing, SyncStatus};

use crate::journal_support::new;
use crate::postgres::{LIMIT, Postgres};

/// Short times, so that a test of a failure is over soon.
pub fn config(directory: &Path, url: &str) -> Config {
    let mut config = Config {
        state_directory: directory.to_owned(),
        ..Config::default()
    };
    config.postgres.url = Some(url.to_owned());
    config.postgres.connect_timeout_ms = 1_000;
    config.postgres.acquire_timeout_ms = 2_000;
    config.postgres.statement_timeout_ms = 2_000;
    config
}

/// A copier that runs until it is stopped.
pub struct Copying {
    pub status: SyncStatus,
    pub elsewhere: Elsewhere,
    pub health: Health,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Copying {
    pub fn start(config: &Config, env: &Environment, journal: &Journal) -> Self {
        Self::start_with(config, env, journal, |copier| copier)
    }

    /// With a copier that the test has changed.
    pub fn start_with(
        config: &Config,
        env: &Environment,
        journal: &Journal,
        change: impl FnOnce(Copier) -> Copier,
    ) -> Self {
        let link = Link::of(config, env).unwrap().expect("a database");
        let health = Health::new(Timeline::start());
        let directory = config.state_directory.clone();
        let mine = Appliance::of(&directory, "APItest");
        let copier = Copier::new(link, journal.clone(), directory, mine, health.clone());
        let copier = change(copier);
        let (status, stop) = (copier.status(), CancellationToken::new());
        let elsewhere = copier.elsewhere();
        let task = tokio::spawn(copier.run(stop.clone()));
        Self {
            status,
            elsewhere,
            health,
            stop,
            task,
        }
    }

    /// Ends it as a process that is stopped would.
    pub async fn stop(mut self) {
        self.stop.cancel();
        (&mut self.task).await.expect("it does not panic");
    }

    /// Waits until it stands so.
    pub async fn wait_until(&self, what: &str, reached: impl Fn(&Standing) -> bool) -> Standing {
        let deadline = Instant::now() + LIMIT;
        loop {
            let now = self.status.now();
            if reached(&now) {
                return now;
            }
            assert!(
                Instant::now() < deadline,
                "waited {LIMIT:?} in vain for {what}: {now:?}"
            );
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// Waits until a try has met this kind of failure, and tells what was said of it.
    pub async fn wait_for_failure(&self, kind: &str) -> String {
        let is_it = |now: &Standing| matches!(&now.phase, Phase::Failing { kind: found, .. } if *found == kind);
        let met = self.wait_until(kind, is_it).await;
        match met.phase {
            Phase::Failing { cause, .. } => cause,
            _ => unreachable!("it was failing"),
        }
    }

    /// Waits until everything was acknowledged.
    pub async fn wait_until_done(&self, directory: &Path) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let reader = JournalReader::open(directory).unwrap();
            if reader.outbox().unwrap().is_empty() {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "not all is acknowledged: {:?}, {:?}",
                self.status.now(),
                reader.outbox()
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins interviews that do not exist yet.
pub async fn begin(journal: &Journal, names: &[&str]) {
    for name in names {
        journal.begin(new(name)).await.unwrap();
    }
}

pub async fn append(journal: &Journal, id: &InterviewId, events: Vec<Recorded>) {
    journal.append(id, events).await.unwrap();
}

/// An event of a copy: term, number, times, kind, payload and hash.
type Copied = (i64, i64, i64, i64, String, String, Vec<u8>);

/// Everything that Postgres has, by interview.
pub async fn copied(postgres: &Postgres) -> BTreeMap<String, Vec<Copied>> {
    use sqlx::Row;

    let mut connection = postgres.connect().await;
    let rows = sqlx::query(
        "SELECT interview_id, term, seq, at_unix_ms, elapsed_ms, kind, payload, hash FROM events
         ORDER BY interview_id, seq",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    let mut copied: BTreeMap<String, Vec<Copied>> = BTreeMap::new();
    for row in rows {
        copied.entry(row.get(0)).or_default().push((
            row.get(1),
            row.get(2),
            row.get(3),
            row.get(4),
            row.get(5),
            row.get(6),
            row.get(7),
        ));
    }
    copied
}

/// Everything that a journal has, in the same form.
pub fn journaled(directory: &Path) -> BTreeMap<String, Vec<Copied>> {
    let reader = JournalReader::open(directory).unwrap();
    let int = |number: u64| i64::try_from(number).unwrap();
    let mut journaled: BTreeMap<String, Vec<Copied>> = BTreeMap::new();
    for row in reader.interviews().unwrap() {
        let events = reader.events_after(&row.id, (0, 0), usize::MAX).unwrap();
        if events.is_empty() {
            continue;
        }
        let events = events.into_iter().map(|event| {
            (
                int(event.term),
                int(event.seq),
                int(event.at_unix_ms),
                int(event.elapsed_ms),
                event.kind,
                event.payload,
                event.hash.to_vec(),
            )
        });
        journaled.insert(row.id.as_str().to_owned(), events.collect());
    }
    journaled
}

/// The copy is the journal, event by event: nothing lost, nothing doubled, nothing changed, and the readable tables
/// say the same.
pub async fn assert_copied(postgres: &Postgres, directory: &Path) {
    assert_eq!(copied(postgres).await, journaled(directory));
    let torn = "SELECT count(*) FROM interviews i WHERE events <> (SELECT coalesce(max(seq), 0) FROM events e
                  WHERE e.interview_id = i.interview_id)
                OR (ended_at IS NOT NULL) <> EXISTS (SELECT FROM events e WHERE e.interview_id = i.interview_id
                  AND kind = 'ended')";
    assert_eq!(
        postgres.count(torn).await,
        0,
        "interviews and events are of one transaction"
    );
}
