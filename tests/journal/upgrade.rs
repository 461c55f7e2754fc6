//! Files of earlier releases are read, brought to this release's schema, and can be gone back to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::journal_support::{self, id, joined, new};
use viva::interview::plan::Plan;
use viva::interview::{Recorded, State};
use viva::journal::{
    COPIES_DIRECTORY, JOURNAL_FILE, Journal, JournalError, JournalReader, Snapshot,
};

/// Written by the release of schema 1: `whole` is a whole interview, `broken-off` was left after its first answer.
const SCHEMA_1: &[u8] = include_bytes!("../journal_files/schema-1.sqlite3");

/// Written by the release of schema 2: a whole interview of the demonstration.
const SCHEMA_2: &[u8] = include_bytes!("../journal_files/schema-2.sqlite3");

/// Written by the release of schema 3: a whole interview of the demonstration.
const SCHEMA_3: &[u8] = include_bytes!("../journal_files/schema-3.sqlite3");

fn with_schema_1() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(JOURNAL_FILE), SCHEMA_1).unwrap();
    directory
}

fn copies(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory.join(COPIES_DIRECTORY)).unwrap();
    entries.map(|e| e.unwrap().path()).collect()
}

fn sql(path: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch(sql).unwrap();
}

fn replayed(plan: &str, events: &[Recorded]) -> State {
    let plan = Arc::new(Plan::parse(plan, "recorded").unwrap());
    let mut state = State::new(plan);
    for event in events {
        state.apply(event);
    }
    state
}

#[test]
fn a_recorded_interview_of_every_release_replays_to_its_end() {
    let directory = with_schema_1();
    // Read as it is: a reader never migrates.
    let reader = JournalReader::open(directory.path()).unwrap();
    let row = reader.interview(&id("whole")).unwrap().unwrap();
    assert_eq!(
        (row.candidate, row.attempts, row.set_aside),
        (None, 0, None)
    );
    let events = reader.events(&id("whole")).unwrap();
    let state = replayed(&reader.plan(&row.plan_hash).unwrap(), &events);
    assert_eq!(state.ended().unwrap().name(), "completed");
    assert_eq!(state.seq(), row.events);
    let live: Vec<_> = reader.live().unwrap().into_iter().map(|r| r.id).collect();
    assert_eq!(live, [id("broken-off")]);
}

#[tokio::test]
async fn an_interview_of_before_there_were_snapshots_replays_and_is_deleted_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(JOURNAL_FILE);
    std::fs::write(&path, SCHEMA_3).unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    let reader = JournalReader::open(directory.path()).unwrap();
    let [row] = &reader.interviews().unwrap()[..] else {
        panic!("one interview");
    };
    let events = reader.events(&row.id).unwrap();
    let state = replayed(&reader.plan(&row.plan_hash).unwrap(), &events);
    assert_eq!(state.ended().unwrap().name(), "completed");
    journal.begin(new("later")).await.unwrap();
    journal.append(&id("later"), vec![joined(1)]).await.unwrap();
    let snapshot = Snapshot {
        seq: 1,
        state: "what was said".into(),
    };
    journal.keep_snapshot(&id("later"), snapshot).unwrap();
    journal.close().await.unwrap();
    // An earlier release knows nothing of snapshots.
    sql(&path, "DELETE FROM events; DELETE FROM interviews");
    let connection = rusqlite::Connection::open(&path).unwrap();
    let left: u64 = connection
        .query_row("SELECT count(*) FROM snapshots", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn what_ended_before_there_was_a_webhook_is_not_told_to_one() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(JOURNAL_FILE), SCHEMA_2).unwrap();
    let reader = JournalReader::open(directory.path()).unwrap();
    let [row] = &reader.interviews().unwrap()[..] else {
        panic!("one interview");
    };
    let events = reader.events(&row.id).unwrap();
    let state = replayed(&reader.plan(&row.plan_hash).unwrap(), &events);
    assert_eq!(state.ended().unwrap().name(), "completed");
    let journal = Journal::open(directory.path()).unwrap();
    let reader = JournalReader::open(directory.path()).unwrap();
    assert_eq!(reader.untold(9).unwrap(), []);
    // What ends from now on is.
    journal.begin(new("later")).await.unwrap();
    journal
        .append(&id("later"), vec![joined(1), journal_support::ended(2)])
        .await
        .unwrap();
    assert_eq!(reader.untold(9).unwrap().len(), 1);
    journal.close().await.unwrap();
}

#[tokio::test]
async fn an_earlier_file_is_migrated_and_its_interview_goes_on() {
    let directory = with_schema_1();
    let before = JournalReader::open(directory.path())
        .unwrap()
        .events(&id("broken-off"))
        .unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    assert_eq!(journal.restored(), None);
    let taken = journal.take_up(&id("broken-off")).await.unwrap();
    assert_eq!(taken.events, before);
    let mut state = replayed(&taken.plan_body, &taken.events);
    let next = joined(state.seq() + 1);
    journal
        .append(&id("broken-off"), vec![next.clone()])
        .await
        .unwrap();
    state.apply(&next);
    journal.close().await.unwrap();
    let reader = JournalReader::open(directory.path()).unwrap();
    let events = reader.events(&id("broken-off")).unwrap();
    assert_eq!(replayed(&taken.plan_body, &events), state);
}

#[tokio::test]
async fn the_copy_from_before_the_migration_is_the_file_as_it_was() {
    let directory = with_schema_1();
    Journal::open(directory.path())
        .unwrap()
        .close()
        .await
        .unwrap();
    let [copy] = &copies(directory.path())[..] else {
        panic!("one copy and nothing else");
    };
    // Put back in its place, it is a journal of the earlier release with all that it had.
    let back = tempfile::tempdir().unwrap();
    std::fs::copy(copy, back.path().join(JOURNAL_FILE)).unwrap();
    let connection = rusqlite::Connection::open(copy).unwrap();
    let version: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(version, 1);
    let old = with_schema_1();
    let (old, back) = (
        JournalReader::open(old.path()).unwrap(),
        JournalReader::open(back.path()).unwrap(),
    );
    assert_eq!(old.interviews(), back.interviews());
    assert_eq!(old.events(&id("whole")), back.events(&id("whole")));
    // A second start has nothing to migrate and keeps no second copy.
    Journal::open(directory.path()).unwrap();
    assert_eq!(copies(directory.path()).len(), 1);
}

#[tokio::test]
async fn a_later_release_that_only_added_is_rolled_back_from() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    journal.begin(new("a")).await.unwrap();
    journal.close().await.unwrap();
    let path = directory.path().join(JOURNAL_FILE);
    sql(
        &path,
        "ALTER TABLE interviews ADD COLUMN mood TEXT; INSERT INTO migrations VALUES (99, 'x', x'00', 0);
         PRAGMA user_version = 99;",
    );
    let journal = Journal::open(directory.path()).unwrap();
    journal.append(&id("a"), vec![joined(1)]).await.unwrap();
    journal.close().await.unwrap();
    let version: i64 = rusqlite::Connection::open(&path)
        .unwrap()
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(
        version, 99,
        "the later release finds its file as it left it"
    );
}

#[tokio::test]
async fn a_later_release_that_can_not_be_read_names_the_copy_to_go_back_to() {
    let directory = with_schema_1();
    Journal::open(directory.path())
        .unwrap()
        .close()
        .await
        .unwrap();
    sql(
        &directory.path().join(JOURNAL_FILE),
        "UPDATE meta SET min_reader = 99; PRAGMA user_version = 99;",
    );
    let error = Journal::open(directory.path()).unwrap_err();
    assert!(
        matches!(error, JournalError::TooNew { found: 99, .. }),
        "{error:?}"
    );
    let copy = copies(directory.path()).remove(0);
    let shown = error.to_string();
    assert!(shown.contains(&copy.display().to_string()), "{shown}");
}

#[test]
fn without_room_for_a_copy_nothing_is_migrated() {
    let directory = with_schema_1();
    // A file where the directory should be.
    std::fs::write(directory.path().join(COPIES_DIRECTORY), "").unwrap();
    let error = Journal::open(directory.path()).unwrap_err();
    assert!(matches!(error, JournalError::NoCopy { .. }), "{error:?}");
    let reader = JournalReader::open(directory.path()).unwrap();
    assert_eq!(reader.interviews().unwrap().len(), 2);
}

#[tokio::test]
async fn old_copies_are_not_kept_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join(COPIES_DIRECTORY);
    std::fs::create_dir(&kept).unwrap();
    for name in [
        "schema-1-1.sqlite3",
        "schema-1-99999999999998.sqlite3",
        "schema-1-99999999999997.sqlite3",
        "schema-1-99999999999999.sqlite3",
        "notes.txt",
    ] {
        std::fs::write(kept.join(name), "").unwrap();
    }
    Journal::open(directory.path()).unwrap();
    let mut names: Vec<_> = copies(directory.path())
        .iter()
        .map(|p| p.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "notes.txt",
            "schema-1-99999999999998.sqlite3",
            "schema-1-99999999999999.sqlite3"
        ]
    );
}
