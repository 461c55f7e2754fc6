//! An interview that one appliance conducts is not begun by another. Real PostgreSQL, LiveKit and `viva serve`.

use std::time::{Duration, Instant};

use crate::copying::{Copying, append, begin, config};
use crate::journal_support::{ended, id, joined};
use crate::livekit_server::LiveKitServer;
use crate::postgres::{LIMIT, Postgres};
use crate::service::Service;
use viva::config::Environment;
use viva::journal::Journal;
use viva::sync::Holding;

#[tokio::test]
async fn an_interview_is_leased_while_it_goes_on_and_no_longer() {
    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    let env = Environment::default();
    let journal = Journal::open(&directory.path().join("a")).unwrap();
    begin(&journal, &["x"]).await;
    append(&journal, &id("x"), vec![joined(1)]).await;
    let one = Copying::start(
        &config(&directory.path().join("a"), &postgres.url()),
        &env,
        &journal,
    );
    postgres
        .wait_for(
            "SELECT count(*) FROM leases WHERE term = 1 AND expires_at > now()",
            1,
        )
        .await;
    // Another one has the same interview, as after a dispatch that went to both.
    let other_journal = Journal::open(&directory.path().join("b")).unwrap();
    begin(&other_journal, &["x"]).await;
    let other = Copying::start(
        &config(&directory.path().join("b"), &postgres.url()),
        &env,
        &other_journal,
    );
    let held_by_a = |holding| matches!(holding, Some(Holding::Conducted(by)) if by.ends_with("/a"));
    wait_until(|| held_by_a(other.elsewhere.holding(&id("x")))).await;
    assert_eq!(
        one.elsewhere.holding(&id("x")),
        None,
        "it does not lose it to the later one"
    );
    // One that is gone holds it until the lease ends, by the clock of the database. After that it is nobody's until
    // somebody has taken it over.
    one.stop().await;
    postgres.psql_in("viva", "UPDATE viva.leases SET expires_at = now()");
    wait_until(|| {
        matches!(
            other.elsewhere.holding(&id("x")),
            Some(Holding::Abandoned(_))
        )
    })
    .await;
    other.stop().await;
    // When it is over, so is the lease.
    let one = Copying::start(
        &config(&directory.path().join("a"), &postgres.url()),
        &env,
        &journal,
    );
    postgres
        .wait_for("SELECT count(*) FROM leases WHERE expires_at > now()", 1)
        .await;
    append(&journal, &id("x"), vec![ended(2)]).await;
    postgres.wait_for("SELECT count(*) FROM leases", 0).await;
    one.stop().await;
}

#[tokio::test]
async fn an_interview_has_its_lease_from_its_first_event_on() {
    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    let journal = Journal::open(directory.path()).unwrap();
    let config = config(directory.path(), &postgres.url());
    let copying = Copying::start(&config, &Environment::default(), &journal);
    copying
        .wait_until("the schema", |now| now.phase == viva::sync::Phase::Well)
        .await;
    begin(&journal, &["x"]).await;
    append(&journal, &id("x"), vec![joined(1)]).await;
    postgres
        .wait_for("SELECT count(*) FROM interviews", 1)
        .await;
    assert_eq!(
        postgres
            .count("SELECT count(*) FROM leases WHERE livekit = 'APItest' AND expires_at > now()")
            .await,
        1
    );
    copying.stop().await;
}

async fn wait_until(reached: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !reached() {
        assert!(Instant::now() < deadline, "it is not so within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_job_whose_interview_is_held_elsewhere_is_declined() {
    let postgres = Postgres::start(&[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // Makes the schema.
    runtime.block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::open(directory.path()).unwrap();
        let config = config(directory.path(), &postgres.url());
        let copying = Copying::start(&config, &Environment::default(), &journal);
        copying
            .wait_until("the schema", |now| now.phase == viva::sync::Phase::Well)
            .await;
        copying.stop().await;
    });
    postgres.psql_in(
        "viva",
        "INSERT INTO viva.plans (hash, body) VALUES ('h', 'b');
         INSERT INTO viva.interviews (interview_id, room, plan_name, plan_hash, begun_at, begun_at_unix_ms, appliance, term)
           VALUES ('busy', 'interview-busy', 'demo', 'h', now(), 0, 'viva-b:/var/lib/viva', 1);
         INSERT INTO viva.leases VALUES ('busy', 'viva-b:/var/lib/viva', 1, now() + interval '1 hour')",
    );
    let server = LiveKitServer::start();
    let mut service = Service::start(&[
        ("LIVEKIT_URL", &server.url),
        ("LIVEKIT_API_KEY", &server.key),
        ("LIVEKIT_API_SECRET", &server.secret),
        ("VIVA_POSTGRES__URL", &postgres.url()),
    ]);
    service.wait_until_registered();
    service.wait_until_well("postgres");
    server.create_room("interview-busy", "[]");
    service.wait_for_log("interview busy is held by viva-b:/var/lib/viva");
    // Any other one is taken.
    server.create_room("interview-free", "[]");
    let log = service.wait_for_log("the job is accepted");
    assert!(log.contains("free"), "{log}");
}
