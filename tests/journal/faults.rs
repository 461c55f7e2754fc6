//! A disk that is full, fails, lies or loses its power: noticed, named, and nothing acknowledged is lost. A
//! real process writes a real file through `support/faultfs.c`, which stands between it and the disk.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::journal_support::{ended, id, joined, new};
use crate::preload::preload;
use viva::journal::{BALLAST_FILE, Condition, JOURNAL_FILE, Journal, JournalError, JournalReader};

const DIRECTORY: &str = "VIVA_TEST_JOURNAL_DIRECTORY";
/// Events that the writer tries to write, if nothing fails.
const EVENTS: u64 = 60;

/// Runs in the child: writes on, and says what was acknowledged and what failed.
#[test]
#[ignore = "is started by the other tests, as a process whose disk fails"]
fn a_writer_on_a_bad_disk() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(write_until_it_fails(Path::new(&directory)));
}

fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "\n@{line}").unwrap();
    output.flush().unwrap();
}

async fn write_until_it_fails(directory: &Path) {
    let journal = match Journal::open(directory) {
        Ok(journal) => journal,
        Err(error) => return say(&format!("open {error}")),
    };
    let mut seq = match JournalReader::open(directory).map(|r| r.interview(&id("a"))) {
        Ok(Ok(row)) => row.map_or(0, |row| row.events),
        other => return say(&format!("read {other:?}")),
    };
    match journal.begin(new("a")).await {
        // It was begun when there was room.
        Ok(()) | Err(JournalError::AlreadyBegun { .. } | JournalError::Full) => {}
        Err(error) => return say(&format!("begin {error}")),
    }
    for _ in 0..EVENTS {
        match journal.append(&id("a"), vec![joined(seq + 1)]).await {
            Ok(()) => {
                seq += 1;
                say(&format!("acknowledged {seq}"));
            }
            Err(error) => return say(&format!("append {error}")),
        }
        if journal.probe().condition == Condition::Full {
            break;
        }
    }
    if journal.probe().condition == Condition::Full {
        say("full");
        // No interview begins, and the one that runs is ended in good order.
        let refused = journal.begin(new("b")).await.unwrap_err();
        say(&format!("begin {refused}"));
        match journal.append(&id("a"), vec![ended(seq + 1)]).await {
            Ok(()) => say(&format!("acknowledged {}", seq + 1)),
            Err(error) => return say(&format!("append {error}")),
        }
    }
    if let Err(error) = journal.close().await {
        say(&format!("close {error}"));
    }
    say("done");
}

fn shim() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| preload("faultfs"))
}

/// What the child said.
struct Told {
    acknowledged: u64,
    lines: Vec<String>,
}

impl Told {
    fn says(&self, what: &str) -> bool {
        self.lines.iter().any(|line| line.contains(what))
    }
}

fn run(directory: &Path, operation: &str, after: u64, failure: &str, log: Option<&Path>) -> Told {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "faults::a_writer_on_a_bad_disk",
            "--ignored",
            "--nocapture",
        ])
        .env(DIRECTORY, directory)
        .env("LD_PRELOAD", shim())
        .env("FAULTFS_DIRECTORY", directory)
        .env("FAULTFS_OPERATION", operation)
        .env("FAULTFS_AFTER", after.to_string())
        .env("FAULTFS_FAILURE", failure)
        .stderr(Stdio::null());
    if let Some(log) = log {
        command.env("FAULTFS_LOG", log);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix('@').map(str::to_owned))
        .collect();
    let acknowledged = lines
        .iter()
        .filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok())
        .max()
        .unwrap_or(0);
    Told {
        acknowledged,
        lines,
    }
}

/// After whatever happened, the next process finds all that was acknowledged and goes on.
fn assert_whole(directory: &Path, acknowledged: u64, told: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let journal = Journal::open(directory).unwrap();
        assert_eq!(journal.restored(), None, "{told}");
        let reader = JournalReader::open(directory).unwrap();
        let examination = reader.examine();
        assert!(examination.is_whole(), "{told}: {examination:?}");
        if acknowledged > 0 {
            let stored = reader.events(&id("a")).unwrap().len() as u64;
            assert!(stored >= acknowledged, "{told}: {stored} of {acknowledged}");
        }
        journal.close().await.unwrap();
    });
}

/// Calls that a whole run makes are about this many; beyond it nothing fails.
fn points() -> impl Iterator<Item = u64> {
    (0..10).chain((10..200).step_by(19))
}

#[test]
fn a_disk_that_is_full_at_any_write_ends_the_interview_in_good_order() {
    let mut in_good_order = 0;
    for after in points() {
        let directory = tempfile::tempdir().unwrap();
        // The reserve was made when there was room.
        assert!(run(directory.path(), "none", 0, "none", None).says("done"));
        let told = run(directory.path(), "write", after, "full", None);
        let shown = format!("write {after}: {:?}", told.lines);
        if told.lines.iter().any(|line| line == "full") {
            in_good_order += 1;
            assert!(
                told.says("begin the disk of the journal is full"),
                "{shown}"
            );
            assert!(told.says("done"), "{shown}");
            assert!(!directory.path().join(BALLAST_FILE).exists(), "{shown}");
        } else {
            // All was written before it was full.
            assert!(told.says("done"), "{shown}");
        }
        assert_whole(directory.path(), told.acknowledged, &shown);
    }
    assert!(in_good_order > 4, "{in_good_order}");
}

#[test]
fn a_disk_that_takes_no_write_is_named_and_keeps_what_it_had() {
    for after in points() {
        let directory = tempfile::tempdir().unwrap();
        assert!(run(directory.path(), "none", 0, "none", None).says("done"));
        let told = run(directory.path(), "write", after, "eio", None);
        let shown = format!("write {after}: {:?}", told.lines);
        assert!(
            told.says("disk I/O error") || told.says("Input/output error") || told.says("done"),
            "{shown}"
        );
        assert_whole(directory.path(), told.acknowledged, &shown);
    }
}

#[test]
fn a_sync_that_fails_once_stops_the_journal_for_good() {
    let mut failed = 0;
    for after in points() {
        let directory = tempfile::tempdir().unwrap();
        let told = run(directory.path(), "sync", after, "once", None);
        let shown = format!("sync {after}: {:?}", told.lines);
        // Nothing after the failure is acknowledged, although the disk is well again.
        let last = told.lines.last().unwrap();
        if last != "done" {
            failed += 1;
            assert!(
                last.contains("disk I/O error") || last.contains("Input/output error"),
                "{shown}"
            );
        }
        assert_whole(directory.path(), told.acknowledged, &shown);
    }
    assert!(failed > 8, "{failed}");
}

#[test]
fn a_process_that_is_killed_at_any_write_or_sync_loses_nothing() {
    for (operation, failure) in [("any", "kill"), ("write", "torn")] {
        let directory = tempfile::tempdir().unwrap();
        let mut acknowledged = 0;
        for after in points() {
            let told = run(directory.path(), operation, after, failure, None);
            acknowledged = told.acknowledged.max(acknowledged);
            let shown = format!("{failure} at {operation} {after}: {:?}", told.lines);
            if directory.path().join("epoch").exists() {
                assert_whole(directory.path(), acknowledged, &shown);
            }
        }
        assert!(acknowledged > EVENTS, "it went on each time");
    }
}

/// One call of the log.
enum Call {
    Write(String, u64, Vec<u8>),
    Truncate(String, u64),
    Sync(String),
    Unlink(String),
    Rename(String, String),
}

impl Call {
    fn name(&self) -> &str {
        match self {
            Self::Write(name, ..)
            | Self::Truncate(name, _)
            | Self::Sync(name)
            | Self::Unlink(name)
            | Self::Rename(name, _) => name,
        }
    }
}

fn calls(log: &Path) -> Vec<Call> {
    let bytes = std::fs::read(log).unwrap();
    let mut rest = &bytes[..];
    let mut take = |n: usize| {
        let (taken, left) = rest.split_at_checked(n)?;
        rest = left;
        Some(taken)
    };
    let mut calls = Vec::new();
    while let Some(head) = take(24) {
        let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
        let long = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap());
        let name = String::from_utf8(take(word(4) as usize).unwrap().to_vec()).unwrap();
        calls.push(match word(0) {
            0 => Call::Write(name, long(16), take(long(8) as usize).unwrap().to_vec()),
            1 => Call::Sync(name),
            2 => Call::Truncate(name, long(16)),
            3 => Call::Unlink(name),
            _ => {
                let to = take(long(8) as usize).unwrap().to_vec();
                Call::Rename(name, String::from_utf8(to).unwrap())
            }
        });
    }
    calls
}

/// A disk with a cache: what was not synced may be lost when the power goes, each write for itself.
#[derive(Default)]
struct Disk {
    files: BTreeMap<String, Vec<u8>>,
    unsynced: Vec<Call>,
}

impl Disk {
    fn take(&mut self, call: Call) {
        match call {
            Call::Sync(name) => {
                let (synced, kept) = std::mem::take(&mut self.unsynced)
                    .into_iter()
                    .partition(|call| call.name() == name);
                self.unsynced = kept;
                let synced: Vec<Call> = synced;
                synced.into_iter().for_each(|call| self.keep(call));
            }
            // Names are taken for durable at once: whoever relies on one syncs its directory.
            Call::Unlink(name) => {
                self.unsynced.retain(|call| call.name() != name);
                self.files.remove(&name);
            }
            Call::Rename(from, to) => {
                if let Some(bytes) = self.files.remove(&from) {
                    self.files.insert(to, bytes);
                }
            }
            other => self.unsynced.push(other),
        }
    }

    fn keep(&mut self, call: Call) {
        match call {
            Call::Write(name, offset, data) => {
                let file = self.files.entry(name).or_default();
                let (from, to) = (offset as usize, offset as usize + data.len());
                file.resize(file.len().max(to), 0);
                file[from..to].copy_from_slice(&data);
            }
            Call::Truncate(name, length) => {
                self.files
                    .entry(name)
                    .or_default()
                    .resize(length as usize, 0);
            }
            Call::Sync(_) | Call::Unlink(_) | Call::Rename(..) => {}
        }
    }

    /// The power goes: of what was not synced some is there and some is not.
    fn lose_power(mut self, random: &mut fastrand::Rng) -> BTreeMap<String, Vec<u8>> {
        for mut call in std::mem::take(&mut self.unsynced) {
            match random.u8(0..4) {
                0 => self.keep(call),
                1 => {
                    if let Call::Write(_, _, data) = &mut call {
                        data.truncate(data.len() / 512 / 2 * 512);
                    }
                    self.keep(call);
                }
                _ => {}
            }
        }
        self.files
    }
}

#[test]
fn writes_that_were_not_synced_when_the_power_went_were_not_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let log = scratch.path().join("log");
    let told = run(directory.path(), "none", 0, "power", Some(&log));
    assert!(told.says("done"), "{:?}", told.lines);
    let total = calls(&log).len();
    let syncs: Vec<usize> = calls(&log)
        .iter()
        .enumerate()
        .filter(|(_, call)| matches!(call, Call::Sync(name) if name.ends_with("-wal")))
        .map(|(at, _)| at)
        .collect();
    // The last syncs of the WAL are the commits of the events, one each.
    let commits = &syncs[syncs.len() - EVENTS as usize..];
    for seed in 0..60u64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let at = random.usize(commits[0]..total);
        let mut disk = Disk::default();
        calls(&log)
            .into_iter()
            .take(at + 1)
            .for_each(|call| disk.take(call));
        let acknowledged = commits.iter().filter(|commit| **commit <= at).count() as u64;
        let after = tempfile::tempdir().unwrap();
        for (name, bytes) in disk.lose_power(&mut random) {
            let path = after.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        let _ = std::fs::remove_file(after.path().join(format!("{JOURNAL_FILE}-shm")));
        // The mark is not synced and may be of any age, but it never names what is not there.
        let told = format!("power lost with seed {seed}");
        assert_whole(after.path(), acknowledged, &told);
    }
}
