//! Whatever happens to PostgreSQL or on the way to it: it is told, nothing is lost, and nothing is doubled.

use std::path::Path;
use std::time::Duration;

use crate::copying::{Copying, append, assert_copied, begin, config};
use crate::journal_support::{ended, id, joined};
use crate::postgres::{Postgres, SmallDisk};
use crate::proxy::{Manner, Proxy};
use viva::config::Environment;
use viva::health::Condition;
use viva::journal::Journal;

fn no_env() -> Environment {
    Environment::default()
}

fn with_password() -> Environment {
    Environment::of([("PGPASSWORD", "secret")])
}

/// Interviews of different lengths, some of which are over.
async fn fill(journal: &Journal, interviews: usize, events: u64) {
    for n in 0..interviews {
        let name = format!("i{n}");
        begin(journal, &[&name]).await;
        let length = events + n as u64;
        append(journal, &id(&name), (1..length).map(joined).collect()).await;
        if n % 2 == 0 {
            append(journal, &id(&name), vec![ended(length)]).await;
        }
    }
}

#[tokio::test]
async fn a_database_that_is_down_costs_a_backlog_and_a_number() {
    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    postgres.stop();
    let journal = Journal::open(directory.path()).unwrap();
    fill(&journal, 20, 100).await;
    let copying = Copying::start(
        &config(directory.path(), &postgres.url()),
        &no_env(),
        &journal,
    );
    let cause = copying.wait_for_failure("unreachable").await;
    assert!(cause.contains("cannot reach PostgreSQL"), "{cause}");
    let expected = (0..20).map(|n| 100 + n - n % 2).sum::<u64>();
    let behind = copying
        .wait_until("a backlog", |now| now.backlog == expected)
        .await;
    // The events of the tests are of another year than this one.
    assert!(
        behind.oldest_unix_ms == Some(1_800_000_000_001),
        "{behind:?}"
    );
    let Some(Condition::Failed(said)) = copying.health.condition("postgres") else {
        panic!("the health table does not say it");
    };
    assert_eq!(said, cause);
    // Interviews go on meanwhile.
    append(&journal, &id("i1"), vec![joined(101)]).await;
    postgres.up();
    copying.wait_until_done(directory.path()).await;
    assert_copied(&postgres, directory.path()).await;
    let well = copying
        .wait_until("an end of the backlog", |now| now.backlog == 0)
        .await;
    assert_eq!(well.lag_ms(), 0);
    assert_eq!(copying.health.condition("postgres"), Some(Condition::Ok));
    copying.stop().await;
}

#[tokio::test]
async fn a_database_that_restarts_in_the_middle_gets_everything_once() {
    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    let journal = Journal::open(directory.path()).unwrap();
    fill(&journal, 60, 200).await;
    let copying = Copying::start(
        &config(directory.path(), &postgres.url()),
        &no_env(),
        &journal,
    );
    for round in 1..=4 {
        copying
            .wait_until("some progress", |now| now.copied >= round * 1_500)
            .await;
        postgres.stop();
        postgres.up();
    }
    copying.wait_until_done(directory.path()).await;
    assert_copied(&postgres, directory.path()).await;
    copying.stop().await;
}

/// Connections are cut after another number of bytes for each seed: in the login, in a statement, before and after a
/// commit.
#[tokio::test]
async fn connections_that_are_cut_anywhere_lose_and_double_nothing() {
    let postgres = Postgres::start(&[]);
    let proxy = Proxy::start(postgres.port()).await;
    for seed in 0..6u64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::open(directory.path()).unwrap();
        postgres.psql_in("viva", "DROP SCHEMA IF EXISTS viva CASCADE");
        let url = postgres.tcp_url(proxy.port());
        proxy.set(Manner::CutAfter(random.u64(200..20_000)));
        let copying = Copying::start(&config(directory.path(), &url), &with_password(), &journal);
        let before = proxy.cuts();
        for round in 0..5u64 {
            for n in 0..8 {
                let name = format!("i{n}");
                if round == 0 {
                    begin(&journal, &[&name]).await;
                }
                let events = (1..=30).map(|plus| joined(round * 30 + plus));
                append(&journal, &id(&name), events.collect()).await;
            }
            let seen = proxy.cuts();
            if round == 0 {
                copying
                    .wait_until("a cut", |_| proxy.cuts() > seen.min(before))
                    .await;
            }
            proxy.set(Manner::CutAfter(random.u64(500..40_000)));
        }
        proxy.set(Manner::Open);
        copying.wait_until_done(directory.path()).await;
        assert_copied(&postgres, directory.path()).await;
        assert!(proxy.cuts() > before, "seed {seed} cut nothing");
        copying.stop().await;
    }
}

#[tokio::test]
async fn a_database_that_says_nothing_any_more_is_noticed_and_found_again() {
    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    let journal = Journal::open(directory.path()).unwrap();
    let mut config = config(directory.path(), &postgres.url());
    config.postgres.statement_timeout_ms = 300;
    config.postgres.acquire_timeout_ms = 500;
    let copying = Copying::start(&config, &no_env(), &journal);
    fill(&journal, 4, 10).await;
    copying.wait_until_done(directory.path()).await;
    postgres.freeze(true);
    append(&journal, &id("i1"), vec![joined(11)]).await;
    let cause = copying.wait_for_failure("silent").await;
    assert!(cause.contains("did not answer within"), "{cause}");
    postgres.freeze(false);
    copying.wait_until_done(directory.path()).await;
    assert_copied(&postgres, directory.path()).await;
    copying.stop().await;
}

#[tokio::test]
async fn a_database_that_is_too_slow_for_large_batches_gets_smaller_ones() {
    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    let journal = Journal::open(directory.path()).unwrap();
    let mut config = config(directory.path(), &postgres.url());
    config.postgres.statement_timeout_ms = 500;
    let copying = Copying::start(&config, &no_env(), &journal);
    copying
        .wait_until("the schema", |now| now.phase == viva::sync::Phase::Well)
        .await;
    postgres.psql_in(
        "viva",
        "CREATE FUNCTION viva.slow() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN PERFORM pg_sleep(0.004); RETURN NEW; END $$;
         CREATE TRIGGER slow BEFORE INSERT ON viva.events FOR EACH ROW EXECUTE FUNCTION viva.slow()",
    );
    fill(&journal, 3, 400).await;
    copying.wait_for_failure("slow").await;
    copying.wait_until_done(directory.path()).await;
    assert_copied(&postgres, directory.path()).await;
    copying.stop().await;
}

/// Goes on when what the operator did about `broken` has taken effect.
async fn told_and_overcome(database: &str, broken: &str, mended: &str, kind: &str, said: &str) {
    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    let journal = Journal::open(directory.path()).unwrap();
    let copying = Copying::start(
        &config(directory.path(), &postgres.url()),
        &no_env(),
        &journal,
    );
    fill(&journal, 3, 20).await;
    copying.wait_until_done(directory.path()).await;
    postgres.psql_in(database, broken);
    append(&journal, &id("i1"), vec![joined(21), joined(22)]).await;
    let cause = copying.wait_for_failure(kind).await;
    assert!(cause.contains(said), "{cause}");
    postgres.psql_in(database, mended);
    copying.wait_until_done(directory.path()).await;
    assert_copied(&postgres, directory.path()).await;
    copying.stop().await;
}

const CUT_ALL: &str =
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'viva'";

/// The events of the database lie on a disk of one megabyte, until it is made larger.
async fn a_small_disk_is_told_and_overcome(disk: SmallDisk) {
    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    let journal = Journal::open(directory.path()).unwrap();
    let config = config(directory.path(), &postgres.url());
    let copying = Copying::start(&config, &no_env(), &journal);
    copying
        .wait_until("the schema", |now| now.phase == viva::sync::Phase::Well)
        .await;
    postgres.give(disk.path());
    let location = disk.path().display();
    postgres.psql_in(
        "viva",
        &format!("CREATE TABLESPACE small LOCATION '{location}'"),
    );
    postgres.psql_in("viva", "ALTER TABLE viva.events SET TABLESPACE small");
    fill(&journal, 10, 500).await;
    let cause = copying.wait_for_failure("full").await;
    assert!(cause.contains("No space left on device"), "{cause}");
    disk.enlarge();
    copying.wait_until_done(directory.path()).await;
    assert_copied(&postgres, directory.path()).await;
    copying.stop().await;
    drop(postgres);
}

#[tokio::test]
async fn a_full_disk_of_the_database_is_told_and_overcome() {
    if let Some(disk) = SmallDisk::mount() {
        return a_small_disk_is_told_and_overcome(disk).await;
    }
    // Who may not mount one makes the server say what it says then.
    let full = "CREATE FUNCTION viva.full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                  RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
                END $$;
                CREATE TRIGGER full_disk BEFORE INSERT ON viva.events FOR EACH ROW EXECUTE FUNCTION viva.full()";
    let mended = "DROP TRIGGER full_disk ON viva.events";
    told_and_overcome("viva", full, mended, "full", "No space left").await;
}

#[tokio::test]
async fn a_database_that_is_set_to_be_read_only_is_told_and_overcome() {
    let broken = format!("ALTER DATABASE viva SET default_transaction_read_only = on; {CUT_ALL}");
    let mended = format!("ALTER DATABASE viva RESET default_transaction_read_only; {CUT_ALL}");
    told_and_overcome(
        "postgres",
        &broken,
        &mended,
        "read_only",
        "can't be written to",
    )
    .await;
}

#[tokio::test]
async fn a_database_without_a_free_connection_is_told_and_overcome() {
    let broken = format!("ALTER DATABASE viva ALLOW_CONNECTIONS false; {CUT_ALL}");
    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    let journal = Journal::open(directory.path()).unwrap();
    let copying = Copying::start(
        &config(directory.path(), &postgres.url()),
        &no_env(),
        &journal,
    );
    fill(&journal, 3, 20).await;
    copying.wait_until_done(directory.path()).await;
    postgres.psql(&broken);
    append(&journal, &id("i1"), vec![joined(21)]).await;
    copying.wait_for_failure("other").await;
    postgres.psql("ALTER DATABASE viva ALLOW_CONNECTIONS true");
    copying.wait_until_done(directory.path()).await;
    assert_copied(&postgres, directory.path()).await;
    copying.stop().await;
}

/// The standby had not got everything when the primary died, and the copier had an acknowledgement for it.
#[tokio::test]
async fn a_failover_to_a_standby_that_lagged_loses_nothing() {
    let (primary, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    let standby = primary.standby();
    let proxy = Proxy::start(primary.port()).await;
    let journal = Journal::open(directory.path()).unwrap();
    let url = primary.tcp_url(proxy.port());
    let copying = Copying::start(&config(directory.path(), &url), &with_password(), &journal);
    fill(&journal, 6, 30).await;
    copying.wait_until_done(directory.path()).await;
    let replicated = "SELECT count(*) FROM interviews WHERE events > 0";
    standby.wait_for(replicated, 6).await;
    standby.freeze(true);
    // Half of them are over, and would never be looked at again.
    for n in 6..12 {
        let name = format!("i{n}");
        begin(&journal, &[&name]).await;
        append(&journal, &id(&name), vec![joined(1), ended(2)]).await;
    }
    append(&journal, &id("i1"), (31..=40).map(joined).collect()).await;
    copying.wait_until_done(directory.path()).await;
    primary.stop();
    standby.freeze(false);
    standby.promote();
    proxy.aim(standby.port());
    standby
        .wait_for(
            "SELECT count(*) FROM interviews WHERE ended_at IS NOT NULL",
            9,
        )
        .await;
    standby
        .wait_for(
            "SELECT events FROM interviews WHERE interview_id = 'i1'",
            40,
        )
        .await;
    assert_copied(&standby, directory.path()).await;
    copying.stop().await;
}

fn refuse_the_first_interview(postgres: &Postgres) {
    postgres.psql_in(
        "viva",
        "ALTER TABLE viva.events ADD CONSTRAINT no_i1 CHECK (interview_id <> 'i1')",
    );
}

fn accept_it_again(postgres: &Postgres) {
    postgres.psql_in("viva", "ALTER TABLE viva.events DROP CONSTRAINT no_i1");
}

#[tokio::test]
async fn one_interview_that_can_t_be_stored_does_not_keep_the_others() {
    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    let journal = Journal::open(directory.path()).unwrap();
    let copying = Copying::start(
        &config(directory.path(), &postgres.url()),
        &no_env(),
        &journal,
    );
    copying
        .wait_until("the schema", |now| now.phase == viva::sync::Phase::Well)
        .await;
    refuse_the_first_interview(&postgres);
    fill(&journal, 4, 20).await;
    let held = copying
        .wait_until("one held back", |now| {
            now.held_back == 1 && now.backlog == 0
        })
        .await;
    assert!(held.held_back_cause.unwrap().contains("no_i1"));
    assert_eq!(
        postgres
            .count("SELECT count(*) FROM interviews WHERE events > 0")
            .await,
        3
    );
    let said = copying.health.condition("postgres");
    assert!(
        matches!(&said, Some(Condition::Degraded(cause)) if cause.contains("no_i1")),
        "{said:?}"
    );
    copying.stop().await;
    // A start after the cause is gone copies it.
    accept_it_again(&postgres);
    let copying = Copying::start(
        &config(directory.path(), &postgres.url()),
        &no_env(),
        &journal,
    );
    copying.wait_until_done(directory.path()).await;
    assert_copied(&postgres, directory.path()).await;
    copying.stop().await;
}

#[tokio::test]
async fn what_is_held_back_is_tried_again_after_a_while() {
    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    let journal = Journal::open(directory.path()).unwrap();
    let copying = Copying::start_with(
        &config(directory.path(), &postgres.url()),
        &no_env(),
        &journal,
        |copier| copier.trying_held_back_every(Duration::from_millis(500)),
    );
    copying
        .wait_until("the schema", |now| now.phase == viva::sync::Phase::Well)
        .await;
    refuse_the_first_interview(&postgres);
    fill(&journal, 2, 20).await;
    copying
        .wait_until("one held back", |now| now.held_back == 1)
        .await;
    accept_it_again(&postgres);
    copying.wait_until_done(directory.path()).await;
    assert_copied(&postgres, directory.path()).await;
    assert_eq!(copying.status.now().held_back, 0);
    copying.stop().await;
}

/// Appends for ever, in a process that is killed; what it appended is copied by the ones after it.
const DIRECTORY: &str = "VIVA_TEST_COPY_DIRECTORY";
const URL: &str = "VIVA_TEST_COPY_URL";

#[tokio::test]
#[ignore = "is started by the other test, as a process to be killed"]
async fn a_copier_that_never_stops() {
    let (Some(directory), Ok(url)) = (std::env::var_os(DIRECTORY), std::env::var(URL)) else {
        return;
    };
    let directory = Path::new(&directory);
    let journal = Journal::open(directory).unwrap();
    let copying = Copying::start(&config(directory, &url), &no_env(), &journal);
    for n in 0u64.. {
        let name = format!("p{}-{n}", std::process::id());
        begin(&journal, &[&name]).await;
        append(&journal, &id(&name), (1..=40).map(joined).collect()).await;
        append(&journal, &id(&name), vec![ended(41)]).await;
        println!("\ncopied {}", copying.status.now().copied);
    }
}

#[tokio::test]
async fn our_own_death_at_any_moment_loses_and_doubles_nothing() {
    use std::io::BufRead;

    let (postgres, directory) = (Postgres::start(&[]), tempfile::tempdir().unwrap());
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..8 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "faults::a_copier_that_never_stops",
                "--ignored",
                "--nocapture",
            ])
            .env(DIRECTORY, directory.path())
            .env(URL, postgres.url())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let mut wanted = random.u64(1..400);
        for line in lines {
            let Ok(line) = line else { break };
            let copied = line
                .strip_prefix("copied ")
                .and_then(|n| n.parse::<u64>().ok());
            // Some die before anything was copied, others in the middle of it.
            wanted = wanted.saturating_sub(copied.map_or(0, |copied| 1 + copied.min(3)));
            if wanted == 0 {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let journal = Journal::open(directory.path()).unwrap();
    let copying = Copying::start(
        &config(directory.path(), &postgres.url()),
        &no_env(),
        &journal,
    );
    copying.wait_until_done(directory.path()).await;
    assert_copied(&postgres, directory.path()).await;
    copying.stop().await;
}
