//! Clocks that jump while an interview is on, and machines that stand still: `support/clock.c` stands between a real
//! service and its clocks. The interview goes on by the time that really goes by, and the watchdog is fed.
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
#[path = "support/preload.rs"]
mod preload;
#[path = "support/service.rs"]
mod service;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use follower::Follower;
use livekit_server::LiveKitServer;
use preload::preload;
use serde_json::Value;
use service::Service;
use viva::interview::pace::SILENCE_PROMPT_MS;

/// A year back and on, a night, and a clock that was never set.
const JUMPS: [&str; 5] = [
    "wall -31536000",
    "wall 31536000",
    "sleep 28800",
    "wall -1700000000",
    "wall 0",
];

/// Longer than any part may stand still, and than LiveKit takes somebody for present.
const PAUSE: Duration = Duration::from_secs(20);

/// A service whose clocks jump when the file is written, and the file.
fn start(server: &LiveKitServer, directory: &Path) -> (Service, PathBuf) {
    let (clock, jump) = (preload("clock"), directory.join("jump"));
    let mut service = Service::start(&[
        ("LIVEKIT_URL", &server.url),
        ("LIVEKIT_API_KEY", &server.key),
        ("LIVEKIT_API_SECRET", &server.secret),
        ("LD_PRELOAD", clock.to_str().unwrap()),
        ("CLOCK_JUMP_FILE", jump.to_str().unwrap()),
        ("WATCHDOG_USEC", "800000"),
    ]);
    service.wait_until_registered();
    (service, jump)
}

/// Makes the clocks jump and waits until the watchdog has been fed twice since.
fn jump_to(words: &str, jump: &Path, service: &mut Service) {
    // Whole at once, as the process may read it at any moment.
    let new = jump.with_extension("new");
    std::fs::write(&new, words).unwrap();
    std::fs::rename(&new, jump).unwrap();
    for _ in 0..2 {
        service.forget_told();
        service.wait_until_told("the watchdog", |line| line == "WATCHDOG=1");
    }
}

#[test]
fn an_interview_goes_on_at_its_pace_while_the_clocks_jump() {
    let directory = tempfile::tempdir().unwrap();
    let server = LiveKitServer::start();
    let (mut service, jump) = start(&server, directory.path());
    let mut candidate = Follower::join(&server, "interview-jumps");
    candidate.wait_for_voice();
    candidate.wait_for_the_floor();
    let asked = Instant::now();
    for words in JUMPS {
        jump_to(words, &jump, &mut service);
        assert!(
            asked.elapsed() < Duration::from_millis(SILENCE_PROMPT_MS),
            "the jumps are to fall into the silence after the question"
        );
    }
    // Neither at once because a year went by, nor in a year.
    candidate.wait_for_voice();
    let silence = asked.elapsed();
    let promised = Duration::from_millis(SILENCE_PROMPT_MS);
    assert!(
        silence > promised - Duration::from_secs(2) && silence < promised * 3,
        "a silent candidate is spoken to after {silence:?} in place of {promised:?}"
    );

    // Interviews begin and end at any time.
    jump_to("wall -31536000", &jump, &mut service);
    let mut second = Follower::join(&server, "interview-second");
    second.wait_for_voice();
    second.wait_for_the_floor();
    server.delete_room("interview-second");
    service.wait_for_log("left the room interview_id=second");
    service.signal("TERM");
    assert!(service.wait_for_end().success(), "{}", service.log());

    let (_, interviews, _) = service.run(&["interviews", "--json"]);
    let interviews: Value = serde_json::from_str(&interviews).unwrap();
    let begun = |id: &str| {
        let mut all = interviews.as_array().unwrap().iter();
        let found = all.find(|i| i["id"] == id).expect("the interview");
        found["begun_at_unix_ms"].as_u64().unwrap()
    };
    assert!(
        begun("second") + 300 * 86_400_000 < begun("jumps"),
        "the clock did not jump: {interviews:#}"
    );
    let (found, report, error) = service.run(&["report", "jumps", "--json"]);
    assert!(found, "{error}");
    let report: Value = serde_json::from_str(&report).unwrap();
    let lasted = Duration::from_millis(report["duration_ms"].as_u64().unwrap());
    assert!(lasted < Duration::from_secs(120), "{report:#}");
    let (whole, said, error) = service.run(&["journal", "check"]);
    assert!(whole, "{said}{error}");
    assert!(!service.log().contains("stood still"), "{}", service.log());
}

#[test]
fn a_machine_that_was_paused_is_no_hang_and_its_interview_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let server = LiveKitServer::start();
    let (mut service, _) = start(&server, directory.path());
    let mut candidate = Follower::join(&server, "interview-paused");
    candidate.wait_for_voice();
    candidate.wait_for_the_floor();
    // For the process a machine that stands still is nothing else.
    service.signal("STOP");
    std::thread::sleep(PAUSE);
    service.signal("CONT");
    candidate.wait_for_words("Let me repeat the question.");
    candidate.wait_for_voice();
    candidate.wait_for_the_floor();
    service.forget_told();
    service.wait_until_told("the watchdog", |line| line == "WATCHDOG=1");
    assert_eq!(service.get("/readyz").0, 200);
    assert_eq!(candidate.agents_max(), 1, "{:#?}", candidate.noticed);
    assert!(
        !service.log().contains("this process stood still"),
        "{}",
        service.log()
    );
    service.signal("TERM");
    assert!(service.wait_for_end().success(), "{}", service.log());
}

/// A virtual machine that was paused for an hour, and that nobody else has noticed: its clocks went on, and nothing in it
/// ran. It is no hour of silence.
#[test]
fn a_virtual_machine_that_was_paused_takes_nothing_from_the_candidates_time() {
    let directory = tempfile::tempdir().unwrap();
    let server = LiveKitServer::start();
    let (mut service, jump) = start(&server, directory.path());
    let mut candidate = Follower::join(&server, "interview-paused");
    candidate.wait_for_voice();
    candidate.wait_for_the_floor();
    jump_to("run 3600", &jump, &mut service);
    service.wait_for_log("stood still for 36");
    candidate.wait_for_voice();
    candidate.wait_for_the_floor();
    assert_eq!(service.get("/readyz").0, 200);
    assert_eq!(candidate.agents_max(), 1, "{:#?}", candidate.noticed);
    let log = service.log();
    assert!(!log.contains("is stuck"), "{log}");
    // Another one begins and ends by the clock that has jumped.
    let mut second = Follower::join(&server, "interview-second");
    second.wait_for_voice();
    server.delete_room("interview-second");
    service.wait_for_log("left the room interview_id=second");
    service.signal("TERM");
    assert!(service.wait_for_end().success(), "{}", service.log());
    let (_, interviews, _) = service.run(&["interviews", "--json"]);
    let interviews: Value = serde_json::from_str(&interviews).unwrap();
    let mut all = interviews.as_array().unwrap().iter();
    let paused = all.find(|i| i["id"] == "paused").expect("the interview");
    assert!(paused["end_reason"].is_null(), "{paused:#}");
    let (whole, said, error) = service.run(&["journal", "check"]);
    assert!(whole, "{said}{error}");
}
