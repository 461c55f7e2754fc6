//! A log that nobody reads, in a real service: its pipe is full, and interviews begin, go on and end all the same. What
//! is lost is counted, and whoever reads again is told so and reads the end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails here"
)]

#[path = "support/follower.rs"]
mod follower;
#[path = "support/livekit_server.rs"]
mod livekit_server;
#[path = "support/service.rs"]
mod service;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use follower::Follower;
use livekit_server::LiveKitServer;
use serde_json::Value;
use service::{Service, viva};

const LIMIT: Duration = Duration::from_secs(30);
/// Between two looks where there is no event to wait for.
const LOOK: Duration = Duration::from_millis(20);

/// A service whose log goes into a pipe.
struct Piped {
    service: Service,
    log: BufReader<File>,
    address: String,
}

impl Piped {
    /// Starts it, and reads its log until it says where it listens.
    fn start(server: &LiveKitServer) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("log");
        assert!(
            Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        // Whoever has both ends waits for nobody.
        let both = File::options().read(true).write(true).open(&pipe).unwrap();
        let mut service = Service::start_by(
            &[
                ("LIVEKIT_URL", &server.url),
                ("LIVEKIT_API_KEY", &server.key),
                ("LIVEKIT_API_SECRET", &server.secret),
                // The pipe and the queue are to be full soon.
                ("VIVA_LOG__FILTER", "trace"),
                ("WATCHDOG_USEC", "800000"),
            ],
            |environment| {
                let mut shell = Command::new("sh");
                shell
                    .args(["-c", "exec \"$0\" serve 2> \"$1\""])
                    .arg(viva(environment).get_program())
                    .arg(&pipe)
                    .env_clear()
                    .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                    .envs(environment);
                shell
            },
        );
        let mut log = BufReader::new(File::open(&pipe).unwrap());
        let address = loop {
            let mut line = String::new();
            log.read_line(&mut line).unwrap();
            if let Some((_, rest)) = line.split_once("listening on http://") {
                let address = rest.split_whitespace().next().unwrap();
                break address.to_owned();
            }
        };
        service.wait_until_ready();
        drop(both);
        Self {
            service,
            log,
            address,
        }
    }

    fn lines_lost(&self) -> f64 {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        write!(
            stream,
            "GET /metrics HTTP/1.1\r\nHost: viva\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let line = answer
            .lines()
            .find(|l| l.starts_with("viva_log_lines_lost_total "));
        line.and_then(|l| l.split(' ').nth(1)?.parse().ok())
            .unwrap_or_else(|| panic!("no count of lost lines in\n{answer}"))
    }

    /// Nobody reads, until lines are lost.
    fn wait_until_lines_are_lost(&self) {
        let deadline = Instant::now() + LIMIT;
        while self.lines_lost() == 0.0 {
            assert!(Instant::now() < deadline, "no line is lost");
            std::thread::sleep(LOOK);
        }
    }

    fn wait_until_ended(&self, interview: &str) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let (_, interviews, _) = self.service.run(&["interviews", "--json"]);
            let interviews: Value = serde_json::from_str(&interviews).unwrap();
            let mut all = interviews.as_array().unwrap().iter();
            if all.any(|i| i["id"] == interview && !i["end_reason"].is_null()) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "it has not ended: {interviews:#}"
            );
            std::thread::sleep(LOOK);
        }
    }
}

#[test]
fn interviews_go_on_while_nobody_reads_the_log_and_the_end_is_read_again() {
    let server = LiveKitServer::start();
    let mut piped = Piped::start(&server);
    piped.service.wait_until_registered();
    let mut first = Follower::join(&server, "interview-first");
    first.wait_for_voice();
    piped.wait_until_lines_are_lost();
    first.wait_for_the_floor();
    let mut second = Follower::join(&server, "interview-second");
    second.wait_for_voice();
    second.wait_for_the_floor();
    server.delete_room("interview-second");
    piped.wait_until_ended("second");
    piped.service.forget_told();
    piped
        .service
        .wait_until_told("the watchdog", |line| line == "WATCHDOG=1");

    let Piped {
        mut service,
        mut log,
        ..
    } = piped;
    let reading = std::thread::spawn(move || {
        let mut rest = Vec::new();
        log.read_to_end(&mut rest).unwrap();
        String::from_utf8_lossy(&rest).into_owned()
    });
    service.signal("TERM");
    assert!(service.wait_for_end().success());
    let rest = reading.join().unwrap();
    assert!(rest.contains("log lines are lost"));
    let end = &rest[rest.len().saturating_sub(200_000)..];
    assert!(end.contains("told to stop"), "{end}");
}

#[test]
fn the_service_ends_although_nobody_reads_its_log() {
    let server = LiveKitServer::start();
    let mut piped = Piped::start(&server);
    piped.service.wait_until_registered();
    // A room makes more lines than a service that waits.
    let mut candidate = Follower::join(&server, "interview-unread");
    candidate.wait_for_voice();
    piped.wait_until_lines_are_lost();
    piped.service.signal("TERM");
    assert!(piped.service.wait_for_end().success());
}
