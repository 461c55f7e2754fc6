//! Offers, answers and what is refused.

use crate::common::{self, connected, negotiate, peer};
use libwebrtc::peer_connection_factory::{IceTransportsType, RtcConfiguration};
use libwebrtc::prelude::*;

fn receive_only() -> RtpTransceiverInit {
    RtpTransceiverInit {
        direction: RtpTransceiverDirection::RecvOnly,
        stream_ids: Vec::new(),
        send_encodings: Vec::new(),
    }
}

#[tokio::test]
async fn an_offer_may_be_edited_before_it_is_set() {
    let (mut a, mut b) = (peer(), peer());
    a.pc.add_transceiver_for_media(MediaType::Audio, receive_only())
        .unwrap();
    let offer = a.pc.create_offer(OfferOptions::default()).await.unwrap();
    let edited = offer
        .to_string()
        .replace("useinbandfec=1", "useinbandfec=1;stereo=1");
    assert!(edited.contains("stereo=1"), "{edited}");
    let edited = SessionDescription::parse(&edited, SdpType::Offer).unwrap();
    a.pc.set_local_description(edited.clone()).await.unwrap();
    assert_eq!(a.pc.signaling_state(), SignalingState::HaveLocalOffer);
    b.pc.set_remote_description(edited).await.unwrap();
    let answer = b.pc.create_answer(AnswerOptions::default()).await.unwrap();
    b.pc.set_local_description(answer.clone()).await.unwrap();
    a.pc.set_remote_description(answer).await.unwrap();
    assert_eq!(a.pc.signaling_state(), SignalingState::Stable);
    assert!(
        a.pc.current_local_description()
            .unwrap()
            .to_string()
            .contains("stereo=1")
    );
    connected(&mut a, &mut b).await;
}

#[tokio::test]
async fn an_offer_that_is_not_the_last_one_is_refused() {
    let pc = peer().pc;
    pc.add_transceiver_for_media(MediaType::Audio, receive_only())
        .unwrap();
    let first = pc.create_offer(OfferOptions::default()).await.unwrap();
    pc.create_offer(OfferOptions::default()).await.unwrap();
    let refused = pc.set_local_description(first).await.unwrap_err();
    assert_eq!(refused.error_type, RtcErrorType::InvalidSdp);
}

#[tokio::test]
async fn an_ice_restart_finds_a_new_path() {
    let (mut a, mut b) = (peer(), peer());
    let _channel =
        a.pc.create_data_channel("x", DataChannelInit::default())
            .unwrap();
    negotiate(&a, &b).await;
    connected(&mut a, &mut b).await;
    let before = a.pc.current_local_description().unwrap().to_string();
    let options = OfferOptions {
        ice_restart: true,
        ..Default::default()
    };
    let offer = a.pc.create_offer(options).await.unwrap();
    a.pc.set_local_description(offer.clone()).await.unwrap();
    b.pc.set_remote_description(offer.clone()).await.unwrap();
    let answer = b.pc.create_answer(AnswerOptions::default()).await.unwrap();
    b.pc.set_local_description(answer.clone()).await.unwrap();
    a.pc.set_remote_description(answer).await.unwrap();
    let ufrag = |sdp: &str| {
        sdp.lines()
            .find(|l| l.starts_with("a=ice-ufrag"))
            .map(str::to_owned)
    };
    assert_ne!(ufrag(&before), ufrag(&offer.to_string()));
    connected(&mut a, &mut b).await;
}

#[tokio::test]
async fn a_closed_connection_refuses_everything_and_says_so() {
    let pc = peer().pc;
    pc.close();
    assert_eq!(pc.connection_state(), PeerConnectionState::Closed);
    assert_eq!(pc.signaling_state(), SignalingState::Closed);
    let refused = pc.create_offer(OfferOptions::default()).await.unwrap_err();
    assert_eq!(refused.error_type, RtcErrorType::InvalidState);
    assert!(
        pc.create_data_channel("x", DataChannelInit::default())
            .is_err()
    );
    assert!(
        pc.add_transceiver_for_media(MediaType::Audio, receive_only())
            .is_err()
    );
    let candidate =
        IceCandidate::parse("0", 0, "candidate:1 1 udp 1 192.0.2.1 9 typ host").unwrap();
    assert!(pc.add_ice_candidate(candidate).await.is_err());
    assert!(pc.get_stats().await.unwrap().is_empty());
    pc.close();
}

#[tokio::test]
async fn closing_is_told_and_ends_the_peer() {
    let (mut a, mut b) = (peer(), peer());
    let _channel =
        a.pc.create_data_channel("x", DataChannelInit::default())
            .unwrap();
    negotiate(&a, &b).await;
    connected(&mut a, &mut b).await;
    a.pc.close();
    let told = common::within("the end of the states", async {
        let mut last = None;
        while let Some(state) = a.states.recv().await {
            last = Some(state);
        }
        last
    })
    .await;
    assert_eq!(told, Some(PeerConnectionState::Closed));
}

#[tokio::test]
async fn relay_alone_tells_no_address_of_this_machine() {
    let mut config = RtcConfiguration::default();
    config.ice_transport_type = IceTransportsType::Relay;
    let pc = PeerConnectionFactory::default()
        .create_peer_connection(config)
        .unwrap();
    pc.add_transceiver_for_media(MediaType::Audio, receive_only())
        .unwrap();
    let offer = pc.create_offer(OfferOptions::default()).await.unwrap();
    assert!(!offer.to_string().contains("a=candidate"));
    pc.set_local_description(offer).await.unwrap();
}

#[tokio::test]
async fn host_addresses_can_be_kept_private() {
    let mut config = RtcConfiguration::default();
    config.ice_transport_type = IceTransportsType::NoHost;
    let pc = PeerConnectionFactory::default()
        .create_peer_connection(config)
        .unwrap();
    pc.add_transceiver_for_media(MediaType::Audio, receive_only())
        .unwrap();
    let offer = pc.create_offer(OfferOptions::default()).await.unwrap();
    assert!(!offer.to_string().contains("a=candidate"));
    pc.set_local_description(offer).await.unwrap();
}
