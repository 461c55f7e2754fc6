//! A person who was deleted is gone from PostgreSQL and from every appliance, and does not come back.

use std::path::Path;

use crate::copying::{Copying, append, begin, config};
use crate::journal_support::{self, ended, id, joined};
use crate::postgres;
use crate::postgres::Postgres;
use crate::service;
use sqlx::Connection;
use viva::config::Environment;
use viva::journal::{JOURNAL_FILE, Journal, JournalError, JournalReader};
use viva::sync::{Link, deletions};

fn start(postgres: &Postgres, directory: &Path, journal: &Journal) -> Copying {
    let config = config(directory, &postgres.url());
    Copying::start(&config, &Environment::default(), journal)
}

async fn with_two(directory: &Path) -> Journal {
    let journal = Journal::open(directory).unwrap();
    begin(&journal, &["deleted", "kept"]).await;
    append(&journal, &id("deleted"), vec![joined(1), ended(2)]).await;
    append(&journal, &id("kept"), vec![joined(1), ended(2)]).await;
    journal
}

fn is_here(directory: &Path, name: &str) -> bool {
    let reader = JournalReader::open(directory).unwrap();
    reader.interview(&id(name)).unwrap().is_some()
}

async fn wait_until_gone(directory: &Path, name: &str) {
    let gone = async {
        while is_here(directory, name) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(postgres::LIMIT, gone)
        .await
        .expect("it is deleted in time");
}

const DELETED_THERE: &str =
    "SELECT (SELECT count(*) FROM interviews WHERE interview_id = 'deleted')
  + (SELECT count(*) FROM events WHERE interview_id = 'deleted')
  + (SELECT count(*) FROM turns WHERE interview_id = 'deleted')
  + (SELECT count(*) FROM tombstones WHERE interview_id <> 'deleted')";

#[tokio::test]
async fn what_is_deleted_here_is_deleted_there_when_it_can_be_reached() {
    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    let journal = with_two(directory.path()).await;
    let copying = start(&postgres, directory.path(), &journal);
    copying.wait_until_done(directory.path()).await;
    copying.stop().await;
    // Nobody can be reached while it is deleted.
    journal.delete(vec![id("deleted")]).await.unwrap();
    assert_eq!(
        postgres
            .count("SELECT events FROM interviews WHERE interview_id = 'deleted'")
            .await,
        2
    );
    let copying = start(&postgres, directory.path(), &journal);
    postgres
        .wait_for("SELECT count(*) FROM deletions WHERE state = 'done'", 1)
        .await;
    assert_eq!(postgres.count(DELETED_THERE).await, 0);
    assert_eq!(
        postgres
            .count("SELECT events FROM interviews WHERE interview_id = 'kept'")
            .await,
        2
    );
    copying.stop().await;
}

#[tokio::test]
async fn a_platform_deletes_from_every_appliance_and_sees_who_has_not_confirmed() {
    let postgres = Postgres::start(&[]);
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = with_two(one.path()).await;
    let copying = start(&postgres, one.path(), &journal);
    copying.wait_until_done(one.path()).await;
    // An appliance that has it as well, and goes offline.
    let elsewhere = with_two(other.path()).await;
    let offline = start(&postgres, other.path(), &elsewhere);
    offline.wait_until_done(other.path()).await;
    postgres
        .wait_for("SELECT count(*) FROM appliances", 2)
        .await;
    offline.stop().await;

    postgres.psql_in(
        "viva",
        "INSERT INTO viva.tombstones (interview_id) VALUES ('deleted')",
    );
    assert_eq!(postgres.count(DELETED_THERE).await, 0);
    copying.stop().await;
    let copying = start(&postgres, one.path(), &journal);
    wait_until_gone(one.path(), "deleted").await;
    assert!(is_here(one.path(), "kept"));
    let pending =
        "SELECT count(*) FROM deletions WHERE state = 'pending' AND cardinality(awaited) = 1";
    postgres.wait_for(pending, 1).await;
    let link = Link::of(
        &config(one.path(), &postgres.url()),
        &Environment::default(),
    );
    let listed = deletions(&link.unwrap().unwrap()).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].awaited.len(), 1);
    copying
        .wait_until("a pending deletion", |now| now.burials_pending == 1)
        .await;

    // It returns, with events that nobody has seen.
    let returned = start(&postgres, other.path(), &elsewhere);
    wait_until_gone(other.path(), "deleted").await;
    postgres
        .wait_for("SELECT count(*) FROM deletions WHERE state = 'done'", 1)
        .await;
    assert_eq!(postgres.count(DELETED_THERE).await, 0);
    copying.stop().await;
    returned.stop().await;
}

#[tokio::test]
async fn an_appliance_that_was_away_can_t_bring_a_deleted_interview_back() {
    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    // Makes the schema.
    let empty = tempfile::tempdir().unwrap();
    let nothing = Journal::open(empty.path()).unwrap();
    let copying = start(&postgres, empty.path(), &nothing);
    postgres
        .wait_for("SELECT count(*) FROM appliances", 1)
        .await;
    postgres.psql_in(
        "viva",
        "INSERT INTO viva.tombstones (interview_id) VALUES ('deleted')",
    );
    copying.stop().await;

    let journal = with_two(directory.path()).await;
    let copying = start(&postgres, directory.path(), &journal);
    wait_until_gone(directory.path(), "deleted").await;
    copying.wait_until_done(directory.path()).await;
    assert_eq!(postgres.count(DELETED_THERE).await, 0);
    assert_eq!(
        postgres
            .count("SELECT events FROM interviews WHERE interview_id = 'kept'")
            .await,
        2
    );
    // Neither here: the tombstone is outside of the file as well.
    let again = journal.begin(journal_support::new("deleted")).await;
    assert_eq!(again, Err(JournalError::Deleted { id: id("deleted") }));
    copying.stop().await;
}

#[tokio::test]
async fn the_database_itself_refuses_a_deleted_interview_whoever_inserts_it() {
    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    let journal = with_two(directory.path()).await;
    let copying = start(&postgres, directory.path(), &journal);
    copying.wait_until_done(directory.path()).await;
    copying.stop().await;
    let mut connection = postgres.connect().await;
    let mut burying = connection.begin().await.unwrap();
    sqlx::query("INSERT INTO tombstones (interview_id) VALUES ('deleted')")
        .execute(&mut *burying)
        .await
        .unwrap();
    // Somebody inserts it while the burial is not committed: the insert waits and finds it.
    let url = postgres.url();
    let inserting = tokio::spawn(async move {
        let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
        let sql = "INSERT INTO viva.interviews (interview_id, room, plan_name, plan_hash, begun_at, begun_at_unix_ms,
                     appliance, term)
                   SELECT 'deleted', 'r', 'p', hash, now(), 0, 'a', 1 FROM viva.plans
                   ON CONFLICT DO NOTHING";
        sqlx::query(sql)
            .execute(&mut connection)
            .await
            .unwrap()
            .rows_affected()
    });
    let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    postgres.wait_for(waits, 1).await;
    burying.commit().await.unwrap();
    assert_eq!(inserting.await.unwrap(), 0);
    assert_eq!(postgres.count(DELETED_THERE).await, 0);
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_restored_older_file_forgets_again_whom_postgres_knows_to_be_deleted() {
    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    let restored = tempfile::tempdir().unwrap();
    let journal = with_two(directory.path()).await;
    let copying = start(&postgres, directory.path(), &journal);
    copying.wait_until_done(directory.path()).await;
    rusqlite::Connection::open(directory.path().join(JOURNAL_FILE))
        .unwrap()
        .backup(
            "main",
            restored.path().join(JOURNAL_FILE),
            None::<fn(rusqlite::backup::Progress)>,
        )
        .unwrap();
    journal.delete(vec![id("deleted")]).await.unwrap();
    copying.stop().await;
    let copying = start(&postgres, directory.path(), &journal);
    postgres
        .wait_for("SELECT count(*) FROM tombstones", 1)
        .await;
    copying.stop().await;
    journal.close().await.unwrap();

    // The disk is gone with its tombstones; the replica is of the day before.
    let journal = Journal::open(restored.path()).unwrap();
    assert!(is_here(restored.path(), "deleted"));
    let copying = start(&postgres, restored.path(), &journal);
    wait_until_gone(restored.path(), "deleted").await;
    assert!(is_here(restored.path(), "kept"));
    copying.stop().await;
}

#[test]
fn an_operator_sees_what_is_pending() {
    let postgres = Postgres::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let journal = with_two(directory.path()).await;
        let copying = start(&postgres, directory.path(), &journal);
        copying.wait_until_done(directory.path()).await;
        copying.stop().await;
        journal.close().await.unwrap();
    });
    let state = directory.path().display().to_string();
    let url = postgres.url();
    let settings = [
        ("VIVA_STATE_DIRECTORY", state.as_str()),
        ("VIVA_POSTGRES__URL", url.as_str()),
    ];
    let (done, said, complaint) = service::run(&["interview", "delete", "deleted"], &settings);
    assert!(done, "{said}{complaint}");
    assert!(said.contains("pending elsewhere"), "{said}");
    let (done, said, complaint) = service::run(&["interview", "deletions"], &settings);
    assert!(done, "{said}{complaint}");
    assert_eq!(said.trim(), "deleted  pending: PostgreSQL");
    runtime.block_on(async {
        let journal = Journal::open(directory.path()).unwrap();
        let copying = start(&postgres, directory.path(), &journal);
        postgres
            .wait_for("SELECT count(*) FROM deletions WHERE state = 'done'", 1)
            .await;
        copying.stop().await;
        journal.close().await.unwrap();
    });
    let (_, said, _) = service::run(&["interview", "deletions"], &settings);
    assert_eq!(said.trim(), "deleted  done");
}
