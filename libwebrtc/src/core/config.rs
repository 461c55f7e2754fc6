//! How the protocol stack is set up: timers, codecs, header extensions, interceptors.

use std::time::{Duration, Instant};

use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::{Registry, Slot};
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::interceptor_registry::configure_rtcp_reports;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::configuration::setting_engine::{SettingEngine, SettingEngineBuilder};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use rtc::shared::error::Error as StackError;

use super::crypto;
use super::nack::{Resent, Retransmission};
use super::reports::{ReportObserver, Reports};
use crate::MediaType;
use crate::rtp_parameters::{RtpCapabilities, RtpCodecCapability, RtpHeaderExtensionCapability};
use crate::rtp_transceiver::RtpTransceiverDirection;

/// Without any answer for this long the path counts as interrupted. Longer than two keepalives.
const ICE_DISCONNECTED_AFTER: Duration = Duration::from_secs(5);
/// An interrupted path counts as failed after this long more; `livekit` resumes on `Failed`.
const ICE_FAILED_AFTER: Duration = Duration::from_secs(15);
/// Consent freshness (RFC 7675) asks for a check every 5 s on average; 2 s notices a dead path sooner.
const ICE_KEEPALIVE_EVERY: Duration = Duration::from_secs(2);
/// The pace of connectivity checks (Ta of RFC 8445 is 50 ms; browsers begin with 48 ms). The
/// stack's 200 ms would be most of the time it takes to connect.
const ICE_CHECK_EVERY: Duration = Duration::from_millis(50);
/// Checks of one pair before it is given up: 10 s at the above pace, since the remote side may
/// learn our credentials late.
const ICE_CHECKS_MAX: u16 = 200;
/// The lead of paths without a relay over one with, in answers that take a long way.
const RELAY_ACCEPTANCE_WAIT: Duration = Duration::from_millis(500);
/// Replay windows, in packets. libsrtp uses 1024 in libwebrtc for RTP; RTCP and DTLS are sparse.
const SRTP_REPLAY_WINDOW: usize = 1024;
const SRTCP_REPLAY_WINDOW: usize = 128;
const DTLS_REPLAY_WINDOW: usize = 64;

/// The RTP payload type that libwebrtc gives Opus; peers expect it, nothing depends on it.
const OPUS_PAYLOAD_TYPE: u8 = 111;
pub(super) const OPUS_MIME: &str = "audio/opus";
const OPUS_FMTP: &str = "minptime=10;useinbandfec=1";
/// Client-to-mixer audio level (RFC 6464): LiveKit's speaker detection lives on it.
pub(super) const AUDIO_LEVEL_URI: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const MID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";

pub(super) fn build(
    now: Instant,
    reports: &Reports,
    resent: &Resent,
) -> Result<RTCPeerConnection, StackError> {
    let retransmission = Retransmission::new(resent.clone(), reports.clone());
    let registry = configure_rtcp_reports(Registry::new())
        // Nearer to the wire than the reports, which are to know nothing of it.
        .with(Slot::NackResponder, retransmission)
        // Between the report generators and the wire, to see the reports of both sides.
        .with(Slot::Custom(9_500), ReportObserver::new(reports.clone()));
    RTCPeerConnectionBuilder::new()
        .with_configuration(RTCConfigurationBuilder::new().build())
        .with_setting_engine(settings()?)
        .with_media_engine(media_engine()?)
        .with_interceptor_registry(registry)
        .build(now)
}

fn settings() -> Result<SettingEngine, StackError> {
    let provider = crypto::provider().map_err(|error| StackError::Crypto(error.to_string()))?;
    let builder = SettingEngineBuilder::new()
        .with_crypto_provider(provider)
        .with_ice_timeouts(
            Some(ICE_DISCONNECTED_AFTER),
            Some(ICE_FAILED_AFTER),
            Some(ICE_KEEPALIVE_EVERY),
        )
        .with_ice_connection_attempts(Some(ICE_CHECK_EVERY), Some(ICE_CHECKS_MAX))
        // The first pair that works is taken, since an SFU sees ours as peer-reflexive at first;
        // but a relay gives way to whatever works without one.
        .with_host_acceptance_min_wait(Some(Duration::ZERO))
        .with_srflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_prflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_relay_acceptance_min_wait(Some(RELAY_ACCEPTANCE_WAIT))
        // After a restart the candidates that still exist are handed in again (`pc/gathering`); one whose address is gone
        // would be checked for nothing.
        .with_discard_local_candidates_during_ice_restart(true)
        // Names under .local would make the stack multicast on sockets that we do not have.
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_srtp_replay_protection_window(SRTP_REPLAY_WINDOW)
        .with_srtcp_replay_protection_window(SRTCP_REPLAY_WINDOW)
        .with_dtls_replay_protection_window(DTLS_REPLAY_WINDOW);
    Ok(builder.build())
}

/// Opus for sound. Video codecs are there because an SFU expects the media sections of a client
/// to be usable; what it sends on them is dropped.
fn media_engine() -> Result<MediaEngine, StackError> {
    let mut engine = MediaEngine::default();
    engine.register_codec(opus(), RtpCodecKind::Audio)?;
    for codec in video_codecs() {
        engine.register_codec(codec, RtpCodecKind::Video)?;
    }
    for (uri, kind) in [
        (MID_URI, RtpCodecKind::Audio),
        (MID_URI, RtpCodecKind::Video),
        (AUDIO_LEVEL_URI, RtpCodecKind::Audio),
    ] {
        let extension = RTCRtpHeaderExtensionCapability {
            uri: uri.to_owned(),
        };
        engine.register_header_extension(extension, kind, None)?;
    }
    Ok(engine)
}

pub(super) fn opus() -> RTCRtpCodecParameters {
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: OPUS_MIME.to_owned(),
            clock_rate: 48_000,
            channels: 2,
            sdp_fmtp_line: OPUS_FMTP.to_owned(),
            rtcp_feedback: vec![feedback("nack", "")],
        },
        payload_type: OPUS_PAYLOAD_TYPE,
    }
}

fn feedback(typ: &str, parameter: &str) -> RTCPFeedback {
    RTCPFeedback {
        typ: typ.to_owned(),
        parameter: parameter.to_owned(),
    }
}

fn video_codecs() -> [RTCRtpCodecParameters; 4] {
    let h264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
    [
        ("VP8", "", 96),
        ("VP9", "profile-id=0", 98),
        ("H264", h264, 125),
        ("AV1", "", 45),
    ]
    .map(|(name, fmtp, payload_type)| RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: format!("video/{name}"),
            clock_rate: 90_000,
            channels: 0,
            sdp_fmtp_line: fmtp.to_owned(),
            rtcp_feedback: vec![feedback("ccm", "fir"), feedback("nack", "pli")],
        },
        payload_type,
    })
}

/// What can be negotiated for one kind of media.
pub(crate) fn capabilities(media_type: MediaType) -> RtpCapabilities {
    let codecs = match media_type {
        MediaType::Audio => vec![opus()],
        MediaType::Video => video_codecs().to_vec(),
        MediaType::Data | MediaType::Unsupported => Vec::new(),
    };
    let uris: &[&str] = match media_type {
        MediaType::Audio => &[MID_URI, AUDIO_LEVEL_URI],
        MediaType::Video => &[MID_URI],
        MediaType::Data | MediaType::Unsupported => &[],
    };
    RtpCapabilities {
        codecs: codecs
            .into_iter()
            .map(
                |RTCRtpCodecParameters {
                     rtp_codec: codec, ..
                 }| RtpCodecCapability {
                    channels: (codec.channels > 0).then_some(codec.channels),
                    clock_rate: Some(codec.clock_rate.into()),
                    mime_type: codec.mime_type,
                    sdp_fmtp_line: (!codec.sdp_fmtp_line.is_empty()).then_some(codec.sdp_fmtp_line),
                },
            )
            .collect(),
        header_extensions: uris
            .iter()
            .map(|&uri| RtpHeaderExtensionCapability {
                uri: uri.to_owned(),
                direction: RtpTransceiverDirection::SendRecv,
            })
            .collect(),
    }
}
