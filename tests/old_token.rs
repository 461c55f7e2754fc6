//! The token of a job is too old when the room is to be joined, or joined again: the interviewer lets itself in. Real jobs of
//! a real livekit-server, whose tokens are made old on their way.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails here"
)]

#[path = "support/aging.rs"]
mod aging;
#[path = "support/follower.rs"]
mod follower;
#[path = "support/livekit_server.rs"]
mod livekit_server;
#[path = "support/service.rs"]
mod service;

use std::time::{Duration, Instant};

use aging::{AgingDoor, LEEWAY_S};
use follower::Follower;
use livekit_server::LiveKitServer;
use service::Service;
use tokio::runtime::Runtime;

/// Seconds in which a job's token is still good: enough to join on a busy machine.
const STILL_GOOD_S: i64 = 10;

/// For the token's end.
const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(200);

/// A service that reaches LiveKit through a door where tokens become old.
fn start(runtime: &Runtime, server: &LiveKitServer, lives_s: i64) -> (AgingDoor, Service) {
    let door = runtime.block_on(AgingDoor::open(server.port(), &server.secret, lives_s));
    let mut service = Service::start(&[
        ("LIVEKIT_URL", &door.url()),
        ("LIVEKIT_API_KEY", &server.key),
        ("LIVEKIT_API_SECRET", &server.secret),
    ]);
    service.wait_until_registered();
    (door, service)
}

#[test]
fn a_job_whose_token_is_too_old_is_held_all_the_same() {
    let runtime = Runtime::new().expect("a runtime");
    let server = LiveKitServer::start();
    let (_door, service) = start(&runtime, &server, -3600);
    let mut candidate = Follower::join(&server, "interview-old");
    candidate.wait_for_voice();
    candidate.wait_for_the_floor();
    assert_eq!(candidate.agents_max(), 1, "{:#?}", candidate.noticed);
    let log = service.log();
    assert_eq!(
        log.matches("could not be joined").count(),
        1,
        "with the job's token, and not with its own: {log}"
    );
}

#[test]
fn a_connection_that_outlived_its_token_is_made_anew_and_the_interview_goes_on() {
    let runtime = Runtime::new().expect("a runtime");
    let server = LiveKitServer::start();
    let (door, service) = start(&runtime, &server, STILL_GOOD_S - LEEWAY_S);
    let mut candidate = Follower::join(&server, "interview-outlived");
    candidate.wait_for_voice();
    candidate.wait_for_the_floor();
    let log = service.log();
    assert!(
        !log.contains("could not be joined"),
        "joined while the token was good: {log}"
    );
    let path = format!("/rtc/validate?access_token={}", door.assigned_token());
    let deadline = Instant::now() + LIMIT;
    while server.get_status(&path) != 401 {
        assert!(Instant::now() < deadline, "the token is taken for ever");
        std::thread::sleep(LOOK);
    }

    door.cut();
    service.wait_for_log("the room is left and joined again");
    candidate.wait_for_words("Let me repeat the question.");
    candidate.wait_for_the_floor();
    assert_eq!(candidate.agents_max(), 1, "{:#?}", candidate.noticed);
}
