//! `viva journal` and `viva interview` on real files, with the real binary. No server.

use std::path::Path;
use std::process::{Command, Output};

use crate::journal_support::{ended, id, joined, new, with_one_live};
use viva::journal::{JOURNAL_FILE, Journal, JournalReader};

fn viva(state: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_viva"))
        .args(arguments)
        .env_clear()
        .env("VIVA_STATE_DIRECTORY", state)
        .output()
        .unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// `a` is live, `b` is over.
async fn with_both(directory: &Path) {
    with_one_live(directory).await;
    let journal = Journal::open(directory).unwrap();
    journal.begin(new("b")).await.unwrap();
    journal
        .append(&id("b"), vec![joined(1), ended(2)])
        .await
        .unwrap();
    journal.close().await.unwrap();
}

#[tokio::test]
async fn a_journal_is_exported_and_imported_without_a_difference() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    with_both(from.path()).await;
    let exported = viva(from.path(), &["journal", "export"]);
    assert!(exported.status.success(), "{}", err(&exported));
    let file = to.path().join("lines");
    std::fs::write(&file, &exported.stdout).unwrap();
    for expected in [
        "2 interviews: 4 events added, 0 were here already",
        "2 interviews: 0 events added, 4 were here already",
    ] {
        let imported = viva(to.path(), &["journal", "import", file.to_str().unwrap()]);
        assert!(imported.status.success(), "{}", err(&imported));
        assert_eq!(out(&imported).trim(), expected);
    }
    let again = viva(to.path(), &["journal", "export"]);
    assert_eq!(out(&again), out(&exported));
    // What came in unfinished waits for a word.
    let listed = out(&viva(to.path(), &["interviews"]));
    assert!(
        listed.contains("set aside") && listed.contains("imported"),
        "{listed}"
    );
    let adopted = viva(to.path(), &["journal", "adopt"]);
    assert_eq!(out(&adopted).trim(), "a is taken up at the next start");
    let live = JournalReader::open(to.path()).unwrap().live().unwrap();
    assert_eq!(live.len(), 1);
}

#[tokio::test]
async fn another_event_in_the_same_place_is_refused_by_name() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    with_both(from.path()).await;
    let journal = Journal::open(to.path()).unwrap();
    journal.begin(new("b")).await.unwrap();
    journal.append(&id("b"), vec![ended(1)]).await.unwrap();
    journal.close().await.unwrap();
    let file = to.path().join("lines");
    std::fs::write(&file, viva(from.path(), &["journal", "export"]).stdout).unwrap();
    let imported = viva(to.path(), &["journal", "import", file.to_str().unwrap()]);
    assert_eq!(imported.status.code(), Some(1));
    assert!(
        err(&imported).contains("event 1 of term 1 is another one here"),
        "{}",
        err(&imported)
    );
    assert!(
        out(&imported).contains("1 interviews: 2 events added"),
        "{}",
        out(&imported)
    );
}

#[tokio::test]
async fn a_check_says_what_is_damaged_and_an_export_what_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    with_both(directory.path()).await;
    let whole = viva(directory.path(), &["journal", "check"]);
    assert!(whole.status.success());
    assert!(
        out(&whole).contains("the journal is whole"),
        "{}",
        out(&whole)
    );
    let sql = "DELETE FROM events WHERE interview_id = 'a' AND seq = 1";
    let connection = rusqlite::Connection::open(directory.path().join(JOURNAL_FILE)).unwrap();
    connection.execute_batch(sql).unwrap();
    let checked = viva(directory.path(), &["journal", "check", "--json"]);
    assert_eq!(checked.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_str(&out(&checked)).unwrap();
    assert_eq!(json["whole"], false);
    assert_eq!(json["interviews"][0]["id"], "a");
    assert_eq!(json["interviews"][0]["damage"][0], "event 1 is missing");
    let exported = viva(directory.path(), &["journal", "export"]);
    assert_eq!(exported.status.code(), Some(1));
    assert!(
        err(&exported).contains("a: event 1 is missing"),
        "{}",
        err(&exported)
    );
    // The two lines of the interviews, and the three events that are left.
    assert_eq!(out(&exported).lines().count(), 5);
}

#[tokio::test]
async fn a_file_that_is_no_journal_is_named_and_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(JOURNAL_FILE);
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE bookmarks (url TEXT)")
        .unwrap();
    let before = std::fs::read(&path).unwrap();
    for arguments in [
        &["journal", "check"][..],
        &["journal", "export"],
        &["journal", "adopt"],
        &["interview", "delete", "a"],
    ] {
        let refused = viva(directory.path(), arguments);
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            err(&refused).contains("not one of Viva's"),
            "{}",
            err(&refused)
        );
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
    // Nor is a file of something else an export.
    let other = tempfile::tempdir().unwrap();
    let refused = viva(other.path(), &["journal", "import", path.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
}

#[tokio::test]
async fn a_person_is_given_what_is_kept_and_deleted() {
    let directory = tempfile::tempdir().unwrap();
    with_both(directory.path()).await;
    let live = viva(directory.path(), &["interview", "delete", "a"]);
    assert_eq!(live.status.code(), Some(1));
    assert!(
        err(&live).contains("the interview a is live"),
        "{}",
        err(&live)
    );
    let exported = viva(directory.path(), &["interview", "export", "b"]);
    assert!(exported.status.success(), "{}", err(&exported));
    let json: serde_json::Value = serde_json::from_str(&out(&exported)).unwrap();
    assert_eq!(json["journal"][2]["event"]["kind"], "ended");
    let deleted = viva(directory.path(), &["interview", "delete", "b"]);
    assert_eq!(out(&deleted).trim(), "1 deleted", "{}", err(&deleted));
    let unknown = viva(directory.path(), &["interview", "export", "b"]);
    assert!(
        err(&unknown).contains("there is no interview b"),
        "{}",
        err(&unknown)
    );
}

#[tokio::test]
async fn a_deletion_beside_a_running_service_is_left_to_it() {
    let directory = tempfile::tempdir().unwrap();
    with_both(directory.path()).await;
    let journal = Journal::open(directory.path()).unwrap();
    let marked = viva(directory.path(), &["interview", "delete", "b"]);
    assert!(marked.status.success(), "{}", err(&marked));
    assert!(out(&marked).contains("within a minute"), "{}", out(&marked));
    assert_eq!(journal.bury().await, Ok(1));
}
