//! Interviews that another process began: taken up, set aside, and known as restored. No server.

use crate::journal_support::{ended, id, joined, new, with_one_live};
use viva::journal::{
    EPOCH_FILE, JOURNAL_FILE, Journal, JournalError, JournalReader, MARK_FILE, NewInterview,
    RESTORED_CAUSE,
};

#[tokio::test]
async fn an_interview_goes_on_under_a_new_term_without_a_gap() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    journal
        .begin(NewInterview {
            candidate: Some("ada".into()),
            ..new("a")
        })
        .await
        .unwrap();
    journal
        .append(&id("a"), vec![joined(1), joined(2)])
        .await
        .unwrap();
    journal.close().await.unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    let taken = journal.take_up(&id("a")).await.unwrap();
    assert_eq!(taken.events, [joined(1), joined(2)]);
    assert_eq!(taken.plan_body, new("a").plan_body);
    assert_eq!(taken.interview.candidate.as_deref(), Some("ada"));
    assert_eq!((taken.interview.term, taken.attempts), (2, 1));
    journal.append(&id("a"), vec![joined(3)]).await.unwrap();
    let reader = JournalReader::open(directory.path()).unwrap();
    let places: Vec<_> = reader
        .events_after(&id("a"), (0, 0), 10)
        .unwrap()
        .iter()
        .map(|e| (e.term, e.seq))
        .collect();
    assert_eq!(places, [(1, 1), (1, 2), (2, 3)]);
    assert_eq!(reader.events(&id("a")).unwrap().len(), 3, "the chain holds");
}

#[tokio::test]
async fn attempts_are_counted_until_the_interview_stands() {
    let directory = tempfile::tempdir().unwrap();
    with_one_live(directory.path()).await;
    for attempt in 1..=2 {
        // Each in a process that dies: nothing is closed but the file.
        let journal = Journal::open(directory.path()).unwrap();
        assert_eq!(journal.take_up(&id("a")).await.unwrap().attempts, attempt);
        journal.close().await.unwrap();
    }
    let journal = Journal::open(directory.path()).unwrap();
    journal.stood(&id("a")).await.unwrap();
    let taken = journal.take_up(&id("a")).await.unwrap();
    assert_eq!((taken.attempts, taken.interview.term), (1, 4));
}

#[tokio::test]
async fn what_is_over_set_aside_or_unknown_is_not_taken_up() {
    let directory = tempfile::tempdir().unwrap();
    with_one_live(directory.path()).await;
    let journal = Journal::open(directory.path()).unwrap();
    let live = || {
        let reader = JournalReader::open(directory.path()).unwrap();
        let ids = reader.live().unwrap().into_iter().map(|r| r.id);
        ids.collect::<Vec<_>>()
    };
    assert_eq!(live(), [id("a")]);
    journal
        .set_aside(&id("a"), 7, "it killed three processes".into())
        .await
        .unwrap();
    assert_eq!(live(), []);
    let refused = journal.take_up(&id("a")).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the interview a is set aside: it killed three processes; `viva journal adopt a` readmits it"
    );
    journal.readmit(&id("a")).await.unwrap();
    assert_eq!(live(), [id("a")]);
    journal.take_up(&id("a")).await.unwrap();
    journal.append(&id("a"), vec![ended(3)]).await.unwrap();
    let over = JournalError::AlreadyEnded { id: id("a") };
    assert_eq!(journal.take_up(&id("a")).await, Err(over.clone()));
    assert_eq!(
        journal.set_aside(&id("a"), 7, String::new()).await,
        Err(over)
    );
    let unknown = JournalError::UnknownInterview { id: id("b") };
    assert_eq!(journal.take_up(&id("b")).await, Err(unknown.clone()));
    assert_eq!(journal.stood(&id("b")).await, Err(unknown));
    assert_eq!(live(), []);
}

#[tokio::test]
async fn the_outbox_is_what_is_not_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    for name in ["a", "b"] {
        journal.begin(new(name)).await.unwrap();
        journal
            .append(&id(name), vec![joined(1), joined(2)])
            .await
            .unwrap();
    }
    let reader = JournalReader::open(directory.path()).unwrap();
    let unsent = |limit| {
        let events = reader.unsent(limit).unwrap();
        let places = events
            .iter()
            .map(|e| (e.interview_id.to_string(), e.term, e.seq));
        places.collect::<Vec<_>>()
    };
    let place = |name: &str, term, seq| (name.to_owned(), term, seq);
    assert_eq!(
        unsent(3),
        [place("a", 1, 1), place("a", 1, 2), place("b", 1, 1)]
    );
    journal.acknowledge(&id("a"), 1, 2).await.unwrap();
    journal.acknowledge(&id("a"), 1, 1).await.unwrap();
    assert_eq!(unsent(9), [place("b", 1, 1), place("b", 1, 2)]);
    journal
        .hold_back(&id("b"), Some("another hash".into()))
        .await
        .unwrap();
    assert_eq!(unsent(9), []);
    let outbox = reader.outbox().unwrap();
    assert_eq!((outbox.len(), outbox[0].events), (1, 2));
    assert_eq!(outbox[0].held_back.as_deref(), Some("another hash"));
    journal.hold_back(&id("b"), None).await.unwrap();
    journal.take_up(&id("a")).await.unwrap();
    journal.append(&id("a"), vec![ended(3)]).await.unwrap();
    // What goes on comes before what is over.
    assert_eq!(
        unsent(9),
        [place("b", 1, 1), place("b", 1, 2), place("a", 2, 3)]
    );
    journal.acknowledge(&id("a"), 2, 3).await.unwrap();
    let never = journal.acknowledge(&id("a"), 2, 4).await.unwrap_err();
    assert!(matches!(never, JournalError::NeverWritten { seq: 4, .. }));
    assert_eq!(unsent(9), [place("b", 1, 1), place("b", 1, 2)]);
}

#[tokio::test]
async fn each_commit_is_told_to_whoever_listens() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    let mut commits = journal.subscribe();
    assert!(!commits.has_changed().unwrap());
    journal.begin(new("a")).await.unwrap();
    commits.changed().await.unwrap();
    journal.close().await.unwrap();
    assert!(
        commits.changed().await.is_err(),
        "a closed journal is told as well"
    );
}

/// What a start on this directory does with the live interview.
async fn set_aside_at_start(directory: &std::path::Path) -> Option<String> {
    let journal = Journal::open(directory).unwrap();
    let doubt = journal.restored().map(str::to_owned);
    let row = JournalReader::open(directory)
        .unwrap()
        .interview(&id("a"))
        .unwrap()
        .unwrap();
    assert_eq!(
        row.set_aside.as_deref(),
        doubt.is_some().then_some(RESTORED_CAUSE)
    );
    if doubt.is_some() {
        journal.readmit(&id("a")).await.unwrap();
    }
    journal.close().await.unwrap();
    doubt
}

#[tokio::test]
async fn a_journal_that_was_moved_here_without_its_epoch_holds_its_interviews_once() {
    let directory = tempfile::tempdir().unwrap();
    with_one_live(directory.path()).await;
    assert_eq!(set_aside_at_start(directory.path()).await, None);
    std::fs::remove_file(directory.path().join(EPOCH_FILE)).unwrap();
    let doubt = set_aside_at_start(directory.path()).await.unwrap();
    assert!(doubt.contains("no epoch file"), "{doubt}");
    // Readmitted, it is not set aside again.
    assert_eq!(set_aside_at_start(directory.path()).await, None);
    std::fs::write(directory.path().join(EPOCH_FILE), "0123\n").unwrap();
    let doubt = set_aside_at_start(directory.path()).await.unwrap();
    assert!(doubt.contains("another file"), "{doubt}");
    assert_eq!(set_aside_at_start(directory.path()).await, None);
}

#[tokio::test]
async fn a_missing_wal_is_noticed_and_the_lost_event_named() {
    let directory = tempfile::tempdir().unwrap();
    with_one_live(directory.path()).await;
    // The next start brings the two events into the file; the third is in the WAL alone.
    let journal = Journal::open(directory.path()).unwrap();
    journal.append(&id("a"), vec![joined(3)]).await.unwrap();
    journal.close().await.unwrap();
    std::fs::remove_file(directory.path().join(format!("{JOURNAL_FILE}-wal"))).unwrap();
    let doubt = set_aside_at_start(directory.path()).await.unwrap();
    assert!(
        doubt.contains("lacks event 3 of the interview a") && doubt.contains("WAL"),
        "{doubt}"
    );
    assert_eq!(set_aside_at_start(directory.path()).await, None);
}

#[tokio::test]
async fn a_mark_that_is_not_readable_is_passed_over() {
    for mark in ["", "{", "\u{0}\u{0}", "{\"interview\":\"..\",\"seq\":1}"] {
        let directory = tempfile::tempdir().unwrap();
        with_one_live(directory.path()).await;
        std::fs::write(directory.path().join(MARK_FILE), mark).unwrap();
        assert_eq!(set_aside_at_start(directory.path()).await, None, "{mark:?}");
    }
}
