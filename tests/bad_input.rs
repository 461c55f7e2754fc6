//! What a person gets who has made a mistake: one clear message that names the thing, the cause and what to do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails here"
)]

#[path = "support/service.rs"]
mod service;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use service::{Service, run};

/// Starts `viva serve` where it can't, and returns its exit status and what it said.
fn refused(extra: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut service = Service::start(extra);
    let status = service.wait_for_end();
    assert!(
        !service.told().iter().any(|line| line == "READY=1"),
        "it said READY all the same"
    );
    (status.code(), service.log())
}

#[test]
fn an_unknown_setting_is_named_and_ends_with_the_status_for_a_bad_configuration() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("viva.toml");
    std::fs::write(&file, "[livekit]\nurll = \"ws://x\"\n").expect("a file");
    let (status, said) = refused(&[("VIVA_CONFIG", &file.display().to_string())]);
    assert_eq!(status, Some(78));
    assert!(
        said.contains("viva.toml") && said.contains("urll"),
        "{said}"
    );
}

#[test]
fn a_setting_of_the_environment_is_blamed_on_its_variable() {
    let (status, said) = refused(&[("VIVA_INTERVIEWS__CAPACITY", "many")]);
    assert_eq!(status, Some(78));
    assert!(said.contains("VIVA_INTERVIEWS__CAPACITY"), "{said}");
}

#[test]
fn a_missing_livekit_key_says_where_it_may_be_put() {
    let (status, said) = refused(&[("LIVEKIT_API_SECRET", "")]);
    assert_eq!(status, Some(78));
    assert!(
        said.contains("LIVEKIT_API_SECRET") && said.contains("livekit.key_file"),
        "{said}"
    );
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let (status, said) = refused(&[("VIVA_HTTP__LISTEN", &address)]);
    assert_eq!(status, Some(1));
    assert!(
        said.contains(&address) && said.contains("http.listen"),
        "{said}"
    );
}

#[test]
fn a_state_directory_that_is_a_file_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("state");
    std::fs::write(&file, "").expect("a file");
    let (status, said) = refused(&[("VIVA_STATE_DIRECTORY", &file.display().to_string())]);
    assert_eq!(status, Some(1));
    assert!(said.contains("state"), "{said}");
}

#[test]
fn a_plan_without_a_question_is_named_with_its_file() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(
        directory.path().join("demo.toml"),
        "title = \"T\"\ntime_minutes = 5\n",
    )
    .expect("a plan");
    let (status, said) = refused(&[(
        "VIVA_INTERVIEWS__PLANS_DIRECTORY",
        &directory.path().display().to_string(),
    )]);
    assert_eq!(status, Some(1));
    assert!(
        said.contains("demo.toml") && said.contains("section"),
        "{said}"
    );
}

#[test]
fn missing_speech_models_say_how_to_get_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let (status, said) = refused(&[(
        "VIVA_MODELS__DIRECTORY",
        &directory.path().display().to_string(),
    )]);
    assert_eq!(status, Some(1));
    assert!(
        said.contains("models/fetch") && said.contains("base_url"),
        "{said}"
    );
}

/// A models directory whose VAD is `vad` and whose other files are links to the real ones.
fn models_with_vad(vad: &[u8]) -> tempfile::TempDir {
    let real = service::environment()
        .remove("VIVA_MODELS__DIRECTORY")
        .expect("the models");
    let directory = tempfile::tempdir().expect("a directory");
    for entry in std::fs::read_dir(&real).expect("the models") {
        let entry = entry.expect("an entry");
        if entry.file_name() != "silero-vad" {
            std::os::unix::fs::symlink(entry.path(), directory.path().join(entry.file_name()))
                .expect("a link");
        }
    }
    let file = directory.path().join(viva::models::VAD);
    std::fs::create_dir_all(file.parent().expect("a parent")).expect("a directory");
    std::fs::write(file, vad).expect("a file");
    directory
}

#[test]
fn an_altered_vad_model_degrades_the_service_and_is_named() {
    let models = models_with_vad(b"not a model");
    let mut service = Service::start(&[(
        "VIVA_MODELS__DIRECTORY",
        &models.path().display().to_string(),
    )]);
    service.wait_until_ready();
    let (status, body) = service.get("/healthz");
    assert_eq!(status, 200);
    let health: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        health["components"]["vad"]["state"], "degraded",
        "{health:#}"
    );
    let cause = health["components"]["vad"]["cause"]
        .as_str()
        .expect("a cause");
    assert!(
        cause.contains("sha256") && cause.contains("silero"),
        "{cause}"
    );
}

#[test]
fn a_livekit_that_is_down_does_not_stop_the_start() {
    let mut service = Service::start(&[]);
    service.wait_until_ready();
    assert_eq!(service.get("/readyz").0, 200);
    service.wait_until_told("the failed connection", |line| {
        line.starts_with("STATUS=ready, without LiveKit")
    });
    service.signal("TERM");
    assert!(service.wait_for_end().success(), "{}", service.log());
}

#[test]
fn a_key_in_a_world_of_errors_is_never_shown() {
    let secret = "a-secret-of-more-than-thirty-two-bytes";
    let mut service = Service::start(&[("RUST_BACKTRACE", "1"), ("VIVA_LOG__FILTER", "trace")]);
    service.wait_until_ready();
    service.wait_until_told("the failed connection", |line| {
        line.starts_with("STATUS=ready, without LiveKit")
    });
    assert!(!service.log().contains(secret));
    assert!(!service.told().iter().any(|line| line.contains(secret)));
}

#[test]
fn a_report_of_an_unknown_interview_says_how_to_find_the_known_ones() {
    let mut service = Service::start(&[]);
    service.wait_until_ready();
    let (done, _, said) = service.run(&["report", "nobody"]);
    assert!(!done);
    assert!(
        said.contains("nobody") && said.contains("viva interviews"),
        "{said}"
    );
}

#[test]
fn a_state_directory_without_a_journal_says_who_makes_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let (done, _, said) = run(
        &["interviews"],
        &[(
            "VIVA_STATE_DIRECTORY",
            &directory.path().display().to_string(),
        )],
    );
    assert!(!done);
    assert!(said.contains("viva serve"), "{said}");
}

#[test]
fn check_names_what_fails_and_exits_non_zero() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700))
        .expect("permissions");
    let (done, table, _) = run(
        &["check"],
        &[(
            "VIVA_STATE_DIRECTORY",
            &directory.path().display().to_string(),
        )],
    );
    assert!(!done, "LiveKit is down");
    let livekit = table
        .lines()
        .find(|line| line.contains("livekit"))
        .expect("a row");
    assert!(livekit.starts_with("failed"), "{table}");
    for component in ["journal", "plans", "stt", "tts", "vad"] {
        let row = table
            .lines()
            .find(|line| line.contains(component))
            .expect("a row");
        assert!(row.starts_with("ok"), "{table}");
    }
}
