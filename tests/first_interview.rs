//! An interview from the first to the last word: livekit-server, `viva serve` with its embedded engines, and a candidate
//! on LiveKit's official Python client with human speech.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails here"
)]

#[path = "support/livekit_server.rs"]
mod livekit_server;
#[path = "support/service.rs"]
mod service;

use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use livekit_server::LiveKitServer;
use serde_json::Value;
use service::{Service, recording};
use viva::speech::wer::word_error_rate;

/// The recording's first words, up to where `SPOKEN_S` cuts it.
const SPOKEN: &str = "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness";
const SPOKEN_S: &str = "7.2";
/// The candidate gives up after 60 s by itself.
const CANDIDATE_LIMIT_S: &str = "90";

/// One interview after the other. A candidate in C++, its server, and speech engines fill two cores by themselves; with four
/// at once the embedded voice is not ready within its 4 s, its sentences are shown as text, and nobody hears anything. That
/// rooms at once are heard is what `rooms_at_once.rs` tests.
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

/// Lets the official client take part and returns what it got.
fn candidate(server: &LiveKitServer, service: &Service, room: &str, arguments: &[&str]) -> Value {
    let python = std::env::var("VIVA_PYTHON")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/venv/bin/python").into());
    let output = Command::new("timeout")
        .args(["--kill-after=5", CANDIDATE_LIMIT_S, &python])
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/python/candidate.py"
        ))
        .args(["--room", room, "--wav"])
        .arg(recording("recordings/two_cities.wav"))
        .args(["--seconds", SPOKEN_S])
        .args(arguments)
        .env("LIVEKIT_URL", &server.url)
        .env("LIVEKIT_API_KEY", &server.key)
        .env("LIVEKIT_API_SECRET", &server.secret)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("cannot run {python}: {e}; `make test` sets it up"));
    let text = String::from_utf8_lossy(&output.stdout);
    let said = text.lines().last().unwrap_or_default();
    let told: Value = serde_json::from_str(said).unwrap_or_else(|e| {
        panic!(
            "{e}: {text}\n{}\n{}",
            String::from_utf8_lossy(&output.stderr),
            service.log()
        )
    });
    assert_eq!(told["error"], Value::Null, "{told:#}\n{}", service.log());
    told
}

fn transcripts<'a>(told: &'a Value, who: &str) -> Vec<&'a Value> {
    told["transcripts"]
        .as_array()
        .expect("transcripts")
        .iter()
        .filter(|t| t["who"] == who)
        .collect()
}

fn understood(told: &Value) -> String {
    transcripts(told, "candidate")
        .iter()
        .filter_map(|t| t["text"].as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn a_person_on_the_official_client_is_greeted_understood_and_shown_what_was_said() {
    let _alone = alone();
    let server = LiveKitServer::start();
    let service = start(&server);
    let told = candidate(&server, &service, "interview-person", &[]);

    assert!(
        told["heard_ms"].is_u64(),
        "no greeting was heard: {told:#}\n{}",
        service.log()
    );
    let rate = word_error_rate(SPOKEN, &understood(&told));
    assert!(
        rate <= 0.15,
        "word error rate {rate}: {:?}",
        understood(&told)
    );
    let greeting = transcripts(&told, "viva");
    assert!(
        greeting
            .iter()
            .any(|t| t["text"].as_str().is_some_and(|t| t.contains("AI"))),
        "{greeting:#?}"
    );
    for line in transcripts(&told, "candidate").iter().chain(&greeting) {
        let attributes = &line["attributes"];
        assert!(
            attributes["lk.segment_id"].is_string()
                && attributes["lk.transcription_final"].is_string(),
            "{line:#}"
        );
        assert!(
            attributes["lk.transcribed_track_id"]
                .as_str()
                .is_some_and(|t| t.starts_with("TR_")),
            "{line:#}"
        );
    }
    let states: Vec<_> = told["states"]
        .as_array()
        .expect("states")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for state in ["speaking", "listening", "thinking"] {
        assert!(states.contains(&state), "never {state}: {states:?}");
    }
    let attributes = told["agent"]["attributes"].as_array().expect("attributes");
    for name in ["lk.agent_name", "lk.agent.state"] {
        assert!(attributes.iter().any(|a| a == name), "{attributes:?}");
    }

    let (found, report, _) = service.run(&["report", "person", "--json"]);
    assert!(found);
    assert!(report.contains("best of times"), "{report}");
}

#[test]
fn a_client_that_sends_nothing_in_silence_still_ends_its_turn() {
    let _alone = alone();
    let server = LiveKitServer::start();
    let service = start(&server);
    let told = candidate(&server, &service, "interview-dtx", &["--dtx"]);
    let rate = word_error_rate(SPOKEN, &understood(&told));
    assert!(
        rate <= 0.2,
        "word error rate {rate}: {:?}",
        understood(&told)
    );
}

#[test]
fn a_client_that_mutes_in_the_middle_of_a_sentence_is_answered() {
    let _alone = alone();
    let server = LiveKitServer::start();
    let service = start(&server);
    let told = candidate(
        &server,
        &service,
        "interview-mute",
        &["--mute-after", "2.6"],
    );
    assert!(
        understood(&told).to_lowercase().contains("it was the best"),
        "{:?}",
        understood(&told)
    );
    assert_eq!(
        told["reply_ms"].as_array().map(Vec::len),
        Some(1),
        "{told:#}"
    );
}

#[test]
fn a_room_that_is_no_interview_gets_no_interviewer() {
    let _alone = alone();
    let server = LiveKitServer::start();
    let service = start(&server);
    server.create_room("standup", "[]");
    server.create_room("interview-", "[]");
    server.create_room("interview-one", "[]");
    service.wait_for_log("standup is no interview");
    service.wait_for_log("interview- is no interview");
    let log = service.wait_for_log("the job is accepted");
    assert_eq!(log.matches("the job is accepted").count(), 1, "{log}");
}
