//! The peer connection behind the API: its state, its negotiation, and the task that drives it.
//!
//! One lock guards the protocol core and everything derived from it. It is held for single calls,
//! never over a wait, and never while a callback runs: events are queued under it, and the driver
//! task delivers them in order after it is free.

mod callback;
mod candidates;
mod channel;
mod driver;
mod event;
mod gathering;
mod handshake;
mod negotiation;
mod paths;
mod receiving;
mod reflexive;
mod sending;
mod statistics;
mod tcp_paths;
mod transceiver;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use crate::RtcError;
use crate::core::{Core, CoreError, Outputs};
use crate::ice_candidate::IceCandidate;
use crate::net::{BoundSocket, RelayServer, StunServer, io_runtime};
use crate::peer_connection::{
    BitrateSettings, IceConnectionState, IceGatheringState, PeerConnectionState, SignalingState,
};
use crate::peer_connection_factory::{
    ContinualGatheringPolicy, IceServer, IceTransportsType, RtcConfiguration,
};

pub(crate) use callback::Callback;
use candidates::LocalCandidates;
pub(crate) use channel::Channel;
use event::{Callbacks, Event};
use gathering::Relay;
use handshake::Handshake;
use negotiation::Descriptions;
use paths::PathWatch;
use receiving::Routes;
use reflexive::Reflexive;
use sending::QueuedRtp;
use tcp_paths::TcpPaths;
use transceiver::Transceiver;
pub(crate) use transceiver::TransceiverHandle;

/// Encoded packets that may wait for the driver: a second and a quarter of sound of one track.
/// When the driver is held up for longer, sound is lost rather than late.
const QUEUED_RTP_MAX: usize = 64;

/// A peer connection. The driver task holds one reference, until it is closed.
pub(crate) struct Pc {
    state: Mutex<State>,
    pub callbacks: Callbacks,
    /// Tells the driver that something changed under the lock.
    wake: Notify,
    rtp_queue: mpsc::Sender<QueuedRtp>,
}

struct State {
    core: Core,
    connection: PeerConnectionState,
    ice: IceConnectionState,
    gathering: IceGatheringState,
    gathering_policy: ContinualGatheringPolicy,
    transports: IceTransportsType,
    transceivers: Vec<Transceiver>,
    routes: Routes,
    channels: HashMap<usize, Arc<Channel>>,
    descriptions: Descriptions,
    configured_servers: Vec<IceServer>,
    /// The STUN servers that are used, those of them that the driver has not looked up yet, and how many it has not found.
    stun_servers: Vec<StunServer>,
    new_stun_servers: Vec<StunServer>,
    lookups: usize,
    stun: Reflexive,
    /// The TURN servers that are used, and those of them that the driver has not asked yet.
    relays: Vec<Relay>,
    new_relays: Vec<RelayServer>,
    /// The addresses of all sockets, and those that the driver has not taken over yet.
    bound: Vec<SocketAddr>,
    new_sockets: Vec<BoundSocket>,
    /// Addresses that are no more, whose sockets the driver has not closed yet.
    gone: Vec<IpAddr>,
    candidates: LocalCandidates,
    tcp: TcpPaths,
    watch: PathWatch,
    handshake: Handshake,
    negotiations_needed: u32,
    panic_reported: bool,
    events: VecDeque<Event>,
    outputs: Outputs,
}

/// What the public [`crate::peer_connection::PeerConnection`] holds: closes when the last clone goes.
pub(crate) struct CloseOnDrop {
    pub pc: Arc<Pc>,
}

impl CloseOnDrop {
    /// Opens a peer connection and starts its driver.
    pub fn open(config: &RtcConfiguration) -> Result<Arc<Self>, RtcError> {
        let runtime = io_runtime()?;
        let (rtp_queue, rtp_queued) = mpsc::channel(QUEUED_RTP_MAX);
        let pc = Arc::new(Pc {
            state: Mutex::new(State::new(Core::new(Instant::now())?, config)),
            callbacks: Callbacks::default(),
            wake: Notify::new(),
            rtp_queue,
        });
        runtime.spawn(driver::run(Arc::clone(&pc), rtp_queued));
        Ok(Arc::new(Self { pc }))
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.pc.close();
    }
}

impl State {
    fn new(core: Core, config: &RtcConfiguration) -> Self {
        Self {
            core,
            connection: PeerConnectionState::New,
            ice: IceConnectionState::New,
            gathering: IceGatheringState::New,
            gathering_policy: config.continual_gathering_policy,
            transports: config.ice_transport_type,
            transceivers: Vec::new(),
            routes: Routes::default(),
            channels: HashMap::new(),
            descriptions: Descriptions::default(),
            configured_servers: config.ice_servers.clone(),
            stun_servers: Vec::new(),
            new_stun_servers: Vec::new(),
            lookups: 0,
            stun: Reflexive::default(),
            relays: Vec::new(),
            new_relays: Vec::new(),
            bound: Vec::new(),
            new_sockets: Vec::new(),
            gone: Vec::new(),
            candidates: LocalCandidates::default(),
            tcp: TcpPaths::default(),
            watch: PathWatch::default(),
            handshake: Handshake::default(),
            negotiations_needed: 0,
            panic_reported: false,
            events: VecDeque::new(),
            outputs: Outputs::default(),
        }
    }

    fn is_closed(&self) -> bool {
        self.connection == PeerConnectionState::Closed
    }

    fn ensure_open(&self) -> Result<(), RtcError> {
        if self.is_closed() {
            return Err(RtcError::invalid_state("the peer connection is closed"));
        }
        Ok(())
    }

    fn set_connection(&mut self, connection: PeerConnectionState) {
        if self.connection != connection && !self.is_closed() {
            self.connection = connection;
            self.events.push_back(Event::Connection(connection));
        }
    }

    fn set_ice(&mut self, ice: IceConnectionState) {
        if self.ice != ice && self.ice != IceConnectionState::Closed {
            self.ice = ice;
            self.events.push_back(Event::Ice(ice));
        }
    }

    /// Ends everything that flows over this connection.
    fn end_media_and_channels(&mut self) {
        for transceiver in &mut self.transceivers {
            transceiver.end();
        }
        self.routes = Routes::default();
        for (_, channel) in self.channels.drain() {
            channel.mark_closed(&mut self.events);
        }
    }

    /// Ends a connection whose ends did not agree on keys.
    fn fail_handshake(&mut self) {
        self.handshake.done();
        log::warn!(
            "a peer was reached, and no keys were agreed on with it: its certificate is not the one that its description \
             names, or it has no cipher suite of ours, or it says nothing"
        );
        self.end_media_and_channels();
        self.set_connection(PeerConnectionState::Failed);
    }

    /// Ends a connection whose protocol stack panicked.
    fn fail(&mut self, error: &CoreError) {
        if std::mem::replace(&mut self.panic_reported, true) {
            return;
        }
        log::error!("a peer connection has failed: {error}");
        self.end_media_and_channels();
        self.set_ice(IceConnectionState::Failed);
        self.set_connection(PeerConnectionState::Failed);
    }
}

impl Pc {
    /// Runs `change` under the lock and lets the driver carry its consequences out.
    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut self.state.lock());
        self.wake.notify_one();
        result
    }

    pub fn close(&self) {
        self.change(|state| {
            if state.is_closed() {
                return;
            }
            // What is queued before the goodbye still goes out; an error means there is nobody to
            // say it to.
            if let Err(error) = state.core.close() {
                log::debug!("closing a peer connection without a goodbye: {error}");
            }
            state.end_media_and_channels();
            state.set_ice(IceConnectionState::Closed);
            state.set_connection(PeerConnectionState::Closed);
        });
    }

    pub fn connection_state(&self) -> PeerConnectionState {
        self.state.lock().connection
    }

    pub fn ice_connection_state(&self) -> IceConnectionState {
        self.state.lock().ice
    }

    pub fn ice_gathering_state(&self) -> IceGatheringState {
        self.state.lock().gathering
    }

    pub fn signaling_state(&self) -> SignalingState {
        let mut state = self.state.lock();
        if state.is_closed() {
            SignalingState::Closed
        } else {
            state.core.signaling_state()
        }
    }

    pub fn set_configuration(&self, config: &RtcConfiguration) -> Result<(), RtcError> {
        self.change(|state| {
            state.ensure_open()?;
            state.gathering_policy = config.continual_gathering_policy;
            state.transports = config.ice_transport_type;
            state.configured_servers.clone_from(&config.ice_servers);
            if state.gathering != IceGatheringState::New {
                state.ask_servers();
            }
            Ok(())
        })
    }

    pub fn set_bitrate(&self, settings: BitrateSettings) -> Result<(), RtcError> {
        self.state.lock().ensure_open()?;
        let BitrateSettings {
            min_bitrate_bps,
            start_bitrate_bps,
            max_bitrate_bps,
        } = settings;
        let ordered = [min_bitrate_bps, start_bitrate_bps, max_bitrate_bps];
        if ordered.into_iter().flatten().is_sorted() {
            Ok(())
        } else {
            Err(RtcError::invalid_state(format!(
                "the bitrates contradict each other: min {min_bitrate_bps:?} ≤ start {start_bitrate_bps:?} ≤ max {max_bitrate_bps:?} is needed"
            )))
        }
    }

    pub fn restart_ice(&self) {
        self.change(|state| {
            if let Err(error) = state.core.restart_ice() {
                log::warn!("ICE can't be restarted: {error}");
            }
        });
    }

    pub fn add_ice_candidate(&self, candidate: &IceCandidate) -> Result<(), RtcError> {
        self.change(|state| state.add_remote_candidate(&candidate.candidate()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;
    use crate::data_channel::{DataChannelInit, DataChannelState};

    #[test]
    fn a_panic_of_the_stack_fails_one_connection_and_leaves_the_others() {
        let config = RtcConfiguration::default();
        let (broken, sound) = (
            CloseOnDrop::open(&config).unwrap(),
            CloseOnDrop::open(&config).unwrap(),
        );
        let channel_of_broken = broken
            .pc
            .create_data_channel("x", &DataChannelInit::default())
            .unwrap();
        let (states_tx, states) = channel();
        let states_tx = Mutex::new(states_tx);
        broken
            .pc
            .callbacks
            .connection_change
            .set(Some(Box::new(move |state| {
                let _ = states_tx.lock().send(state);
            })));

        broken.pc.change(|state| state.core.panic_now());

        let state = states.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(state, PeerConnectionState::Failed);
        assert_eq!(channel_of_broken.state(), DataChannelState::Closed);
        let refused = broken
            .pc
            .create_data_channel("y", &DataChannelInit::default())
            .unwrap_err();
        assert!(refused.message.contains("on purpose"), "{refused}");
        assert!(
            sound
                .pc
                .create_data_channel("x", &DataChannelInit::default())
                .is_ok()
        );
        broken.pc.close();
        assert_eq!(broken.pc.connection_state(), PeerConnectionState::Closed);
    }
}
