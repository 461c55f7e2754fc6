//! Two peers over a network that loses, delays, reorders and doubles datagrams, and that is cut for a while.
//!
//! The network is a pair of sockets in this process, so that the test needs no privileges and no kernel module.
#![allow(clippy::unwrap_used, clippy::panic)] // That is how a test fails.

mod common;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use common::{Peer, messages, open, peer, within};
use futures_util::StreamExt;
use libwebrtc::audio_source::native::NativeAudioSource;
use libwebrtc::audio_stream::native::NativeAudioStream;
use libwebrtc::peer_connection_factory::native::PeerConnectionFactoryExt;
use libwebrtc::prelude::*;
use libwebrtc::stats::RtcStats;
use tokio::net::UdpSocket;

/// What happens to datagrams, in both directions.
#[derive(Clone, Copy)]
struct Weather {
    loss_percent: u32,
    delay_ms: u32,
    /// Added at random, so that datagrams overtake each other.
    jitter_ms: u32,
    doubled_percent: u32,
}

/// How an answer to a connectivity check begins.
const STUN_SUCCESS: [u8; 2] = [1, 1];
/// Consent lasts half a minute, so that this takes longer than anything else.
const CONSENT_PATIENCE: Duration = Duration::from_secs(60);

const FAIR: Weather = Weather {
    loss_percent: 0,
    delay_ms: 5,
    jitter_ms: 0,
    doubled_percent: 0,
};
const LOSSY: Weather = Weather {
    loss_percent: 5,
    delay_ms: 3,
    jitter_ms: 0,
    doubled_percent: 0,
};
/// Packets overtake each other, and none is lost.
const UNRULY: Weather = Weather {
    loss_percent: 0,
    delay_ms: 5,
    jitter_ms: 60,
    doubled_percent: 0,
};
const FOUL: Weather = Weather {
    loss_percent: 10,
    delay_ms: 40,
    jitter_ms: 30,
    doubled_percent: 3,
};

/// The network between two peers: each has an address on it that stands for the other.
struct Network {
    cut: Arc<AtomicBool>,
    /// Whether `b`'s answers to checks are lost, and nothing else.
    unanswered: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Network {
    fn drop(&mut self) {
        self.tasks.iter().for_each(|task| task.abort());
    }
}

/// Chances that are the same in every run.
struct Dice(AtomicU32);

impl Dice {
    fn below(&self, limit: u32) -> u32 {
        let next = |seed: u32| Some(seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        let seed = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .unwrap();
        (seed >> 8) % limit.max(1)
    }
}

impl Network {
    /// Connects `a` and `b`, which have set their descriptions, over this network alone.
    async fn between(a: &mut Peer, b: &mut Peer, weather: Weather) -> Self {
        let socket =
            || async { Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()) };
        // `for_a` is where `a` finds `b`, and the other way about.
        let (for_a, for_b) = (socket().await, socket().await);
        let a_addr = first_candidate(a).await;
        let b_addr = first_candidate(b).await;
        let cut = Arc::new(AtomicBool::new(false));
        let unanswered = Arc::new(AtomicBool::new(false));
        let tasks = vec![
            carry(&for_a, &for_b, b_addr, weather, &cut, &Arc::default()),
            carry(&for_b, &for_a, a_addr, weather, &cut, &unanswered),
        ];
        for (peer, socket) in [(a, &for_a), (b, &for_b)] {
            let addr = socket.local_addr().unwrap();
            let line = format!(
                "candidate:1 1 udp 2130706431 {} {} typ host",
                addr.ip(),
                addr.port()
            );
            let candidate = IceCandidate::parse("0", 0, &line).unwrap();
            peer.pc.add_ice_candidate(candidate).await.unwrap();
        }
        Self {
            cut,
            unanswered,
            tasks,
        }
    }
}

/// Carries what arrives at `from` to `peer`, from the address that `peer` knows.
fn carry(
    from: &Arc<UdpSocket>,
    out: &Arc<UdpSocket>,
    peer: SocketAddr,
    weather: Weather,
    cut: &Arc<AtomicBool>,
    unanswered: &Arc<AtomicBool>,
) -> tokio::task::JoinHandle<()> {
    let (from, out) = (Arc::clone(from), Arc::clone(out));
    let (cut, unanswered) = (Arc::clone(cut), Arc::clone(unanswered));
    tokio::spawn(async move {
        let dice = Dice(AtomicU32::new(1));
        let mut buffer = vec![0; 2048];
        loop {
            let Ok((length, _)) = from.recv_from(&mut buffer).await else {
                continue;
            };
            if cut.load(Ordering::Relaxed) || dice.below(100) < weather.loss_percent {
                continue;
            }
            if unanswered.load(Ordering::Relaxed) && buffer[..2] == STUN_SUCCESS {
                continue;
            }
            let copies = if dice.below(100) < weather.doubled_percent {
                2
            } else {
                1
            };
            for _ in 0..copies {
                let delay_ms = weather.delay_ms + dice.below(weather.jitter_ms + 1);
                let (out, data) = (Arc::clone(&out), buffer[..length].to_vec());
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(delay_ms.into())).await;
                    drop(out.send_to(&data, peer).await);
                });
            }
        }
    })
}

async fn first_candidate(peer: &mut Peer) -> SocketAddr {
    let line = within("a candidate", peer.candidates.recv())
        .await
        .unwrap()
        .candidate();
    let words: Vec<&str> = line.split(' ').collect();
    SocketAddr::new(words[4].parse().unwrap(), words[5].parse().unwrap())
}

/// The description without the lines that begin with one of these; without candidates, so that the peers meet on the
/// network alone.
fn without(description: &SessionDescription, beginnings: &[&str]) -> SessionDescription {
    let text: String = description
        .to_string()
        .lines()
        .filter(|line| {
            !beginnings
                .iter()
                .any(|beginning| line.starts_with(beginning))
        })
        .flat_map(|line| [line, "\r\n"])
        .collect();
    SessionDescription::parse(&text, description.sdp_type()).unwrap()
}

async fn meet(a: &mut Peer, b: &mut Peer, weather: Weather) -> Network {
    meet_without(a, b, weather, None).await
}

/// Lets them meet; neither sees the other's lines that begin with `unseen`.
async fn meet_without(
    a: &mut Peer,
    b: &mut Peer,
    weather: Weather,
    unseen: Option<&str>,
) -> Network {
    let seen = |description: &SessionDescription| {
        let unseen: Vec<&str> = ["a=candidate", "a=end-of"]
            .into_iter()
            .chain(unseen)
            .collect();
        without(description, &unseen)
    };
    let offer = a.pc.create_offer(OfferOptions::default()).await.unwrap();
    a.pc.set_local_description(offer.clone()).await.unwrap();
    b.pc.set_remote_description(seen(&offer)).await.unwrap();
    let answer = b.pc.create_answer(AnswerOptions::default()).await.unwrap();
    b.pc.set_local_description(answer.clone()).await.unwrap();
    a.pc.set_remote_description(seen(&answer)).await.unwrap();
    let network = Network::between(a, b, weather).await;
    for peer in [a, b] {
        within("the connection", async {
            while peer.pc.connection_state() != PeerConnectionState::Connected {
                peer.states.recv().await.unwrap();
            }
        })
        .await;
    }
    network
}

async fn all_arrive_in_order(weather: Weather, count: u32) {
    let (mut a, mut b) = (peer(), peer());
    let channel =
        a.pc.create_data_channel("x", DataChannelInit::default())
            .unwrap();
    let _network = meet(&mut a, &mut b, weather).await;
    let theirs = within("the channel", b.channels.recv()).await.unwrap();
    let mut heard = messages(&theirs);
    open(&channel).await;
    for n in 0..count {
        let data: Vec<u8> = n.to_be_bytes().iter().copied().cycle().take(900).collect();
        channel.send(&data, true).unwrap();
    }
    for n in 0..count {
        let (data, _) = within("the message", heard.recv()).await.unwrap();
        assert_eq!(data[..4], n.to_be_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_whole_and_in_order_on_a_fair_network() {
    all_arrive_in_order(FAIR, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_whole_and_in_order_on_a_foul_network() {
    all_arrive_in_order(FOUL, 100).await;
}

/// A track whose source gives noise.
fn noisy_track() -> RtcAudioTrack {
    let source = NativeAudioSource::new(AudioSourceOptions::default(), 48_000, 1, 0);
    source.set_pull(Box::new(Noise(1)));
    PeerConnectionFactory::default().create_audio_track("mic", source)
}

struct Noise(u32);

impl libwebrtc::audio::AudioPull for Noise {
    fn fill(&mut self, out: &mut [i16]) -> usize {
        for sample in out.iter_mut() {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *sample = (self.0 >> 16) as i16 / 3;
        }
        out.len()
    }
}

struct Heard {
    loud: u32,
    quiet: u32,
}

async fn listen(stream: &mut NativeAudioStream, frames: u32) -> Heard {
    let mut heard = Heard { loud: 0, quiet: 0 };
    for _ in 0..frames {
        let frame = within("a frame", stream.next()).await.unwrap();
        if frame
            .data
            .iter()
            .any(|sample| sample.unsigned_abs() > 1_000)
        {
            heard.loud += 1;
        } else {
            heard.quiet += 1;
        }
    }
    heard
}

/// Lets `a` send noise to `b`, and gives the sender and what `b` receives.
async fn talk(
    a: &mut Peer,
    b: &mut Peer,
    weather: Weather,
    unseen: Option<&str>,
) -> (Network, RtpSender, RtpReceiver, NativeAudioStream) {
    let init = RtpTransceiverInit {
        direction: RtpTransceiverDirection::SendOnly,
        stream_ids: vec!["stream".to_owned()],
        send_encodings: Vec::new(),
    };
    let transceiver = a.pc.add_transceiver(noisy_track().into(), init).unwrap();
    let network = meet_without(a, b, weather, unseen).await;
    let event = within("the track", b.tracks.recv()).await.unwrap();
    let MediaStreamTrack::Audio(track) = event.track else {
        panic!("not audio")
    };
    let mut stream = NativeAudioStream::new(track, 48_000, 1);
    within("the first sound", async {
        while listen(&mut stream, 1).await.loud == 0 {}
    })
    .await;
    (network, transceiver.sender(), event.receiver, stream)
}

/// What was lost in spite of all, and how often it was asked for: messages and packets, of each side.
#[derive(Debug)]
struct Resending {
    lost: i64,
    asked: (u32, u32),
    resent: (u64, u64),
}

async fn resending(sender: &RtpSender, receiver: &RtpReceiver) -> Resending {
    let sent = sender.get_stats().await.unwrap();
    let sent = sent.iter().find_map(|entry| match entry {
        RtcStats::OutboundRtp(s) => Some(&s.outbound),
        _ => None,
    });
    let received = receiver.get_stats().await.unwrap();
    let received = received.iter().find_map(|entry| match entry {
        RtcStats::InboundRtp(s) => Some((&s.inbound, &s.received)),
        _ => None,
    });
    let (sent, (inbound, received)) = (sent.unwrap(), received.unwrap());
    Resending {
        lost: received.packets_lost,
        asked: (sent.nack_count, inbound.nack_count),
        resent: (
            sent.retransmitted_packets_sent,
            inbound.retransmitted_packets_received,
        ),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_short_way_what_is_lost_is_asked_for_and_comes_back() {
    let (mut a, mut b) = (peer(), peer());
    let (_network, sender, receiver, mut stream) = talk(&mut a, &mut b, LOSSY, None).await;
    listen(&mut stream, 1_000).await;
    let seen = resending(&sender, &receiver).await;
    // Some 25 of 500 packets are lost, and 5 % of the answers.
    assert!(seen.asked.0 >= 8 && seen.asked.1 >= 8, "{seen:?}");
    assert!(seen.resent.0 >= 8 && seen.resent.1 >= 8, "{seen:?}");
    assert!(seen.lost <= 5, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_that_are_merely_overtaken_are_waited_for() {
    let (mut a, mut b) = (peer(), peer());
    let (_network, sender, receiver, mut stream) = talk(&mut a, &mut b, UNRULY, None).await;
    listen(&mut stream, 800).await;
    let before = resending(&sender, &receiver).await;
    let (concealed_before, _) = recovered_samples(&receiver).await;
    listen(&mut stream, 800).await;
    let seen = resending(&sender, &receiver).await;
    let (concealed, _) = recovered_samples(&receiver).await;
    // Of 400 packets, more than a hundred are overtaken.
    let asked = seen.resent.1 - before.resent.1;
    assert!(asked <= 20, "{asked}: {before:?} {seen:?}");
    assert!(seen.lost <= 5, "{seen:?}");
    // Playout has learned to wait for them.
    let concealed = concealed - concealed_before;
    assert!(concealed < 800 * 480 / 10, "{concealed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_offer_it_is_asked_for_nothing() {
    let (mut a, mut b) = (peer(), peer());
    let (_network, sender, receiver, mut stream) =
        talk(&mut a, &mut b, LOSSY, Some("a=rtcp-fb:111 nack")).await;
    listen(&mut stream, 500).await;
    let seen = resending(&sender, &receiver).await;
    assert_eq!((seen.asked, seen.resent), ((0, 0), (0, 0)), "{seen:?}");
    assert!(seen.lost > 0, "{seen:?}");
}

async fn recovered_samples(receiver: &RtpReceiver) -> (u64, u64) {
    let stats = receiver.get_stats().await.unwrap();
    let counts = stats.iter().find_map(|entry| match entry {
        RtcStats::InboundRtp(s) => Some((
            s.inbound.concealed_samples,
            s.inbound.total_samples_received,
        )),
        _ => None,
    });
    counts.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_goes_on_through_loss_and_through_a_cut_of_the_link() {
    let (mut a, mut b) = (peer(), peer());
    let (network, _, receiver, mut stream) = talk(&mut a, &mut b, FOUL, None).await;

    let heard = listen(&mut stream, 300).await;
    let (concealed, received) = recovered_samples(&receiver).await;
    assert!(heard.loud > 250, "{} of 300 frames have sound", heard.loud);
    assert!(
        concealed > 0 && concealed < received / 2,
        "{concealed} of {received} concealed"
    );

    // Without the network there is silence, on the clock; with it there is sound again, on the same path.
    network.cut.store(true, Ordering::Relaxed);
    let heard = listen(&mut stream, 150).await;
    assert!(heard.quiet > 50, "{} of 150 frames are quiet", heard.quiet);
    network.cut.store(false, Ordering::Relaxed);
    within("the sound after the cut", async {
        while listen(&mut stream, 50).await.loud < 40 {}
    })
    .await;
    assert_eq!(a.pc.connection_state(), PeerConnectionState::Connected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_stays_cut_is_noticed() {
    let (mut a, mut b) = (peer(), peer());
    let _channel =
        a.pc.create_data_channel("x", DataChannelInit::default())
            .unwrap();
    let network = meet(&mut a, &mut b, FAIR).await;
    network.cut.store(true, Ordering::Relaxed);
    within("the interruption", async {
        while a.pc.connection_state() != PeerConnectionState::Disconnected {
            a.states.recv().await.unwrap();
        }
    })
    .await;
    network.cut.store(false, Ordering::Relaxed);
    within("the recovery", async {
        while a.pc.connection_state() != PeerConnectionState::Connected {
            a.states.recv().await.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_heard_but_no_longer_answers_is_not_sent_to() {
    let (mut a, mut b) = (peer(), peer());
    let _channel =
        a.pc.create_data_channel("x", DataChannelInit::default())
            .unwrap();
    let network = meet(&mut a, &mut b, FAIR).await;
    network.unanswered.store(true, Ordering::Relaxed);
    let failed = async {
        while a.pc.connection_state() != PeerConnectionState::Failed {
            a.states.recv().await.unwrap();
        }
    };
    tokio::time::timeout(CONSENT_PATIENCE, failed)
        .await
        .unwrap_or_else(|_| panic!("consent does not expire"));
    // Nothing is sent any more, so that the other side notices too, although its checks would be answered.
    within("the interruption", async {
        while b.pc.connection_state() != PeerConnectionState::Disconnected {
            b.states.recv().await.unwrap();
        }
    })
    .await;
}
