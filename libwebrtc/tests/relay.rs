//! Peers that reach each other through a TURN server alone: coturn, started by the test.
//!
//! Needs `turnserver` (Debian: coturn) on the PATH, and says so.
#![allow(clippy::unwrap_used, clippy::panic)] // That is how a test fails.

mod common;

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Peer, connected, messages, negotiate, open, peer_with, within};
use libwebrtc::peer_connection_factory::{IceServer, RtcConfiguration};
use libwebrtc::prelude::*;
use libwebrtc::stats::RtcStats;

const START_LIMIT: Duration = Duration::from_secs(20);
/// Another process may take a free port before the server does.
const STARTS_MAX: u32 = 5;

struct TurnServer {
    process: Child,
    port: u16,
}

impl TurnServer {
    fn start() -> Self {
        for _ in 0..STARTS_MAX {
            if let Some(server) = Self::try_start() {
                return server;
            }
        }
        panic!("turnserver does not start");
    }

    fn try_start() -> Option<Self> {
        // One port for both, which the server takes over.
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        let udp = UdpSocket::bind(("127.0.0.1", port)).ok()?;
        drop((tcp, udp));
        let process = Command::new("turnserver")
            .args([
                "-n",
                "--no-cli",
                "--no-tls",
                "--no-dtls",
                "--log-file=stdout",
            ])
            .args(["--allow-loopback-peers", "--lt-cred-mech", "--fingerprint"])
            .args(["--user=viva:secret", "--realm=example", "--pidfile="])
            .args(["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1"])
            .arg(format!("--listening-port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run turnserver: {e}; install coturn"));
        let mut server = Self { process, port };
        let until = Instant::now() + START_LIMIT;
        while Instant::now() < until {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(server);
            }
            if server.process.try_wait().unwrap().is_some() {
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }

    fn configuration(&self, transport: &str, password: &str) -> RtcConfiguration {
        let mut config = RtcConfiguration::default();
        config.ice_transport_type = IceTransportsType::Relay;
        config.ice_servers = vec![IceServer {
            urls: vec![format!(
                "turn:127.0.0.1:{}?transport={transport}",
                self.port
            )],
            username: "viva".to_owned(),
            password: password.to_owned(),
        }];
        config
    }
}

impl Drop for TurnServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _killed = self.process.kill();
        let _reaped = self.process.wait();
    }
}

async fn selected_local_kind(peer: &Peer) -> Vec<String> {
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
    let server = TurnServer::start();
    let mut a = peer_with(server.configuration(transport, "secret"));
    let mut b = peer_with(server.configuration(transport, "secret"));
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
    for kind in selected_local_kind(&a).await {
        assert!(kind.contains("Relay"), "{kind}");
    }
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
    let server = TurnServer::start();
    let peer = peer_with(server.configuration("udp", "wrong"));
    let (tx, mut errors) = tokio::sync::mpsc::unbounded_channel();
    peer.pc
        .on_ice_candidate_error(Some(Box::new(move |error| drop(tx.send(error)))));
    let _channel = peer
        .pc
        .create_data_channel("x", DataChannelInit::default())
        .unwrap();
    let offer = peer.pc.create_offer(OfferOptions::default()).await.unwrap();
    peer.pc.set_local_description(offer).await.unwrap();
    let error = within("the error", errors.recv()).await.unwrap();
    assert!(error.url.starts_with("turn:127.0.0.1"), "{error:?}");
    assert!(error.error_text.contains("401"), "{error:?}");
}
