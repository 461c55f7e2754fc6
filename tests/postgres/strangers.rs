//! A database that is not ours, not reachable, or of another release: a clear message, and nothing written to it.

use crate::copying::{Copying, append, assert_copied, begin, config};
use crate::journal_support::{id, joined};
use crate::postgres::Postgres;
use crate::service;
use crate::service::Service;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use viva::config::{Config, Environment};
use viva::journal::Journal;
use viva::sync::SCHEMA_VERSION;

/// What is said by a copier that has something to copy, once it fails in this way.
async fn said(url: &str, env: &Environment, kind: &str, change: impl Fn(&mut Config)) -> String {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    begin(&journal, &["a"]).await;
    append(&journal, &id("a"), vec![joined(1)]).await;
    let mut config = config(directory.path(), url);
    change(&mut config);
    let copying = Copying::start(&config, env, &journal);
    let cause = copying.wait_for_failure(kind).await;
    copying.stop().await;
    cause
}

#[tokio::test]
async fn the_schema_of_another_application_is_left_alone() {
    let postgres = Postgres::start(&[]);
    let env = Environment::default();
    for tables in [
        "CREATE TABLE viva.customers (x int)",
        "CREATE TABLE viva.meta (x int); CREATE TABLE viva.migrations (x int)",
        "CREATE TABLE viva.meta (application text, min_writer int); CREATE TABLE viva.migrations (x int);
         INSERT INTO viva.meta VALUES ('shop', 1)",
    ] {
        postgres.psql_in("viva", &format!("DROP SCHEMA IF EXISTS viva CASCADE; CREATE SCHEMA viva; {tables}"));
        let dump = "SELECT count(*) FROM pg_class WHERE relnamespace = 'viva'::regnamespace";
        let before = postgres.count(dump).await;
        let cause = said(&postgres.url(), &env, "foreign", |_| {}).await;
        assert!(cause.contains("belongs to another application"), "{cause}");
        assert!(cause.contains("postgres.schema"), "{cause}");
        assert_eq!(postgres.count(dump).await, before);
    }
}

#[tokio::test]
async fn what_else_is_in_the_database_does_not_matter() {
    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    postgres.psql_in(
        "viva",
        "CREATE TABLE public.events (x int); CREATE TABLE public.interviews (x int)",
    );
    let journal = Journal::open(directory.path()).unwrap();
    begin(&journal, &["a"]).await;
    append(&journal, &id("a"), vec![joined(1)]).await;
    let env = Environment::default();
    let copying = Copying::start(&config(directory.path(), &postgres.url()), &env, &journal);
    copying.wait_until_done(directory.path()).await;
    assert_copied(&postgres, directory.path()).await;
    copying.stop().await;
}

#[tokio::test]
async fn a_schema_of_a_later_release_that_does_not_want_us_is_not_written_to() {
    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    let journal = Journal::open(directory.path()).unwrap();
    let env = Environment::default();
    begin(&journal, &["a"]).await;
    append(&journal, &id("a"), vec![joined(1)]).await;
    let config = config(directory.path(), &postgres.url());
    let copying = Copying::start(&config, &env, &journal);
    copying.wait_until_done(directory.path()).await;
    copying.stop().await;
    // One that only adds lets earlier releases go on.
    let later = SCHEMA_VERSION + 1;
    postgres.psql_in(
        "viva",
        &format!(
            "INSERT INTO viva.migrations (version, name, sha256) VALUES ({later}, 'later', '\\x00');
             ALTER TABLE viva.interviews ADD COLUMN score integer"
        ),
    );
    let copying = Copying::start(&config, &env, &journal);
    append(&journal, &id("a"), vec![joined(2)]).await;
    copying.wait_until_done(directory.path()).await;
    copying.stop().await;
    postgres.psql_in(
        "viva",
        &format!("UPDATE viva.meta SET min_writer = {later}"),
    );
    let copying = Copying::start(&config, &env, &journal);
    append(&journal, &id("a"), vec![joined(3)]).await;
    let cause = copying.wait_for_failure("too_new").await;
    assert!(cause.contains("install a later release"), "{cause}");
    assert_eq!(postgres.count("SELECT count(*) FROM events").await, 2);
    copying.stop().await;
}

#[tokio::test]
async fn a_schema_that_was_made_in_another_way_is_not_written_to() {
    let postgres = Postgres::start(&[]);
    let (directory, env) = (tempfile::tempdir().unwrap(), Environment::default());
    let journal = Journal::open(directory.path()).unwrap();
    let copying = Copying::start(&config(directory.path(), &postgres.url()), &env, &journal);
    copying
        .wait_until("the schema", |now| now.phase == viva::sync::Phase::Well)
        .await;
    copying.stop().await;
    postgres.psql_in(
        "viva",
        "UPDATE viva.migrations SET sha256 = '\\x00' WHERE version = 1",
    );
    let cause = said(&postgres.url(), &env, "migration_differs", |_| {}).await;
    assert!(cause.contains("0001_copy"), "{cause}");
}

#[tokio::test]
async fn the_schema_of_an_earlier_release_is_brought_to_this_one_with_what_is_in_it() {
    use sha2::{Digest, Sha256};

    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    let first = include_str!("../../migrations/postgres/0001_copy.sql");
    let hash = Sha256::digest(first.as_bytes());
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    postgres.psql_in(
        "viva",
        &format!(
            "CREATE SCHEMA viva; SET search_path = viva, pg_temp; {first};
             INSERT INTO migrations (version, name, sha256) VALUES (1, '0001_copy', '\\x{hash}');
             INSERT INTO plans (hash, body) VALUES ('h', 'b');
             INSERT INTO interviews (interview_id, room, plan_name, plan_hash, begun_at, begun_at_unix_ms, appliance, term)
               VALUES ('old', 'r', 'p', 'h', now(), 0, 'x', 1)"
        ),
    );
    let env = Environment::default();
    // Several appliances are upgraded at once.
    let mut copies = Vec::new();
    for name in ["a", "b", "c"] {
        let journal = Journal::open(&directory.path().join(name)).unwrap();
        begin(&journal, &[name]).await;
        append(&journal, &id(name), vec![joined(1)]).await;
        let config = config(&directory.path().join(name), &postgres.url());
        copies.push((name, Copying::start(&config, &env, &journal)));
    }
    for (name, copying) in copies {
        copying.wait_until_done(&directory.path().join(name)).await;
        copying.stop().await;
    }
    assert_eq!(
        postgres
            .count("SELECT max(version)::bigint FROM migrations")
            .await,
        i64::from(SCHEMA_VERSION)
    );
    assert_eq!(postgres.count("SELECT count(*) FROM interviews").await, 4);
}

#[tokio::test]
async fn the_way_is_encrypted_and_the_server_is_who_it_says() {
    let certificates = tempfile::tempdir().unwrap();
    let (certificate, key) = (
        certificates.path().join("crt"),
        certificates.path().join("key"),
    );
    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ])
        .args([
            "-days",
            "2",
            "-subj",
            "/CN=db",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl runs");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let postgres = Postgres::start(&[]);
    postgres.encrypt(&certificate, &key);
    let env = Environment::of([("PGPASSWORD", "secret")]);
    let plain = postgres.tcp_url(postgres.port());
    let verified = plain.replace(
        "sslmode=disable",
        &format!("sslmode=verify-full&sslrootcert={}", certificate.display()),
    );
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    begin(&journal, &["a"]).await;
    append(&journal, &id("a"), vec![joined(1)]).await;
    let copying = Copying::start(&config(directory.path(), &verified), &env, &journal);
    copying.wait_until_done(directory.path()).await;
    let encrypted = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                     WHERE ssl AND application_name = 'viva'";
    assert!(postgres.count(encrypted).await >= 1);
    copying.stop().await;
    // The system's certificates do not know this one.
    let unknown = plain.replace("sslmode=disable", "sslmode=verify-full");
    let cause = said(&unknown, &env, "protocol", |_| {}).await;
    assert!(cause.contains("sslmode"), "{cause}");
}

#[tokio::test]
async fn a_role_without_the_right_to_make_the_schema_is_told_what_it_needs() {
    let postgres = Postgres::start(&[]);
    postgres.psql_in(
        "viva",
        "CREATE ROLE clerk LOGIN; REVOKE CREATE ON DATABASE viva FROM PUBLIC",
    );
    let url = postgres.url().replace("viva@", "clerk@");
    let env = Environment::default();
    let cause = said(&url, &env, "forbidden", |_| {}).await;
    assert!(
        cause.contains("CREATE SCHEMA viva AUTHORIZATION"),
        "{cause}"
    );
    // What the message says is enough.
    postgres.psql_in("viva", "CREATE SCHEMA viva AUTHORIZATION clerk");
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    begin(&journal, &["a"]).await;
    append(&journal, &id("a"), vec![joined(1)]).await;
    let copying = Copying::start(&config(directory.path(), &url), &env, &journal);
    copying.wait_until_done(directory.path()).await;
    copying.stop().await;
}

#[tokio::test]
async fn a_wrong_login_is_told_without_the_password() {
    let postgres = Postgres::start(&[]);
    let url = postgres.tcp_url(postgres.port());
    let wrong = Environment::of([("PGPASSWORD", "hunter2-is-wrong")]);
    let cause = said(&url, &wrong, "refused", |_| {}).await;
    assert!(cause.contains("password"), "{cause}");
    assert!(!cause.contains("hunter2"), "{cause}");
    let no_database = url.replace("/viva?", "/vivarium?");
    let right = Environment::of([("PGPASSWORD", "secret")]);
    let cause = said(&no_database, &right, "refused", |_| {}).await;
    assert!(cause.contains("vivarium"), "{cause}");
}

#[tokio::test]
async fn the_password_comes_from_its_file_or_from_a_credential() {
    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    let credentials = tempfile::tempdir().unwrap();
    std::fs::write(credentials.path().join("postgres-password"), "secret\n").unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    let url = postgres.tcp_url(postgres.port());
    let path = credentials.path().display().to_string();
    let env = Environment::of([("CREDENTIALS_DIRECTORY", path.as_str())]);
    let mut config = config(directory.path(), &url);
    begin(&journal, &["a"]).await;
    append(&journal, &id("a"), vec![joined(1)]).await;
    let copying = Copying::start(&config, &env, &journal);
    copying.wait_until_done(directory.path()).await;
    copying.stop().await;
    config.postgres.password_file = Some(credentials.path().join("postgres-password"));
    append(&journal, &id("a"), vec![joined(2)]).await;
    let copying = Copying::start(&config, &Environment::default(), &journal);
    copying.wait_until_done(directory.path()).await;
    assert_copied(&postgres, directory.path()).await;
    copying.stop().await;
}

#[tokio::test]
async fn a_server_of_another_kind_is_told_from_one_that_is_silent() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // Long enough for any first message of PostgreSQL's protocol.
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                .await;
        }
    });
    let url = format!("postgresql://viva@127.0.0.1:{port}/viva?sslmode=disable");
    let cause = said(&url, &Environment::default(), "protocol", |_| {}).await;
    assert!(cause.contains("is it a PostgreSQL"), "{cause}");
    serving.abort();

    let quiet = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = quiet.local_addr().unwrap().port();
    let url = format!("postgresql://viva@127.0.0.1:{port}/viva?sslmode=disable");
    let cause = said(&url, &Environment::default(), "silent", |config| {
        config.postgres.connect_timeout_ms = 300;
    })
    .await;
    assert!(cause.contains("did not answer within 300 ms"), "{cause}");
}

#[tokio::test]
async fn a_standby_is_told_from_a_primary() {
    let primary = Postgres::start(&[]);
    let standby = primary.standby();
    let env = Environment::default();
    let cause = said(&standby.url(), &env, "read_only", |_| {}).await;
    assert!(
        cause.contains("it is a standby") && cause.contains("name the primary"),
        "{cause}"
    );
}

#[test]
fn the_service_is_ready_without_its_database_and_says_so_everywhere() {
    let postgres = Postgres::start(&[]);
    postgres.stop();
    let url = postgres.url();
    let mut service = Service::start(&[("VIVA_POSTGRES__URL", &url)]);
    service.wait_until_ready();
    service.wait_for_log("interviews are not copied for now");
    let (status, _) = service.get("/readyz");
    assert_eq!(status, 200);
    let (_, health) = service.get("/healthz");
    let health: serde_json::Value = serde_json::from_str(&health).unwrap();
    let row = &health["components"]["postgres"];
    assert_eq!(row["state"], "failed", "{row}");
    assert!(
        row["detail"]
            .as_str()
            .unwrap()
            .ends_with("/viva, schema viva"),
        "{row}"
    );
    let (_, metrics) = service.get("/metrics");
    for line in [
        "viva_sync_failing{kind=\"unreachable\"} 1.0",
        "viva_sync_backlog_events 0.0",
        "viva_sync_lag_seconds 0.0",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    postgres.up();
    wait_for(
        &service,
        "/metrics",
        "viva_sync_failing{kind=\"unreachable\"} 0.0",
    );
    // Told a moment after it is counted.
    service.wait_until_well("postgres");
}

fn wait_for(service: &Service, page: &str, text: &str) {
    let deadline = std::time::Instant::now() + service::LIMIT;
    while !service.get(page).1.contains(text) {
        assert!(
            std::time::Instant::now() < deadline,
            "{text} is not told:\n{}",
            service.log()
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn a_check_tells_how_the_database_is_and_changes_nothing_in_it() {
    let postgres = Postgres::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state").display().to_string();
    let check = |url: &str| {
        let settings = [
            ("VIVA_POSTGRES__URL", url),
            ("VIVA_STATE_DIRECTORY", state.as_str()),
        ];
        let (_, shown, complaint) = service::run(&["check", "--json"], &settings);
        let shown: serde_json::Value =
            serde_json::from_str(&shown).unwrap_or_else(|e| panic!("{e}: {shown} {complaint}"));
        shown["components"]["postgres"].clone()
    };
    let row = check(&postgres.url());
    assert_eq!(row["state"], "ok", "{row}");
    assert!(
        row["detail"]
            .as_str()
            .unwrap()
            .contains("is made at the next start"),
        "{row}"
    );
    let made = "SELECT count(*) FROM pg_namespace WHERE nspname = 'viva'";
    assert_eq!(
        tokio::runtime::Runtime::new()
            .unwrap()
            .block_on(postgres.count(made)),
        0
    );
    postgres.stop();
    let row = check(&postgres.url());
    assert_eq!(row["state"], "failed", "{row}");
    assert!(
        row["cause"]
            .as_str()
            .unwrap()
            .contains("cannot reach PostgreSQL"),
        "{row}"
    );
}
