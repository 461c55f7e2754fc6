//! What an operator does to a running service: checks a file, reloads, drains, hands over a socket.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails here"
)]

#[path = "support/service.rs"]
mod service;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use service::{LIMIT, Service, run, viva};

/// Runs `viva` with nothing around it but `PATH`: its exit status and what it said.
fn bare(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = viva(&Default::default());
    command.args(arguments).envs(environment.iter().copied());
    let output = command.output().expect("viva runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into())
}

#[test]
fn a_good_file_is_valid_without_models_secrets_or_network() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/viva.example.toml");
    // Neither the environment nor the file that it names is asked.
    let around = [
        ("VIVA_CONFIG", "/nowhere.toml"),
        ("VIVA_INTERVIEWS__CAPACITY", "many"),
    ];
    let (status, said) = bare(&["config", "check", example], &around);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("is valid"), "{said}");
}

#[test]
fn each_kind_of_mistake_ends_with_78_and_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("viva.toml");
    for (text, named) in [
        ("[livekit]\nurll = \"ws://x\"\n", "urll"),
        ("[interviews]\ncapacity = 0\n", "interviews.capacity"),
        ("[log]\nfilter = \"viva=loud\"\n", "log.filter"),
        ("[livekit\n", "TOML"),
        ("[boot]\nlimit_ms = 1\n", "boot.limit_ms"),
        ("[livekit]\nurl = \"ws://user:pass@x\"\n", "livekit.url"),
        ("[stt]\nbase_url = \"http://x/v1?key=1\"\n", "stt.base_url"),
    ] {
        std::fs::write(&file, text).unwrap();
        let (status, said) = bare(&["config", "check", file.to_str().unwrap()], &[]);
        assert_eq!(status, Some(78), "{text}: {said}");
        assert!(said.contains(named) && said.contains("viva.toml"), "{said}");
    }
    let (status, said) = bare(&["config", "check", "/nowhere/viva.toml"], &[]);
    assert_eq!(status, Some(78), "{said}");
}

const PLAN: &str = "title = \"T\"\ntime_minutes = 5\n[[sections]]\ntitle = \"S\"\n[[sections.questions]]\nid = \"q\"\ntext = \"Why?\"\n";

/// Settings whose plans are in `directory`, and a pause of `pause_ms`.
fn write_settings(directory: &Path, pause_ms: &str, capacity: u32) -> String {
    let file = directory.join("viva.toml");
    let text = format!(
        "[interviews]\nplans_directory = {:?}\ndefault_plan = \"one\"\ncapacity = {capacity}\n[voice]\npause_ms = {pause_ms}\n",
        directory.join("plans")
    );
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

fn components(service: &Service) -> serde_json::Value {
    let health: serde_json::Value = serde_json::from_str(&service.get("/healthz").1).unwrap();
    health["components"].clone()
}

#[test]
fn a_reload_takes_over_plans_and_a_broken_file_keeps_the_old() {
    let directory = tempfile::tempdir().unwrap();
    let plans = directory.path().join("plans");
    std::fs::create_dir(&plans).unwrap();
    std::fs::write(plans.join("one.toml"), PLAN).unwrap();
    let file = write_settings(directory.path(), "200", 20);
    let mut service = Service::start_by(
        &[("VIVA_CONFIG", &file), ("VIVA_STT__ENGINE", "auto")],
        |environment| {
            let mut environment = environment.clone();
            // The file's are to hold.
            environment.remove("VIVA_INTERVIEWS__PLANS_DIRECTORY");
            environment.remove("VIVA_INTERVIEWS__DEFAULT_PLAN");
            let mut command = viva(&environment);
            command.arg("serve");
            command
        },
    );
    service.wait_until_ready();
    assert_eq!(components(&service)["plans"]["detail"], "one");

    std::fs::write(plans.join("two.toml"), PLAN).unwrap();
    reload(&mut service);
    assert_eq!(components(&service)["plans"]["detail"], "one, two");
    assert_eq!(components(&service)["configuration"]["state"], "ok");

    write_settings(directory.path(), "\"long\"", 20);
    std::fs::write(plans.join("three.toml"), PLAN).unwrap();
    reload(&mut service);
    let after = components(&service);
    assert_eq!(after["plans"]["detail"], "one, two", "the old ones hold");
    assert_eq!(after["configuration"]["state"], "degraded");
    let cause = after["configuration"]["cause"].as_str().unwrap();
    assert!(
        cause.contains("pause_ms") && cause.contains("viva.toml"),
        "{cause}"
    );
    assert_eq!(service.get("/readyz").0, 200);

    write_settings(directory.path(), "300", 21);
    reload(&mut service);
    let after = components(&service);
    assert_eq!(after["plans"]["detail"], "one, three, two");
    let cause = after["configuration"]["cause"].as_str().unwrap();
    assert!(
        cause.contains("interviews.capacity") && !cause.contains("pause_ms"),
        "{cause}"
    );
    // It waits for as long as the process runs by another, and no longer.
    reload(&mut service);
    let again = components(&service);
    assert_eq!(again["configuration"]["cause"].as_str(), Some(cause));
    write_settings(directory.path(), "300", 20);
    reload(&mut service);
    assert_eq!(components(&service)["configuration"]["state"], "ok");
}

#[test]
fn clients_that_say_nothing_keep_nobody_out() {
    let mut service = Service::start(&[]);
    service.wait_until_ready();
    let address = service.address();
    // More than there are places for: none of them finishes a request.
    let silent: Vec<TcpStream> = (0..100)
        .map(|n| {
            let mut stream = TcpStream::connect(&address).unwrap();
            if n % 2 == 0 {
                stream.write_all(b"GET /healthz HT").unwrap();
            }
            stream
        })
        .collect();
    // Each is let go in the end, so whoever asks is answered.
    assert_eq!(service.get("/readyz").0, 200);
    for mut stream in silent {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut said = String::new();
        // An answer that names the time-out, or nothing: but an end.
        let _ = stream.read_to_string(&mut said).map_err(|e| {
            assert_ne!(
                e.kind(),
                std::io::ErrorKind::WouldBlock,
                "the connection stays open"
            );
        });
    }
}

/// SIGHUP, RELOADING with the time of a clock that only goes forward, and READY again.
fn reload(service: &mut Service) {
    service.forget_told();
    let before_us = monotonic_us();
    service.signal("HUP");
    service.wait_until_told("RELOADING", |line| line == "RELOADING=1");
    service.wait_until_ready();
    let told = service.told();
    let at_us: u128 = told
        .iter()
        .find_map(|line| line.strip_prefix("MONOTONIC_USEC="))
        .expect("the time of the reload")
        .parse()
        .unwrap();
    assert!(before_us <= at_us && at_us <= monotonic_us());
    let place = |text: &str| told.iter().position(|line| line == text);
    assert!(place("RELOADING=1") < place("READY=1"), "{told:?}");
}

/// What systemd compares with: CLOCK_MONOTONIC, which `/proc/uptime` is close to where nothing was suspended.
fn monotonic_us() -> u128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u128::try_from(now.tv_sec).unwrap() * 1_000_000 + u128::try_from(now.tv_nsec).unwrap() / 1000
}

#[test]
fn a_drained_service_takes_nothing_more_says_so_and_still_stops_in_good_order() {
    let mut service = Service::start(&[]);
    service.wait_until_ready();
    let (done, said, error) = service.run(&["drain"]);
    assert!(done, "{said}{error}");
    assert!(said.contains("drained"), "{said}");
    service.wait_until_told("the status", |line| line.starts_with("STATUS=drained"));
    let (status, body) = service.get("/readyz");
    assert_eq!(status, 503);
    assert!(body.contains("no more interviews are taken"), "{body}");
    // Once more is no mistake.
    let (done, said, error) = service.run(&["drain", "--no-wait"]);
    assert!(done && said.contains("drained"), "{said}{error}");
    service.signal("TERM");
    assert!(service.wait_for_end().success(), "{}", service.log());
    let (done, _, error) = service.run(&["drain"]);
    assert!(!done);
    assert!(error.contains("no service answers"), "{error}");
}

/// The answer to a POST of nothing.
fn post(address: &str, path: &str, bearer: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: viva\r\nAuthorization: Bearer {bearer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn an_operator_with_the_key_drains_over_http_and_nobody_else_does() {
    const KEY: &str = "a-key-that-nobody-guesses";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("operator-key");
    std::fs::write(&file, format!("{KEY}\n")).unwrap();
    let file = file.to_str().unwrap();
    let mut service = Service::start(&[("VIVA_HTTP__OPERATOR_KEY_FILE", file)]);
    service.wait_until_ready();
    assert!(service.get("/").1.contains("operator.js"));
    let refused = post(&service.address(), "/api/drain", "a-key-that-nobody-has");
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    assert_eq!(service.get("/readyz").0, 200);
    let drained = post(&service.address(), "/api/drain", KEY);
    assert!(drained.starts_with("HTTP/1.1 202"), "{drained}");
    assert!(drained.contains("\"draining\":true"), "{drained}");
    assert_eq!(service.get("/readyz").0, 503);
    assert!(!service.log().contains(KEY));
}

#[test]
fn an_operators_key_that_can_be_guessed_is_refused_and_the_service_serves() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("operator-key");
    std::fs::write(&file, "hunter2hunter2\n").unwrap();
    let file = file.to_str().unwrap();
    let mut service = Service::start(&[("VIVA_HTTP__OPERATOR_KEY_FILE", file)]);
    service.wait_until_ready();
    let refused = post(&service.address(), "/api/drain", "hunter2hunter2");
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    assert_eq!(service.get("/readyz").0, 200);
    let told = service.get("/healthz").1;
    assert!(
        told.contains("16 or more visible ASCII characters"),
        "{told}"
    );
    // So it is before a start.
    let (_, checked, _) = run(&["check"], &[("VIVA_HTTP__OPERATOR_KEY_FILE", file)]);
    assert!(
        checked.contains("16 or more visible ASCII characters"),
        "{checked}"
    );
    for said in [service.log(), told, checked] {
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_socket_that_is_handed_over_is_listened_on_and_has_kept_who_came_early() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut early = TcpStream::connect(address).unwrap();
    early
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: viva\r\nConnection: close\r\n\r\n")
        .unwrap();
    // The shell's number stays when it becomes the service, as it is when systemd starts one.
    let script = "exec env LISTEN_PID=$$ LISTEN_FDS=1 \"$0\" serve 3<&0 0</dev/null";
    let mut service = Service::start_by(&[("VIVA_HTTP__LISTEN", "127.0.0.1:1")], |environment| {
        let mut command = Command::new("sh");
        command
            .args(["-c", script, env!("CARGO_BIN_EXE_viva")])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(environment)
            .stdin(Stdio::from(OwnedFd::from(listener)));
        command
    });
    service.wait_until_ready();
    early.set_read_timeout(Some(LIMIT)).unwrap();
    let mut answer = String::new();
    early.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let health: serde_json::Value = serde_json::from_str(&service.get("/healthz").1).unwrap();
    let detail = health["components"]["listener"]["detail"].as_str().unwrap();
    assert!(detail.contains(&address.to_string()), "{detail}");
}

#[test]
fn the_watchdog_is_fed_while_all_is_well_and_what_is_awaited_is_told() {
    let mut service = Service::start(&[("WATCHDOG_USEC", "400000")]);
    service.wait_until_ready();
    assert!(
        service
            .told()
            .iter()
            .any(|line| line.starts_with("STATUS=starting; awaited: ")),
        "{:?}",
        service.told()
    );
    for _ in 0..3 {
        service.forget_told();
        let asked = Instant::now();
        service.wait_until_told("the watchdog", |line| line == "WATCHDOG=1");
        assert!(asked.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn a_start_that_is_stopped_in_the_middle_ends_at_once_in_good_order() {
    let directory = tempfile::tempdir().unwrap();
    let settings = directory.path().join("joe.onnx.json");
    assert!(
        Command::new("mkfifo")
            .arg(&settings)
            .status()
            .unwrap()
            .success()
    );
    // A file that nobody ever writes holds up the plans for ever.
    let plans = directory.path().join("plans");
    std::fs::create_dir(&plans).unwrap();
    std::fs::rename(&settings, plans.join("demo.toml")).unwrap();
    let mut service =
        Service::start(&[("VIVA_INTERVIEWS__PLANS_DIRECTORY", plans.to_str().unwrap())]);
    service.wait_until_told("the plans", |line| line.contains("awaited: plans"));
    service.signal("TERM");
    assert!(service.wait_for_end().success(), "{}", service.log());
}

#[test]
fn a_start_that_hangs_ends_at_its_limit_with_the_name_of_what_hangs() {
    let directory = tempfile::tempdir().unwrap();
    let plan = directory.path().join("demo.toml");
    assert!(
        Command::new("mkfifo")
            .arg(&plan)
            .status()
            .unwrap()
            .success()
    );
    let mut service = Service::start(&[
        (
            "VIVA_INTERVIEWS__PLANS_DIRECTORY",
            directory.path().to_str().unwrap(),
        ),
        // Engines that need no loading, so that the plan alone is late on a busy machine too.
        ("VIVA_STT__BASE_URL", "http://127.0.0.1:9/v1"),
        ("VIVA_TTS__BASE_URL", "http://127.0.0.1:9/v1"),
        ("VIVA_BOOT__LIMIT_MS", "1500"),
    ]);
    assert_eq!(service.wait_for_end().code(), Some(1));
    let log = service.log();
    assert!(log.contains("the plans: still not done after"), "{log}");
    assert!(!service.told().iter().any(|line| line == "READY=1"));
}

#[test]
fn a_check_beside_a_running_service_asks_it_for_what_is_its_own() {
    let mut service = Service::start(&[]);
    service.wait_until_ready();
    let around = [
        (
            "VIVA_STATE_DIRECTORY",
            service.state().display().to_string(),
        ),
        ("VIVA_HTTP__LISTEN", service.address()),
    ];
    let around: Vec<_> = around.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let (_, table, error) = run(&["check"], &around);
    let row = |name: &str| {
        table
            .lines()
            .find(|line| line.split_whitespace().nth(1) == Some(name))
            .unwrap_or_else(|| panic!("no {name}: {table}{error}"))
    };
    for name in ["journal", "listener"] {
        assert!(row(name).starts_with("ok"), "{table}");
        assert!(
            row(name).contains("of the service that runs here"),
            "{table}"
        );
    }
    // The rest is tried anew.
    assert!(
        row("vad").starts_with("ok") && row("livekit").starts_with("failed"),
        "{table}"
    );
    assert_eq!(service.get("/readyz").0, 200);
}
