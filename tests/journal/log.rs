//! The journal on a real file: what is acknowledged is there, and what can't work says why. No server.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::journal_support::{ended, id, joined, new};
use viva::interview::plan::Plan;
use viva::journal::{Condition, JOURNAL_FILE, Journal, JournalError, JournalReader, NewInterview};

fn plan() -> Plan {
    Plan::parse(include_str!("../../plans/demo.toml"), "demo.toml").unwrap()
}

#[tokio::test]
async fn what_was_acknowledged_is_read_back_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    journal.begin(new("a")).await.unwrap();
    journal
        .append(&id("a"), vec![joined(1), joined(2)])
        .await
        .unwrap();
    // Another connection, while the writer is at work.
    let reader = JournalReader::open(directory.path()).unwrap();
    assert_eq!(reader.events(&id("a")).unwrap(), [joined(1), joined(2)]);
    journal.append(&id("a"), vec![ended(3)]).await.unwrap();
    let row = reader.interview(&id("a")).unwrap().unwrap();
    assert_eq!(
        (row.events, row.term, row.plan_name.as_str()),
        (3, 1, "demo")
    );
    let end = row.ended.unwrap();
    assert_eq!(
        (end.at_unix_ms, end.reason.as_str()),
        (1_800_000_000_003, "time_up")
    );
    assert_eq!(reader.plan(plan().hash()).unwrap(), plan().body());
    let probe = journal.probe();
    assert_eq!(
        (probe.condition, probe.commits, probe.events),
        (Condition::Well, 3, 3)
    );
    assert!(probe.last_commit_us.is_some() && probe.committing_for_us.is_none());
}

#[tokio::test]
async fn a_journal_goes_on_where_it_was_closed() {
    let directory = tempfile::tempdir().unwrap();
    for seq in 1..4 {
        let journal = Journal::open(directory.path()).unwrap();
        if seq == 1 {
            journal.begin(new("a")).await.unwrap();
        }
        journal.append(&id("a"), vec![joined(seq)]).await.unwrap();
        journal.close().await.unwrap();
        assert_eq!(
            journal.append(&id("a"), vec![joined(9)]).await,
            Err(JournalError::Closed)
        );
        // Also a reader that comes when nobody writes.
        let reader = JournalReader::open(directory.path()).unwrap();
        assert_eq!(reader.events(&id("a")).unwrap().len() as u64, seq);
    }
}

#[tokio::test]
async fn repeated_and_missing_events_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    journal.begin(new("a")).await.unwrap();
    assert_eq!(
        journal.begin(new("a")).await,
        Err(JournalError::AlreadyBegun { id: id("a") })
    );
    journal.append(&id("a"), vec![joined(1)]).await.unwrap();
    for found in [0, 1, 3, 1 << 40] {
        assert_eq!(
            journal.append(&id("a"), vec![joined(found)]).await,
            Err(JournalError::OutOfOrder {
                id: id("a"),
                expected: 2,
                found
            })
        );
    }
    let unknown = JournalError::UnknownInterview { id: id("b") };
    assert_eq!(
        journal.append(&id("b"), vec![joined(1)]).await,
        Err(unknown.clone())
    );
    journal.append(&id("a"), vec![ended(2)]).await.unwrap();
    let over = JournalError::AlreadyEnded { id: id("a") };
    assert_eq!(journal.append(&id("a"), vec![joined(3)]).await, Err(over));
    let reader = JournalReader::open(directory.path()).unwrap();
    assert_eq!(reader.events(&id("b")), Err(unknown));
    assert_eq!(reader.interview(&id("b")), Ok(None));
    assert!(matches!(
        reader.plan("00"),
        Err(JournalError::UnknownPlan { .. })
    ));
}

#[tokio::test]
async fn a_plan_that_changed_on_its_way_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    let mut changed = new("a");
    changed.plan_body.push_str("# and more\n");
    let error = journal.begin(changed).await.unwrap_err();
    assert!(matches!(error, JournalError::PlanDiffers { .. }), "{error}");
    assert_eq!(
        JournalReader::open(directory.path()).unwrap().interviews(),
        Ok(vec![])
    );
}

#[tokio::test]
async fn the_latest_interview_is_listed_first() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    for (name, at_unix_ms) in [("a", 2), ("b", 3), ("c", 1)] {
        journal
            .begin(NewInterview {
                at_unix_ms,
                ..new(name)
            })
            .await
            .unwrap();
    }
    let rows = JournalReader::open(directory.path())
        .unwrap()
        .interviews()
        .unwrap();
    let names: Vec<_> = rows.iter().map(|r| r.id.as_str()).collect();
    assert_eq!(names, ["b", "a", "c"]);
    assert!(rows.iter().all(|r| r.ended.is_none()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_interviews_share_the_disks_wait() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..20 {
        let journal = journal.clone();
        tasks.spawn(async move {
            let name = format!("i{n}");
            journal.begin(new(&name)).await.unwrap();
            for seq in 1..=50 {
                journal.append(&id(&name), vec![joined(seq)]).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let probe = journal.probe();
    assert_eq!(probe.events, 1000);
    assert!(probe.commits < 1020, "{} commits", probe.commits);
    let reader = JournalReader::open(directory.path()).unwrap();
    for n in 0..20 {
        assert_eq!(reader.events(&id(&format!("i{n}"))).unwrap().len(), 50);
    }
}

#[tokio::test]
async fn a_second_writer_is_refused_and_told_who_the_first_is() {
    let directory = tempfile::tempdir().unwrap();
    let first = Journal::open(directory.path()).unwrap();
    let error = Journal::open(directory.path()).unwrap_err();
    let expected = JournalError::InUse {
        directory: directory.path().into(),
        holder: std::process::id().to_string(),
    };
    assert_eq!(error, expected);
    first.begin(new("a")).await.unwrap();
    first.close().await.unwrap();
    Journal::open(directory.path()).unwrap();
}

#[tokio::test]
async fn nobody_else_can_read_the_files() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    journal.begin(new("a")).await.unwrap();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
}

#[test]
fn a_state_directory_that_is_missing_is_made_private() {
    let directory = tempfile::tempdir().unwrap();
    let inner = directory.path().join("state/viva");
    Journal::open(&inner).unwrap();
    let mode = std::fs::metadata(&inner).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
}

#[test]
fn a_directory_that_can_not_be_written_is_named() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    let root = std::fs::write(directory.path().join("probe"), "").is_ok();
    // Root writes everywhere but here.
    let read_only = if root {
        Path::new("/proc/self")
    } else {
        directory.path()
    };
    let error = Journal::open(read_only).unwrap_err();
    assert!(
        matches!(error, JournalError::Unwritable { .. }),
        "{error:?}"
    );
    assert!(
        error.to_string().contains(&read_only.display().to_string()),
        "{error}"
    );
}

#[test]
fn a_file_where_the_directory_should_be_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(
        Journal::open(&file),
        Err(JournalError::Unwritable { .. })
    ));
    assert!(matches!(
        JournalReader::open(&file),
        Err(JournalError::Open { .. })
    ));
}

#[test]
fn reading_where_there_is_no_journal_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let error = JournalReader::open(directory.path()).unwrap_err();
    assert!(matches!(error, JournalError::Missing { .. }), "{error}");
    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        0,
        "reading makes no file"
    );
    // What a process leaves behind that is killed between making the file and filling it.
    std::fs::write(directory.path().join(JOURNAL_FILE), "").unwrap();
    let error = JournalReader::open(directory.path()).unwrap_err();
    assert!(matches!(error, JournalError::Missing { .. }), "{error}");
    Journal::open(directory.path()).unwrap();
    JournalReader::open(directory.path()).unwrap();
}

#[test]
fn a_file_that_is_no_database_is_called_damaged() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join(JOURNAL_FILE),
        "not SQLite at all, ".repeat(500),
    )
    .unwrap();
    assert!(matches!(
        Journal::open(directory.path()),
        Err(JournalError::Damaged { .. })
    ));
    assert!(matches!(
        JournalReader::open(directory.path()),
        Err(JournalError::Damaged { .. })
    ));
}

#[test]
fn another_programs_database_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(JOURNAL_FILE);
    let other = rusqlite::Connection::open(&path).unwrap();
    other
        .execute_batch("CREATE TABLE bookmarks (url TEXT)")
        .unwrap();
    drop(other);
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(
        Journal::open(directory.path()),
        Err(JournalError::NotAJournal { .. })
    ));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_damaged_page_is_an_error_and_not_an_invention() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(JOURNAL_FILE);
    let journal = Journal::open(directory.path()).unwrap();
    journal.begin(new("a")).await.unwrap();
    for seq in 1..=300 {
        journal.append(&id("a"), vec![joined(seq)]).await.unwrap();
    }
    journal.close().await.unwrap();
    // Bring the pages from the WAL into the file, where they can be overwritten.
    rusqlite::Connection::open(&path)
        .unwrap()
        .pragma_query(None, "wal_checkpoint", |_| Ok(()))
        .unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let pages = bytes.len() / 4096;
    for page in pages - 6..pages {
        bytes[page * 4096..][..2048].fill(0xA5);
    }
    std::fs::write(&path, bytes).unwrap();
    let events = JournalReader::open(directory.path()).and_then(|r| r.events(&id("a")));
    assert!(
        matches!(
            events,
            Err(JournalError::Damaged { .. } | JournalError::ChainBroken { .. })
        ),
        "{events:?}"
    );
}

#[tokio::test]
async fn writes_that_wait_for_the_disk_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    let stranger = rusqlite::Connection::open(directory.path().join(JOURNAL_FILE)).unwrap();
    stranger.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waits = async {
        while journal.probe().waiting != 2 {
            tokio::task::yield_now().await;
        }
        stranger.execute_batch("ROLLBACK").unwrap();
    };
    let (first, second, ()) = tokio::join!(journal.begin(new("a")), journal.begin(new("b")), waits);
    first.and(second).unwrap();
    assert_eq!(journal.probe().waiting, 0);
}
