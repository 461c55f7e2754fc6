//! Parameters of RTP senders, receivers and encodings.

use crate::rtp_transceiver::RtpTransceiverDirection;

/// How important an encoding or a data channel is beside others.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum Priority {
    /// Below everything else.
    VeryLow,
    /// The default.
    Low,
    /// Above the default.
    Medium,
    /// Above everything else.
    High,
}

/// What a video encoder gives up first when the network is narrow.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Default)]
pub enum DegradationPreference {
    /// Nothing: frames are dropped instead.
    MaintainFramerateAndResolution,
    /// The resolution.
    MaintainFramerate,
    /// The frame rate.
    MaintainResolution,
    /// Some of both.
    #[default]
    Balanced,
}

impl DegradationPreference {
    /// The former name of [`Self::MaintainFramerateAndResolution`].
    #[deprecated(since = "0.8.0", note = "Use MaintainFramerateAndResolution instead")]
    #[allow(non_upper_case_globals)]
    pub const Disabled: Self = Self::MaintainFramerateAndResolution;
}

/// A negotiated RTP header extension.
#[derive(Debug, Clone)]
pub struct RtpHeaderExtensionParameters {
    /// Which extension it is.
    pub uri: String,
    /// Its id on the wire.
    pub id: i32,
    /// Whether it is encrypted (RFC 6904).
    pub encrypted: bool,
}

/// What a sender sends, or a receiver receives.
#[derive(Debug, Clone, Default)]
pub struct RtpParameters {
    /// The negotiated codecs, the preferred first.
    pub codecs: Vec<RtpCodecParameters>,
    /// The negotiated header extensions.
    pub header_extensions: Vec<RtpHeaderExtensionParameters>,
    /// The encodings; audio has one.
    pub encodings: Vec<RtpEncodingParameters>,
    /// RTCP parameters.
    pub rtcp: RtcpParameters,
    pub(crate) degradation_preference: Option<DegradationPreference>,
}

impl RtpParameters {
    /// Says what a video encoder is to give up first.
    pub fn set_degradation_preference(&mut self, preference: DegradationPreference) {
        self.degradation_preference = Some(preference);
    }

    /// What was last said by [`Self::set_degradation_preference`].
    #[must_use]
    pub fn degradation_preference(&self) -> Option<DegradationPreference> {
        self.degradation_preference
    }
}

/// A negotiated codec.
#[derive(Debug, Clone, Default)]
pub struct RtpCodecParameters {
    /// The RTP payload type.
    pub payload_type: u8,
    /// For example `audio/opus`.
    pub mime_type: String,
    /// In hertz.
    pub clock_rate: Option<u64>,
    /// Number of channels, for audio.
    pub channels: Option<u16>,
}

/// RTCP parameters.
#[derive(Debug, Clone, Default)]
pub struct RtcpParameters {
    /// The canonical name of the source.
    pub cname: String,
    /// Whether reduced-size RTCP is on.
    pub reduced_size: bool,
}

/// One encoding of a sender's track.
#[derive(Debug, Clone)]
pub struct RtpEncodingParameters {
    /// Whether it is sent.
    pub active: bool,
    /// The upper bound, in bits per second.
    pub max_bitrate: Option<u64>,
    /// The upper bound, in frames per second.
    pub max_framerate: Option<f64>,
    /// Its importance beside other encodings.
    pub priority: Priority,
    /// The RTP stream id, for simulcast.
    pub rid: String,
    /// The factor by which the picture is made smaller.
    pub scale_resolution_down_by: Option<f64>,
    /// The scalability mode, such as `L3T3_KEY`.
    pub scalability_mode: Option<String>,
    /// Whether `ssrc` says anything.
    pub has_ssrc: bool,
    /// The synchronisation source.
    pub ssrc: u32,
}

impl Default for RtpEncodingParameters {
    fn default() -> Self {
        Self {
            active: true,
            max_bitrate: None,
            max_framerate: None,
            priority: Priority::Low,
            rid: String::new(),
            scale_resolution_down_by: None,
            scalability_mode: None,
            has_ssrc: false,
            ssrc: 0,
        }
    }
}

/// A codec that could be negotiated.
#[derive(Debug, Clone)]
pub struct RtpCodecCapability {
    /// Number of channels, for audio.
    pub channels: Option<u16>,
    /// In hertz.
    pub clock_rate: Option<u64>,
    /// For example `audio/opus`.
    pub mime_type: String,
    /// The format parameters, as in `a=fmtp`.
    pub sdp_fmtp_line: Option<String>,
}

/// A header extension that could be negotiated.
#[derive(Debug, Clone)]
pub struct RtpHeaderExtensionCapability {
    /// Which extension it is.
    pub uri: String,
    /// In which direction it would be used.
    pub direction: RtpTransceiverDirection,
}

/// What could be negotiated for one kind of media.
#[derive(Debug, Clone)]
pub struct RtpCapabilities {
    /// The codecs.
    pub codecs: Vec<RtpCodecCapability>,
    /// The header extensions.
    pub header_extensions: Vec<RtpHeaderExtensionCapability>,
}
