//! Opens and closes rooms on a real livekit-server, and prints what stays behind.
//!
//! `VIVA_LIVEKIT_SERVER=… cargo run --release --example room_churn [ROOMS] [AT_ONCE] [ENDING|all] [plain]`
//!
//! Each room has two participants: sound goes one way, data the other, and then it ends in the one way of `Ending`,
//! or in each of them in turn. Rooms are left as Viva leaves them; with `plain`, as LiveKit's SDK does by itself, which keeps
//! what it had of a room that is left while others publish.
//! Exits with 1 if a room failed, or if tasks, threads or files are left at the end.
#![allow(
    clippy::disallowed_methods,
    reason = "a panic here ends the run, which is seen"
)]

mod figures;
mod life;
#[path = "../support/mod.rs"]
mod support;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use figures::Figures;
use life::Client;
use support::Failure;
use support::livekit_server::LiveKitServer;
use viva::room::signalling;

const ROOMS: u64 = 10_000;
const AT_ONCE: u64 = 8;
/// Rooms that are opened before anything is compared, of a longer run; of a shorter one it is a third. Pools and caches have
/// their size by then.
const WARM_UP_MAX: u64 = 100;
/// Lines of figures in a run.
const LINES: u64 = 20;
/// A room takes a second or two; one that is not over by then hangs.
const LIFE_LIMIT: Duration = Duration::from_secs(60);
/// Until everything of the last rooms is gone. A joining that was given up leaves the SDK waiting for the server to hang up.
const SETTLING_LIMIT: Duration = Duration::from_secs(180);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let rooms = arguments.next().map_or(Ok(ROOMS), |text| text.parse())?;
    let at_once = arguments.next().map_or(Ok(AT_ONCE), |text| text.parse())?;
    let only: Option<Arc<str>> = arguments
        .next()
        .filter(|name| name != "all")
        .map(Into::into);
    let client = match arguments.next().as_deref() {
        None => Client::Viva,
        Some("plain") => Client::Plain,
        Some(other) => return Err(format!("{other} is not `plain`").into()),
    };
    if client == Client::Viva {
        signalling::install();
    }
    let server = Arc::new(support::server()?);
    let begun = Instant::now();
    say(&Figures::head())?;
    let warm_up = WARM_UP_MAX.min(rooms / 3);
    let mut failed = churn(&server, 0..warm_up, at_once, only.as_ref(), client).await?;
    let warm = settled(None).await;
    say(&warm.line(warm_up, begun.elapsed()))?;
    let step = (rooms / LINES).max(1);
    let mut done = warm_up;
    while done < rooms {
        let next = (done + step).min(rooms);
        failed += churn(&server, done..next, at_once, only.as_ref(), client).await?;
        done = next;
        say(&Figures::now()?.line(done, begun.elapsed()))?;
    }
    let left = settled(Some(&warm)).await;
    say(&left.line(rooms, begun.elapsed()))?;
    if failed > 0 {
        return Err(format!("{failed} of {rooms} rooms failed").into());
    }
    left.no_more_than(&warm)
}

/// Runs the rooms of these numbers, some at once, and gives how many failed.
async fn churn(
    server: &Arc<LiveKitServer>,
    numbers: std::ops::Range<u64>,
    at_once: u64,
    only: Option<&Arc<str>>,
    client: Client,
) -> Result<u64, Failure> {
    let next = Arc::new(AtomicU64::new(numbers.start));
    let workers = (0..at_once).map(|_| {
        let (server, next, end) = (Arc::clone(server), Arc::clone(&next), numbers.end);
        let only = only.cloned();
        tokio::spawn(async move {
            let mut failed = 0;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= end {
                    return Ok::<_, Failure>(failed);
                }
                let ending = life::ending(number, only.as_deref())?;
                let life = life::live(&server, number, ending, client);
                let why = match tokio::time::timeout(LIFE_LIMIT, life).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(why)) => why.to_string(),
                    Err(_) => format!("it was not over after {LIFE_LIMIT:?}"),
                };
                failed += 1;
                let _ = say(&format!("room {number} ({ending:?}): {why}"));
            }
        })
    });
    let mut failed = 0;
    for worker in workers.collect::<Vec<_>>() {
        failed += worker.await??;
    }
    Ok(failed)
}

/// The figures once nothing has changed for a while, or once they are no more than they were.
async fn settled(before: Option<&Figures>) -> Figures {
    let until = Instant::now() + SETTLING_LIMIT;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if let Ok(now) = Figures::now() {
            let calm = match before {
                Some(before) => now.no_more_than(before).is_ok(),
                // Without a yardstick: nothing but this function is left.
                None => now.tasks == 0 && now.engine_tasks == 0,
            };
            if calm || Instant::now() > until {
                return now;
            }
        }
    }
}

fn say(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
