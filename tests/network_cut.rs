//! The network between the appliance and LiveKit is cut, for seconds and for minutes: the interview goes on. The
//! appliance is in a network namespace of its own, behind a cable that is pulled; a candidate on LiveKit's official client
//! stays in the room.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on fails here"
)]

#[path = "support/follower.rs"]
mod follower;
#[path = "support/livekit_server.rs"]
mod livekit_server;
#[path = "support/service.rs"]
mod service;

use std::process::Command;
use std::time::Duration;

use follower::Follower;
use livekit_server::LiveKitServer;
use service::Service;

/// For what comes after a cut: LiveKit's client tries again by itself for half a minute, and after that the room is joined
/// anew.
const LIMIT: Duration = Duration::from_secs(90);

/// A cable between this machine and a namespace; gone when it is dropped.
struct Cable {
    name: String,
    number: u8,
}

impl Cable {
    /// Lays it; only root may.
    fn lay(number: u8) -> Option<Self> {
        let cable = Self {
            name: format!("viva{}n{number}", std::process::id() % 100_000),
            number,
        };
        let name = &cable.name;
        let (near, far) = (cable.near(), cable.far());
        let is_laid = ip(&["netns", "add", name])
            && ip(&[
                "link", "add", name, "type", "veth", "peer", "name", "far", "netns", name,
            ])
            && ip(&["address", "add", &format!("{near}/30"), "dev", name])
            && ip(&["link", "set", name, "up"])
            && ip(&["-n", name, "link", "set", "lo", "up"])
            && ip(&[
                "-n",
                name,
                "address",
                "add",
                &format!("{far}/30"),
                "dev",
                "far",
            ])
            && ip(&["-n", name, "link", "set", "far", "up"]);
        is_laid.then_some(cable)
    }

    /// This machine's address on it.
    fn near(&self) -> String {
        format!("198.18.{}.1", self.number)
    }

    fn far(&self) -> String {
        format!("198.18.{}.2", self.number)
    }

    /// Pulls it for so long. Whoever sends meanwhile is told nothing.
    fn pull(&self, time: Duration) {
        assert!(ip(&["link", "set", &self.name, "down"]));
        std::thread::sleep(time);
        assert!(ip(&["link", "set", &self.name, "up"]));
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        ip(&["link", "delete", &self.name]);
        ip(&["netns", "delete", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    let output = Command::new("ip").args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

/// An interview whose network is cut for so long while the candidate thinks about the first question.
fn cut_for(number: u8, time: Duration) {
    let Some(cable) = Cable::lay(number) else {
        eprintln!("skipped: only root may lay a cable into a network namespace");
        return;
    };
    let id = format!("cut-{number}");
    let server = LiveKitServer::start_on(&cable.near(), &cable.name);
    let mut service = Service::start_by(
        &[
            ("LIVEKIT_URL", &server.url_at(&cable.near())),
            ("LIVEKIT_API_KEY", &server.key),
            ("LIVEKIT_API_SECRET", &server.secret),
            ("VIVA_INTERVIEWS__DEFAULT_PLAN", "default"),
        ],
        |environment| {
            let mut command = Command::new("ip");
            let viva = env!("CARGO_BIN_EXE_viva");
            command.args(["netns", "exec", &cable.name, viva, "serve"]);
            command.env_clear().envs(environment);
            command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
            command
        },
    );
    service.wait_until_registered();
    let mut candidate = Follower::join(&server, &format!("interview-{id}"));
    candidate.wait_for_voice();
    candidate.wait_for_the_floor();

    cable.pull(time);
    // The question again, because the room was joined anew or because nobody answered.
    candidate.wait_for_late_voice(LIMIT);
    candidate.wait_for_the_floor();
    assert_eq!(candidate.agents_max(), 1, "{:#?}", candidate.noticed);
    let (found, report, error) = service.run(&["report", &id, "--json"]);
    assert!(found, "{error}");
    assert!(!report.contains("\"why\""), "it is not over: {report}");
}

#[test]
fn a_cut_of_two_seconds_is_waited_out() {
    cut_for(1, Duration::from_secs(2));
}

#[test]
fn a_cut_of_twenty_seconds_is_mended() {
    cut_for(2, Duration::from_secs(20));
}

#[test]
fn after_a_cut_of_two_minutes_the_room_is_joined_again() {
    cut_for(3, Duration::from_secs(120));
}
