//! An interview survives its machine: three appliances, one livekit-server, one PostgreSQL, and a candidate on LiveKit's
//! official client who stays in the room. Whatever happens, one interviewer is there, never two, and of two who could
//! take over one does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails here"
)]

#[path = "support/follower.rs"]
mod follower;
#[path = "support/livekit_server.rs"]
mod livekit_server;
#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/service.rs"]
mod service;

use std::time::{Duration, Instant};

use follower::Follower;
use livekit_server::LiveKitServer;
use livekit_token::VideoGrants;
use postgres::Postgres;
use proxy::{Manner, Proxy};
use serde_json::Value;
use service::Service;

/// A lease, the looks that follow it, and a loaded machine.
const LIMIT: Duration = Duration::from_secs(150);
/// Between two looks where there is no event to wait for.
const LOOK: Duration = Duration::from_millis(50);
/// Looks of two appliances at LiveKit within which a takeover would have come: each looks every five seconds, and the
/// longest that anything has to last before one is twenty.
const LOOKS: usize = 16;

/// Three appliances and what they share.
struct Site {
    server: LiveKitServer,
    postgres: Postgres,
    /// What is between the first appliance and PostgreSQL.
    proxy: Proxy,
    runtime: tokio::runtime::Runtime,
    /// For the password.
    _secrets: tempfile::TempDir,
    password: String,
}

impl Site {
    fn new() -> Self {
        let postgres = Postgres::start(&[]);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let proxy = runtime.block_on(Proxy::start(postgres.port()));
        let secrets = tempfile::tempdir().unwrap();
        let file = secrets.path().join("password");
        std::fs::write(&file, "secret\n").unwrap();
        Self {
            server: LiveKitServer::start(),
            proxy,
            postgres,
            runtime,
            password: file.display().to_string(),
            _secrets: secrets,
        }
    }

    /// An appliance that reaches PostgreSQL by this port.
    fn appliance(&self, port: u16) -> Service {
        let mut service = Service::start(&[
            ("LIVEKIT_URL", &self.server.url),
            ("LIVEKIT_API_KEY", &self.server.key),
            ("LIVEKIT_API_SECRET", &self.server.secret),
            ("VIVA_POSTGRES__URL", &self.postgres.tcp_url(port)),
            ("VIVA_POSTGRES__PASSWORD_FILE", &self.password),
        ]);
        service.wait_until_registered();
        // Then it knows what the others conduct.
        service.wait_until_well("postgres");
        service
    }

    /// An appliance that conducts an interview, two others that do not, and the candidate.
    fn with_an_interview(&self, id: &str) -> (Service, Others, Follower) {
        let first = self.appliance(self.proxy.port());
        let mut candidate = Follower::join(&self.server, &format!("interview-{id}"));
        candidate.wait_for_voice();
        candidate.wait_for_the_floor();
        self.wait_for("SELECT count(*) FROM leases WHERE expires_at > now()", 1);
        let others = [(); 2].map(|()| self.appliance(self.postgres.port()));
        (first, Others(others), candidate)
    }

    /// Waits until PostgreSQL counts so many.
    fn wait_for(&self, sql: &str, expected: i64) {
        let deadline = Instant::now() + LIMIT;
        while self.count(sql) != expected {
            assert!(Instant::now() < deadline, "{sql} is not {expected}");
            std::thread::sleep(LOOK);
        }
    }

    fn count(&self, sql: &str) -> i64 {
        self.runtime.block_on(self.postgres.count(sql))
    }

    /// As if nothing had renewed the leases for long enough.
    fn let_leases_lapse(&self) {
        self.postgres
            .psql_in("viva", "UPDATE viva.leases SET expires_at = now()");
    }

    /// The heartbeats of those who are in the room as the interviewer.
    fn heartbeats(&self, id: &str) -> Vec<String> {
        let room = format!("interview-{id}");
        let grants = VideoGrants {
            room_admin: true,
            room: room.clone(),
            ..VideoGrants::default()
        };
        let body = format!(r#"{{"room":"{room}"}}"#);
        let answer = self
            .server
            .api("RoomService/ListParticipants", &body, grants);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let none = Vec::new();
        let participants = answer["participants"].as_array().unwrap_or(&none).iter();
        participants
            .filter(|p| p["identity"] == "viva")
            .map(|p| p["attributes"]["viva.heartbeat"].to_string())
            .collect()
    }

    /// Who is in the room as the interviewer: the part of the heartbeat that stays.
    fn interviewer(&self, id: &str) -> Option<String> {
        let [beat] = self.heartbeats(id).try_into().ok()?;
        let beat: String = beat;
        Some(beat.trim_matches('"').split('.').next()?.to_owned())
    }

    fn wait_for_interviewer(&self, id: &str, is_it: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let found = self.interviewer(id);
            if found.as_deref().is_some_and(&is_it) {
                return;
            }
            assert!(Instant::now() < deadline, "the interviewer is {found:?}");
            std::thread::sleep(LOOK);
        }
    }

    /// How often LiveKit was asked who is in a room.
    fn questions(&self) -> usize {
        self.server.log().matches("ListParticipants").count()
    }
}

/// Those who could take over.
struct Others([Service; 2]);

impl Others {
    fn log(&self) -> String {
        self.0.each_ref().map(Service::log).concat()
    }

    /// How many have taken the interview over.
    fn takeovers(&self) -> usize {
        self.log()
            .matches("the interview is taken over from")
            .count()
    }

    fn wait_for_log(&self, text: &str) {
        let deadline = Instant::now() + LIMIT;
        while !self.log().contains(text) {
            assert!(
                Instant::now() < deadline,
                "the log does not say {text:?}:\n{}",
                self.log()
            );
            std::thread::sleep(LOOK);
        }
    }
}

fn wait_for_set_aside(service: &Service, id: &str) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let (_, listed, _) = service.run(&["interviews", "--json"]);
        let listed: Value = serde_json::from_str(&listed).unwrap();
        if listed[0]["id"] == id && listed[0]["set_aside"].is_string() {
            return;
        }
        assert!(Instant::now() < deadline, "{listed:#}\n{}", service.log());
        std::thread::sleep(LOOK);
    }
}

#[test]
fn another_appliance_goes_on_when_the_machine_is_gone() {
    let site = Site::new();
    let (mut first, others, mut candidate) = site.with_an_interview("gone");
    site.wait_for_interviewer("gone", |tag| tag.len() == 8);
    let before = site.interviewer("gone").unwrap();
    first.kill();
    site.let_leases_lapse();
    candidate.wait_for_late_words(
        "I was gone for a moment. Let me repeat the question.",
        LIMIT,
    );
    candidate.wait_for_voice();
    candidate.wait_for_the_floor();
    assert_eq!(others.takeovers(), 1, "{}", others.log());
    let terms = "SELECT count(*) FROM interviews WHERE term = 2 AND ended_at IS NULL";
    site.wait_for(terms, 1);
    let doubled =
        "SELECT count(*) FROM (SELECT seq FROM events GROUP BY seq HAVING count(*) > 1) AS twice";
    assert_eq!(site.count(doubled), 0);
    assert_eq!(site.count("SELECT count(*) FROM quarantine"), 0);

    // The machine comes back, asks, and leaves the interview where it is.
    std::fs::remove_file(first.state().join("tenure")).unwrap();
    first.start_again();
    wait_for_set_aside(&first, "gone");
    site.wait_for_interviewer("gone", |tag| tag != before);
    assert!(
        !others.log().contains("left and joined again"),
        "{}",
        others.log()
    );
    assert_eq!(candidate.agents_max(), 1, "{:#?}", candidate.noticed);
}

#[test]
fn a_process_that_stood_still_for_longer_than_its_lease_stops_for_good() {
    let site = Site::new();
    let (mut first, others, mut candidate) = site.with_an_interview("stopped");
    site.wait_for_interviewer("stopped", |tag| tag.len() == 8);
    let before = site.interviewer("stopped").unwrap();
    first.signal("STOP");
    // The lease ends by itself.
    candidate.wait_for_late_words("I was gone for a moment.", LIMIT);
    candidate.wait_for_the_floor();
    first.signal("CONT");
    wait_for_set_aside(&first, "stopped");
    assert!(
        first.log().contains("this process stood still for"),
        "{}",
        first.log()
    );
    site.wait_for_interviewer("stopped", |tag| tag != before);
    // It holds no interview any more, and lets others hold theirs.
    first.signal("TERM");
    assert!(first.wait_for_end().success(), "{}", first.log());
    site.wait_for_interviewer("stopped", |tag| tag != before);
    assert_eq!(candidate.agents_max(), 1, "{:#?}", candidate.noticed);
    assert_eq!(others.takeovers(), 1, "{}", others.log());
}

#[test]
fn one_that_is_cut_off_from_postgres_alone_goes_on_and_nobody_claims() {
    let site = Site::new();
    let (first, others, candidate) = site.with_an_interview("cut");
    site.wait_for_interviewer("cut", |tag| tag.len() == 8);
    let before = site.interviewer("cut").unwrap();
    site.proxy.set(Manner::Closed);
    first.wait_for_log("interviews are not copied for now");
    site.let_leases_lapse();
    others.wait_for_log("does not renew its lease any more");
    let (asked, deadline) = (site.questions(), Instant::now() + LIMIT);
    while site.questions() < asked + LOOKS {
        assert!(Instant::now() < deadline, "LiveKit is not asked");
        std::thread::sleep(LOOK);
    }
    site.proxy.set(Manner::Open);
    site.wait_for("SELECT count(*) FROM leases WHERE expires_at > now()", 1);
    assert_eq!(others.takeovers(), 0, "{}", others.log());
    assert!(!first.log().contains("joined again"), "{}", first.log());
    assert_eq!(site.interviewer("cut"), Some(before));
    assert_eq!(candidate.agents_max(), 1, "{:#?}", candidate.noticed);
}

#[test]
fn with_postgres_and_livekit_gone_the_one_that_held_the_interview_goes_on() {
    let mut site = Site::new();
    let (first, others, candidate) = site.with_an_interview("both");
    drop(candidate);
    site.postgres.stop();
    site.server.kill();
    first.wait_for_log("is being mended");
    site.postgres.up();
    site.let_leases_lapse();
    site.server.start_again();
    let mut candidate = Follower::join(&site.server, "interview-both");
    candidate.wait_for_late_words("Let me repeat the question.", LIMIT);
    candidate.wait_for_the_floor();
    site.wait_for("SELECT count(*) FROM leases WHERE expires_at > now()", 1);
    assert_eq!(others.takeovers(), 0, "{}", others.log());
    assert!(
        !others.log().contains("the job is accepted"),
        "{}",
        others.log()
    );
    assert_eq!(candidate.agents_max(), 1, "{:#?}", candidate.noticed);
    assert_eq!(site.count("SELECT count(*) FROM quarantine"), 0);
}
