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
#[path = "support/official_client.rs"]
mod official_client;
#[path = "support/service.rs"]
mod service;

use livekit_server::LiveKitServer;
use official_client::{SPOKEN, candidate, start, transcripts, understood};
use serde_json::Value;
use viva::speech::wer::word_error_rate;

#[test]
fn a_person_on_the_official_client_is_greeted_understood_and_shown_what_was_said() {
    let server = LiveKitServer::start();
    let service = start(&server, &[]);
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
    let server = LiveKitServer::start();
    let service = start(&server, &[]);
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
    let server = LiveKitServer::start();
    let service = start(&server, &[]);
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
    let server = LiveKitServer::start();
    let service = start(&server, &[]);
    server.create_room("standup", "[]");
    server.create_room("interview-", "[]");
    server.create_room("interview-one", "[]");
    service.wait_for_log("standup is no interview");
    service.wait_for_log("interview- is no interview");
    let log = service.wait_for_log("the job is accepted");
    assert_eq!(log.matches("the job is accepted").count(), 1, "{log}");
}

#[test]
fn who_speaks_into_a_question_is_given_the_floor() {
    let server = LiveKitServer::start();
    let service = start(&server, &[]);
    let told = candidate(
        &server,
        &service,
        "interview-floor",
        &["--answers", "2", "--barge-in", "0.7"],
    );
    assert_eq!(told["answered"], 2, "{told:#}");
    let (found, report, _) = service.run(&["report", "floor", "--json"]);
    assert!(found);
    let report: Value = serde_json::from_str(&report).unwrap();
    let transcript = report["transcript"].as_array().expect("a transcript");
    let cut: Vec<_> = transcript
        .iter()
        .filter(|line| line["who"] == "interviewer" && line["delivery"] == "cut")
        .collect();
    assert_eq!(cut.len(), 1, "{transcript:#?}\n{}", service.log());
    // What was heard of the reply, which is not all of it.
    assert!(
        cut[0]["text"]
            .as_str()
            .is_some_and(|heard| !heard.contains("what is a mutex for")),
        "{:#?}",
        cut[0]
    );
    let answers = transcript.iter().filter(|line| {
        line["who"] == "candidate"
            && line["text"]
                .as_str()
                .is_some_and(|t| t.contains("best of times"))
    });
    assert_eq!(answers.count(), 2, "{transcript:#?}");
}

#[test]
fn four_people_at_once_are_greeted_and_understood_by_one_service() {
    let server = LiveKitServer::start();
    let service = start(&server, &[]);
    std::thread::scope(|scope| {
        let people: Vec<_> = (0..4)
            .map(|n| {
                let (server, service) = (&server, &service);
                scope.spawn(move || {
                    candidate(server, service, &format!("interview-one-of-four-{n}"), &[])
                })
            })
            .collect();
        for person in people {
            let told = person.join().unwrap();
            assert!(told["heard_ms"].is_u64(), "{told:#}\n{}", service.log());
            let rate = word_error_rate(SPOKEN, &understood(&told));
            assert!(
                rate <= 0.2,
                "word error rate {rate}: {:?}",
                understood(&told)
            );
        }
    });
}
