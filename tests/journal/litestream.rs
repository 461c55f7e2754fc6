//! The journal with Litestream and without: replicated under load, restored, known as restored, and its WAL
//! bounded when Litestream is dead. The binary is the one that `VIVA_LITESTREAM` names, else the pinned one of
//! the models directory.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::journal_support::{id, joined, new};
use viva::interview::{Event, Recorded};
use viva::journal::{
    EPOCH_FILE, JOURNAL_FILE, Journal, JournalOptions, JournalReader, MARK_FILE, RESTORED_CAUSE,
};

const DIRECTORY: &str = "VIVA_TEST_JOURNAL_DIRECTORY";
/// Litestream's own default.
const SYNC_INTERVAL_MS: u64 = 1_000;
/// What a machine with more work than cores adds to it.
const SLACK_MS: u64 = 9_000;
/// Enough for several syncs and a checkpoint or two.
const EVENTS_BEFORE_KILL: u64 = 1_500;
/// A page for each event and more, so that the WAL is written through several times.
const CAUSE_BYTES: usize = 3_000;

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_millis() as u64
}

fn replicated() -> JournalOptions {
    JournalOptions {
        litestream: true,
        ..JournalOptions::default()
    }
}

fn event(seq: u64, bytes: usize) -> Recorded {
    Recorded {
        at_unix_ms: unix_ms(),
        event: Event::MindFailed {
            turn: 1,
            cause: "x".repeat(bytes),
        },
        ..joined(seq)
    }
}

/// Runs in the child: writes until it is killed, and says what was acknowledged.
#[test]
#[ignore = "is started by the other test, as a process to be killed"]
fn a_writer_that_is_replicated() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = replicated();
        let journal = Journal::open_with(Path::new(&directory), options).unwrap();
        journal.begin(new("a")).await.unwrap();
        for seq in 1.. {
            let event = event(seq, CAUSE_BYTES);
            journal.append(&id("a"), vec![event]).await.unwrap();
            let mut output = std::io::stdout().lock();
            writeln!(output, "\n@{seq}").unwrap();
            // About 300 a second.
            drop(output);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
}

/// A copy that can be run: what the models directory holds are files.
fn litestream(scratch: &Path) -> PathBuf {
    let found = std::env::var_os("VIVA_LITESTREAM").map_or_else(
        || {
            let models = std::env::var_os("VIVA_MODELS").map_or_else(
                || Path::new(env!("CARGO_MANIFEST_DIR")).join("models/files"),
                PathBuf::from,
            );
            models.join("litestream/litestream")
        },
        PathBuf::from,
    );
    let binary = scratch.join("litestream");
    std::fs::copy(&found, &binary).unwrap_or_else(|e| {
        panic!(
            "{} can't be copied ({e}): run scripts/setup --test, or name a litestream binary in VIVA_LITESTREAM",
            found.display()
        )
    });
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o700)).unwrap();
    binary
}

#[tokio::test]
async fn a_restored_replica_is_whole_and_is_not_gone_on_with_unasked() {
    let scratch = tempfile::tempdir().unwrap();
    let binary = litestream(scratch.path());
    let state = scratch.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let (journal, replica) = (state.join(JOURNAL_FILE), scratch.path().join("replica"));
    let settings = scratch.path().join("litestream.yml");
    std::fs::write(
        &settings,
        format!(
            "dbs:\n  - path: {}\n    replica:\n      type: file\n      path: {}\n      sync-interval: {SYNC_INTERVAL_MS}ms\n",
            journal.display(),
            replica.display()
        ),
    )
    .unwrap();
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "litestream::a_writer_that_is_replicated",
            "--ignored",
            "--nocapture",
        ])
        .env(DIRECTORY, &state)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = writer.stdout.take().unwrap();
    let mut writer = Killed(writer);
    let mut replicator = Killed(
        Command::new(&binary)
            .args(["replicate", "-config"])
            .arg(&settings)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let mut acknowledged = 0;
    let mut killed_at = 0;
    for line in BufReader::new(output).lines() {
        let Some(seq) = line.unwrap().strip_prefix('@').map(str::to_owned) else {
            continue;
        };
        acknowledged = seq.parse().unwrap();
        if killed_at == 0 && acknowledged >= EVENTS_BEFORE_KILL {
            replicator.0.kill().unwrap();
            writer.0.kill().unwrap();
            killed_at = unix_ms();
        }
    }
    assert!(acknowledged >= EVENTS_BEFORE_KILL);

    // Another machine: nothing but the replica is left.
    let other = scratch.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let restored = Command::new(&binary)
        .args(["restore", "-config"])
        .arg(&settings)
        .arg("-o")
        .arg(other.join(JOURNAL_FILE))
        .arg(&journal)
        .output()
        .unwrap();
    assert!(restored.status.success(), "{restored:?}");
    std::fs::copy(other.join(JOURNAL_FILE), scratch.path().join("kept")).unwrap();
    let opened = Journal::open(&other).unwrap();
    assert!(opened.restored().unwrap().contains("no epoch file"));
    let reader = JournalReader::open(&other).unwrap();
    let examination = reader.examine();
    assert!(examination.is_whole(), "{examination:?}");
    let stored = reader.events(&id("a")).unwrap();
    let last = stored.last().unwrap();
    let lost = acknowledged - last.seq;
    let lost_ms = killed_at.saturating_sub(last.at_unix_ms);
    println!("{lost} of {acknowledged} events lost, the last {lost_ms} ms");
    assert!(lost_ms <= SYNC_INTERVAL_MS + SLACK_MS, "{lost_ms} ms");
    assert_eq!(reader.live().unwrap(), []);
    let row = reader.interview(&id("a")).unwrap().unwrap();
    assert_eq!(row.set_aside.as_deref(), Some(RESTORED_CAUSE));
    opened.readmit(&id("a")).await.unwrap();
    let taken = opened.take_up(&id("a")).await.unwrap();
    assert_eq!(taken.events.len() as u64, last.seq);
    opened.close().await.unwrap();

    // The same machine, whose epoch fits: the mark knows whether the end is missing.
    let same = scratch.path().join("same");
    std::fs::create_dir(&same).unwrap();
    std::fs::copy(scratch.path().join("kept"), same.join(JOURNAL_FILE)).unwrap();
    for name in [EPOCH_FILE, MARK_FILE] {
        std::fs::copy(state.join(name), same.join(name)).unwrap();
    }
    let opened = Journal::open(&same).unwrap();
    assert_eq!(opened.restored().is_some(), lost > 0, "{lost} lost");
    opened.close().await.unwrap();
}

/// The largest that the WAL was while so many bytes of events were written.
async fn largest_wal(options: JournalOptions, megabytes: u64) -> u64 {
    const EVENT_BYTES: usize = 250_000;
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open_with(directory.path(), options).unwrap();
    journal.begin(new("a")).await.unwrap();
    let wal = directory.path().join(format!("{JOURNAL_FILE}-wal"));
    let mut largest = 0;
    for seq in 1..=megabytes * 4 {
        journal
            .append(&id("a"), vec![event(seq, EVENT_BYTES)])
            .await
            .unwrap();
        largest = largest.max(std::fs::metadata(&wal).unwrap().len());
    }
    journal.close().await.unwrap();
    largest
}

#[tokio::test]
async fn the_wal_stays_bounded_without_litestream() {
    let largest = largest_wal(JournalOptions::default(), 20).await;
    assert!(largest < 6 << 20, "{largest}");
}

#[tokio::test]
async fn the_wal_stays_bounded_when_litestream_is_dead() {
    let largest = largest_wal(replicated(), 100).await;
    assert!(
        (32 << 20..72 << 20).contains(&largest),
        "{largest}: left to Litestream up to 64 MiB, and no further"
    );
}
