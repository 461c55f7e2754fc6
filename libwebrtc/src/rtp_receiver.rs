//! Receivers: the half of a transceiver that receives a remote track.

use std::fmt;

use crate::RtcError;
use crate::media_stream::MediaStream;
use crate::media_stream_track::MediaStreamTrack;
use crate::pc::TransceiverHandle;
use crate::rtp_parameters::RtpParameters;
use crate::stats::RtcStats;

/// The half of a transceiver that receives a remote track.
#[derive(Clone)]
pub struct RtpReceiver {
    pub(crate) handle: TransceiverHandle,
}

impl RtpReceiver {
    /// The track it receives; it exists from the start and ends with the connection.
    #[must_use]
    pub fn track(&self) -> Option<MediaStreamTrack> {
        self.handle.receiver_track()
    }

    /// The ids of the streams that the current remote description puts the track in.
    #[must_use]
    pub fn stream_ids(&self) -> Vec<String> {
        self.handle.receiver_stream_ids()
    }

    /// The streams that the current remote description puts the track in.
    #[must_use]
    pub fn streams(&self) -> Vec<MediaStream> {
        self.handle.receiver_streams()
    }

    /// The statistics of what it receives.
    ///
    /// # Errors
    /// The connection's protocol stack has failed.
    pub async fn get_stats(&self) -> Result<Vec<RtcStats>, RtcError> {
        self.handle.receiver_stats()
    }

    /// What it receives and how.
    #[must_use]
    pub fn parameters(&self) -> RtpParameters {
        self.handle.receiver_parameters()
    }
}

impl fmt::Debug for RtpReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtpReceiver")
            .field("track", &self.track())
            .finish_non_exhaustive()
    }
}
