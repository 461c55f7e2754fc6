//! Prints how fast a backlog drains into PostgreSQL, and how far the copy is behind 100 live interviews.
//!
//! `cargo run --release --example postgres_copy URL [EVENTS]`; the schema `viva_benchmark` of that database is made and
//! dropped. The journal is made in the working directory. `--backlog DIRECTORY EVENTS` makes such a journal and leaves it,
//! which is what `scripts/measure-backlog` begins with.
#![allow(
    clippy::disallowed_methods,
    reason = "a panic here ends the run, which is seen"
)]

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sqlx::{Connection, PgConnection};
use tokio_util::sync::CancellationToken;
use viva::boot::Timeline;
use viva::config::{Config, Environment};
use viva::health::Health;
use viva::interview::event::{EndReason, Hearing, Role};
use viva::interview::plan::Plan;
use viva::interview::{Event, InterviewId, Recorded};
use viva::journal::{Journal, JournalReader, NewInterview};
use viva::sync::{Appliance, Copier, Link, SyncStatus};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const SCHEMA: &str = "viva_benchmark";
const EVENTS: u64 = 1_000_000;
/// Events of one interview: half an hour of talk.
const LENGTH: u64 = 200;
/// Interviews that go on while the lag is measured, each with an event in every second.
const LIVE: u64 = 100;
const LIVE_S: u64 = 30;
/// Interviews that are written at the same time while the backlog is made.
const WRITERS: u64 = 64;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments
        .next()
        .ok_or("name the database: postgresql://…")?;
    if url == "--backlog" {
        let directory = arguments.next().ok_or("name the directory")?;
        let events: u64 = arguments.next().ok_or("how many events?")?.parse()?;
        let journal = Journal::open(Path::new(&directory))?;
        write_backlog(&journal, events / LENGTH).await?;
        return Ok(journal.close().await?);
    }
    let events = arguments.next().map_or(Ok(EVENTS), |text| text.parse())?;
    let directory = std::env::current_dir()?.join(format!("postgres-copy-{}", std::process::id()));
    let measured = measure(&directory, &url, events).await;
    std::fs::remove_dir_all(&directory)?;
    let mut connection = PgConnection::connect(&url).await?;
    sqlx::raw_sql("DROP SCHEMA IF EXISTS viva_benchmark CASCADE")
        .execute(&mut connection)
        .await?;
    measured
}

async fn measure(directory: &Path, url: &str, events: u64) -> Result<(), Failure> {
    let journal = Journal::open(directory)?;
    let begun = Instant::now();
    write_backlog(&journal, events / LENGTH).await?;
    say("backlog made", events, begun.elapsed())?;
    let mut config = Config {
        state_directory: directory.to_owned(),
        ..Config::default()
    };
    config.postgres.url = Some(url.to_owned());
    config.postgres.schema = SCHEMA.into();
    let link = Link::of(&config, &Environment::of_process())?.ok_or("no database")?;
    let health = Health::new(Timeline::start());
    let mine = Appliance::of(directory, "APIexample");
    let copier = Copier::new(link, journal.clone(), directory.to_owned(), mine, health);
    let (status, stop) = (copier.status(), CancellationToken::new());
    let copying = tokio::spawn(copier.run(stop.clone()));
    let begun = Instant::now();
    await_copied(&status, events).await?;
    say("backlog drained", events, begun.elapsed())?;
    let lags = live(&journal, directory, &status).await?;
    stop.cancel();
    copying.await?;
    print_lags(lags)
}

async fn await_copied(status: &SyncStatus, events: u64) -> Result<(), Failure> {
    let mut told = Instant::now();
    while status.now().copied < events {
        if told.elapsed() > Duration::from_secs(20) {
            told = Instant::now();
            writeln!(std::io::stderr(), "{:?}", status.now())?;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn write_backlog(journal: &Journal, interviews: u64) -> Result<(), Failure> {
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let journal = journal.clone();
        writers.push(tokio::spawn(async move {
            for n in (writer..interviews).step_by(usize::try_from(WRITERS)?) {
                let id = begin(&journal, &format!("backlog-{n}")).await?;
                let mut events: Vec<Recorded> = (1..LENGTH).map(turn).collect();
                events.push(Recorded {
                    event: Event::Ended {
                        reason: EndReason::Completed,
                    },
                    ..turn(LENGTH)
                });
                journal.append(&id, events).await?;
            }
            Ok::<_, Failure>(())
        }));
    }
    for writer in writers {
        writer.await??;
    }
    Ok(())
}

/// How old the oldest event was that was not in Postgres, looked at a hundred times a second.
async fn live(
    journal: &Journal,
    directory: &Path,
    status: &SyncStatus,
) -> Result<Vec<u64>, Failure> {
    let mut speakers = Vec::new();
    for n in 0..LIVE {
        let journal = journal.clone();
        speakers.push(tokio::spawn(async move {
            let id = begin(&journal, &format!("live-{n}")).await?;
            tokio::time::sleep(Duration::from_millis(n * 10)).await;
            let mut clock = tokio::time::interval(Duration::from_secs(1));
            for seq in 1..=LIVE_S {
                clock.tick().await;
                journal.append(&id, vec![turn(seq)]).await?;
            }
            Ok::<_, Failure>(())
        }));
    }
    let reader = JournalReader::open(directory)?;
    let (end, mut lags) = (Instant::now() + Duration::from_secs(LIVE_S), Vec::new());
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let oldest = reader
            .outbox()?
            .into_iter()
            .map(|unsent| unsent.oldest_at_unix_ms)
            .min();
        lags.push(oldest.map_or(0, |oldest| unix_ms().saturating_sub(oldest)));
    }
    for speaker in speakers {
        speaker.await??;
    }
    let failures = status.now().failures;
    if failures > 0 {
        return Err(format!("{failures} tries failed").into());
    }
    Ok(lags)
}

async fn begin(journal: &Journal, name: &str) -> Result<InterviewId, Failure> {
    let plan = Plan::parse(include_str!("../plans/demo.toml"), "demo")?;
    let id = InterviewId::new(name)?;
    journal
        .begin(NewInterview {
            id: id.clone(),
            room: format!("interview-{name}"),
            plan_name: "demo".into(),
            plan_hash: plan.hash().into(),
            plan_body: plan.body().into(),
            candidate: None,
            at_unix_ms: unix_ms(),
        })
        .await?;
    Ok(id)
}

/// What a candidate says in one breath.
fn turn(seq: u64) -> Recorded {
    Recorded {
        seq,
        at_unix_ms: unix_ms(),
        elapsed_ms: seq,
        event: Event::TurnHeard {
            turn: u32::try_from(seq).unwrap_or(u32::MAX),
            about: Some(1),
            role: Role::Answer,
            text: "I would look at the plan first, then at the index, and only then at the query itself.".into(),
            heard_by: Hearing {
                engine: "moonshine".into(),
                speech_ms: 4_200,
                stt_ms: 110,
                wait_ms: 660,
            },
        },
    }
}

fn unix_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(0))
}

#[expect(clippy::cast_precision_loss, reason = "these numbers fit")]
fn say(what: &str, events: u64, took: Duration) -> Result<(), Failure> {
    let rate = events as f64 / took.as_secs_f64();
    writeln!(
        std::io::stdout(),
        "{what:<18} {events} events in {:.1} s: {rate:.0} a second",
        took.as_secs_f64()
    )?;
    Ok(())
}

fn print_lags(mut lags: Vec<u64>) -> Result<(), Failure> {
    lags.sort_unstable();
    let of = |percent: usize| {
        lags.get(lags.len() * percent / 100)
            .or(lags.last())
            .copied()
            .unwrap_or(0)
    };
    writeln!(
        std::io::stdout(),
        "{LIVE} live interviews  lag p50 {} ms, p99 {} ms, highest {} ms",
        of(50),
        of(99),
        lags.last().copied().unwrap_or(0)
    )?;
    Ok(())
}
