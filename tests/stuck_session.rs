//! An interview whose session stands still, in a real service: `support/wedge.c` holds the thread that it is on. It is
//! named, taken up again on another thread, and the interview beside it notices nothing.
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

use std::path::Path;

use follower::Follower;
use livekit_server::LiveKitServer;
use preload::preload;
use service::Service;

/// A service one of whose connections to LiveKit is held when `file` is there.
fn start(server: &LiveKitServer, file: &Path) -> Service {
    let wedge = preload("wedge");
    let port = server.url.rsplit(':').next().unwrap();
    let mut service = Service::start(&[
        ("LIVEKIT_URL", &server.url),
        ("LIVEKIT_API_KEY", &server.key),
        ("LIVEKIT_API_SECRET", &server.secret),
        ("LD_PRELOAD", wedge.to_str().unwrap()),
        ("WEDGE_PORT", port),
        ("WEDGE_FILE", file.to_str().unwrap()),
        ("WATCHDOG_USEC", "800000"),
    ]);
    service.wait_until_registered();
    service
}

fn figure(service: &Service, name: &str) -> f64 {
    let (_, metrics) = service.get("/metrics");
    let line = metrics.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split(' ').nth(1)?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in\n{metrics}"))
}

#[test]
fn a_session_that_holds_its_thread_is_taken_up_on_another_and_the_others_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hold");
    let server = LiveKitServer::start();
    let mut service = start(&server, &file);
    let mut first = Follower::join(&server, "interview-first");
    first.wait_for_voice();
    first.wait_for_the_floor();

    std::fs::write(&file, "").unwrap();
    let mut second = Follower::join(&server, "interview-second");
    let log = service.wait_for_log("the session of second is stuck");
    let stuck = log.lines().find(|line| line.contains("is stuck")).unwrap();
    for told in ["room=\"interview-second\"", "doing=\"", "threads=\""] {
        assert!(stuck.contains(told), "{told} is not in {stuck}");
    }
    second.wait_for_words("AI interviewer");
    second.wait_for_voice();
    second.wait_for_the_floor();
    assert_eq!(figure(&service, "viva_sessions_stuck_total"), 1.0);
    assert_eq!(figure(&service, "viva_threads_held"), 1.0);
    service.forget_told();
    service.wait_until_told("the watchdog", |line| line == "WATCHDOG=1");

    // The thread comes back, and whoever was on it does nothing more.
    std::fs::write(file.with_extension("free"), "").unwrap();
    service.wait_for_log("has let go of its thread");
    assert_eq!(figure(&service, "viva_threads_held"), 0.0);
    assert_eq!(second.agents_max(), 1, "{:#?}", second.noticed);
    assert_eq!(first.agents_max(), 1, "{:#?}", first.noticed);
    first.wait_for_voice();
    service.signal("TERM");
    assert!(service.wait_for_end().success(), "{}", service.log());
    let log = service.log();
    assert!(!log.contains("taken up interview_id=first"), "{log}");
    assert!(!log.contains("the watchdog is not fed until"), "{log}");
    assert!(!log.contains("first is stuck"), "{log}");
    assert!(log.contains("taken up interview_id=second"), "{log}");
    let (whole, said, error) = service.run(&["journal", "check"]);
    assert!(whole, "{said}{error}");
}
