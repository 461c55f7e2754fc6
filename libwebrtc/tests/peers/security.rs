//! Who is at the other end is proven, and what is said to them is encrypted by today's means.

use std::time::Duration;

use crate::common::{Peer, candidates_until, channel_between, negotiate_over, peer, reparsed};
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
    let failure = candidates_until(a, b, |states| {
        assert!(
            !states.contains(&PeerConnectionState::Connected),
            "{states:?}"
        );
        states.contains(&PeerConnectionState::Failed)
    });
    tokio::time::timeout(LIMIT, failure)
        .await
        .expect("it fails in time");
}

async fn a_forged_one_fails(forged: SdpType) {
    let (mut a, mut b) = (peer(), peer());
    let _channel =
        a.pc.create_data_channel("x", DataChannelInit::default())
            .unwrap();
    negotiate_over(&a, &b, |description| {
        if description.sdp_type() == forged {
            with_another_fingerprint(description)
        } else {
            reparsed(description)
        }
    })
    .await;
    fails(&mut a, &mut b).await;
    a.pc.close();
    b.pc.close();
}

#[tokio::test]
async fn an_offer_with_the_fingerprint_of_another_certificate_never_connects() {
    a_forged_one_fails(SdpType::Offer).await;
}

#[tokio::test]
async fn an_answer_with_the_fingerprint_of_another_certificate_never_connects() {
    a_forged_one_fails(SdpType::Answer).await;
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
    let _channels = channel_between(&mut a, &mut b, DataChannelInit::default()).await;
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
