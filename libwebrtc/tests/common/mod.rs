//! Two peer connections of this crate in one process.
#![allow(dead_code)] // Each test binary uses its part of this.
#![allow(clippy::unwrap_used, clippy::panic)] // That is how a test fails.

use std::future::Future;
use std::time::Duration;

use libwebrtc::peer_connection_factory::RtcConfiguration;
use libwebrtc::prelude::*;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Beyond any wait that succeeds, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(20);

/// A peer with what it reports.
pub struct Peer {
    pub pc: PeerConnection,
    pub states: UnboundedReceiver<PeerConnectionState>,
    pub channels: UnboundedReceiver<DataChannel>,
    pub tracks: UnboundedReceiver<libwebrtc::peer_connection::TrackEvent>,
    pub candidates: UnboundedReceiver<IceCandidate>,
}

pub fn peer() -> Peer {
    peer_with(RtcConfiguration::default())
}

pub fn peer_with(config: RtcConfiguration) -> Peer {
    let pc = PeerConnectionFactory::default()
        .create_peer_connection(config)
        .unwrap();
    let (tx, states) = unbounded_channel();
    pc.on_connection_state_change(Some(Box::new(move |state| {
        let _ = tx.send(state);
    })));
    let (tx, channels) = unbounded_channel();
    pc.on_data_channel(Some(Box::new(move |channel| drop(tx.send(channel)))));
    let (tx, tracks) = unbounded_channel();
    pc.on_track(Some(Box::new(move |track| drop(tx.send(track)))));
    let (tx, candidates) = unbounded_channel();
    pc.on_ice_candidate(Some(Box::new(move |candidate| drop(tx.send(candidate)))));
    Peer {
        pc,
        states,
        channels,
        tracks,
        candidates,
    }
}

/// Waits, and fails by name if it takes too long.
pub async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// Offers from `a` to `b` and back.
pub async fn negotiate(a: &Peer, b: &Peer) {
    negotiate_over(a, b, reparsed).await;
}

/// Offers from `a` to `b` and back, over signalling that tells the other side what `told` makes of a description.
pub async fn negotiate_over(
    a: &Peer,
    b: &Peer,
    told: impl Fn(&SessionDescription) -> SessionDescription,
) {
    let offer = a.pc.create_offer(OfferOptions::default()).await.unwrap();
    a.pc.set_local_description(offer.clone()).await.unwrap();
    b.pc.set_remote_description(told(&offer)).await.unwrap();
    let answer = b.pc.create_answer(AnswerOptions::default()).await.unwrap();
    b.pc.set_local_description(answer.clone()).await.unwrap();
    a.pc.set_remote_description(told(&answer)).await.unwrap();
}

/// Hands over the candidates until both sides are connected.
pub async fn connected(a: &mut Peer, b: &mut Peer) {
    let both = |states: [PeerConnectionState; 2]| states == [PeerConnectionState::Connected; 2];
    within("the connection", candidates_until(a, b, both)).await;
}

/// Hands over the candidates until the states of the two are as wanted.
pub async fn candidates_until(
    a: &mut Peer,
    b: &mut Peer,
    wanted: impl Fn([PeerConnectionState; 2]) -> bool,
) {
    while !wanted([a.pc.connection_state(), b.pc.connection_state()]) {
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
}

/// As it would come over signalling.
pub fn reparsed(description: &SessionDescription) -> SessionDescription {
    SessionDescription::parse(&description.to_string(), description.sdp_type()).unwrap()
}

/// Connects the two over a channel of `a`, and gives its two ends.
pub async fn channel_between(
    a: &mut Peer,
    b: &mut Peer,
    init: DataChannelInit,
) -> (DataChannel, DataChannel) {
    let sending = a.pc.create_data_channel("chat", init).unwrap();
    negotiate(a, b).await;
    connected(a, b).await;
    open(&sending).await;
    let receiving = within("the channel's arrival", b.channels.recv())
        .await
        .unwrap();
    (sending, receiving)
}

/// The messages of a channel.
pub fn messages(channel: &DataChannel) -> UnboundedReceiver<(Vec<u8>, bool)> {
    let (tx, messages) = unbounded_channel();
    channel.on_message(Some(Box::new(move |buffer| {
        drop(tx.send((buffer.data.to_vec(), buffer.binary)));
    })));
    messages
}

/// Waits until a channel is open.
pub async fn open(channel: &DataChannel) {
    let (tx, mut states) = unbounded_channel();
    channel.on_state_change(Some(Box::new(move |state| {
        let _ = tx.send(state);
    })));
    within("the channel's opening", async {
        while channel.state() != DataChannelState::Open {
            tokio::select! {
                _ = states.recv() => {}
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
            }
        }
    })
    .await;
}
