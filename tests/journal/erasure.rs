//! A person who was deleted is gone from every file here, and does not come back. No server.

use std::path::Path;

use crate::journal_support::{ended, id, joined, new};
use viva::interview::{Event, Recorded};
use viva::journal::{JOURNAL_FILE, Journal, JournalError, JournalReader, set_tombstones};

/// Found in no other file.
const SAID: &str = "my-mother-is-Ada-Lovelace";

fn said(seq: u64) -> Recorded {
    Recorded {
        event: Event::CandidateJoined {
            identity: SAID.into(),
        },
        ..joined(seq)
    }
}

async fn with_two(directory: &Path) -> Journal {
    let journal = Journal::open(directory).unwrap();
    for name in ["deleted", "kept"] {
        journal.begin(new(name)).await.unwrap();
    }
    for seq in 1..=50 {
        journal
            .append(&id("deleted"), vec![said(seq)])
            .await
            .unwrap();
        journal
            .append(&id("kept"), vec![joined(seq)])
            .await
            .unwrap();
    }
    journal
        .append(&id("deleted"), vec![ended(51)])
        .await
        .unwrap();
    journal
}

/// Files of the state directory in which the words can still be read.
fn files_with_words(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with_words(&path));
        } else if std::fs::read(&path)
            .unwrap()
            .windows(SAID.len())
            .any(|w| w == SAID.as_bytes())
        {
            found.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    found
}

#[tokio::test]
async fn what_was_deleted_is_in_no_file_any_more() {
    let directory = tempfile::tempdir().unwrap();
    let journal = with_two(directory.path()).await;
    assert!(!files_with_words(directory.path()).is_empty());
    assert_eq!(journal.delete(vec![id("deleted")]).await, Ok(1));
    assert_eq!(files_with_words(directory.path()), [""; 0]);
    let reader = JournalReader::open(directory.path()).unwrap();
    assert_eq!(reader.interview(&id("deleted")), Ok(None));
    assert_eq!(reader.events(&id("kept")).unwrap().len(), 50);
    // A second time there is nothing to delete.
    assert_eq!(journal.delete(vec![id("deleted")]).await, Ok(0));
    let again = journal.begin(new("deleted")).await;
    assert_eq!(again, Err(JournalError::Deleted { id: id("deleted") }));
    journal.append(&id("kept"), vec![joined(51)]).await.unwrap();
    journal.close().await.unwrap();
    // Nothing speaks against the file at the next start.
    let journal = Journal::open(directory.path()).unwrap();
    assert_eq!(journal.restored(), None);
}

#[tokio::test]
async fn a_restored_copy_does_not_bring_it_back() {
    let directory = tempfile::tempdir().unwrap();
    let journal = with_two(directory.path()).await;
    journal.close().await.unwrap();
    let path = directory.path().join(JOURNAL_FILE);
    rusqlite::Connection::open(&path)
        .unwrap()
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    let copy = std::fs::read(&path).unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    journal.delete(vec![id("deleted")]).await.unwrap();
    journal.close().await.unwrap();
    std::fs::write(&path, copy).unwrap();
    let _ = std::fs::remove_file(directory.path().join(format!("{JOURNAL_FILE}-wal")));
    let _ = std::fs::remove_file(directory.path().join(format!("{JOURNAL_FILE}-shm")));
    let journal = Journal::open(directory.path()).unwrap();
    let reader = JournalReader::open(directory.path()).unwrap();
    assert_eq!(reader.interview(&id("deleted")), Ok(None));
    assert!(reader.interview(&id("kept")).unwrap().is_some());
    journal.close().await.unwrap();
}

#[tokio::test]
async fn the_copies_from_before_a_migration_are_covered_as_well() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join(JOURNAL_FILE),
        include_bytes!("../journal_files/schema-1.sqlite3"),
    )
    .unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    journal.delete(vec![id("whole")]).await.unwrap();
    journal.close().await.unwrap();
    let copies = directory.path().join("before-migration");
    let copy = std::fs::read_dir(copies).unwrap().next().unwrap().unwrap();
    let back = tempfile::tempdir().unwrap();
    std::fs::copy(copy.path(), back.path().join(JOURNAL_FILE)).unwrap();
    let reader = JournalReader::open(back.path()).unwrap();
    let ids: Vec<_> = reader
        .interviews()
        .unwrap()
        .into_iter()
        .map(|r| r.id)
        .collect();
    assert_eq!(ids, [id("broken-off")]);
}

#[tokio::test]
async fn a_tombstone_that_another_process_sets_is_heeded() {
    let directory = tempfile::tempdir().unwrap();
    let journal = with_two(directory.path()).await;
    set_tombstones(directory.path(), &[id("deleted"), id("never-was")]).unwrap();
    assert_eq!(journal.bury().await, Ok(1));
    assert_eq!(journal.bury().await, Ok(0));
    assert_eq!(files_with_words(directory.path()), [""; 0]);
}

#[tokio::test]
async fn what_is_over_for_long_enough_expires() {
    let directory = tempfile::tempdir().unwrap();
    let journal = with_two(directory.path()).await;
    let ended_at = ended(51).at_unix_ms;
    assert_eq!(journal.expire(ended_at).await, Ok(0));
    assert_eq!(journal.expire(ended_at + 1).await, Ok(1));
    let reader = JournalReader::open(directory.path()).unwrap();
    let left = reader.interviews().unwrap();
    assert_eq!(left.len(), 1, "what is live never expires");
}
