//! The copy in a real PostgreSQL is the journal, and what a platform reads is there with it.

use crate::copying::{Copying, append, assert_copied, begin, config, copied};
use crate::journal_support::{ended, id, joined, new};
use crate::postgres::{LIMIT, Postgres};
use sqlx::postgres::PgListener;
use sqlx::{Connection, Row};
use viva::config::Environment;
use viva::interview::event::{Ask, EndReason, Heard, Hearing, Playout, Purpose, Role};
use viva::interview::{Event, Recorded};
use viva::journal::{Journal, JournalReader};

fn event(seq: u64, event: Event) -> Recorded {
    Recorded {
        event,
        ..joined(seq)
    }
}

fn planned(seq: u64, segment: u32, purpose: Purpose, text: &str) -> Recorded {
    let sentences = text
        .split_inclusive('.')
        .map(|s| s.trim().to_owned())
        .collect();
    event(
        seq,
        Event::SegmentPlanned {
            segment,
            purpose,
            sentences,
            interruptible: true,
        },
    )
}

fn heard(seq: u64, segment: u32, heard: Heard) -> Recorded {
    let playout = Some(Playout {
        engine: "piper".into(),
        first_sound_ms: 80,
    });
    event(
        seq,
        Event::SegmentHeard {
            segment,
            heard,
            playout,
        },
    )
}

/// A short interview.
fn conversation() -> Vec<Recorded> {
    let question = Purpose::Question {
        question: 1,
        ask: Ask::First,
        text: "What is a mutex?".into(),
    };
    vec![
        joined(1),
        planned(2, 1, Purpose::Greeting, "Hello. I am Viva."),
        heard(3, 1, Heard::Whole),
        planned(4, 2, question, "What is a mutex? Take your time."),
        heard(
            5,
            2,
            Heard::Part {
                text: "What is a mutex?".into(),
            },
        ),
        event(
            6,
            Event::TurnHeard {
                turn: 1,
                about: Some(1),
                role: Role::Answer,
                text: "A lock\u{0}, \"schön\".".into(),
                heard_by: Hearing {
                    engine: "moonshine".into(),
                    speech_ms: 1200,
                    stt_ms: 100,
                    wait_ms: 600,
                },
            },
        ),
        event(
            7,
            Event::Ended {
                reason: EndReason::Completed,
            },
        ),
    ]
}

#[tokio::test]
async fn an_interview_can_be_read_in_plain_columns_as_it_goes() {
    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    let journal = Journal::open(directory.path()).unwrap();
    let copying = Copying::start(
        &config(directory.path(), &postgres.url()),
        &Environment::default(),
        &journal,
    );
    begin(&journal, &["a"]).await;
    let mut events = conversation();
    let end = events.pop().unwrap();
    append(&journal, &id("a"), events).await;
    copying.wait_until_done(directory.path()).await;
    assert_copied(&postgres, directory.path()).await;

    let mut connection = postgres.connect().await;
    let rows = sqlx::query(
        "SELECT speaker, number, question, role, text, heard, heard_text, engine, speech_ms FROM turns ORDER BY seq",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    type Text = Option<String>;
    type Turn = (
        String,
        i64,
        Option<i64>,
        String,
        String,
        Text,
        Text,
        Text,
        Option<i64>,
    );
    let turns: Vec<Turn> = rows
        .iter()
        .map(|r| {
            (
                r.get(0),
                r.get(1),
                r.get(2),
                r.get(3),
                r.get(4),
                r.get(5),
                r.get(6),
                r.get(7),
                r.get(8),
            )
        })
        .collect();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        turns,
        [
            (
                "interviewer".into(),
                1,
                None,
                "greeting".into(),
                "Hello. I am Viva.".into(),
                text("whole"),
                None,
                text("piper"),
                None
            ),
            (
                "interviewer".into(),
                2,
                Some(1),
                "question".into(),
                "What is a mutex? Take your time.".into(),
                text("part"),
                text("What is a mutex?"),
                text("piper"),
                None
            ),
            (
                "candidate".into(),
                1,
                Some(1),
                "answer".into(),
                "A lock\u{FFFD}, \"schön\".".into(),
                None,
                None,
                text("moonshine"),
                Some(1200)
            ),
        ]
    );
    let live = "SELECT count(*) FROM interviews WHERE ended_at IS NULL AND turns = 1 AND room = 'interview-a'
                  AND last_event_at = to_timestamp(1800000000.006) AND begun_at_unix_ms = 1800000000000";
    assert_eq!(postgres.count(live).await, 1);

    append(&journal, &id("a"), vec![end]).await;
    copying.wait_until_done(directory.path()).await;
    let over = "SELECT count(*) FROM interviews WHERE ended_at = to_timestamp(1800000000.007)
                  AND end_reason = 'completed' AND events = 7";
    assert_eq!(postgres.count(over).await, 1);
    let plan = sqlx::query("SELECT body FROM plans")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(plan.get::<String, _>(0), new("a").plan_body);
    connection.close().await.unwrap();
    copying.stop().await;
}

#[tokio::test]
async fn whoever_listens_is_told_once_when_an_interview_is_over_and_finds_it_whole() {
    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    let journal = Journal::open(directory.path()).unwrap();
    let mut listener = PgListener::connect(&postgres.url()).await.unwrap();
    listener.listen("viva_interview_ended").await.unwrap();
    let (config, env) = (
        config(directory.path(), &postgres.url()),
        Environment::default(),
    );
    let copying = Copying::start(&config, &env, &journal);
    begin(&journal, &["a", "b"]).await;
    append(&journal, &id("a"), conversation()).await;
    let told = tokio::time::timeout(LIMIT, listener.recv())
        .await
        .unwrap()
        .unwrap();
    let payload: serde_json::Value = serde_json::from_str(told.payload()).unwrap();
    assert_eq!(
        payload,
        serde_json::json!({"schema": "viva", "interview_id": "a", "end_reason": "completed"})
    );
    assert_eq!(
        postgres
            .count("SELECT count(*) FROM events WHERE interview_id = 'a'")
            .await,
        7
    );
    // What is sent again because nobody knows that it arrived is not told again.
    copying.wait_until_done(directory.path()).await;
    copying.stop().await;
    rusqlite_forget(directory.path());
    let copying = Copying::start(&config, &env, &journal);
    append(&journal, &id("b"), vec![joined(1), ended(2)]).await;
    let told = tokio::time::timeout(LIMIT, listener.recv())
        .await
        .unwrap()
        .unwrap();
    assert!(told.payload().contains("\"b\""), "{}", told.payload());
    copying.wait_until_done(directory.path()).await;
    assert_copied(&postgres, directory.path()).await;
    copying.stop().await;
}

/// As if no acknowledgement had ever been written.
fn rusqlite_forget(directory: &std::path::Path) {
    let connection =
        rusqlite::Connection::open(directory.join(viva::journal::JOURNAL_FILE)).unwrap();
    let sql = "UPDATE interviews SET acknowledged_term = 0, acknowledged_seq = 0, sent = 0";
    connection.execute(sql, []).unwrap();
}

#[tokio::test]
async fn what_is_there_already_is_acknowledged_and_not_doubled() {
    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    let journal = Journal::open(directory.path()).unwrap();
    let (config, env) = (
        config(directory.path(), &postgres.url()),
        Environment::default(),
    );
    begin(&journal, &["a", "b"]).await;
    append(&journal, &id("a"), conversation()).await;
    append(&journal, &id("b"), (1..=2500).map(joined).collect()).await;
    for _ in 0..3 {
        let copying = Copying::start(&config, &env, &journal);
        copying.wait_until_done(directory.path()).await;
        assert_copied(&postgres, directory.path()).await;
        copying.stop().await;
        rusqlite_forget(directory.path());
    }
    assert_eq!(postgres.count("SELECT count(*) FROM turns").await, 3);
    assert_eq!(postgres.count("SELECT count(*) FROM quarantine").await, 0);
}

#[tokio::test]
async fn an_interview_that_was_taken_over_elsewhere_is_not_gone_on_with_in_the_copy() {
    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    let journal = Journal::open(directory.path()).unwrap();
    let (config, env) = (
        config(directory.path(), &postgres.url()),
        Environment::default(),
    );
    let copying = Copying::start(&config, &env, &journal);
    begin(&journal, &["a", "b"]).await;
    append(&journal, &id("a"), vec![joined(1), joined(2)]).await;
    copying.wait_until_done(directory.path()).await;
    let before = copied(&postgres).await;
    postgres.psql_in(
        "viva",
        "UPDATE viva.interviews SET term = 2 WHERE interview_id = 'a'",
    );

    append(&journal, &id("a"), vec![joined(3), joined(4)]).await;
    append(&journal, &id("b"), vec![joined(1)]).await;
    let held = copying
        .wait_until("a quarantine", |now| now.held_back == 1)
        .await;
    assert_eq!(held.quarantined, 2);
    assert!(held.held_back_cause.unwrap().contains("taken over"));
    postgres
        .wait_for("SELECT count(*) FROM events WHERE interview_id = 'b'", 1)
        .await;
    let mut after = copied(&postgres).await;
    after.remove("b");
    assert_eq!(after, before, "nothing is overwritten");
    let quarantined = "SELECT count(*) FROM quarantine WHERE interview_id = 'a' AND term = 1
                         AND (seq, reason) IN ((3, 'lower_term'), (4, 'after_another'))";
    assert_eq!(postgres.count(quarantined).await, 2);
    let unsent = JournalReader::open(directory.path())
        .unwrap()
        .outbox()
        .unwrap();
    assert_eq!(unsent[0].acknowledged, (1, 2), "it is never acknowledged");
    copying.stop().await;
}

#[tokio::test]
async fn an_older_file_that_was_put_back_does_not_change_what_is_there() {
    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    let older = tempfile::tempdir().unwrap();
    let env = Environment::default();
    {
        let journal = Journal::open(directory.path()).unwrap();
        begin(&journal, &["a", "b"]).await;
        append(&journal, &id("a"), vec![joined(1), joined(2)]).await;
        append(&journal, &id("b"), vec![joined(1)]).await;
        journal.close().await.unwrap();
        for file in ["journal.sqlite3", "journal.sqlite3-wal"] {
            // A closed journal keeps its WAL.
            let _ = std::fs::copy(directory.path().join(file), older.path().join(file));
        }
        let journal = Journal::open(directory.path()).unwrap();
        let copying = Copying::start(&config(directory.path(), &postgres.url()), &env, &journal);
        append(&journal, &id("a"), vec![joined(3), joined(4)]).await;
        copying.wait_until_done(directory.path()).await;
        copying.stop().await;
    }
    let before = copied(&postgres).await;

    let journal = Journal::open(older.path()).unwrap();
    assert!(journal.restored().is_some());
    let copying = Copying::start(&config(older.path(), &postgres.url()), &env, &journal);
    // Somebody adopted it without having asked Postgres, and it went on in another way.
    let other = Event::CandidateLeft;
    append(&journal, &id("a"), vec![event(3, other)]).await;
    append(&journal, &id("b"), vec![joined(2)]).await;
    let held = copying
        .wait_until("a quarantine", |now| now.held_back == 1)
        .await;
    assert_eq!(held.quarantined, 1);
    postgres
        .wait_for("SELECT events FROM interviews WHERE interview_id = 'b'", 2)
        .await;
    let mut after = copied(&postgres).await;
    assert_eq!(after.remove("a"), before.get("a").cloned());
    let refused = "SELECT count(*) FROM quarantine WHERE interview_id = 'a' AND seq = 3 AND reason = 'other_event'";
    assert_eq!(postgres.count(refused).await, 1);
    copying.stop().await;

    // The next start tries it once more, and comes to the same end.
    let copying = Copying::start(&config(older.path(), &postgres.url()), &env, &journal);
    copying
        .wait_until("the same quarantine", |now| now.held_back == 1)
        .await;
    assert_eq!(postgres.count("SELECT count(*) FROM quarantine").await, 1);
    copying.stop().await;
}

#[tokio::test]
async fn a_database_that_lost_what_it_had_is_sent_it_again() {
    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    let journal = Journal::open(directory.path()).unwrap();
    let (config, env) = (
        config(directory.path(), &postgres.url()),
        Environment::default(),
    );
    begin(&journal, &["gone", "short", "live"]).await;
    append(&journal, &id("gone"), conversation()).await;
    append(&journal, &id("short"), conversation()).await;
    append(&journal, &id("live"), vec![joined(1), joined(2)]).await;
    let copying = Copying::start(&config, &env, &journal);
    copying.wait_until_done(directory.path()).await;
    // As after a restore from yesterday, or a failover to a standby that had not got everything.
    let (_, hash) = (
        (),
        JournalReader::open(directory.path())
            .unwrap()
            .events_from(&id("short"), 1, 1)
            .unwrap()[0]
            .hash,
    );
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    postgres.psql_in(
        "viva",
        &format!(
            "DELETE FROM viva.interviews WHERE interview_id IN ('gone', 'live');
             DELETE FROM viva.events WHERE interview_id = 'short' AND seq > 2;
             DELETE FROM viva.turns WHERE interview_id = 'short' AND seq > 2;
             UPDATE viva.interviews SET events = 2, last_hash = '\\x{hash}', ended_at = NULL, end_reason = NULL, turns = 0
               WHERE interview_id = 'short'"
        ),
    );
    // A live one shows it at its next event, the others when the connection is made anew.
    append(&journal, &id("live"), vec![joined(3)]).await;
    postgres
        .wait_for(
            "SELECT events FROM interviews WHERE interview_id = 'live'",
            3,
        )
        .await;
    postgres.psql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'viva'",
    );
    append(&journal, &id("live"), vec![joined(4)]).await;
    postgres
        .wait_for("SELECT count(*) FROM interviews WHERE events IN (7, 4)", 3)
        .await;
    assert_copied(&postgres, directory.path()).await;
    copying.stop().await;
}
