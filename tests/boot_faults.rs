//! A start that something is wrong with is ready within a second or has ended with its cause named.
//!
//! A few of the starts that `viva boot --faults SEED --repeat N` tries by the thousand, and the same as real processes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails here"
)]

#[path = "support/service.rs"]
mod service;

use std::time::Duration;

use service::{Service, run};

#[test]
fn starts_with_made_up_faults_keep_their_promises() {
    let (done, said, error) = run(
        &[
            "boot",
            "--faults",
            "20261124",
            "--repeat",
            "40",
            "--limit-ms",
            "5000",
            "--json",
        ],
        &[],
    );
    assert!(done, "{said}{error}");
    let outcomes: Vec<serde_json::Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(outcomes.len(), 40);
    let is_ready = |outcome: &&serde_json::Value| outcome["result"].get("Ok").is_some();
    // Neither is everything ready nor nothing: the faults are real, and so is the start.
    let ready = outcomes.iter().filter(is_ready).count();
    assert!((3..40).contains(&ready), "{ready} of 40");
}

#[test]
fn the_same_seed_gives_the_same_faults() {
    let faults = |repeat: &str| -> Vec<String> {
        let (_, said, _) = run(
            &["boot", "--faults", "7", "--repeat", repeat, "--json"],
            &[],
        );
        said.lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["fault"].to_string()
            })
            .collect()
    };
    assert_eq!(faults("4"), faults("5")[..4]);
}

#[test]
fn the_stages_are_shown_with_their_times_and_nothing_stays_behind() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().display().to_string();
    let settings = [
        ("VIVA_STATE_DIRECTORY", state.as_str()),
        ("VIVA_STT__BASE_URL", "http://127.0.0.1:9/v1"),
        ("VIVA_TTS__BASE_URL", "http://127.0.0.1:9/v1"),
    ];
    let (done, table, error) = run(&["boot", "--repeat", "3"], &settings);
    assert!(done, "{table}{error}");
    for stage in ["journal", "listener", "onnxruntime", "plans", "turn", "vad"] {
        assert!(
            table
                .lines()
                .any(|l| l.starts_with(stage) && l.ends_with("ms")),
            "{table}"
        );
    }
    assert!(table.contains("3 of 3 ready; median"), "{table}");
    let (done, json, error) = run(&["boot", "--json"], &settings);
    assert!(done, "{json}{error}");
    let starts: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(starts[0]["stages"].as_array().is_some_and(|s| s.len() >= 8));
}

#[test]
fn a_start_that_fails_names_the_stage_and_exits_non_zero() {
    let (done, table, _) = run(&["boot"], &[("VIVA_INTERVIEWS__DEFAULT_PLAN", "nothing")]);
    assert!(!done);
    assert!(
        table.contains("not ready") && table.contains("nothing.toml"),
        "{table}"
    );
}

#[test]
fn processes_that_are_told_to_stop_at_any_moment_end_in_good_order() {
    let mut random = fastrand::Rng::with_seed(20_261_124);
    for _ in 0..12 {
        let mut service = Service::start(&[
            ("VIVA_STT__BASE_URL", "http://127.0.0.1:9/v1"),
            ("VIVA_TTS__BASE_URL", "http://127.0.0.1:9/v1"),
        ]);
        let after = Duration::from_millis(random.u64(0..400));
        std::thread::sleep(after);
        service.signal("TERM");
        let status = service.wait_for_end();
        // Before it listens for it, the signal itself is the end.
        let by_signal = std::os::unix::process::ExitStatusExt::signal(&status) == Some(15);
        assert!(status.success() || by_signal, "{status}: {}", service.log());
    }
}
