//! What happens on a connection, queued under its lock and delivered by its driver.

use std::sync::Arc;

use bytes::BytesMut;

use super::callback::Callback;
use super::channel::Channel;
use crate::data_channel::{DataChannel, DataChannelState};
use crate::ice_candidate::IceCandidate;
use crate::peer_connection::{
    IceCandidateError, IceConnectionState, IceGatheringState, OnConnectionChange, OnDataChannel,
    OnIceCandidate, OnIceCandidateError, OnIceConnectionChange, OnIceGatheringChange,
    OnNegotiationNeeded, OnSignalingChange, OnTrack, PeerConnectionState, SignalingState,
    TrackEvent,
};

/// Something to be told to the user.
pub(super) enum Event {
    Connection(PeerConnectionState),
    Ice(IceConnectionState),
    Gathering(IceGatheringState),
    Signaling(SignalingState),
    NegotiationNeeded(u32),
    Candidate(IceCandidate),
    CandidateError(IceCandidateError),
    Track(Box<TrackEvent>),
    Channel(DataChannel),
    ChannelState(Arc<Channel>, DataChannelState),
    ChannelMessage(Arc<Channel>, BytesMut, bool),
    /// A message handler was set: what waited for it can be delivered.
    ChannelListening(Arc<Channel>),
    ChannelReleased(Arc<Channel>, u64),
}

/// The callbacks of a connection.
#[derive(Default)]
pub(crate) struct Callbacks {
    pub connection_change: Callback<OnConnectionChange>,
    pub data_channel: Callback<OnDataChannel>,
    pub ice_candidate: Callback<OnIceCandidate>,
    pub ice_candidate_error: Callback<OnIceCandidateError>,
    pub ice_connection_change: Callback<OnIceConnectionChange>,
    pub ice_gathering_change: Callback<OnIceGatheringChange>,
    pub negotiation_needed: Callback<OnNegotiationNeeded>,
    pub signaling_change: Callback<OnSignalingChange>,
    pub track: Callback<OnTrack>,
}

impl Callbacks {
    /// Delivers one event. Runs on the driver task, without any lock.
    pub(super) fn deliver(&self, event: Event) {
        match event {
            Event::Connection(state) => self.connection_change.call(|f| f(state)),
            Event::Ice(state) => self.ice_connection_change.call(|f| f(state)),
            Event::Gathering(state) => self.ice_gathering_change.call(|f| f(state)),
            Event::Signaling(state) => self.signaling_change.call(|f| f(state)),
            Event::NegotiationNeeded(count) => self.negotiation_needed.call(|f| f(count)),
            Event::Candidate(candidate) => self.ice_candidate.call(|f| f(candidate)),
            Event::CandidateError(error) => self.ice_candidate_error.call(|f| f(error)),
            Event::Track(track) => self.track.call(|f| f(*track)),
            Event::Channel(channel) => self.data_channel.call(|f| f(channel)),
            Event::ChannelState(channel, state) => channel.deliver_state(state),
            Event::ChannelMessage(channel, data, binary) => channel.deliver(data, binary),
            Event::ChannelListening(channel) => channel.deliver_backlog(),
            Event::ChannelReleased(channel, bytes) => channel.deliver_released(bytes),
        }
    }

    /// Forgets all callbacks, and what they captured.
    pub(super) fn clear(&self) {
        self.connection_change.set(None);
        self.data_channel.set(None);
        self.ice_candidate.set(None);
        self.ice_candidate_error.set(None);
        self.ice_connection_change.set(None);
        self.ice_gathering_change.set(None);
        self.negotiation_needed.set(None);
        self.signaling_change.set(None);
        self.track.set(None);
    }
}
