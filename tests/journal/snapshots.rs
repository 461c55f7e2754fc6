//! A snapshot spares a replay and is worth nothing by itself. No server.

use std::path::Path;
use std::sync::Arc;

use crate::journal_support::{id, joined, new};
use viva::interview::State;
use viva::interview::plan::Plan;
use viva::journal::{JOURNAL_FILE, Journal, Snapshot, TakenUp};

fn plan() -> Arc<Plan> {
    Arc::new(Plan::parse(&new("a").plan_body, "demo").unwrap())
}

/// The state behind the first `seq` events.
fn state(seq: u64) -> State {
    let mut state = State::new(plan());
    for event in (1..=seq).map(joined) {
        state.apply(&event);
    }
    state
}

/// A journal with five events and a snapshot at the third of them.
async fn with_a_snapshot(directory: &Path) -> Journal {
    let journal = Journal::open(directory).unwrap();
    journal.begin(new("a")).await.unwrap();
    let events = (1..=3).map(joined).collect();
    journal.append(&id("a"), events).await.unwrap();
    let text = state(3).to_snapshot().unwrap();
    let snapshot = Snapshot {
        seq: 3,
        state: text,
    };
    journal.keep_snapshot(&id("a"), snapshot).unwrap();
    let events = vec![joined(4), joined(5)];
    journal.append(&id("a"), events).await.unwrap();
    journal
}

/// What a process finds after `change` was done to the file.
async fn taken_up_after(change: &str) -> TakenUp {
    let directory = tempfile::tempdir().unwrap();
    let journal = with_a_snapshot(directory.path()).await;
    journal.close().await.unwrap();
    let connection = rusqlite::Connection::open(directory.path().join(JOURNAL_FILE)).unwrap();
    connection.execute_batch(change).unwrap();
    drop(connection);
    let journal = Journal::open(directory.path()).unwrap();
    let taken = journal.take_up(&id("a")).await.unwrap();
    assert_eq!(journal.history(&id("a")).await.unwrap().len(), 5);
    journal.close().await.unwrap();
    taken
}

#[tokio::test]
async fn only_what_came_after_a_snapshot_is_replayed() {
    let taken = taken_up_after("").await;
    assert_eq!(taken.events, [joined(4), joined(5)]);
    assert_eq!(taken.interview.events, 5);
    let snapshot = taken.snapshot.unwrap();
    assert_eq!(snapshot.seq, 3);
    let mut resumed = State::from_snapshot(plan(), &snapshot.state).unwrap();
    for event in &taken.events {
        resumed.apply(event);
    }
    assert_eq!(resumed, state(5));
}

#[tokio::test]
async fn a_snapshot_of_another_release_or_of_another_event_is_not_used() {
    for change in [
        "UPDATE snapshots SET release = '0.0.1'",
        "UPDATE snapshots SET hash = zeroblob(32)",
        "UPDATE snapshots SET term = 7",
        "DELETE FROM snapshots",
        "DROP TABLE snapshots",
    ] {
        let taken = taken_up_after(change).await;
        assert_eq!(taken.snapshot, None, "{change}");
        assert_eq!(taken.events.len(), 5, "{change}");
    }
}

#[tokio::test]
async fn a_late_snapshot_is_not_kept_and_stops_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let journal = with_a_snapshot(directory.path()).await;
    let late = Snapshot {
        seq: 4,
        state: "late".into(),
    };
    journal.keep_snapshot(&id("a"), late.clone()).unwrap();
    journal.keep_snapshot(&id("nobody"), late).unwrap();
    journal.append(&id("a"), vec![joined(6)]).await.unwrap();
    let taken = journal.take_up(&id("a")).await.unwrap();
    assert_eq!(taken.snapshot.unwrap().seq, 3);
    journal.close().await.unwrap();
}

#[tokio::test]
async fn what_is_deleted_is_in_no_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let journal = with_a_snapshot(directory.path()).await;
    assert_eq!(journal.delete(vec![id("a")]).await.unwrap(), 1);
    journal.close().await.unwrap();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(8).any(|w| w == "ünïcod".as_bytes());
            assert!(!found, "{}", path.display());
        }
    }
}

#[test]
fn what_is_no_snapshot_is_refused() {
    let text = state(3).to_snapshot().unwrap();
    for damaged in [
        "",
        "{}",
        "null",
        &text[..text.len() / 2],
        &text.replace("\"seq\"", "\"sequence\""),
        &text.replacen('{', "{\"later\":1,", 1),
    ] {
        assert!(State::from_snapshot(plan(), damaged).is_err(), "{damaged}");
    }
}
