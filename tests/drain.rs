//! A service that is drained while an interview is on: the interview comes to its own end, nothing else begins, and the
//! service manager is asked for more time until then.
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

use std::process::Child;
use std::time::{Duration, Instant};

use livekit_server::LiveKitServer;
use official_client::{SPOKEN, begin, start, told_by, understood};
use serde_json::Value;
use service::{Service, environment, viva};
use viva::speech::wer::word_error_rate;

const PLAN: &str = "title = \"T\"\ntime_minutes = 5\n[[sections]]\ntitle = \"S\"\n[[sections.questions]]\nid = \"q\"\ntext = \"Which book do you know by heart?\"\n";

/// `viva drain`, which returns when the last interview is over.
fn drain(service: &Service) -> Child {
    let mut environment = environment();
    environment.insert(
        "VIVA_STATE_DIRECTORY".into(),
        service.state().display().to_string(),
    );
    viva(&environment).arg("drain").spawn().expect("viva runs")
}

/// The requests for more time from now until the service says that it is drained: when each came, and what it asked for.
fn extensions_until_drained(service: &mut Service) -> Vec<(Instant, Duration)> {
    let mut extensions = Vec::new();
    loop {
        service.forget_told();
        service.wait_until_told("more time, or the end of the drain", |line| {
            line.starts_with("EXTEND_TIMEOUT_USEC=") || line.starts_with("STATUS=drained")
        });
        for line in service.told() {
            if let Some(us) = line.strip_prefix("EXTEND_TIMEOUT_USEC=") {
                extensions.push((Instant::now(), Duration::from_micros(us.parse().unwrap())));
            }
            if line.starts_with("STATUS=drained") {
                return extensions;
            }
        }
    }
}

#[test]
fn a_drained_service_lets_its_interview_come_to_its_end_and_asks_for_time_until_then() {
    let plans = tempfile::tempdir().unwrap();
    std::fs::write(plans.path().join("one.toml"), PLAN).unwrap();
    let directory = plans.path().to_str().unwrap();
    let server = LiveKitServer::start();
    let mut service = start(
        &server,
        &[
            ("VIVA_INTERVIEWS__PLANS_DIRECTORY", directory),
            ("VIVA_INTERVIEWS__DEFAULT_PLAN", "one"),
        ],
    );
    let client = begin(&server, "interview-drained", &["--to-the-end"]);
    service.wait_for_log("the job is accepted");
    let draining = drain(&service);
    let asked = Instant::now();
    service.wait_for_log("asked to drain");
    server.create_room("interview-late", "[]");

    let extensions = extensions_until_drained(&mut service);
    let until = Instant::now();

    // Whoever waits is told again before what it was told runs out.
    let told_at = extensions.iter().map(|(at, _)| *at).chain([until]);
    let valid_until = extensions.iter().map(|(at, time)| *at + *time);
    for (told_at, valid_until) in told_at.skip(1).zip(valid_until) {
        assert!(told_at < valid_until, "{extensions:?}");
    }
    let first = extensions.first().expect("a request for more time").0;
    assert!(
        first.duration_since(asked) < Duration::from_secs(10),
        "{extensions:?}"
    );

    let told = told_by(client, &service);
    let rate = word_error_rate(SPOKEN, &understood(&told));
    assert!(rate <= 0.2, "word error rate {rate}: {told:#}");
    let (_, interviews, _) = service.run(&["interviews", "--json"]);
    let interviews: Value = serde_json::from_str(&interviews).unwrap();
    assert_eq!(interviews[0]["end_reason"], "completed", "{interviews:#}");

    let output = draining.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("1 interview is on") && said.contains("drained: no interview is on"),
        "{said}"
    );
    let log = service.log();
    assert_eq!(log.matches("the job is accepted").count(), 1, "{log}");
    service.signal("TERM");
    assert!(service.wait_for_end().success(), "{}", service.log());
}
