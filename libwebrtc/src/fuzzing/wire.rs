//! Datagrams, on both sides of the stack.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::Source;
use crate::MediaType;
use crate::core::{
    BindingAnswer, BindingRequest, ChannelOptions, Core, CoreError, CoreEvent, Outputs, TurnAccess,
    TurnClient, is_binding_success,
};
use crate::net::split_message;
use crate::session_description::SdpType;

/// Exchanges of one input; an undisturbed handshake takes some twenty.
const EXCHANGES_MAX: usize = 60;

/// Two peers that connect over a wire on which datagrams are changed, lost, doubled and made up.
pub fn handshake(data: &[u8]) {
    let mut source = Source(data);
    let Ok(mut wire) = Wire::new() else { return };
    for _ in 0..EXCHANGES_MAX {
        wire.exchange(&mut source);
    }
}

struct Wire {
    now: Instant,
    peers: [Core; 2],
    /// Channels that are open.
    opened: usize,
}

impl Wire {
    fn new() -> Result<Self, CoreError> {
        let now = Instant::now();
        let (mut one, mut two) = (Core::new(now)?, Core::new(now)?);
        one.create_channel("x", ChannelOptions::default())?;
        one.add_audio_sender("stream", "track", 7)?;
        one.add_receiver(MediaType::Audio)?;
        one.add_local_candidate("candidate:1 1 udp 2130706431 127.0.0.1 1001 typ host")?;
        two.add_local_candidate("candidate:1 1 udp 2130706431 127.0.0.1 1002 typ host")?;
        let offer = one.create_offer(false)?;
        one.set_local(now, SdpType::Offer)?;
        two.set_remote(now, SdpType::Offer, &offer)?;
        let answer = two.create_answer()?;
        two.set_local(now, SdpType::Answer)?;
        one.set_remote(now, SdpType::Answer, &answer)?;
        Ok(Self {
            now,
            peers: [one, two],
            opened: 0,
        })
    }

    /// Carries what both have to say, after `source` has had its way with it, and lets time pass.
    fn exchange(&mut self, source: &mut Source<'_>) {
        let mut quiet = true;
        for from in 0..2 {
            let mut outputs = Outputs::default();
            let _ = self.peers[from].drain(&mut outputs);
            for event in outputs.events {
                if let CoreEvent::ChannelOpen(key) = event {
                    self.opened += 1;
                    let _ = self.peers[from].send(self.now, key, b"hello", true);
                }
            }
            for packet in outputs.packets {
                quiet = false;
                let data = packet.data;
                for _ in 0..disturb(source, &data) {
                    let mut data = data.clone();
                    change(source, &mut data);
                    self.deliver(1 - from, packet.local, packet.peer, data);
                }
            }
        }
        if source.byte() & 0b111 == 0b101 {
            let to = usize::from(source.byte() & 1);
            let length = usize::from(source.byte()) * 4;
            let made_up = BytesMut::from(source.take(length));
            let port = |of: usize| SocketAddr::from(([127, 0, 0, 1], [1001, 1002][of]));
            self.deliver(to, port(1 - to), port(to), made_up);
        }
        if quiet {
            let due = self.peers.iter_mut().filter_map(Core::next_timeout).min();
            // Half a second passes at once at most, however long everybody would wait.
            let latest = self.now + Duration::from_millis(500);
            self.now = due.unwrap_or(latest).clamp(self.now, latest);
        }
        for peer in &mut self.peers {
            let _ = peer.handle_timeout(self.now);
        }
    }

    fn deliver(&mut self, to: usize, from: SocketAddr, at: SocketAddr, data: BytesMut) {
        let _ = self.peers[to].handle_datagram(self.now, at, from, false, data);
    }
}

/// How often a datagram arrives.
fn disturb(source: &mut Source<'_>, data: &[u8]) -> usize {
    match source.byte() {
        0xf0..=0xf7 => 0,
        0xf8..=0xfb => 2,
        _ => usize::from(!data.is_empty()),
    }
}

/// Changes a datagram, as a rule not at all.
fn change(source: &mut Source<'_>, data: &mut BytesMut) {
    let kind = source.byte();
    if kind < 0xc0 {
        return;
    }
    let at = usize::from(source.u16()) % data.len().max(1);
    match kind & 0b11 {
        0 => data.truncate(at),
        1 => data.extend_from_slice(source.take(usize::from(kind & 0x3f))),
        _ => {
            for (byte, new) in data[at..]
                .iter_mut()
                .zip(source.take(usize::from(kind >> 2 & 0xf)))
            {
                *byte ^= new;
            }
        }
    }
}

/// What a TURN server says over TCP, cut into messages, and taken by the client; and what a STUN server answers.
pub fn relay_messages(data: &[u8]) {
    stun_answer(data);
    let now = Instant::now();
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let access = TurnAccess {
        server: address(3478),
        local: address(40_000),
        stream: true,
        username: "user".to_owned(),
        password: "password".to_owned(),
    };
    let Ok(mut client) = TurnClient::new(now, access) else {
        return;
    };
    let (mut written, mut events) = (Vec::new(), Vec::new());
    let mut begun = BytesMut::from(data);
    while let Ok(Some(message)) = split_message(&mut begun) {
        if client.handle_data(now, message).is_err() {
            return;
        }
        if client.drain(now, &mut written, &mut events).is_err() {
            return;
        }
    }
    let _ = client.send(now, address(1), BytesMut::from(&b"hello"[..]));
    let _ = client.close(now);
}

/// The bytes as the answer to a question that was asked, and as they are.
fn stun_answer(data: &[u8]) {
    let Ok(question) = BindingRequest::new() else {
        return;
    };
    let mut answer = data.to_vec();
    if let Some(id) = answer.get_mut(8..20) {
        id.copy_from_slice(&question.id);
    }
    for datagram in [data, &answer] {
        let _ = is_binding_success(datagram);
        if let Some(read) = BindingAnswer::read(datagram)
            && let Err((_, words)) = read.seen
        {
            assert!(words.chars().count() <= 127 && !words.contains('\n'));
        }
    }
}

/// Whether two peers connect whom nobody disturbs.
#[cfg(test)]
pub(super) fn connects() -> bool {
    let Ok(mut wire) = Wire::new() else {
        return false;
    };
    for _ in 0..EXCHANGES_MAX {
        wire.exchange(&mut Source(&[]));
    }
    wire.opened == 2
}
