//! A damaged journal: found, named, and what is whole comes out of it and goes into another one.

use std::path::Path;

use crate::journal_support::{ended, id, joined, new};
use viva::journal::{
    Arrival, Arrived, CarriedEvent, Condition, IMPORTED_CAUSE, JOURNAL_FILE, Journal, JournalError,
    JournalReader, Line, StoredEvent,
};

/// Three interviews: `a` and `b` long and live, `c` short and over, all in the file and none in its WAL.
async fn with_three(directory: &Path) {
    let journal = Journal::open(directory).unwrap();
    for name in ["a", "b", "c"] {
        journal.begin(new(name)).await.unwrap();
    }
    for seq in 1..=150 {
        journal.append(&id("a"), vec![joined(seq)]).await.unwrap();
        journal.append(&id("b"), vec![joined(seq)]).await.unwrap();
    }
    journal
        .append(&id("c"), vec![joined(1), ended(2)])
        .await
        .unwrap();
    journal.close().await.unwrap();
    rusqlite::Connection::open(directory.join(JOURNAL_FILE))
        .unwrap()
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
}

fn arrival(directory: &Path, name: &str) -> Arrival {
    let salvaged = JournalReader::open(directory).unwrap().salvage(&id(name));
    let mut lines = salvaged.lines().into_iter();
    let Some(Line::Interview(interview)) = lines.next() else {
        panic!("the interview's own line is the first");
    };
    let events = lines.map(|line| match line {
        // By way of text, as it is carried.
        Line::Event(event) => {
            let text = serde_json::to_string(&event).unwrap();
            let event: CarriedEvent = serde_json::from_str(&text).unwrap();
            StoredEvent::try_from(event).unwrap()
        }
        Line::Interview(_) => panic!("one interview"),
    });
    Arrival {
        interview: *interview,
        events: events.collect(),
    }
}

#[tokio::test]
async fn a_page_that_is_damaged_anywhere_is_found_and_costs_no_other_interview() {
    let directory = tempfile::tempdir().unwrap();
    with_three(directory.path()).await;
    let path = directory.path().join(JOURNAL_FILE);
    let whole = std::fs::read(&path).unwrap();
    let pages = whole.len() / 4096;
    let (mut found, mut salvaged_events) = (0, 0);
    // The first page is the file's head: without it there is no database, and that is said.
    for page in 1..pages {
        let mut damaged = whole.clone();
        for (at, byte) in damaged[page * 4096..][..4096].iter_mut().enumerate() {
            *byte = (at as u8).wrapping_mul(31) ^ 0x5A;
        }
        std::fs::write(&path, &damaged).unwrap();
        let Ok(reader) = JournalReader::open(directory.path()) else {
            found += 1;
            continue;
        };
        let examination = reader.examine();
        found += u64::from(!examination.is_whole());
        let hit = examination
            .interviews
            .iter()
            .filter(|i| !i.damage.is_empty())
            .count();
        let (ids, _) = reader.all_ids();
        for name in ids {
            let salvaged = reader.salvage(&name);
            salvaged_events += salvaged.events.len();
            // Nothing is invented: what comes out is what went in.
            for event in &salvaged.events {
                if let Ok(recorded) = event.recorded() {
                    assert!(recorded == joined(event.seq) || recorded == ended(event.seq));
                }
            }
        }
        assert!(hit <= 3, "page {page}: {examination:?}");
    }
    assert_eq!(found, pages as u64 - 1, "each damaged page is noticed");
    // Of 302 events a page holds about a dozen: the others come out, except where an inner page is lost.
    assert!(
        salvaged_events > 302 * (pages - 1) * 6 / 10,
        "{salvaged_events} events of {pages} pages"
    );
}

#[tokio::test]
async fn a_damaged_interview_can_not_be_taken_up_and_the_others_can() {
    let directory = tempfile::tempdir().unwrap();
    with_three(directory.path()).await;
    let path = directory.path().join(JOURNAL_FILE);
    let whole = std::fs::read(&path).unwrap();
    let mut refused = 0;
    for page in 1..whole.len() / 4096 {
        let mut damaged = whole.clone();
        damaged[page * 4096..][..4096].fill(0xA5);
        std::fs::write(&path, &damaged).unwrap();
        // Some pages are needed by every start.
        let Ok(journal) = Journal::open(directory.path()) else {
            continue;
        };
        let taken = [
            journal.take_up(&id("a")).await,
            journal.take_up(&id("b")).await,
        ];
        let (done, not) = taken.iter().partition::<Vec<_>, _>(|t| t.is_ok());
        let one_each = done.len() == 1 && not.len() == 1;
        refused += u64::from(one_each && journal.probe().condition == Condition::Well);
        // A page that the writer itself needs has stopped it, and then it says so.
        let _ = journal.close().await;
        for suffix in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(directory.path().join(format!("{JOURNAL_FILE}{suffix}")));
        }
        let _ = std::fs::remove_file(directory.path().join("journal.mark"));
    }
    assert!(refused > 5, "{refused} pages belong to one of the two");
}

#[tokio::test]
async fn a_journal_in_order_is_called_whole() {
    let directory = tempfile::tempdir().unwrap();
    with_three(directory.path()).await;
    let examination = JournalReader::open(directory.path()).unwrap().examine();
    assert!(examination.is_whole(), "{examination:?}");
    let events: Vec<_> = examination.interviews.iter().map(|i| i.events).collect();
    assert_eq!(events, [150, 150, 2]);
}

#[tokio::test]
async fn a_missing_event_is_named() {
    for (sql, expected) in [
        (
            "DELETE FROM events WHERE interview_id = 'a' AND seq = 7",
            "event 7 is missing",
        ),
        (
            "DELETE FROM events WHERE interview_id = 'a' AND seq BETWEEN 7 AND 9",
            "the events 7 to 9 are missing",
        ),
        (
            "UPDATE interviews SET ended_at_unix_ms = 1, end_reason = 'completed' WHERE id = 'a'",
            "it is over, and its last event is missing",
        ),
        (
            "DROP TRIGGER events_do_not_change; UPDATE events SET elapsed_ms = 0 WHERE interview_id = 'a' AND seq = 7",
            "event 7 of term 1 is not what was written",
        ),
        (
            "PRAGMA foreign_keys = OFF; DELETE FROM interviews WHERE id = 'a'",
            "it has events and no row",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        with_three(directory.path()).await;
        rusqlite::Connection::open(directory.path().join(JOURNAL_FILE))
            .unwrap()
            .execute_batch(sql)
            .unwrap();
        let examination = JournalReader::open(directory.path()).unwrap().examine();
        assert_eq!(examination.interviews[0].damage, [expected], "{sql}");
        assert!(
            examination.interviews[1..]
                .iter()
                .all(|i| i.damage.is_empty())
        );
    }
}

#[tokio::test]
async fn an_interview_that_was_carried_over_is_the_same_one() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    with_three(from.path()).await;
    let journal = Journal::open(to.path()).unwrap();
    let arrived = journal.arrive(arrival(from.path(), "a"), 1).await.unwrap();
    assert_eq!(
        arrived,
        Arrived {
            is_new: true,
            added: 150,
            known: 0
        }
    );
    journal.arrive(arrival(from.path(), "c"), 1).await.unwrap();
    let again = journal.arrive(arrival(from.path(), "c"), 1).await.unwrap();
    assert_eq!(
        again,
        Arrived {
            is_new: false,
            added: 0,
            known: 2
        }
    );
    let (old, new) = (
        JournalReader::open(from.path()).unwrap(),
        JournalReader::open(to.path()).unwrap(),
    );
    for name in ["a", "c"] {
        assert_eq!(
            old.events_after(&id(name), (0, 0), 999),
            new.events_after(&id(name), (0, 0), 999)
        );
    }
    assert_eq!(old.interview(&id("c")), new.interview(&id("c")));
    // It is live elsewhere, perhaps: nobody goes on with it unasked.
    let row = new.interview(&id("a")).unwrap().unwrap();
    assert_eq!(row.set_aside.as_deref(), Some(IMPORTED_CAUSE));
    journal.readmit(&id("a")).await.unwrap();
    journal.take_up(&id("a")).await.unwrap();
    journal.append(&id("a"), vec![joined(151)]).await.unwrap();
}

#[tokio::test]
async fn what_is_missing_here_is_added_behind_what_is_here() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    with_three(from.path()).await;
    let journal = Journal::open(to.path()).unwrap();
    let mut part = arrival(from.path(), "c");
    part.events.truncate(1);
    journal.arrive(part, 1).await.unwrap();
    let mut rest = arrival(from.path(), "c");
    rest.events.remove(0);
    let arrived = journal.arrive(rest, 1).await.unwrap();
    assert_eq!((arrived.is_new, arrived.added), (false, 1));
    let row = JournalReader::open(to.path())
        .unwrap()
        .interview(&id("c"))
        .unwrap()
        .unwrap();
    assert_eq!(row.set_aside, None, "it is over");
    assert_eq!(row.ended.unwrap().reason, "time_up");
}

#[tokio::test]
async fn another_event_in_the_same_place_is_refused_and_named() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    with_three(from.path()).await;
    let journal = Journal::open(to.path()).unwrap();
    journal.begin(new("c")).await.unwrap();
    journal.append(&id("c"), vec![joined(9 - 8)]).await.unwrap();
    // The same first event, and then another second one.
    journal.append(&id("c"), vec![joined(2)]).await.unwrap();
    let refused = journal.arrive(arrival(from.path(), "c"), 1).await;
    let error = refused.unwrap_err();
    assert!(matches!(error, JournalError::Conflict { .. }), "{error:?}");
    assert!(error.to_string().contains("event 2 of term 1"), "{error}");
    let reader = JournalReader::open(to.path()).unwrap();
    assert_eq!(reader.events(&id("c")).unwrap(), [joined(1), joined(2)]);
    // Nor is a gap taken in, or an event that was changed on its way.
    let mut gap = arrival(from.path(), "b");
    gap.events.remove(3);
    let mut changed = arrival(from.path(), "b");
    changed.events[3].payload.push(' ');
    for broken in [gap, changed] {
        let error = journal.arrive(broken, 1).await.unwrap_err();
        assert!(
            matches!(error, JournalError::ChainBroken { .. }),
            "{error:?}"
        );
    }
    assert_eq!(reader.interview(&id("b")), Ok(None), "nothing of it stays");
    journal.append(&id("c"), vec![joined(3)]).await.unwrap();
}
