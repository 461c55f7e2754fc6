//! Who is at the other end is proven, and what is said to them is encrypted by today's means.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // That is how a test fails.

mod common;

use std::time::Duration;

use common::{Peer, connected, negotiate, open, peer};
use libwebrtc::prelude::*;
use libwebrtc::stats::RtcStats;

/// As it would come over signalling from somebody whose certificate is another one.
fn with_another_fingerprint(description: &SessionDescription) -> SessionDescription {
    let text: String = description
        .to_string()
        .lines()
        .map(|line| match line.strip_prefix("a=fingerprint:sha-256 ") {
            Some(fingerprint) => {
                let first = if fingerprint.starts_with('0') {
                    "1"
                } else {
                    "0"
                };
                format!("a=fingerprint:sha-256 {first}{}\r\n", &fingerprint[1..])
            }
            None => format!("{line}\r\n"),
        })
        .collect();
    assert_ne!(text, description.to_string());
    SessionDescription::parse(&text, description.sdp_type()).unwrap()
}

/// For a handshake to be given up, on a machine that is busy with other things.
const LIMIT: Duration = Duration::from_secs(60);

/// Hands over the candidates until one of the two has failed.
async fn fails(a: &mut Peer, b: &mut Peer) {
    let failure = async {
        loop {
            let states = [a.pc.connection_state(), b.pc.connection_state()];
            assert!(
                !states.contains(&PeerConnectionState::Connected),
                "{states:?}"
            );
            if states.contains(&PeerConnectionState::Failed) {
                return;
            }
            tokio::select! {
                Some(candidate) = a.candidates.recv() => {
                    b.pc.add_ice_candidate(candidate).await.unwrap();
                }
                Some(candidate) = b.candidates.recv() => {
                    a.pc.add_ice_candidate(candidate).await.unwrap();
                }
                Some(_) = a.states.recv() => {}
                Some(_) = b.states.recv() => {}
            }
        }
    };
    tokio::time::timeout(LIMIT, failure)
        .await
        .expect("it fails in time");
}

/// Offer and answer, each as it is or with another fingerprint.
async fn meet(a: &Peer, b: &Peer, offer_is_forged: bool) {
    let forged_if = |forged: bool, description: &SessionDescription| {
        if forged {
            with_another_fingerprint(description)
        } else {
            SessionDescription::parse(&description.to_string(), description.sdp_type()).unwrap()
        }
    };
    let offer = a.pc.create_offer(OfferOptions::default()).await.unwrap();
    a.pc.set_local_description(offer.clone()).await.unwrap();
    let told = forged_if(offer_is_forged, &offer);
    b.pc.set_remote_description(told).await.unwrap();
    let answer = b.pc.create_answer(AnswerOptions::default()).await.unwrap();
    b.pc.set_local_description(answer.clone()).await.unwrap();
    let told = forged_if(!offer_is_forged, &answer);
    a.pc.set_remote_description(told).await.unwrap();
}

async fn a_forged_one_fails(offer_is_forged: bool) {
    let (mut a, mut b) = (peer(), peer());
    let _channel =
        a.pc.create_data_channel("x", DataChannelInit::default())
            .unwrap();
    meet(&a, &b, offer_is_forged).await;
    fails(&mut a, &mut b).await;
    a.pc.close();
    b.pc.close();
}

#[tokio::test]
async fn an_offer_with_the_fingerprint_of_another_certificate_never_connects() {
    a_forged_one_fails(true).await;
}

#[tokio::test]
async fn an_answer_with_the_fingerprint_of_another_certificate_never_connects() {
    a_forged_one_fails(false).await;
}

#[tokio::test]
async fn a_description_without_a_fingerprint_is_refused() {
    let (a, b) = (peer(), peer());
    let _channel =
        a.pc.create_data_channel("x", DataChannelInit::default())
            .unwrap();
    let offer = a.pc.create_offer(OfferOptions::default()).await.unwrap();
    let text: String = offer
        .to_string()
        .lines()
        .filter(|line| !line.starts_with("a=fingerprint:"))
        .map(|line| format!("{line}\r\n"))
        .collect();
    let bare = SessionDescription::parse(&text, SdpType::Offer).unwrap();
    let refused = b.pc.set_remote_description(bare).await.unwrap_err();
    assert_eq!(refused.error_type, RtcErrorType::InvalidSdp, "{refused}");
}

#[tokio::test]
async fn authenticated_encryption_is_what_two_peers_agree_on() {
    let (mut a, mut b) = (peer(), peer());
    let channel =
        a.pc.create_data_channel("x", DataChannelInit::default())
            .unwrap();
    negotiate(&a, &b).await;
    connected(&mut a, &mut b).await;
    open(&channel).await;
    for pc in [&a.pc, &b.pc] {
        let stats = pc.get_stats().await.unwrap();
        let transport = stats
            .iter()
            .find_map(|stats| match stats {
                RtcStats::Transport(transport) => Some(&transport.transport),
                _ => None,
            })
            .expect("a transport");
        assert!(
            transport.srtp_cipher.contains("AEAD_AES"),
            "{}",
            transport.srtp_cipher
        );
        assert!(
            transport.dtls_cipher.contains("ECDHE") && transport.dtls_cipher.contains("GCM"),
            "{}",
            transport.dtls_cipher
        );
    }
}
