//! Senders: the half of a transceiver that sends a local track.

use std::fmt;

use crate::RtcError;
use crate::media_stream_track::MediaStreamTrack;
use crate::pc::TransceiverHandle;
use crate::rtp_parameters::RtpParameters;
use crate::stats::RtcStats;

/// Which video encoder is preferred; there is none in this implementation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum VideoEncoderBackend {
    /// Whatever there is.
    #[default]
    Auto,
    /// A software encoder.
    Software,
    /// Any hardware encoder.
    Hardware,
    /// NVIDIA NVENC.
    Nvenc,
    /// VA-API.
    Vaapi,
    /// Apple VideoToolbox.
    VideoToolbox,
    /// Frames that are encoded already.
    PreEncoded,
}

impl VideoEncoderBackend {
    /// The backends that exist in this process: none, since video can't be encoded here.
    pub fn list_available() -> impl IntoIterator<Item = VideoEncoderBackend> {
        []
    }
}

/// The half of a transceiver that sends a local track.
#[derive(Clone)]
pub struct RtpSender {
    pub(crate) handle: TransceiverHandle,
}

impl RtpSender {
    /// The track it sends.
    #[must_use]
    pub fn track(&self) -> Option<MediaStreamTrack> {
        self.handle.sender_track()
    }

    /// The statistics of what it sends and of what the remote side says about that.
    ///
    /// # Errors
    /// The connection's protocol stack has failed.
    pub async fn get_stats(&self) -> Result<Vec<RtcStats>, RtcError> {
        self.handle.sender_stats()
    }

    /// Sends another track, or nothing, without renegotiation.
    ///
    /// # Errors
    /// The track is of another kind, or the connection is closed.
    pub fn set_track(&self, track: Option<MediaStreamTrack>) -> Result<(), RtcError> {
        self.handle.set_sender_track(track)
    }

    /// What it sends and how.
    #[must_use]
    pub fn parameters(&self) -> RtpParameters {
        self.handle.sender_parameters()
    }

    /// Changes the encodings.
    ///
    /// # Errors
    /// The number of encodings differs, or the connection is closed.
    pub fn set_parameters(&self, parameters: RtpParameters) -> Result<(), RtcError> {
        self.handle.set_sender_parameters(parameters)
    }

    /// Has no effect: there is no video encoder to choose.
    pub fn set_video_encoder_backend(&self, _backend: VideoEncoderBackend) {}
}

impl fmt::Debug for RtpSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtpSender")
            .field("track", &self.track())
            .finish_non_exhaustive()
    }
}
