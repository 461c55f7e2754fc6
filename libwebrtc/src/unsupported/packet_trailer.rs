//! Frame metadata in packet trailers: a feature of video, without effect here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::peer_connection_factory::PeerConnectionFactory;
use crate::rtp_receiver::RtpReceiver;
use crate::rtp_sender::RtpSender;

/// A stage of publishing a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishTimingStage {
    /// The frame went to the encoder.
    EncoderUpload,
    /// The frame is encoded.
    EncoderOutput,
    /// The frame went to the packetizer.
    WebrtcPacketize,
}

/// A stage of receiving a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscribeTimingStage {
    /// The frame is complete.
    WebrtcReceive,
    /// The frame went to the decoder.
    DecoderUpload,
    /// The frame is decoded.
    DecoderOutput,
}

/// A frame reached a stage of publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishTimingEvent {
    /// The stage.
    pub stage: PublishTimingStage,
    /// When, in microseconds since the Unix epoch.
    pub timestamp_us: u64,
    /// When the frame was captured, in microseconds since the Unix epoch.
    pub capture_timestamp_us: u64,
    /// Which frame it is.
    pub frame_id: Option<u32>,
}

/// A frame reached a stage of receiving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscribeTimingEvent {
    /// The stage.
    pub stage: SubscribeTimingStage,
    /// When, in microseconds since the Unix epoch.
    pub timestamp_us: u64,
    /// When the frame was captured, in microseconds since the Unix epoch.
    pub capture_timestamp_us: u64,
    /// Which frame it is.
    pub frame_id: Option<u32>,
}

/// Would be called with publishing events.
pub type PublishTimingObserver = Arc<dyn Fn(PublishTimingEvent) + Send + Sync + 'static>;
/// Would be called with receiving events.
pub type SubscribeTimingObserver = Arc<dyn Fn(SubscribeTimingEvent) + Send + Sync + 'static>;

/// Would put metadata into frames, or take it out.
#[derive(Debug, Clone, Default)]
pub struct PacketTrailerHandler {
    enabled: Arc<AtomicBool>,
}

impl PacketTrailerHandler {
    /// Remembers the switch.
    pub fn set_enabled(&self, enabled: bool) {
        self.enabled.store(enabled, Ordering::Relaxed);
    }

    /// The remembered switch.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }

    /// There never is any metadata.
    #[must_use]
    pub fn lookup_frame_metadata(&self, _rtp_timestamp: u32) -> Option<(u64, u32, Vec<u8>)> {
        None
    }

    /// Has no effect: there is no frame to store it for.
    pub fn store_frame_metadata(
        &self,
        _capture_timestamp_us: i64,
        _user_timestamp: u64,
        _frame_id: u32,
        _user_data: &[u8],
    ) {
    }

    /// Has no effect: there are no events.
    pub fn set_publish_timing_observer(&self, _observer: Option<PublishTimingObserver>) {}

    /// Has no effect: there are no events.
    pub fn set_subscribe_timing_observer(&self, _observer: Option<SubscribeTimingObserver>) {}
}

/// A handler for a sender.
#[must_use]
pub fn create_sender_handler(
    _peer_factory: &PeerConnectionFactory,
    _sender: &RtpSender,
) -> PacketTrailerHandler {
    PacketTrailerHandler::default()
}

/// A handler for a receiver.
#[must_use]
pub fn create_receiver_handler(
    _peer_factory: &PeerConnectionFactory,
    _receiver: &RtpReceiver,
) -> PacketTrailerHandler {
    PacketTrailerHandler::default()
}
