//! Transceivers: a sender and a receiver that share one media section.

use std::fmt;

use crate::RtcError;
use crate::pc::TransceiverHandle;
use crate::rtp_parameters::{RtpCodecCapability, RtpEncodingParameters};
use crate::rtp_receiver::RtpReceiver;
use crate::rtp_sender::RtpSender;

/// How a transceiver is to begin.
#[derive(Debug, Clone)]
pub struct RtpTransceiverInit {
    /// The direction it asks for.
    pub direction: RtpTransceiverDirection,
    /// The streams its track is announced in.
    pub stream_ids: Vec<String>,
    /// The encodings of its sender.
    pub send_encodings: Vec<RtpEncodingParameters>,
}

/// In which directions media flows, seen from here.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum RtpTransceiverDirection {
    /// Both.
    SendRecv,
    /// From here.
    SendOnly,
    /// To here.
    RecvOnly,
    /// None.
    Inactive,
    /// None, for ever.
    Stopped,
}

impl RtpTransceiverDirection {
    pub(crate) fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    pub(crate) fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    pub(crate) fn of(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }
}

/// A sender and a receiver that share one media section.
#[derive(Clone)]
pub struct RtpTransceiver {
    pub(crate) handle: TransceiverHandle,
}

impl RtpTransceiver {
    /// The media section's id, once a description has named it.
    #[must_use]
    pub fn mid(&self) -> Option<String> {
        self.handle.mid()
    }

    /// The direction that was negotiated last.
    #[must_use]
    pub fn current_direction(&self) -> Option<RtpTransceiverDirection> {
        self.handle.current_direction()
    }

    /// The direction it asks for.
    #[must_use]
    pub fn direction(&self) -> RtpTransceiverDirection {
        self.handle.direction()
    }

    /// The sending half.
    #[must_use]
    pub fn sender(&self) -> RtpSender {
        RtpSender {
            handle: self.handle.clone(),
        }
    }

    /// The receiving half.
    #[must_use]
    pub fn receiver(&self) -> RtpReceiver {
        RtpReceiver {
            handle: self.handle.clone(),
        }
    }

    /// Offers these codecs only, in this order.
    ///
    /// # Errors
    /// A codec is unknown, or the connection is closed.
    pub fn set_codec_preferences(&self, codecs: Vec<RtpCodecCapability>) -> Result<(), RtcError> {
        self.handle.set_codec_preferences(&codecs)
    }

    /// Ends both halves for ever.
    ///
    /// # Errors
    /// The connection is closed.
    pub fn stop(&self) -> Result<(), RtcError> {
        self.handle.stop()
    }
}

impl fmt::Debug for RtpTransceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtpTransceiver")
            .field("mid", &self.mid())
            .field("direction", &self.direction())
            .finish_non_exhaustive()
    }
}
