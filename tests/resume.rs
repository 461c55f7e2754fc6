//! An interview survives its process: livekit-server, `viva serve`, and a candidate on LiveKit's official client who stays
//! in the room while the process is killed and started again.
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

use std::sync::{Mutex, MutexGuard, PoisonError};

use follower::Follower;
use livekit_server::LiveKitServer;
use serde_json::Value;
use service::Service;

/// One interview after the other: two speech engines and a client in C++ fill two cores by themselves.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start(server: &LiveKitServer) -> Service {
    let mut service = Service::start(&[
        ("LIVEKIT_URL", &server.url),
        ("LIVEKIT_API_KEY", &server.key),
        ("LIVEKIT_API_SECRET", &server.secret),
    ]);
    service.wait_until_registered();
    service
}

/// The transcript's lines of the interviewer, and what happened in the room.
fn report(service: &Service, id: &str) -> Value {
    let (found, report, error) = service.run(&["report", id, "--json"]);
    assert!(found, "{error}");
    serde_json::from_str(&report).expect("JSON")
}

#[test]
fn a_killed_process_comes_back_into_the_room_and_repeats_the_question() {
    let _alone = alone();
    let server = LiveKitServer::start();
    let mut service = start(&server);
    let mut candidate = Follower::join(&server, "interview-killed");
    candidate.wait_for_voice();
    candidate.wait_for_the_floor();

    // While the candidate thinks about the question.
    service.kill();
    service.start_again();
    candidate.wait_for_words("I was gone for a moment. Let me repeat the question.");
    candidate.wait_for_voice();

    // While it speaks.
    service.kill();
    service.start_again();
    candidate.wait_for_words("I was gone for a moment. Let me repeat the question.");
    candidate.wait_for_voice();
    candidate.wait_for_the_floor();
    assert_eq!(candidate.agents_max(), 1, "{:#?}", candidate.noticed);

    let report = report(&service, "killed");
    let text = report.to_string();
    assert_eq!(
        text.matches("The interviewer was gone for").count(),
        2,
        "{report:#}"
    );
    assert_eq!(
        text.matches("The candidate joined.").count(),
        1,
        "{report:#}"
    );
    assert!(!text.contains("came back"), "{report:#}");
}

#[test]
fn a_stopped_process_hands_over_to_the_next_one() {
    let _alone = alone();
    let server = LiveKitServer::start();
    let mut service = start(&server);
    let mut candidate = Follower::join(&server, "interview-stopped");
    candidate.wait_for_voice();
    candidate.wait_for_the_floor();
    service.signal("TERM");
    assert!(service.wait_for_end().success(), "{}", service.log());
    let (found, live, _) = service.run(&["interviews", "--json"]);
    let live: Value = serde_json::from_str(&live).expect("JSON");
    assert!(
        found && live[0]["id"] == "stopped" && live[0]["end_reason"].is_null(),
        "{live:#}"
    );
    service.start_again();
    candidate.wait_for_words("I was gone for a moment. Let me repeat the question.");
    candidate.wait_for_the_floor();
    assert_eq!(candidate.agents_max(), 1, "{:#?}", candidate.noticed);
}

#[test]
fn a_job_of_a_live_interview_goes_on_with_it() {
    let _alone = alone();
    let server = LiveKitServer::start();
    let mut service = start(&server);
    let mut candidate = Follower::join(&server, "interview-again");
    candidate.wait_for_voice();
    candidate.wait_for_the_floor();
    // The room is gone with the process, and a new one of its name is made while Viva is away.
    service.kill();
    drop(candidate);
    server.delete_room("interview-again");
    service.start_again();
    service.wait_until_registered();
    let mut candidate = Follower::join(&server, "interview-again");
    candidate.wait_for_words("I was gone for a moment.");
    candidate.wait_for_the_floor();
    assert_eq!(candidate.agents_max(), 1, "{:#?}", candidate.noticed);
}

#[test]
fn an_interview_that_kills_its_process_again_and_again_is_set_aside() {
    let _alone = alone();
    let server = LiveKitServer::start();
    let mut service = start(&server);
    let mut candidate = Follower::join(&server, "interview-deadly");
    candidate.wait_for_voice();
    for attempts in 1..=3 {
        service.kill();
        service.start_again();
        service.wait_for_log(&format!("attempts={attempts}"));
    }
    service.kill();
    service.start_again();
    service.wait_for_log("interview deadly is set aside");
    service.kill();
    service.start_again();
    service.wait_until_registered();
    let (found, interviews, _) = service.run(&["interviews"]);
    assert!(found && interviews.contains("set aside"), "{interviews}");
}

#[test]
fn a_restarted_livekit_is_joined_again() {
    let _alone = alone();
    let mut server = LiveKitServer::start();
    let service = start(&server);
    let mut candidate = Follower::join(&server, "interview-server");
    candidate.wait_for_voice();
    candidate.wait_for_the_floor();
    server.kill();
    service.wait_for_log("is being mended");
    server.start_again();
    drop(candidate);
    let mut candidate = Follower::join(&server, "interview-server");
    candidate.wait_for_words("Let me repeat the question.");
    candidate.wait_for_the_floor();
    let report = report(&service, "server").to_string();
    assert!(
        report.contains("gone for") || report.contains("came back"),
        "{report}"
    );
}

#[test]
fn a_livekit_that_is_down_at_the_restart_is_waited_for() {
    let _alone = alone();
    let mut server = LiveKitServer::start();
    let mut service = start(&server);
    let mut candidate = Follower::join(&server, "interview-down");
    candidate.wait_for_voice();
    candidate.wait_for_the_floor();
    service.kill();
    server.kill();
    drop(candidate);
    service.start_again();
    service.wait_until_ready();
    service.wait_for_log("could not be joined");
    server.start_again();
    let mut candidate = Follower::join(&server, "interview-down");
    candidate.wait_for_words("Let me repeat the question.");
    candidate.wait_for_the_floor();
    assert_eq!(candidate.agents_max(), 1, "{:#?}", candidate.noticed);
}

#[test]
fn a_plan_that_was_changed_meanwhile_is_for_the_interviews_to_come() {
    let _alone = alone();
    let server = LiveKitServer::start();
    let plans = tempfile::tempdir().expect("a directory");
    let write = |question: &str| {
        let plan = format!(
            "title = \"T\"\ntime_minutes = 5\n[[sections]]\ntitle = \"S\"\n[[sections.questions]]\ntext = \"{question}\"\n"
        );
        std::fs::write(plans.path().join("demo.toml"), plan).expect("a plan");
    };
    write("What is a stack?");
    let mut service = Service::start(&[
        ("LIVEKIT_URL", &server.url),
        ("LIVEKIT_API_KEY", &server.key),
        ("LIVEKIT_API_SECRET", &server.secret),
        (
            "VIVA_INTERVIEWS__PLANS_DIRECTORY",
            &plans.path().display().to_string(),
        ),
    ]);
    service.wait_until_registered();
    let mut candidate = Follower::join(&server, "interview-changed");
    candidate.wait_for_words("What is a stack?");
    candidate.wait_for_the_floor();
    service.kill();
    write("What is a heap?");
    service.start_again();
    candidate.wait_for_words("Let me repeat the question. What is a stack?");
    candidate.wait_for_the_floor();
}

#[test]
fn a_second_page_of_the_candidate_hears_the_question_again() {
    let _alone = alone();
    let server = LiveKitServer::start();
    let service = start(&server);
    let mut first = Follower::join(&server, "interview-twice");
    first.wait_for_voice();
    first.wait_for_the_floor();
    // Under the same identity: LiveKit sends the first one out in the same moment.
    let mut second = Follower::join(&server, "interview-twice");
    second.wait_for_voice();
    second.wait_for_the_floor();
    let report = report(&service, "twice").to_string();
    assert!(report.contains("came back"), "{report}");
    assert_eq!(second.agents_max(), 1, "{:#?}", second.noticed);
}
