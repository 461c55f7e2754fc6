//! Statistics, with the members of the W3C's webrtc-stats.
//!
//! Members that this implementation has no value for keep their default, zero or empty.

use serde::Deserialize;

use dictionaries as d;

pub mod dictionaries;

macro_rules! w3c_enum {
    ($(#[$doc:meta])* $name:ident $(default $default:ident)? : $($variant:ident)*) => {
        $(#[$doc])*
        #[derive(Debug, Copy, Clone, PartialEq, Eq, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[allow(missing_docs)]
        pub enum $name {
            $($variant,)*
        }
        $(impl Default for $name {
            fn default() -> Self {
                Self::$default
            }
        })?
    };
}

w3c_enum!(
    /// Why a video encoder gives less than it could.
    QualityLimitationReason default None: None Cpu Bandwidth Other
);
w3c_enum!(
    /// Which side decides on the candidate pair.
    IceRole default Unknown: Unknown Controlling Controlled
);
w3c_enum!(
    /// The state of DTLS.
    DtlsTransportState: New Connecting Connected Closed Failed
);
w3c_enum!(
    /// The state of ICE.
    IceTransportState: New Checking Connected Completed Disconnected Failed Closed
);
w3c_enum!(
    /// Which side began the DTLS handshake.
    DtlsRole default Unknown: Client Server Unknown
);
w3c_enum!(
    /// The state of a candidate pair.
    IceCandidatePairState: Frozen Waiting InProgress Failed Succeeded
);
w3c_enum!(
    /// How a candidate was found.
    IceCandidateType: Host Srflx Prflx Relay
);
w3c_enum!(
    /// How an ICE server is spoken to.
    IceServerTransportProtocol: Udp Tcp Tls
);
w3c_enum!(
    /// Which side of a TCP candidate connects.
    IceTcpCandidateType: Active Passive So
);

/// One entry of the statistics.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum RtcStats {
    /// A negotiated codec.
    Codec(CodecStats),
    /// A received stream.
    InboundRtp(InboundRtpStats),
    /// A sent stream.
    OutboundRtp(OutboundRtpStats),
    /// What the remote side reports about a sent stream.
    RemoteInboundRtp(RemoteInboundRtpStats),
    /// What the remote side reports about a received stream.
    RemoteOutboundRtp(RemoteOutboundRtpStats),
    /// A local track.
    MediaSource(MediaSourceStats),
    /// The playout of received audio.
    MediaPlayout(MediaPlayoutStats),
    /// The connection.
    PeerConnection(PeerConnectionStats),
    /// A data channel.
    DataChannel(DataChannelStats),
    /// The ICE and DTLS transport.
    Transport(TransportStats),
    /// A pair of candidates.
    CandidatePair(CandidatePairStats),
    /// A local candidate.
    LocalCandidate(LocalCandidateStats),
    /// A remote candidate.
    RemoteCandidate(RemoteCandidateStats),
    /// A certificate.
    Certificate(CertificateStats),
    /// A media stream.
    Stream(StreamStats),
    /// Obsolete.
    Track,
}

macro_rules! entries {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $kind:ident,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Default, Clone, Deserialize)]
        #[allow(missing_docs)]
        pub struct $name {
            #[serde(flatten)]
            pub rtc: d::RtcStats,
            $(#[serde(flatten)]
            pub $field: d::$kind,)*
        }
    )*};
}

entries! {
    /// A negotiated codec.
    CodecStats { codec: CodecStats, }
    /// A received stream.
    InboundRtpStats {
        stream: RtpStreamStats,
        received: ReceivedRtpStreamStats,
        inbound: InboundRtpStreamStats,
    }
    /// A sent stream.
    OutboundRtpStats {
        stream: RtpStreamStats,
        sent: SentRtpStreamStats,
        outbound: OutboundRtpStreamStats,
    }
    /// What the remote side reports about a sent stream.
    RemoteInboundRtpStats {
        stream: RtpStreamStats,
        received: ReceivedRtpStreamStats,
        remote_inbound: RemoteInboundRtpStreamStats,
    }
    /// What the remote side reports about a received stream.
    RemoteOutboundRtpStats {
        stream: RtpStreamStats,
        sent: SentRtpStreamStats,
        remote_outbound: RemoteOutboundRtpStreamStats,
    }
    /// A local track.
    MediaSourceStats {
        source: MediaSourceStats,
        audio: AudioSourceStats,
        video: VideoSourceStats,
    }
    /// The playout of received audio.
    MediaPlayoutStats { audio_playout: AudioPlayoutStats, }
    /// The connection.
    PeerConnectionStats { pc: PeerConnectionStats, }
    /// A data channel.
    DataChannelStats { dc: DataChannelStats, }
    /// The ICE and DTLS transport.
    TransportStats { transport: TransportStats, }
    /// A pair of candidates.
    CandidatePairStats { candidate_pair: CandidatePairStats, }
    /// A local candidate.
    LocalCandidateStats { local_candidate: IceCandidateStats, }
    /// A remote candidate.
    RemoteCandidateStats { remote_candidate: IceCandidateStats, }
    /// A certificate.
    CertificateStats { certificate: CertificateStats, }
    /// A media stream.
    StreamStats { stream: StreamStats, }
}

/// Obsolete.
#[derive(Debug, Default, Clone, Deserialize)]
pub struct TrackStats {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_by_its_w3c_names() {
        let json = r#"{"type":"candidate-pair","id":"CP1","timestamp":7,"state":"in-progress",
            "currentRoundTripTime":0.25,"localCandidateId":"L"}"#;
        let RtcStats::CandidatePair(pair) = serde_json::from_str(json).unwrap() else {
            unreachable!("a candidate pair was given");
        };
        assert_eq!((pair.rtc.id.as_str(), pair.rtc.timestamp), ("CP1", 7));
        assert_eq!(
            pair.candidate_pair.state,
            Some(IceCandidatePairState::InProgress)
        );
        assert!((pair.candidate_pair.current_round_trip_time - 0.25).abs() < f64::EPSILON);
    }
}
