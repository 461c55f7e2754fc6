//! The task that drives one peer connection: datagrams, timers, events, media.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::event::Event;
use super::sending::QueuedRtp;
use super::{Pc, State};
use crate::audio::{RemoteAudio, RtpAudio};
use crate::core::{CoreError, CoreEvent, Packet, is_binding_success};
use crate::net::{
    BoundSocket, FromRelay, Incoming, Received, RelayServer, Relays, Sockets, Streams, StunServer,
    look_up,
};
use crate::peer_connection::{IceConnectionState, PeerConnectionState};

/// Datagrams taken in one turn, so that a flood cannot hold up timers and events.
const DATAGRAMS_PER_TURN_MAX: usize = 32;
/// Encoded packets taken in one turn.
const RTP_PER_TURN_MAX: usize = 32;
/// The shortest wait for a timer: a deadline that stays in the past must not become a busy loop.
const TIMER_MIN: Duration = Duration::from_millis(1);
/// The longest wait without a timer, so that a lost wake-up can't stall a connection for ever.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// What one turn under the lock left to be done without it.
#[derive(Default)]
struct Turn {
    gone: Vec<IpAddr>,
    sockets: Vec<BoundSocket>,
    stun_servers: Vec<StunServer>,
    relays: Vec<RelayServer>,
    packets: Vec<Packet>,
    media: Vec<(RemoteAudio, RtpAudio)>,
    events: VecDeque<Event>,
    next: Option<Instant>,
    closed: bool,
}

/// What a driver sends with, and hears from.
struct Ways {
    sockets: Sockets,
    streams: Streams,
    relays: Relays,
    /// STUN servers that are being looked up.
    lookups: JoinSet<(StunServer, Result<Vec<SocketAddr>, String>)>,
}

/// Drives `pc` until it is closed.
pub(super) async fn run(pc: Arc<Pc>, mut rtp_queued: mpsc::Receiver<QueuedRtp>) {
    let mut ways = Ways {
        sockets: Sockets::new(),
        streams: Streams::new(),
        relays: Relays::new(),
        lookups: JoinSet::new(),
    };
    let mut turn = Turn::default();
    loop {
        pc.turn(&mut turn);
        turn.carry_out(&pc, &mut ways);
        if turn.closed {
            break;
        }
        let deadline = turn.deadline(Instant::now());
        let Ways {
            sockets,
            streams,
            relays,
            lookups,
        } = &mut ways;
        tokio::select! {
            received = sockets.recv() => {
                let mut state = pc.state.lock();
                state.take_udp(received, sockets);
                for _ in 1..DATAGRAMS_PER_TURN_MAX {
                    let Some(received) = sockets.try_recv() else { break };
                    state.take_udp(received, sockets);
                }
            }
            Some(received) = streams.recv() => {
                let mut state = pc.state.lock();
                state.take_tcp(received);
                for _ in 1..DATAGRAMS_PER_TURN_MAX {
                    let Some(received) = streams.try_recv() else { break };
                    state.take_tcp(received);
                }
            }
            Some(report) = relays.recv() => {
                let mut state = pc.state.lock();
                relays.note(&report);
                state.take_report(report);
                for _ in 1..DATAGRAMS_PER_TURN_MAX {
                    let Some(report) = relays.try_recv() else { break };
                    relays.note(&report);
                    state.take_report(report);
                }
            }
            Some(Ok((server, found))) = lookups.join_next() => {
                pc.state.lock().stun_server_found(Instant::now(), &server, found);
            }
            Some(packet) = rtp_queued.recv() => {
                let mut state = pc.state.lock();
                let now = Instant::now();
                state.write_rtp(now, packet);
                for _ in 1..RTP_PER_TURN_MAX {
                    let Ok(packet) = rtp_queued.try_recv() else { break };
                    state.write_rtp(now, packet);
                }
            }
            () = pc.wake.notified() => {}
            () = tokio::time::sleep_until(deadline.into()) => {}
        }
    }
    pc.state.lock().core.discard();
    pc.callbacks.clear();
}

impl Pc {
    /// Lets the core advance and collects what it gives.
    fn turn(self: &Arc<Self>, turn: &mut Turn) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let core_due = state
            .advance(self, &mut turn.media)
            .unwrap_or_else(|error| {
                if state.core.has_panicked() {
                    state.fail(&error);
                } else {
                    log::debug!("the protocol stack did not advance: {error}");
                }
                state.core.next_timeout()
            });
        std::mem::swap(&mut turn.packets, &mut state.outputs.packets);
        std::mem::swap(&mut turn.sockets, &mut state.new_sockets);
        std::mem::swap(&mut turn.gone, &mut state.gone);
        std::mem::swap(&mut turn.stun_servers, &mut state.new_stun_servers);
        std::mem::swap(&mut turn.relays, &mut state.new_relays);
        std::mem::swap(&mut turn.events, &mut state.events);
        turn.next = [
            core_due,
            state.tcp_due(),
            state.stun.next_timeout(),
            state.watch.next_look(),
            state.handshake.next_timeout(),
        ]
        .into_iter()
        .flatten()
        .min();
        turn.closed = state.is_closed();
    }
}

impl State {
    /// Says when the core wants to be told the time next.
    fn advance(
        &mut self,
        pc: &Arc<Pc>,
        media: &mut Vec<(RemoteAudio, RtpAudio)>,
    ) -> Result<Option<Instant>, CoreError> {
        let now = Instant::now();
        self.watch_path(now);
        self.try_tcp(now);
        let mut advanced = self.drain_core(pc, media);
        let mut due = self.core.next_timeout();
        if due.is_some_and(|due| due <= now) {
            let told = self.core.handle_timeout(now);
            advanced = advanced.and(told).and(self.drain_core(pc, media));
            due = self.core.next_timeout();
        }
        self.handshake.note(now, &self.outputs.packets);
        self.handshake
            .handle_timeout(now, &mut self.outputs.packets);
        if self.handshake.has_failed(now) {
            self.fail_handshake();
        }
        if self.watch.is_lost() {
            self.outputs.packets.clear();
        }
        let given_up = self.stun.handle_timeout(now, &mut self.outputs.packets);
        for outcome in given_up {
            self.take_outcome(outcome);
        }
        self.note_released_bytes();
        advanced.map(|()| due)
    }

    fn drain_core(
        &mut self,
        pc: &Arc<Pc>,
        media: &mut Vec<(RemoteAudio, RtpAudio)>,
    ) -> Result<(), CoreError> {
        let drained = self.core.drain(&mut self.outputs);
        for event in std::mem::take(&mut self.outputs.events) {
            self.take_event(pc, event);
        }
        media.extend(
            self.outputs
                .media
                .drain(..)
                .filter_map(|rtp| self.routes.route(rtp)),
        );
        drained
    }

    fn take_report(&mut self, report: FromRelay) {
        match report {
            FromRelay::Datagram {
                relayed,
                peer,
                data,
            } => self.take_datagram(relayed, peer, false, data),
            FromRelay::Allocated {
                server,
                relayed,
                local,
            } => self.add_relay(server, relayed, local),
            FromRelay::Failed {
                server,
                relayed,
                cause,
            } => self.relay_failed(server, relayed, cause),
        }
    }

    fn take_udp(&mut self, received: Received, sockets: &Sockets) {
        let data = BytesMut::from(sockets.data(received));
        self.take_datagram(received.local, received.peer, false, data);
    }

    fn take_tcp(&mut self, received: Incoming) {
        self.take_datagram(received.local, received.peer, true, received.data);
    }

    fn take_datagram(&mut self, local: SocketAddr, peer: SocketAddr, tcp: bool, data: BytesMut) {
        let now = Instant::now();
        if !tcp && let Some(outcome) = self.stun.take(now, local, peer, &data) {
            self.take_outcome(outcome);
            return;
        }
        // Checks that overtake the remote description can't be answered yet: the key to them is in
        // it. They are repeated.
        if !self.descriptions.has_remote() {
            return;
        }
        self.handshake.heard(now, &data);
        let is_answer = is_binding_success(&data);
        match self.core.handle_datagram(now, local, peer, tcp, data) {
            Ok(()) if is_answer => self.watch.answered(now),
            Ok(()) => {}
            Err(error) => log::debug!("a datagram from {peer} was refused: {error}"),
        }
    }

    fn take_event(&mut self, pc: &Arc<Pc>, event: CoreEvent) {
        match event {
            // The path that this is about was given up.
            CoreEvent::ConnectionState(_) | CoreEvent::IceState(_) if self.watch.is_lost() => {}
            CoreEvent::ConnectionState(state) => {
                if state == PeerConnectionState::Connected {
                    self.handshake.done();
                }
                self.set_connection(state);
            }
            CoreEvent::IceState(state) => {
                if state == IceConnectionState::Connected {
                    self.watch.found(Instant::now());
                    self.stun.rest();
                }
                self.set_ice(state);
            }
            CoreEvent::NegotiationNeeded => {
                self.negotiations_needed += 1;
                self.events
                    .push_back(Event::NegotiationNeeded(self.negotiations_needed));
            }
            CoreEvent::ChannelOpen(key) => self.channel_opened(pc, key),
            CoreEvent::ChannelClosed(key) => self.channel_closed(key),
            CoreEvent::Message { key, data, binary } => self.channel_message(key, data, binary),
        }
    }
}

impl Turn {
    fn carry_out(&mut self, pc: &Pc, ways: &mut Ways) {
        for gone in self.gone.drain(..) {
            ways.sockets.forget(gone);
            ways.streams.forget(gone);
            ways.relays.forget(gone);
        }
        for server in self.stun_servers.drain(..) {
            ways.lookups.spawn(look_up(server));
        }
        for server in self.relays.drain(..) {
            ways.relays.begin(server);
        }
        for socket in self.sockets.drain(..) {
            let addr = socket.addr;
            if let Err(error) = ways.sockets.adopt(socket) {
                log::error!("the socket on {addr} can't be used: {error}");
            }
        }
        for packet in self.packets.drain(..) {
            if packet.tcp {
                ways.streams.send(Instant::now(), packet);
            } else if let Err(packet) = ways.relays.send(packet) {
                ways.sockets.send(&packet);
            }
        }
        for (audio, packet) in self.media.drain(..) {
            audio.push_rtp(packet);
        }
        for event in self.events.drain(..) {
            pc.callbacks.deliver(event);
        }
    }

    fn deadline(&self, now: Instant) -> Instant {
        let next = self.next.unwrap_or(now + IDLE_MAX);
        next.clamp(now + TIMER_MIN, now + IDLE_MAX)
    }
}
