//! How sockets look from outside, as a STUN server tells that loses, delays, refuses or makes things up.
#![allow(clippy::unwrap_used, clippy::panic)] // That is how a test fails.

mod common;

use std::net::{IpAddr, SocketAddr};

use common::{Peer, peer_with, within};
use libwebrtc::peer_connection::{IceCandidateError, IceGatheringState};
use libwebrtc::peer_connection_factory::{ContinualGatheringPolicy, IceServer, RtcConfiguration};
use libwebrtc::prelude::*;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const SUCCESS: u16 = 0x0101;
const ERROR: u16 = 0x0111;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const ERROR_CODE: u16 = 0x0009;

/// A message to a question, with one attribute.
fn message(typ: u16, question: &[u8], attribute: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = typ.to_be_bytes().to_vec();
    bytes.extend((value.len() as u16 + 4).to_be_bytes());
    bytes.extend(&question[4..20]);
    bytes.extend(attribute.to_be_bytes());
    bytes.extend((value.len() as u16).to_be_bytes());
    bytes.extend(value);
    bytes
}

/// "You look like this" (RFC 8489, section 14.2).
fn seen(question: &[u8], address: &str) -> Vec<u8> {
    let address: SocketAddr = address.parse().unwrap();
    let (family, octets) = match address.ip() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let mut value = vec![0, family];
    let port = address.port().to_be_bytes();
    value.extend(port.iter().zip(MAGIC_COOKIE).map(|(byte, key)| byte ^ key));
    let key = &question[4..20];
    value.extend(octets.iter().zip(key).map(|(byte, key)| byte ^ key));
    message(SUCCESS, question, XOR_MAPPED_ADDRESS, &value)
}

struct StunServer {
    socket: UdpSocket,
    address: SocketAddr,
}

impl StunServer {
    async fn on(ip: &str) -> Self {
        let ip: IpAddr = ip.parse().unwrap();
        let socket = UdpSocket::bind((ip, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        Self { socket, address }
    }

    async fn question(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; 1500];
        let (length, from) = within("a question", self.socket.recv_from(&mut buffer))
            .await
            .unwrap();
        buffer.truncate(length);
        assert_eq!(buffer[..2], [0, 1], "a binding request");
        assert_eq!(buffer[4..8], MAGIC_COOKIE);
        (buffer, from)
    }

    async fn say(&self, message: &[u8], to: SocketAddr) {
        self.socket.send_to(message, to).await.unwrap();
    }

    fn configuration(&self) -> RtcConfiguration {
        let mut config = RtcConfiguration::default();
        config.continual_gathering_policy = ContinualGatheringPolicy::GatherOnce;
        config.ice_servers = vec![IceServer {
            urls: vec![format!("stun:{}", self.address)],
            username: String::new(),
            password: String::new(),
        }];
        config
    }
}

/// Lets a peer look for candidates.
async fn gather(peer: &Peer) {
    let _channel = peer
        .pc
        .create_data_channel("x", DataChannelInit::default())
        .unwrap();
    let offer = peer.pc.create_offer(OfferOptions::default()).await.unwrap();
    peer.pc.set_local_description(offer).await.unwrap();
}

fn errors(peer: &Peer) -> UnboundedReceiver<IceCandidateError> {
    let (tx, errors) = unbounded_channel();
    peer.pc
        .on_ice_candidate_error(Some(Box::new(move |error| drop(tx.send(error)))));
    errors
}

async fn reflexive_candidate(peer: &mut Peer) -> String {
    within("the candidate", async {
        loop {
            let line = peer.candidates.recv().await.unwrap().candidate();
            if line.contains("typ srflx") {
                return line;
            }
        }
    })
    .await
}

#[tokio::test]
async fn the_address_outside_is_told_although_two_questions_are_lost() {
    let server = StunServer::on("127.0.0.1").await;
    let mut peer = peer_with(server.configuration());
    gather(&peer).await;
    let (question, from) = server.question().await;
    let mut repeats = 0;
    while repeats < 2 {
        let (again, same) = server.question().await;
        repeats += u32::from(again == question && same == from);
    }
    server
        .say(&seen(&question, "198.51.100.7:5000"), from)
        .await;
    let line = reflexive_candidate(&mut peer).await;
    assert!(line.contains(" 198.51.100.7 5000 typ srflx "), "{line}");
    let behind = format!("raddr {} rport {}", from.ip(), from.port());
    assert!(line.ends_with(&behind), "{line}");
}

#[tokio::test]
async fn gathering_once_is_complete_when_the_servers_have_answered() {
    let server = StunServer::on("127.0.0.1").await;
    let mut peer = peer_with(server.configuration());
    let (tx, mut states) = unbounded_channel();
    peer.pc
        .on_ice_gathering_state_change(Some(Box::new(move |state| {
            let _told = tx.send(state);
        })));
    gather(&peer).await;
    let (question, from) = server.question().await;
    assert_eq!(peer.pc.ice_gathering_state(), IceGatheringState::Gathering);
    server.say(&seen(&question, "198.51.100.7:1"), from).await;
    reflexive_candidate(&mut peer).await;
    // The other addresses of this machine, if it has any.
    let complete = async { while states.recv().await.unwrap() != IceGatheringState::Complete {} };
    tokio::pin!(complete);
    within("the end of it", async {
        loop {
            tokio::select! {
                () = &mut complete => return,
                (question, from) = server.question() => {
                    server.say(&seen(&question, &from.to_string()), from).await;
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_socket_on_ipv6_is_seen_too() {
    let server = StunServer::on("::1").await;
    let mut peer = peer_with(server.configuration());
    gather(&peer).await;
    // A peer on loopback makes this one be there too.
    let there = "candidate:1 1 udp 2130706431 ::1 9 typ host";
    let there = IceCandidate::parse("0", 0, there).unwrap();
    // It comes before the description of its session, which the stack says; the socket is there all the same.
    let _refused = peer.pc.add_ice_candidate(there).await;
    within("the candidate", async {
        loop {
            tokio::select! {
                (question, from) = server.question() => {
                    server.say(&seen(&question, "[2001:db8::7]:5000"), from).await;
                }
                line = reflexive_candidate(&mut peer) => {
                    assert!(line.contains(" 2001:db8::7 5000 typ srflx "), "{line}");
                    return;
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_refusal_is_told_with_its_code() {
    let server = StunServer::on("127.0.0.1").await;
    let peer = peer_with(server.configuration());
    let mut errors = errors(&peer);
    gather(&peer).await;
    let (question, from) = server.question().await;
    let value = [&[0, 0, 4, 20][..], b"Unknown Attribute\0\0\0"].concat();
    server
        .say(&message(ERROR, &question, ERROR_CODE, &value), from)
        .await;
    let error = within("the error", errors.recv()).await.unwrap();
    assert_eq!(
        (error.error_code, error.address),
        (420, from.ip().to_string())
    );
    assert_eq!(error.url, format!("stun:{}", server.address));
    assert!(
        error.error_text.starts_with("Unknown"),
        "{}",
        error.error_text
    );
}

#[tokio::test]
async fn a_hostile_answer_makes_no_candidate_and_does_no_harm() {
    let server = StunServer::on("127.0.0.1").await;
    let mut peer = peer_with(server.configuration());
    gather(&peer).await;
    let (question, from) = server.question().await;
    let good = seen(&question, "198.51.100.7:5000");
    let mut of_nobody = good.clone();
    of_nobody[8..20].copy_from_slice(&[7; 12]);
    for bad in [
        b"".to_vec(),
        vec![0xff; 1400],
        good[..20].to_vec(),
        good[..good.len() - 1].to_vec(),
        of_nobody,
        message(SUCCESS, &question, XOR_MAPPED_ADDRESS, &[]),
        message(
            SUCCESS,
            &question,
            XOR_MAPPED_ADDRESS,
            &[0, 9, 0, 0, 1, 2, 3, 4],
        ),
    ] {
        server.say(&bad, from).await;
    }
    // The question is still open.
    server.say(&good, from).await;
    let line = reflexive_candidate(&mut peer).await;
    assert!(line.contains(" 198.51.100.7 5000 "), "{line}");
}

#[tokio::test]
async fn a_name_that_nobody_has_is_told() {
    let mut config = RtcConfiguration::default();
    config.ice_servers = vec![IceServer {
        urls: vec!["stun:nobody.invalid".to_owned()],
        username: String::new(),
        password: String::new(),
    }];
    let peer = peer_with(config);
    let mut errors = errors(&peer);
    gather(&peer).await;
    let error = within("the error", errors.recv()).await.unwrap();
    assert_eq!(error.url, "stun:nobody.invalid:3478");
    assert!(
        error.error_text.contains("nobody.invalid"),
        "{}",
        error.error_text
    );
}

#[tokio::test]
async fn nobody_is_asked_where_only_relays_may_be_used() {
    let server = StunServer::on("127.0.0.1").await;
    let mut config = server.configuration();
    config.ice_transport_type = IceTransportsType::Relay;
    let peer = peer_with(config);
    let (tx, mut states) = unbounded_channel();
    peer.pc
        .on_ice_gathering_state_change(Some(Box::new(move |state| {
            let _told = tx.send(state);
        })));
    gather(&peer).await;
    within("the end of it", async {
        while states.recv().await.unwrap() != IceGatheringState::Complete {}
    })
    .await;
    let asked = server.socket.try_recv_from(&mut [0; 1500]);
    assert!(asked.is_err(), "{asked:?}");
}
