//! Prints what an append costs beside what the disk's own `fdatasync` costs.
//!
//! `cargo run --release --example journal_latency [DIRECTORY]`; the directory decides which disk is measured.
#![allow(
    clippy::disallowed_methods,
    reason = "a panic here ends the run, which is seen"
)]

use std::io::{Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use viva::interview::plan::Plan;
use viva::interview::{Event, InterviewId, Recorded};
use viva::journal::{Journal, NewInterview, Probe};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const APPENDS: u64 = 2_000;
/// About what an event takes in the WAL: two pages.
const SYNC_BYTES: usize = 8_192;
/// A full process, in which each interview has an event every so often: 1,000 a second together.
const PACED_INTERVIEWS: u64 = 50;
const PACE: Duration = Duration::from_millis(50);
/// 20 s of that.
const PACED_APPENDS: u64 = 400;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let parent = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    let directory = Path::new(&parent).join(format!("journal-latency-{}", std::process::id()));
    let measured = measure(&directory).await;
    std::fs::remove_dir_all(&directory)?;
    measured
}

async fn measure(directory: &Path) -> Result<(), Failure> {
    let journal = Journal::open(directory)?;
    print("fdatasync of 8 KiB", fdatasync(&directory.join("raw"))?)?;
    print(
        "append, 1 interview",
        appends(&journal, "one", APPENDS, None).await?,
    )?;
    for interviews in [4, 20] {
        let before = journal.probe();
        let mut tasks = Vec::new();
        for n in 0..interviews {
            let journal = journal.clone();
            let name = format!("of{interviews}-{n}");
            tasks.push(tokio::spawn(async move {
                appends(&journal, &name, APPENDS / interviews, None).await
            }));
        }
        print(
            &format!("append, {interviews} interviews at once"),
            all(tasks).await?,
        )?;
        print_commits(&journal, &before)?;
    }
    let before = journal.probe();
    let start = Instant::now();
    let tasks = (0..PACED_INTERVIEWS).map(|n| {
        let journal = journal.clone();
        let name = format!("paced-{n}");
        // Spread evenly, as interviews are.
        let first = start + PACE * u32::try_from(n).unwrap_or(0) / PACED_INTERVIEWS as u32;
        tokio::spawn(async move { appends(&journal, &name, PACED_APPENDS, Some(first)).await })
    });
    print("append, 1,000 events/s", all(tasks.collect()).await?)?;
    print_commits(&journal, &before)?;
    journal.close().await?;
    Ok(())
}

type Appending = tokio::task::JoinHandle<Result<Vec<Duration>, Failure>>;

async fn all(tasks: Vec<Appending>) -> Result<Vec<Duration>, Failure> {
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    Ok(times)
}

fn print_commits(journal: &Journal, before: &Probe) -> std::io::Result<()> {
    let after = journal.probe();
    let (events, commits) = (after.events - before.events, after.commits - before.commits);
    writeln!(
        std::io::stdout(),
        "{:<32} {events} events in {commits} commits",
        ""
    )
}

fn fdatasync(path: &Path) -> std::io::Result<Vec<Duration>> {
    let mut file = std::fs::File::create(path)?;
    let block = [7u8; SYNC_BYTES];
    let mut times = Vec::new();
    // Into space that is there already, as in a WAL that has been checkpointed.
    for round in 0..=APPENDS {
        if round % 64 == 0 {
            file.rewind()?;
        }
        let start = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// One after the other; with `first` at that time and then at every [`PACE`], late or not, and measured from when it was due.
async fn appends(
    journal: &Journal,
    name: &str,
    count: u64,
    first: Option<Instant>,
) -> Result<Vec<Duration>, Failure> {
    let plan = Plan::parse(include_str!("../plans/demo.toml"), "demo.toml")?;
    let id = InterviewId::new(name)?;
    let new = NewInterview {
        id: id.clone(),
        room: format!("interview-{name}"),
        plan_name: "demo".into(),
        plan_hash: plan.hash().into(),
        plan_body: plan.body().into(),
        candidate: None,
        at_unix_ms: 0,
    };
    journal.begin(new).await?;
    let mut times = Vec::new();
    for seq in 1..=count {
        let cause =
            "The stack holds the frames of the calls that have not returned yet. ".repeat(3);
        let event = Event::MindFailed { turn: 1, cause };
        let recorded = Recorded {
            seq,
            at_unix_ms: seq,
            elapsed_ms: seq,
            event,
        };
        let due = first.map(|first| first + PACE * u32::try_from(seq).unwrap_or(u32::MAX));
        if let Some(due) = due {
            tokio::time::sleep_until(due.into()).await;
        }
        let start = due.unwrap_or_else(Instant::now);
        journal.append(&id, vec![recorded]).await?;
        times.push(start.elapsed());
    }
    Ok(times)
}

fn print(what: &str, mut times: Vec<Duration>) -> std::io::Result<()> {
    times.sort_unstable();
    let at = |percent: usize| times.get((times.len() * percent).div_ceil(100).saturating_sub(1));
    let ms = |time: Option<&Duration>| time.map_or(0.0, |t| t.as_secs_f64() * 1000.0);
    let (p50, p99, most) = (ms(at(50)), ms(at(99)), ms(times.last()));
    writeln!(
        std::io::stdout(),
        "{what:<32} p50 {p50:7.3} ms   p99 {p99:7.3} ms   max {most:7.3} ms"
    )
}
