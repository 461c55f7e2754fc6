//! The network between the appliance and LiveKit is cut, for seconds and for minutes, or an interface goes away: the
//! interview goes on. The appliance is in a network namespace of its own, behind a cable that is pulled, or behind two; a
//! candidate on LiveKit's official client stays in the room.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on fails here"
)]

#[path = "support/cable.rs"]
mod cable;
#[path = "support/follower.rs"]
mod follower;
#[path = "support/livekit_server.rs"]
mod livekit_server;
#[path = "support/service.rs"]
mod service;

use std::process::Command;
use std::time::Duration;

use cable::Cable;
use follower::Follower;
use livekit_server::LiveKitServer;
use service::Service;

/// For what comes after a cut: LiveKit's client tries again by itself for half a minute, and after that the room is joined
/// anew.
const LIMIT: Duration = Duration::from_secs(90);

/// An interview on the other side of a cable, to whose network something is done while the candidate thinks about the first
/// question.
fn interview_through(cable: &Cable, id: &str, disturb: impl FnOnce()) {
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
            command.args(["netns", "exec", &cable.namespace, viva, "serve"]);
            command.env_clear().envs(environment);
            command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
            command
        },
    );
    service.wait_until_registered();
    let mut candidate = Follower::join(&server, &format!("interview-{id}"));
    candidate.wait_for_voice();
    candidate.wait_for_the_floor();

    disturb();
    // The question again, because the room was joined anew or because nobody answered.
    candidate.wait_for_late_voice(LIMIT);
    candidate.wait_for_the_floor();
    assert_eq!(candidate.agents_max(), 1, "{:#?}", candidate.noticed);
    let (found, report, error) = service.run(&["report", id, "--json"]);
    assert!(found, "{error}");
    assert!(!report.contains("\"why\""), "it is not over: {report}");
}

fn cut_for(number: u8, time: Duration) {
    let Some(cable) = Cable::lay(number) else {
        eprintln!("skipped: only root may lay a cable into a network namespace");
        return;
    };
    interview_through(&cable, &format!("cut-{number}"), || cable.pull(time));
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

#[test]
fn when_an_interface_goes_away_the_interview_goes_on_over_another() {
    let Some(cable) = Cable::lay(4) else {
        eprintln!("skipped: only root may lay a cable into a network namespace");
        return;
    };
    let _other = cable.lay_another(5);
    interview_through(&cable, "moved", || cable.unplug_far());
}
