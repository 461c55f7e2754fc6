//! A candidate on LiveKit's official Python client, with human speech, and what it tells of an interview.
#![allow(dead_code, reason = "no test needs all of it")]

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::livekit_server::LiveKitServer;
use super::service::{Service, recording};

/// The recording's first words, up to where `SPOKEN_S` cuts it.
pub const SPOKEN: &str = "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness";
const SPOKEN_S: &str = "7.2";
/// For an interview, on a machine that has hardly time for the voice of the interviewer.
const INTERVIEW_S_MAX: &str = "180";
/// The candidate gives up before that by itself.
const LIMIT_S: &str = "210";

/// A service that takes the jobs of `server`, with `extra` in its environment.
pub fn start(server: &LiveKitServer, extra: &[(&str, &str)]) -> Service {
    let mut environment = vec![
        ("LIVEKIT_URL", server.url.as_str()),
        ("LIVEKIT_API_KEY", server.key.as_str()),
        ("LIVEKIT_API_SECRET", server.secret.as_str()),
    ];
    environment.extend(extra);
    let mut service = Service::start(&environment);
    service.wait_until_registered();
    service
}

/// Lets the official client take part and returns what it got.
pub fn candidate(
    server: &LiveKitServer,
    service: &Service,
    room: &str,
    arguments: &[&str],
) -> Value {
    told_by(begin(server, room, arguments), service)
}

/// Lets the official client take part.
pub fn begin(server: &LiveKitServer, room: &str, arguments: &[&str]) -> Child {
    let python = std::env::var("VIVA_PYTHON")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/venv/bin/python").into());
    Command::new("timeout")
        .args(["--kill-after=5", LIMIT_S, &python])
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/python/candidate.py"
        ))
        .args(["--room", room, "--wav"])
        .arg(recording("recordings/two_cities.wav"))
        .args(["--seconds", SPOKEN_S, "--limit", INTERVIEW_S_MAX])
        .args(arguments)
        .env("LIVEKIT_URL", &server.url)
        .env("LIVEKIT_API_KEY", &server.key)
        .env("LIVEKIT_API_SECRET", &server.secret)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot run {python}: {e}; `make test` sets it up"))
}

/// What the client got, once it has left.
pub fn told_by(client: Child, service: &Service) -> Value {
    let output = client.wait_with_output().expect("the client's output");
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

pub fn transcripts<'a>(told: &'a Value, who: &str) -> Vec<&'a Value> {
    told["transcripts"]
        .as_array()
        .expect("transcripts")
        .iter()
        .filter(|t| t["who"] == who)
        .collect()
}

pub fn understood(told: &Value) -> String {
    transcripts(told, "candidate")
        .iter()
        .filter_map(|t| t["text"].as_str())
        .collect::<Vec<_>>()
        .join(" ")
}
