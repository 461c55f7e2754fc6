//! Peers that reach each other through a TURN server alone: coturn, started by the test.
//!
//! Needs `turnserver` (Debian: coturn) on the PATH, and says so.
#![allow(clippy::unwrap_used, clippy::panic)] // That is how a test fails.

#[path = "common/authority.rs"]
mod authority;
mod common;
#[path = "lab/far_peer.rs"]
mod far_peer;
#[path = "common/turn_server.rs"]
mod turn_server;

use authority::Authority;
use common::{Peer, connected, messages, negotiate, open, peer_with, within};
use far_peer::{FarPeer, Place, connect};
use libwebrtc::peer_connection_factory::{IceServer, RtcConfiguration};
use libwebrtc::prelude::*;
use libwebrtc::stats::RtcStats;
use turn_server::TurnServer;

fn relay_only(server: IceServer) -> RtcConfiguration {
    let mut config = RtcConfiguration::default();
    config.ice_transport_type = IceTransportsType::Relay;
    config.ice_servers = vec![server];
    config
}

async fn local_kinds(peer: &Peer) -> Vec<String> {
    let stats = within("the statistics", peer.pc.get_stats()).await.unwrap();
    stats
        .into_iter()
        .filter_map(|stats| match stats {
            RtcStats::LocalCandidate(candidate) => {
                Some(format!("{:?}", candidate.local_candidate.candidate_type))
            }
            _ => None,
        })
        .collect()
}

async fn meet_through_a_relay(transport: &str) {
    let server = TurnServer::start(None);
    let mut a = peer_with(relay_only(server.relay(transport, "secret")));
    let mut b = peer_with(relay_only(server.relay(transport, "secret")));
    let channel =
        a.pc.create_data_channel("x", DataChannelInit::default())
            .unwrap();
    negotiate(&a, &b).await;
    connected(&mut a, &mut b).await;
    let theirs = within("the channel", b.channels.recv()).await.unwrap();
    let mut heard = messages(&theirs);
    open(&channel).await;
    for size in [1, 1_000, 60_000] {
        let data = vec![7_u8; size];
        channel.send(&data, true).unwrap();
        let (got, _) = within("the message", heard.recv()).await.unwrap();
        assert_eq!(got, data);
    }
    let kinds = local_kinds(&a).await;
    assert!(!kinds.is_empty(), "no candidates in the statistics");
    for kind in kinds {
        assert!(kind.contains("Relay"), "{kind}");
    }
}

/// The first error that a peer tells which looks for candidates with this server alone.
async fn error_of(server: IceServer) -> libwebrtc::peer_connection::IceCandidateError {
    let peer = peer_with(relay_only(server));
    let (tx, mut errors) = tokio::sync::mpsc::unbounded_channel();
    peer.pc
        .on_ice_candidate_error(Some(Box::new(move |error| drop(tx.send(error)))));
    let _channel = peer
        .pc
        .create_data_channel("x", DataChannelInit::default())
        .unwrap();
    let offer = peer.pc.create_offer(OfferOptions::default()).await.unwrap();
    peer.pc.set_local_description(offer).await.unwrap();
    within("the error", errors.recv()).await.unwrap()
}

#[tokio::test]
async fn peers_meet_through_a_relay_that_is_reached_over_udp() {
    meet_through_a_relay("udp").await;
}

#[tokio::test]
async fn peers_meet_through_a_relay_that_is_reached_over_tcp() {
    meet_through_a_relay("tcp").await;
}

#[tokio::test]
async fn a_wrong_password_is_told_as_an_error_of_that_server() {
    let server = TurnServer::start(None);
    let error = error_of(server.relay("udp", "wrong")).await;
    assert!(error.url.starts_with("turn:127.0.0.1"), "{error:?}");
    assert!(error.error_text.contains("401"), "{error:?}");
}

/// Two peers in processes of their own, which trust this authority and have this server alone.
fn peers_that_trust(authority: &Authority, server: &IceServer) -> (FarPeer, FarPeer) {
    let place = || {
        let place = Place::here().with_variable("SSL_CERT_FILE", authority.file());
        place.relay_only()
    };
    (
        FarPeer::start(place(), std::slice::from_ref(server)),
        FarPeer::start(place(), std::slice::from_ref(server)),
    )
}

#[test]
fn peers_meet_through_a_relay_that_is_reached_over_tls() {
    let authority = Authority::new();
    let certificate = authority.certify(&["127.0.0.1"]);
    let server = TurnServer::start(Some(certificate.files()));
    let (mut a, mut b) = peers_that_trust(&authority, &server.relay("tls", "secret"));
    connect(&mut a, &mut b);
    a.hears(&mut b);
    assert_eq!(a.path()["local"]["kind"], "relay");
}

#[tokio::test]
async fn an_authority_that_the_system_does_not_trust_is_told() {
    let authority = Authority::new();
    let certificate = authority.certify(&["127.0.0.1"]);
    let server = TurnServer::start(Some(certificate.files()));
    let error = error_of(server.relay("tls", "secret")).await;
    assert!(error.url.starts_with("turns:127.0.0.1"), "{error:?}");
    assert!(error.error_text.contains("UnknownIssuer"), "{error:?}");
    assert!(error.error_text.contains("SSL_CERT_FILE"), "{error:?}");
}

#[test]
fn a_certificate_for_another_name_is_told() {
    let authority = Authority::new();
    let certificate = authority.certify(&["turn.example"]);
    let server = TurnServer::start(Some(certificate.files()));
    let (mut a, _b) = peers_that_trust(&authority, &server.relay("tls", "secret"));
    a.offer(false);
    a.wait_for("the error", |a| !a.errors.is_empty());
    let text = a.errors[0]["text"].as_str().unwrap();
    assert!(text.contains("certificate"), "{text}");
    assert!(text.contains("not valid for name"), "{text}");
}

#[tokio::test]
async fn a_server_that_never_shakes_hands_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let error = error_of(IceServer {
        urls: vec![format!("turns:127.0.0.1:{port}")],
        username: "viva".to_owned(),
        password: "secret".to_owned(),
    })
    .await;
    assert!(error.error_text.contains("10 s"), "{error:?}");
}

#[test]
#[ignore = "what the peers of the other tests run, in processes of their own"]
fn peer_of_another_process() {
    far_peer::serve();
}
