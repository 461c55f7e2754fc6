//! `kill -9` in the middle of writing: no acknowledged event is lost, and the next process goes on. Real
//! processes and a real file; no server.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use viva::interview::plan::Plan;
use viva::interview::{Event, InterviewId, Recorded};
use viva::journal::{Journal, JournalReader, NewInterview};

const DIRECTORY: &str = "VIVA_TEST_JOURNAL_DIRECTORY";
const INTERVIEWS: usize = 4;
const KILLS: usize = 8;

fn id(n: usize) -> InterviewId {
    InterviewId::new(format!("i{n}")).unwrap()
}

/// Runs in the child: writes until it is killed, and says what was acknowledged.
#[test]
#[ignore = "is started by the other test, as a process to be killed"]
fn a_writer_that_never_stops() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(write_for_ever(Path::new(&directory)));
}

async fn write_for_ever(directory: &Path) {
    let journal = Journal::open(directory).unwrap();
    let plan = Plan::parse(include_str!("../../plans/demo.toml"), "demo").unwrap();
    let mut tasks = Vec::new();
    for n in 0..INTERVIEWS {
        let reader = JournalReader::open(directory).unwrap();
        let mut seq = reader
            .interview(&id(n))
            .unwrap()
            .map_or(0, |row| row.events);
        let new = NewInterview {
            id: id(n),
            room: "r".into(),
            plan_name: "demo".into(),
            plan_hash: plan.hash().into(),
            plan_body: plan.body().into(),
            candidate: None,
            at_unix_ms: 1,
        };
        let journal = journal.clone();
        tasks.push(tokio::spawn(async move {
            if seq == 0 {
                // It may have been begun just before a kill.
                let _ = journal.begin(new).await;
            }
            loop {
                // Two at a time, so that half of a batch would show.
                let batch = (1..=2).map(|plus| Recorded {
                    seq: seq + plus,
                    at_unix_ms: seq,
                    elapsed_ms: seq,
                    event: Event::CandidateLeft,
                });
                journal.append(&id(n), batch.collect()).await.unwrap();
                seq += 2;
                writeln!(std::io::stdout().lock(), "\nacknowledged {n} {seq}").unwrap();
            }
        }));
    }
    // None of them ends, unless it fails.
    if let Some(task) = tasks.pop() {
        task.await.unwrap();
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = [0u64; INTERVIEWS];
    for round in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "kill::a_writer_that_never_stops",
                "--ignored",
                "--nocapture",
            ])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let before = acknowledged;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut read = 0;
        // Killed after another number of acknowledgements each time, then read to the end of the pipe.
        while let Some(Ok(line)) = lines.next() {
            let Some(rest) = line.strip_prefix("acknowledged ") else {
                continue;
            };
            let Some((n, seq)) = rest.split_once(' ') else {
                continue;
            };
            let n: usize = n.parse().unwrap();
            acknowledged[n] = acknowledged[n].max(seq.parse().unwrap());
            read += 1;
            if read == 20 + round * 37 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert_ne!(acknowledged, before, "the child wrote something");
        let reader = JournalReader::open(directory.path()).unwrap();
        for (n, &acknowledged) in acknowledged.iter().enumerate() {
            let stored = reader.events(&id(n)).unwrap().len() as u64;
            assert!(
                stored >= acknowledged,
                "interview {n}: {stored} of {acknowledged}"
            );
            assert_eq!(stored % 2, 0, "a batch is there whole or not at all");
        }
    }
}
