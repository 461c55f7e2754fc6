//! Prints what sessions cost that send a track and receive one, all of them in this process, and how punctual their sound is.
//!
//! `VIVA_LIVEKIT_SERVER=… cargo run --release --example session_cost [ROOMS] [SECONDS] [RECORDING]`
//!
//! Each room has two sessions, which hear each other. They say what is in the recording, a WAV file of one channel, or a made-up vowel
//! that is cheaper to encode. The server is a process of its own.
#![allow(
    clippy::disallowed_methods,
    reason = "a panic here ends the run, which is seen"
)]

mod session;
#[path = "../support/mod.rs"]
mod support;

use std::io::Write;
use std::time::Duration;

use futures_util::future::try_join_all;
use livekit::webrtc::audio::clock_stats;
use session::{Session, Speech};
use support::livekit_server::LiveKitServer;
use support::{Failure, process};

const ROOMS: usize = 20;
const SECONDS: u64 = 60;
/// From the last joining until it counts: jitter buffers have found their size by then.
const SETTLING: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let rooms = arguments.next().map_or(Ok(ROOMS), |text| text.parse())?;
    let seconds = arguments.next().map_or(Ok(SECONDS), |text| text.parse())?;
    let speech = arguments
        .next()
        .map_or(Ok(Speech::made_up()), |path| Speech::read(&path))?;
    let server = support::server()?;
    // The first room pays for what all rooms share.
    let mut sessions = open(&server, 0, &speech).await?;
    tokio::time::sleep(SETTLING).await;
    let first_kb = process::rss_kb()?;
    for room in 1..rooms {
        sessions.extend(open(&server, room, &speech).await?);
    }
    tokio::time::sleep(SETTLING).await;
    let (begin_s, clock) = (process::processor_s()?, clock_stats());
    let concealed: u64 = sessions.iter().map(Session::concealed).sum();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let (used_s, later) = (process::processor_s()? - begin_s, clock_stats());
    let rss_kb = process::rss_kb()? as f64;
    let concealed = sessions.iter().map(Session::concealed).sum::<u64>() - concealed;
    let count = sessions.len() as f64;
    let late = later.lateness.since(&clock.lateness);
    let ms = |share| late.quantile(share).as_secs_f64() * 1e3;
    let heard = count * seconds as f64 * 48_000.0;
    writeln!(
        std::io::stdout(),
        "| sessions | a session, of one core | a session, memory | all, memory | threads | concealed | late, p50 | p99 | p99.9 | beats left out | threads in a hurry |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n\
         | {count} | {:.2} % | {:.2} MB | {:.1} MB | {} | {:.3} % | {:.2} ms | {:.2} ms | {:.2} ms | {} | {} of {} |",
        used_s / seconds as f64 / count * 100.0,
        (rss_kb - first_kb as f64) / 1e3 / (count - 2.0).max(1.0),
        rss_kb / 1e3,
        process::threads()?,
        concealed as f64 / heard * 100.0,
        ms(0.5),
        ms(0.99),
        ms(0.999),
        later.skipped - clock.skipped,
        later.hurried,
        later.threads,
    )?;
    try_join_all(sessions.iter().map(Session::close)).await?;
    Ok(())
}

/// A room with its two sessions, which hear each other when this returns.
async fn open(
    server: &LiveKitServer,
    number: usize,
    speech: &Speech,
) -> Result<Vec<Session>, Failure> {
    let room = format!("cost-{number}");
    let (one, two) = tokio::try_join!(
        Session::join(server, &room, "one", speech),
        Session::join(server, &room, "two", speech)
    )?;
    let mut sessions = vec![one, two];
    for session in &mut sessions {
        session.listen().await?;
    }
    Ok(sessions)
}
