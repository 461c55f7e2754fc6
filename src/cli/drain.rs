//! `viva drain`: a running service takes no more interviews, and those that are on come to their end.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::style::line;
use crate::config::Config;
use crate::health::control::{BEAT, CONTROL_SOCKET, Held};

/// Longer than any line of the service's.
const LINE_BYTES_MAX: u64 = 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Say so and return, without waiting for the interviews to end.
    #[arg(long)]
    no_wait: bool,
    /// The longest time to wait; interviews that are still on then go on, and the exit status is 1.
    #[arg(long, default_value_t = 180, value_name = "MINUTES")]
    wait_minutes: u64,
}

pub(super) fn run(args: &Args, config: &Config) -> anyhow::Result<ExitCode> {
    let socket = config.state_directory.join(CONTROL_SOCKET);
    let mut service = UnixStream::connect(&socket).with_context(|| {
        format!(
            "no service answers at {}; is it running, is state_directory the service's own, and are you its user or root?",
            socket.display()
        )
    })?;
    // A service that is alive says something at every beat.
    service.set_read_timeout(Some(BEAT * 3))?;
    service.write_all(b"drain\n")?;
    let deadline = Instant::now() + Duration::from_secs(args.wait_minutes.saturating_mul(60));
    let mut lines = BufReader::new(service);
    let mut last = None;
    loop {
        let held = next(&mut lines)?;
        if last != Some(held) {
            line(described(held));
            last = Some(held);
        }
        if held.drained || args.no_wait {
            return Ok(ExitCode::SUCCESS);
        }
        if Instant::now() >= deadline {
            bail!(
                "{} interviews are still on after {} minutes; they go on, and no more are taken",
                held.interviews,
                args.wait_minutes
            );
        }
    }
}

fn next(lines: &mut BufReader<UnixStream>) -> anyhow::Result<Held> {
    let mut text = String::new();
    match lines.take(LINE_BYTES_MAX).read_line(&mut text) {
        Ok(0) => bail!(
            "the service ended or does not answer you; interviews that were on are taken up when it starts again"
        ),
        Ok(_) => serde_json::from_str(&text).context("what answers is not a Viva of this release"),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            bail!(
                "the service has said nothing for {} s",
                (BEAT * 3).as_secs()
            )
        }
        Err(error) => Err(error).context("the connection to the service broke"),
    }
}

fn described(held: Held) -> String {
    match held {
        Held { drained: true, .. } => {
            "drained: no interview is on; stop or restart the service when you like".into()
        }
        Held { interviews: 0, .. } => "draining: the last interview is being closed".into(),
        Held { interviews: 1, .. } => "draining: 1 interview is on".into(),
        Held { interviews, .. } => format!("draining: {interviews} interviews are on"),
    }
}
