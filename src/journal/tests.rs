use super::*;
use crate::interview::event::EndReason;

const BODY: &str = "title = \"T\"\n";

fn new(id: &str) -> NewInterview {
    NewInterview {
        id: InterviewId::new(id).unwrap(),
        room: format!("interview-{id}"),
        plan_name: "default".into(),
        plan_hash: "3cec7f2a".into(),
        plan_body: BODY.into(),
        candidate: None,
        at_unix_ms: 1_800_000_000_000,
    }
}

fn begun(id: &str) -> NewInterview {
    use sha2::{Digest, Sha256};
    let hash = Sha256::digest(BODY.as_bytes());
    let plan_hash = hash.iter().map(|b| format!("{b:02x}")).collect();
    NewInterview {
        plan_hash,
        ..new(id)
    }
}

fn left(seq: u64) -> Recorded {
    Recorded {
        seq,
        at_unix_ms: 1_800_000_000_000 + seq,
        elapsed_ms: seq,
        event: Event::CandidateLeft,
    }
}

fn ended(seq: u64) -> Recorded {
    let reason = EndReason::Completed;
    Recorded {
        event: Event::Ended { reason },
        ..left(seq)
    }
}

fn id(text: &str) -> InterviewId {
    InterviewId::new(text).unwrap()
}

/// Changes the file behind the journal's back.
fn tamper(directory: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(directory.join(JOURNAL_FILE)).unwrap();
    connection
        .execute_batch(&format!("DROP TRIGGER events_do_not_change; {sql}"))
        .unwrap();
}

async fn with_three_events(directory: &Path) {
    let journal = Journal::open(directory).unwrap();
    journal.begin(begun("a")).await.unwrap();
    journal
        .append(&id("a"), vec![left(1), left(2), left(3)])
        .await
        .unwrap();
    journal.close().await.unwrap();
}

#[tokio::test]
async fn a_full_disk_stops_the_journal_and_loses_nothing_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let journal =
        Journal::open_limited(directory.path(), JournalOptions::default(), Some(24)).unwrap();
    journal.begin(begun("a")).await.unwrap();
    let mut acknowledged = 0;
    let error = loop {
        match journal.append(&id("a"), vec![left(acknowledged + 1)]).await {
            Ok(()) => acknowledged += 1,
            Err(e) => break e,
        }
        assert!(acknowledged < 100_000, "the file never becomes full");
    };
    assert!(
        matches!(&error, JournalError::Failed { cause } if cause.contains("full")),
        "{error}"
    );
    assert_eq!(journal.probe().condition, Condition::Failed(error.clone()));
    // Fatal for all that comes after, also for the room that there might be again.
    assert_eq!(journal.begin(begun("b")).await, Err(error));
    let stored = JournalReader::open(directory.path())
        .unwrap()
        .events(&id("a"))
        .unwrap();
    assert_eq!(stored.len() as u64, acknowledged);
}

#[tokio::test]
async fn a_start_on_a_full_disk_says_so() {
    let directory = tempfile::tempdir().unwrap();
    with_three_events(directory.path()).await;
    let journal =
        Journal::open_limited(directory.path(), JournalOptions::default(), Some(1)).unwrap();
    let error = journal
        .begin(NewInterview {
            room: "r".repeat(9000),
            ..begun("b")
        })
        .await;
    assert!(
        matches!(error, Err(JournalError::Failed { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_change_of_a_stored_event_is_found_and_named() {
    for (sql, seq) in [
        ("UPDATE events SET payload = '{}' WHERE seq = 2", 2),
        ("UPDATE events SET at_unix_ms = 0 WHERE seq = 1", 1),
        ("DELETE FROM events WHERE seq = 2", 3),
        ("DELETE FROM events WHERE seq = 1", 2),
        (
            "UPDATE interviews SET plan_hash = (SELECT min(hash) FROM plans WHERE hash != plan_hash)",
            1,
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        with_three_events(directory.path()).await;
        let other = "INSERT INTO plans VALUES ('other', 'other', 0);";
        tamper(directory.path(), &format!("{other} {sql}"));
        let events = JournalReader::open(directory.path())
            .unwrap()
            .events(&id("a"));
        assert!(
            matches!(events, Err(JournalError::ChainBroken { seq: found, .. }) if found == seq),
            "{sql}: {events:?}"
        );
    }
}

#[tokio::test]
async fn an_event_can_not_be_changed_by_mistake() {
    let directory = tempfile::tempdir().unwrap();
    with_three_events(directory.path()).await;
    let connection = rusqlite::Connection::open(directory.path().join(JOURNAL_FILE)).unwrap();
    let changed = connection.execute("UPDATE events SET seq = 9 WHERE seq = 3", []);
    assert!(changed.unwrap_err().to_string().contains("never changes"));
}

#[tokio::test]
async fn a_file_of_a_later_release_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    with_three_events(directory.path()).await;
    tamper(
        directory.path(),
        "PRAGMA user_version = 99; UPDATE meta SET min_reader = 99",
    );
    let too_new = |e: JournalError| matches!(e, JournalError::TooNew { found: 99, .. });
    assert!(too_new(Journal::open(directory.path()).unwrap_err()));
    assert!(too_new(JournalReader::open(directory.path()).unwrap_err()));
}

#[tokio::test]
async fn a_migration_that_was_another_one_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    with_three_events(directory.path()).await;
    tamper(directory.path(), "UPDATE migrations SET sha256 = x'00'");
    let error = Journal::open(directory.path()).unwrap_err();
    assert!(
        matches!(error, JournalError::MigrationDiffers { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_lock_held_by_another_program_is_an_error_that_passes() {
    let directory = tempfile::tempdir().unwrap();
    let opened = open::open(directory.path(), JournalOptions::default()).unwrap();
    // Less patience than the real one has, for a test that does not take five seconds.
    opened
        .connection
        .busy_timeout(std::time::Duration::from_millis(20))
        .unwrap();
    let vitals = Arc::new(Mutex::new(Vitals {
        condition: Condition::Well,
        commits: 0,
        events: 0,
        last_commit_us: None,
        committing_since: None,
    }));
    let (queue, commands) = sync_channel(QUEUE_MAX);
    let (committing, committed) = watch::channel(0);
    let writer = Writer::new(opened, vitals.clone(), committing);
    let thread = std::thread::spawn(move || writer.run(&commands));
    let journal = Journal {
        queue,
        vitals,
        committed,
        waiting: Arc::default(),
        restored: None,
        damage: None,
        directory: directory.path().into(),
    };

    let stranger = rusqlite::Connection::open(directory.path().join(JOURNAL_FILE)).unwrap();
    stranger.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = journal.begin(begun("a")).await;
    assert!(
        matches!(refused, Err(JournalError::Locked { .. })),
        "{refused:?}"
    );
    stranger.execute_batch("ROLLBACK").unwrap();
    journal.begin(begun("a")).await.unwrap();
    assert_eq!(journal.probe().condition, Condition::Well);
    journal.close().await.unwrap();
    thread.join().unwrap();
}

#[tokio::test]
async fn one_wrong_write_in_a_group_does_not_touch_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open::open(directory.path(), JournalOptions::default()).unwrap();
    let mut heads = std::collections::HashMap::new();
    let rows = |events: Vec<Recorded>| {
        events
            .into_iter()
            .map(|e| Row::of(&id("a"), e).unwrap())
            .collect()
    };
    let group = [
        Write::Begin(begun("a")),
        Write::Begin(begun("a")),
        Write::Append {
            id: id("a"),
            rows: rows(vec![left(1)]),
        },
        // The second of these two is wrong: neither may stay.
        Write::Append {
            id: id("a"),
            rows: rows(vec![left(2), left(4)]),
        },
        Write::Append {
            id: id("a"),
            rows: rows(vec![left(2), ended(3)]),
        },
        Write::Append {
            id: id("a"),
            rows: rows(vec![left(4)]),
        },
    ];
    let results = write::write_group(&mut opened.connection, &mut heads, &group).unwrap();
    assert_eq!(
        results,
        [
            Ok(Written::Nothing),
            Err(JournalError::AlreadyBegun { id: id("a") }),
            Ok(Written::Nothing),
            Err(JournalError::OutOfOrder {
                id: id("a"),
                expected: 3,
                found: 4
            }),
            Ok(Written::Nothing),
            Err(JournalError::AlreadyEnded { id: id("a") }),
        ]
    );
    let reader = JournalReader::open(directory.path()).unwrap();
    assert_eq!(
        reader.events(&id("a")).unwrap(),
        [left(1), left(2), ended(3)]
    );
}
