//! An interview with speech and a language model on a provider: `viva serve`, livekit-server, a candidate on LiveKit's
//! official Python client, and an OpenAI-compatible server that does what it is told to.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails here"
)]

#[allow(dead_code, reason = "it can do more than is asked of it here")]
#[path = "support/fake_provider.rs"]
mod fake_provider;
#[path = "support/livekit_server.rs"]
mod livekit_server;
#[path = "support/official_client.rs"]
mod official_client;
#[path = "support/service.rs"]
mod service;

use fake_provider::{Behaviour, FakeProvider, KEY, WORDS};
use livekit_server::LiveKitServer;
use official_client::{SPOKEN, candidate, start, transcripts, understood};
use serde_json::Value;
use service::Service;
use viva::speech::wer::word_error_rate;

/// Serves with everything on `provider`; the candidate gives `answers`.
async fn interview(
    provider: &FakeProvider,
    room: &'static str,
    answers: &'static str,
) -> (Service, Value) {
    let base_url = provider.base_url().to_owned();
    tokio::task::spawn_blocking(move || {
        let server = LiveKitServer::start();
        let service = start(
            &server,
            &[("OPENAI_BASE_URL", &base_url), ("OPENAI_API_KEY", KEY)],
        );
        let told = candidate(&server, &service, room, &["--answers", answers]);
        (service, told)
    })
    .await
    .unwrap()
}

/// The interviewer's sentences, each as it began.
fn said(told: &Value) -> String {
    transcripts(told, "viva")
        .iter()
        .filter(|t| t["attributes"]["lk.transcription_final"] == "false")
        .filter_map(|t| t["text"].as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_language_model_acknowledges_and_asks_one_follow_up_and_then_the_plan_goes_on() {
    let provider = FakeProvider::start([Behaviour::Right]).await;
    let (service, told) = interview(&provider, "interview-llm", "2").await;
    assert_eq!(told["answered"], 2, "{told:#}\n{}", service.log());
    let said = said(&told);
    for words in [
        "The plan comes first.",
        "What do you look for in it?",
        "what is a mutex for?",
    ] {
        assert!(said.contains(words), "no {words:?} in {said:?}");
    }
    assert_eq!(
        said.matches("What do you look for in it?").count(),
        1,
        "{said}"
    );
    assert!(understood(&told).contains(WORDS), "{told:#}");
    let (found, report, _) = service.run(&["report", "llm", "--json"]);
    assert!(found);
    let report: Value = serde_json::from_str(&report).unwrap();
    let question = &report["sections"][0]["questions"][0];
    assert_eq!(
        question["follow_ups"].as_array().map(Vec::len),
        Some(1),
        "{question:#}"
    );
    assert!(!service.log().contains(KEY), "the key is in the log");
    let paths: std::collections::BTreeSet<_> =
        provider.seen().into_iter().map(|seen| seen.path).collect();
    for path in [
        "/v1/audio/speech",
        "/v1/audio/transcriptions",
        "/v1/chat/completions",
    ] {
        assert!(paths.contains(path), "{paths:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_provider_that_refuses_everything_the_engines_of_this_machine_hold_the_interview() {
    let provider = FakeProvider::start([Behaviour::Status(401)]).await;
    let (service, told) = interview(&provider, "interview-refused", "1").await;
    assert!(told["heard_ms"].is_u64(), "{told:#}\n{}", service.log());
    let rate = word_error_rate(SPOKEN, &understood(&told));
    assert!(
        rate <= 0.15,
        "word error rate {rate}: {:?}",
        understood(&told)
    );
    assert!(said(&told).contains("what is a mutex for?"), "{told:#}");
    // The refusal repeats the key, and what was said.
    let log = service.log();
    assert!(
        log.contains("401") && !log.contains(KEY) && !log.contains("best of times"),
        "{log}"
    );
}
