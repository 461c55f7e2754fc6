//! A journal that was restored from a copy gets from PostgreSQL what it lacks, and its interviews go on.

use std::path::Path;
use std::sync::Arc;

use crate::copying::{self, Copying, append, assert_copied, begin, config};
use crate::journal_support::{ended, id, joined};
use crate::postgres::{LIMIT, Postgres};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use viva::boot::Timeline;
use viva::config::Environment;
use viva::health::Health;
use viva::interview::InterviewId;
use viva::journal::{InterviewRow, JOURNAL_FILE, Journal, JournalReader, RESTORED_CAUSE};
use viva::sync::{Appliance, Copier, Link, Successor};

/// A state directory as it is after `keep` was put in the place of all that was there.
fn put_back(directory: &Path, kept: &Path) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }
    std::fs::copy(kept, directory.join(JOURNAL_FILE)).unwrap();
}

fn keep(directory: &Path, kept: &Path) {
    rusqlite::Connection::open(directory.join(JOURNAL_FILE))
        .unwrap()
        .backup("main", kept, None::<fn(rusqlite::backup::Progress)>)
        .unwrap();
}

/// A journal whose copy in Postgres is ahead of the kept file: `a` went on, `b` came to its end, `c` began.
async fn with_more_there(postgres: &Postgres, directory: &Path, kept: &Path) {
    let journal = Journal::open(directory).unwrap();
    let env = Environment::default();
    let copying = Copying::start(&config(directory, &postgres.url()), &env, &journal);
    begin(&journal, &["a", "b"]).await;
    append(&journal, &id("a"), vec![joined(1), joined(2)]).await;
    append(&journal, &id("b"), vec![joined(1)]).await;
    copying.wait_until_done(directory).await;
    keep(directory, kept);
    append(&journal, &id("a"), vec![joined(3)]).await;
    journal.take_up(&id("a")).await.unwrap();
    append(&journal, &id("a"), vec![joined(4)]).await;
    append(&journal, &id("b"), vec![ended(2)]).await;
    begin(&journal, &["c"]).await;
    append(&journal, &id("c"), vec![joined(1)]).await;
    copying.wait_until_done(directory).await;
    copying.stop().await;
    journal.close().await.unwrap();
}

/// Tells which interviews are to be gone on with.
#[derive(Debug)]
struct Desk(mpsc::Sender<Vec<String>>);

impl Successor for Desk {
    fn has_room(&self) -> bool {
        true
    }

    fn take_up(&self, live: Vec<InterviewRow>) {
        let ids = live.iter().map(|row| row.id.as_str().to_owned());
        self.0.try_send(ids.collect()).unwrap();
    }

    fn superseded(&self, id: &InterviewId, by: &str) {
        panic!("{id} is nobody else's, not even {by}'s");
    }
}

#[tokio::test]
async fn a_restored_journal_gets_what_it_lacks_and_goes_on() {
    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    let kept = tempfile::NamedTempFile::new().unwrap();
    with_more_there(&postgres, directory.path(), kept.path()).await;
    let before = copying::journaled(directory.path());
    put_back(directory.path(), kept.path());

    let journal = Journal::open(directory.path()).unwrap();
    assert!(journal.restored().is_some());
    assert!(
        JournalReader::open(directory.path())
            .unwrap()
            .live()
            .unwrap()
            .is_empty(),
        "they are held"
    );
    let config = config(directory.path(), &postgres.url());
    let link = Link::of(&config, &Environment::default()).unwrap().unwrap();
    let (taken, mut taking) = mpsc::channel(10);
    let health = Health::new(Timeline::start());
    let mine = Appliance::of(directory.path(), "APItest");
    let copier = Copier::new(
        link,
        journal.clone(),
        directory.path().to_owned(),
        mine,
        health,
    )
    .succeeded_by(Arc::new(Desk(taken)));
    let stop = CancellationToken::new();
    let running = tokio::spawn(copier.run(stop.clone()));
    let mut went_on = tokio::time::timeout(LIMIT, taking.recv())
        .await
        .unwrap()
        .unwrap();
    went_on.sort();
    assert_eq!(went_on, ["a", "c"]);
    assert_eq!(
        copying::journaled(directory.path()),
        before,
        "nothing of it is lost"
    );
    let live = JournalReader::open(directory.path())
        .unwrap()
        .live()
        .unwrap();
    assert_eq!(live.len(), 2);
    // What comes now goes on where Postgres is.
    journal.take_up(&id("a")).await.unwrap();
    append(&journal, &id("a"), vec![joined(5)]).await;
    postgres
        .wait_for(
            "SELECT events FROM interviews WHERE interview_id = 'a' AND term = 3",
            5,
        )
        .await;
    assert_copied(&postgres, directory.path()).await;
    assert_eq!(postgres.count("SELECT count(*) FROM quarantine").await, 0);
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn an_interview_that_another_appliance_went_on_with_stays_held() {
    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    let kept = tempfile::NamedTempFile::new().unwrap();
    with_more_there(&postgres, directory.path(), kept.path()).await;
    put_back(directory.path(), kept.path());
    postgres.psql_in(
        "viva",
        "UPDATE viva.interviews SET appliance = 'elsewhere', term = 9 WHERE interview_id = 'a'",
    );
    let journal = Journal::open(directory.path()).unwrap();
    let env = Environment::default();
    let copying = Copying::start(&config(directory.path(), &postgres.url()), &env, &journal);
    copying
        .wait_until("the comparison", |now| now.phase == viva::sync::Phase::Well)
        .await;
    let reader = JournalReader::open(directory.path()).unwrap();
    let a = reader.interview(&id("a")).unwrap().unwrap();
    assert_eq!(a.set_aside.as_deref(), Some(RESTORED_CAUSE));
    let live: Vec<_> = reader
        .live()
        .unwrap()
        .into_iter()
        .map(|row| row.id)
        .collect();
    assert_eq!(live, [id("c")], "the others are its own");
    copying.stop().await;
}
