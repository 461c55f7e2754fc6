//! Peer connections.

use std::fmt;
use std::sync::Arc;

use crate::data_channel::{DataChannel, DataChannelInit};
use crate::ice_candidate::IceCandidate;
use crate::media_stream::MediaStream;
use crate::media_stream_track::MediaStreamTrack;
use crate::pc;
use crate::peer_connection_factory::RtcConfiguration;
use crate::rtp_receiver::RtpReceiver;
use crate::rtp_sender::RtpSender;
use crate::rtp_transceiver::{RtpTransceiver, RtpTransceiverInit};
use crate::session_description::SessionDescription;
use crate::stats::RtcStats;
use crate::{MediaType, RtcError};

/// The state of ICE and DTLS together.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum PeerConnectionState {
    /// Nothing has begun.
    New,
    /// ICE or DTLS is under way.
    Connecting,
    /// Media and data can flow.
    Connected,
    /// The path is interrupted and may come back.
    Disconnected,
    /// The path or the protocol stack has failed; an ICE restart may mend the former.
    Failed,
    /// Over.
    Closed,
}

/// The state of ICE.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum IceConnectionState {
    /// Nothing has begun.
    New,
    /// Candidate pairs are being checked.
    Checking,
    /// A pair works.
    Connected,
    /// A pair works and no other is looked for.
    Completed,
    /// No pair works.
    Failed,
    /// The pair stopped working.
    Disconnected,
    /// Over.
    Closed,
    /// Never reported; the original has it.
    Max,
}

/// The state of looking for local candidates.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum IceGatheringState {
    /// Nothing has begun.
    New,
    /// Under way.
    Gathering,
    /// All candidates are known.
    Complete,
}

/// The state of the offer/answer exchange.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum SignalingState {
    /// No exchange is under way.
    Stable,
    /// A local offer waits for its answer.
    HaveLocalOffer,
    /// A remote offer was answered provisionally.
    HaveLocalPrAnswer,
    /// A remote offer waits for its answer.
    HaveRemoteOffer,
    /// A local offer was answered provisionally.
    HaveRemotePrAnswer,
    /// Over.
    Closed,
}

/// How an offer is to be made.
#[derive(Debug, Clone, Default)]
pub struct OfferOptions {
    /// Whether to look for a new path.
    pub ice_restart: bool,
    /// Obsolete; transceivers decide what is received.
    pub offer_to_receive_audio: bool,
    /// Obsolete; transceivers decide what is received.
    pub offer_to_receive_video: bool,
}

/// How an answer is to be made: nothing can be chosen.
#[derive(Debug, Clone, Default)]
pub struct AnswerOptions {}

/// Bounds for the bandwidth estimate. Audio alone is sent at its own bitrate, so nothing is estimated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BitrateSettings {
    /// The floor, in bits per second.
    pub min_bitrate_bps: Option<u64>,
    /// Where the estimate begins, in bits per second.
    pub start_bitrate_bps: Option<u64>,
    /// The ceiling, in bits per second.
    pub max_bitrate_bps: Option<u64>,
}

/// A local candidate that could not be had.
#[derive(Debug, Clone)]
pub struct IceCandidateError {
    /// The local address.
    pub address: String,
    /// The local port.
    pub port: i32,
    /// The ICE server that was asked, if any.
    pub url: String,
    /// A STUN error code, or 701 where nothing answered.
    pub error_code: i32,
    /// What happened.
    pub error_text: String,
}

/// A remote track that came with a remote description.
#[derive(Debug, Clone)]
pub struct TrackEvent {
    /// What receives it.
    pub receiver: RtpReceiver,
    /// The streams it is in.
    pub streams: Vec<MediaStream>,
    /// The track.
    pub track: MediaStreamTrack,
    /// The transceiver of its media section.
    pub transceiver: RtpTransceiver,
}

/// Called with each new connection state.
pub type OnConnectionChange = Box<dyn FnMut(PeerConnectionState) + Send + Sync>;
/// Called with each data channel that the remote side opens.
pub type OnDataChannel = Box<dyn FnMut(DataChannel) + Send + Sync>;
/// Called with each local candidate.
pub type OnIceCandidate = Box<dyn FnMut(IceCandidate) + Send + Sync>;
/// Called with each local candidate that could not be had.
pub type OnIceCandidateError = Box<dyn FnMut(IceCandidateError) + Send + Sync>;
/// Called with each new ICE state.
pub type OnIceConnectionChange = Box<dyn FnMut(IceConnectionState) + Send + Sync>;
/// Called with each new gathering state.
pub type OnIceGatheringChange = Box<dyn FnMut(IceGatheringState) + Send + Sync>;
/// Called when an exchange of descriptions is due; the number counts these calls.
pub type OnNegotiationNeeded = Box<dyn FnMut(u32) + Send + Sync>;
/// Called with each new signalling state.
pub type OnSignalingChange = Box<dyn FnMut(SignalingState) + Send + Sync>;
/// Called with each remote track.
pub type OnTrack = Box<dyn FnMut(TrackEvent) + Send + Sync>;

/// A connection to one remote peer. Dropping the last clone closes it.
///
/// Callbacks run on the I/O threads of this crate, in order, without any lock held; they must not
/// block, since other connections share these threads.
#[derive(Clone)]
pub struct PeerConnection {
    pub(crate) handle: Arc<pc::CloseOnDrop>,
}

impl PeerConnection {
    /// Replaces the configuration. STUN and TURN servers that are new in it are asked at once, if candidates are being gathered.
    ///
    /// # Errors
    /// The connection is closed, or only relayed candidates are allowed.
    pub fn set_configuration(&self, config: RtcConfiguration) -> Result<(), RtcError> {
        self.handle.pc.set_configuration(&config)
    }

    /// Checks the bounds; no bandwidth is estimated, so they change nothing.
    ///
    /// # Errors
    /// The bounds contradict each other, or the connection is closed.
    pub fn set_bitrate(&self, settings: BitrateSettings) -> Result<(), RtcError> {
        self.handle.pc.set_bitrate(settings)
    }

    /// Makes an offer; nothing changes until it is set as the local description.
    ///
    /// # Errors
    /// The connection is closed or its protocol stack has failed.
    pub async fn create_offer(
        &self,
        options: OfferOptions,
    ) -> Result<SessionDescription, RtcError> {
        self.handle.pc.create_offer(&options)
    }

    /// Makes an answer to the remote offer.
    ///
    /// # Errors
    /// There is no remote offer, or the connection is closed.
    pub async fn create_answer(
        &self,
        _options: AnswerOptions,
    ) -> Result<SessionDescription, RtcError> {
        self.handle.pc.create_answer()
    }

    /// Applies the last created description; its directions and format parameters may have been edited.
    ///
    /// # Errors
    /// It is not the last created one, or does not fit the signalling state.
    pub async fn set_local_description(&self, desc: SessionDescription) -> Result<(), RtcError> {
        self.handle.pc.set_local_description(desc)
    }

    /// Applies what the remote side sent.
    ///
    /// # Errors
    /// It can't be applied, or does not fit the signalling state.
    pub async fn set_remote_description(&self, desc: SessionDescription) -> Result<(), RtcError> {
        self.handle.pc.set_remote_description(desc)
    }

    /// Adds a candidate of the remote side.
    ///
    /// # Errors
    /// There is no remote description yet, or the connection is closed.
    pub async fn add_ice_candidate(&self, candidate: IceCandidate) -> Result<(), RtcError> {
        self.handle.pc.add_ice_candidate(&candidate)
    }

    /// Creates a data channel.
    ///
    /// # Errors
    /// The settings contradict each other, or the connection is closed.
    pub fn create_data_channel(
        &self,
        label: &str,
        init: DataChannelInit,
    ) -> Result<DataChannel, RtcError> {
        self.handle.pc.create_data_channel(label, &init)
    }

    /// Sends a track in both directions' transceiver.
    ///
    /// # Errors
    /// The track can't be sent, or the connection is closed.
    pub fn add_track<T: AsRef<str>>(
        &self,
        track: MediaStreamTrack,
        streams_ids: &[T],
    ) -> Result<RtpSender, RtcError> {
        let stream_ids = streams_ids
            .iter()
            .map(|id| id.as_ref().to_owned())
            .collect();
        self.handle.pc.add_track(track, stream_ids)
    }

    /// Stops sending a track; its transceiver stays.
    ///
    /// # Errors
    /// The connection is closed.
    pub fn remove_track(&self, sender: RtpSender) -> Result<(), RtcError> {
        sender.handle.remove_track()
    }

    /// Statistics of everything.
    ///
    /// # Errors
    /// The connection's protocol stack has failed.
    pub async fn get_stats(&self) -> Result<Vec<RtcStats>, RtcError> {
        self.handle.pc.get_stats()
    }

    /// Adds a transceiver that sends `track`.
    ///
    /// # Errors
    /// The track can't be sent (video), or the connection is closed.
    pub fn add_transceiver(
        &self,
        track: MediaStreamTrack,
        init: RtpTransceiverInit,
    ) -> Result<RtpTransceiver, RtcError> {
        self.handle.pc.add_transceiver(track, init)
    }

    /// Adds a transceiver without a track.
    ///
    /// # Errors
    /// `media_type` is neither audio nor video, or the connection is closed.
    pub fn add_transceiver_for_media(
        &self,
        media_type: MediaType,
        init: RtpTransceiverInit,
    ) -> Result<RtpTransceiver, RtcError> {
        self.handle.pc.add_transceiver_for_media(media_type, &init)
    }

    /// Ends the connection; its state is `Closed` when this returns.
    pub fn close(&self) {
        self.handle.pc.close();
    }

    /// Makes the next offer look for a new path.
    pub fn restart_ice(&self) {
        self.handle.pc.restart_ice();
    }

    /// The state of ICE and DTLS together.
    #[must_use]
    pub fn connection_state(&self) -> PeerConnectionState {
        self.handle.pc.connection_state()
    }

    /// The state of ICE.
    #[must_use]
    pub fn ice_connection_state(&self) -> IceConnectionState {
        self.handle.pc.ice_connection_state()
    }

    /// The state of looking for local candidates.
    #[must_use]
    pub fn ice_gathering_state(&self) -> IceGatheringState {
        self.handle.pc.ice_gathering_state()
    }

    /// The state of the offer/answer exchange.
    #[must_use]
    pub fn signaling_state(&self) -> SignalingState {
        self.handle.pc.signaling_state()
    }

    /// The local description of the last completed exchange.
    #[must_use]
    pub fn current_local_description(&self) -> Option<SessionDescription> {
        self.handle.pc.current_local_description()
    }

    /// The remote description of the last completed exchange.
    #[must_use]
    pub fn current_remote_description(&self) -> Option<SessionDescription> {
        self.handle.pc.current_remote_description()
    }

    /// All senders.
    #[must_use]
    pub fn senders(&self) -> Vec<RtpSender> {
        self.handle
            .pc
            .transceivers()
            .iter()
            .map(RtpTransceiver::sender)
            .collect()
    }

    /// All receivers.
    #[must_use]
    pub fn receivers(&self) -> Vec<RtpReceiver> {
        self.handle
            .pc
            .transceivers()
            .iter()
            .map(RtpTransceiver::receiver)
            .collect()
    }

    /// All transceivers.
    #[must_use]
    pub fn transceivers(&self) -> Vec<RtpTransceiver> {
        self.handle.pc.transceivers()
    }

    /// Sets what is called with each new connection state.
    pub fn on_connection_state_change(&self, f: Option<OnConnectionChange>) {
        self.handle.pc.callbacks.connection_change.set(f);
    }

    /// Sets what is called with each data channel that the remote side opens.
    pub fn on_data_channel(&self, f: Option<OnDataChannel>) {
        self.handle.pc.callbacks.data_channel.set(f);
    }

    /// Sets what is called with each local candidate.
    pub fn on_ice_candidate(&self, f: Option<OnIceCandidate>) {
        self.handle.pc.callbacks.ice_candidate.set(f);
    }

    /// Sets what is called with each local candidate that could not be had.
    pub fn on_ice_candidate_error(&self, f: Option<OnIceCandidateError>) {
        self.handle.pc.callbacks.ice_candidate_error.set(f);
    }

    /// Sets what is called with each new ICE state.
    pub fn on_ice_connection_state_change(&self, f: Option<OnIceConnectionChange>) {
        self.handle.pc.callbacks.ice_connection_change.set(f);
    }

    /// Sets what is called with each new gathering state.
    pub fn on_ice_gathering_state_change(&self, f: Option<OnIceGatheringChange>) {
        self.handle.pc.callbacks.ice_gathering_change.set(f);
    }

    /// Sets what is called when an exchange of descriptions is due.
    pub fn on_negotiation_needed(&self, f: Option<OnNegotiationNeeded>) {
        self.handle.pc.callbacks.negotiation_needed.set(f);
    }

    /// Sets what is called with each new signalling state.
    pub fn on_signaling_state_change(&self, f: Option<OnSignalingChange>) {
        self.handle.pc.callbacks.signaling_change.set(f);
    }

    /// Sets what is called with each remote track.
    pub fn on_track(&self, f: Option<OnTrack>) {
        self.handle.pc.callbacks.track.set(f);
    }
}

impl fmt::Debug for PeerConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerConnection")
            .field("state", &self.connection_state())
            .field("ice_state", &self.ice_connection_state())
            .finish()
    }
}
