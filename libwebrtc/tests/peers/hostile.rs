//! What a hostile or broken peer can send.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::{connected, messages, negotiate, open, peer, within};
use libwebrtc::prelude::*;
use proptest::prelude::*;

const CASES: u32 = 64;

/// Damaged offers that got past the parser, so that the test below can't pass by testing nothing.
static PARSED: AtomicU32 = AtomicU32::new(0);

async fn offer_of_a_peer() -> String {
    let offering = peer();
    let _channel = offering
        .pc
        .create_data_channel("x", DataChannelInit::default())
        .unwrap();
    let init = RtpTransceiverInit {
        direction: RtpTransceiverDirection::RecvOnly,
        stream_ids: Vec::new(),
        send_encodings: Vec::new(),
    };
    offering
        .pc
        .add_transceiver_for_media(MediaType::Audio, init)
        .unwrap();
    offering
        .pc
        .create_offer(OfferOptions::default())
        .await
        .unwrap()
        .to_string()
}

/// Applies an offer and answers it as far as that goes.
async fn respond(sdp: &str) {
    let Ok(offer) = SessionDescription::parse(sdp, SdpType::Offer) else {
        return;
    };
    PARSED.fetch_add(1, Ordering::Relaxed);
    let answering = peer();
    if answering.pc.set_remote_description(offer).await.is_ok()
        && let Ok(answer) = answering.pc.create_answer(AnswerOptions::default()).await
    {
        let _ = answering.pc.set_local_description(answer).await;
    }
    answering.pc.close();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..Default::default() })]

    fn damage_an_offer(
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0_u8..4, "[ -~]{0,12}"), 1..6),
    ) {
        runtime().block_on(async {
            let offer = offer_of_a_peer().await;
            let mut lines: Vec<String> = offer.lines().map(str::to_owned).collect();
            for (at, kind, text) in cuts {
                let at = at.index(lines.len());
                match kind {
                    0 => drop(lines.remove(at)),
                    1 => lines[at] = format!("{}{text}", lines[at]),
                    2 => lines.insert(at, format!("a={text}")),
                    _ => {
                        let line = lines[at].clone();
                        lines.push(line);
                    }
                }
                if lines.is_empty() {
                    break;
                }
            }
            respond(&(lines.join("\r\n") + "\r\n")).await;
        });
    }
}

#[test]
fn a_damaged_offer_is_an_error_or_an_answer_and_never_a_panic() {
    damage_an_offer();
    assert!(PARSED.load(Ordering::Relaxed) > CASES / 4);
}

#[tokio::test]
async fn an_answer_out_of_the_blue_is_refused() {
    let pc = peer().pc;
    let sdp = offer_of_a_peer().await;
    let answer = SessionDescription::parse(&sdp, SdpType::Answer).unwrap();
    let refused = pc.set_remote_description(answer).await.unwrap_err();
    assert_eq!(refused.error_type, RtcErrorType::InvalidSdp);
    assert_eq!(pc.signaling_state(), SignalingState::Stable);
}

#[tokio::test]
async fn datagrams_of_strangers_do_not_disturb_a_connection() {
    let (mut a, mut b) = (peer(), peer());
    let sending =
        a.pc.create_data_channel("x", DataChannelInit::default())
            .unwrap();
    negotiate(&a, &b).await;
    connected(&mut a, &mut b).await;
    open(&sending).await;
    let mut received = messages(&within("the channel", b.channels.recv()).await.unwrap());

    let local = b.pc.current_local_description().unwrap().to_string();
    let ports = local
        .lines()
        .filter(|line| line.starts_with("a=candidate:"))
        .filter_map(|line| {
            let mut words = line.split(' ').skip(4);
            Some((words.next()?.to_owned(), words.next()?.parse::<u16>().ok()?))
        });
    let stranger = UdpSocket::bind(("0.0.0.0", 0)).unwrap();
    for (ip, port) in ports {
        // The first bytes by which STUN, DTLS, RTP and nothing at all are told apart, and garbage.
        for first in [0_u8, 1, 20, 22, 63, 64, 128, 191, 200, 255] {
            for len in [0_usize, 1, 8, 12, 20, 100, 1_400] {
                let mut datagram = vec![first; len];
                if len > 1 {
                    datagram[1] = 200;
                }
                let _ = stranger.send_to(&datagram, (ip.as_str(), port));
            }
        }
    }
    sending.send(b"undisturbed", true).unwrap();
    assert_eq!(
        within("the message", received.recv()).await.unwrap().0,
        b"undisturbed"
    );
    assert_eq!(b.pc.connection_state(), PeerConnectionState::Connected);
}
