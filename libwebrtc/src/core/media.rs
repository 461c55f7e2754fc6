//! Transceivers and RTP of the stack.

use std::time::Instant;

use bytes::Bytes;
use rtc::media_stream::MediaStreamTrack;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use rtc::rtp_transceiver::{RTCRtpSenderId, RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use rtc::shared::error::Error as StackError;

use super::config::{AUDIO_LEVEL_URI, OPUS_MIME, capabilities, opus};
use super::{Core, CoreError};
use crate::MediaType;
use crate::rtp_parameters::RtpCodecCapability;
use crate::rtp_transceiver::RtpTransceiverDirection;

/// The state of one of the stack's transceivers.
#[derive(Debug, Clone)]
pub(crate) struct TransceiverInfo {
    pub mid: Option<String>,
    pub direction: RtpTransceiverDirection,
}

/// An RTP packet to be sent.
#[derive(Debug)]
pub(crate) struct OutgoingRtp {
    pub ssrc: u32,
    pub sequence_number: u16,
    pub timestamp: u32,
    pub marker: bool,
    /// The level byte of RFC 6464: voice flag and −dBov.
    pub audio_level: u8,
    pub payload: Bytes,
}

impl Core {
    /// Adds a transceiver that sends an Opus track, and returns its index.
    ///
    /// It begins in both directions, since the stack gives a transceiver that doesn't receive at
    /// its creation no receiver, ever.
    pub fn add_audio_sender(
        &mut self,
        stream_id: &str,
        track_id: &str,
        ssrc: u32,
    ) -> Result<usize, CoreError> {
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters {
                ssrc: Some(ssrc),
                ..Default::default()
            },
            active: true,
            codec: opus().rtp_codec,
            ..Default::default()
        };
        let track = MediaStreamTrack::new(
            stream_id.to_owned(),
            track_id.to_owned(),
            track_id.to_owned(),
            RtpCodecKind::Audio,
            vec![encoding.clone()],
        );
        let init = RTCRtpTransceiverInit {
            direction: RTCRtpTransceiverDirection::Sendrecv,
            streams: vec![stream_id.to_owned()],
            send_encodings: vec![encoding],
        };
        self.call(|stack| stack.add_transceiver_from_track(track, Some(init)))
    }

    /// Adds a transceiver that only receives, and returns its index.
    pub fn add_receiver(&mut self, media_type: MediaType) -> Result<usize, CoreError> {
        let kind = match media_type {
            MediaType::Audio => RtpCodecKind::Audio,
            MediaType::Video => RtpCodecKind::Video,
            MediaType::Data | MediaType::Unsupported => {
                return Err(CoreError::Unsupported(
                    "a transceiver carries audio or video",
                ));
            }
        };
        self.call(|stack| stack.add_transceiver_from_kind(kind, None))
    }

    pub fn transceiver_count(&mut self) -> Result<usize, CoreError> {
        self.call_quietly(|stack| Ok(stack.get_transceivers().count()))
    }

    pub fn transceiver(&mut self, index: usize) -> Result<TransceiverInfo, CoreError> {
        self.call_quietly(|stack| {
            let transceiver = stack
                .rtp_transceiver(index)
                .ok_or(StackError::ErrRTPSenderNotExisted)?;
            Ok(TransceiverInfo {
                mid: transceiver.mid().clone(),
                direction: transceiver.direction().into(),
            })
        })
    }

    pub fn set_direction(
        &mut self,
        index: usize,
        direction: RtpTransceiverDirection,
    ) -> Result<(), CoreError> {
        self.call(|stack| {
            let mut transceiver = stack
                .rtp_transceiver(index)
                .ok_or(StackError::ErrRTPSenderNotExisted)?;
            if direction == RtpTransceiverDirection::Stopped {
                transceiver.stop()
            } else {
                transceiver.set_direction(direction.into());
                Ok(())
            }
        })
    }

    /// Restricts a transceiver to some of the codecs, in this order.
    pub fn set_codec_preferences(
        &mut self,
        index: usize,
        media_type: MediaType,
        wanted: &[RtpCodecCapability],
    ) -> Result<(), CoreError> {
        let known = capabilities(media_type).codecs;
        let all_known = wanted.iter().all(|codec| {
            known
                .iter()
                .any(|k| k.mime_type.eq_ignore_ascii_case(&codec.mime_type))
        });
        if !all_known {
            return Err(CoreError::Unsupported(
                "a preferred codec is not among the capabilities of this factory",
            ));
        }
        // Sound has one codec, so there is nothing to choose; pictures are never sent.
        let codecs: Vec<RTCRtpCodecParameters> = match media_type {
            MediaType::Audio if !wanted.is_empty() => vec![opus()],
            _ => return Ok(()),
        };
        self.call(|stack| match stack.rtp_transceiver(index) {
            Some(mut transceiver) => transceiver.set_codec_preferences(codecs),
            None => Err(StackError::ErrRTPSenderNotExisted),
        })
    }

    /// Takes the sender out of a transceiver.
    pub fn remove_sender(&mut self, index: usize) -> Result<(), CoreError> {
        self.call(|stack| stack.remove_track(RTCRtpSenderId::from(index)))
    }

    /// Sends one Opus packet, with its level where that extension was negotiated.
    pub fn write_rtp(
        &mut self,
        now: Instant,
        index: usize,
        packet: OutgoingRtp,
    ) -> Result<(), CoreError> {
        self.call_quietly(|stack| {
            let mut sender = stack
                .rtp_sender(RTCRtpSenderId::from(index))
                .ok_or(StackError::ErrRTPSenderNotExisted)?;
            let parameters = &sender.get_parameters().rtp_parameters;
            let payload_type = parameters
                .codecs
                .iter()
                .find(|codec| codec.rtp_codec.mime_type.eq_ignore_ascii_case(OPUS_MIME))
                .map(|codec| codec.payload_type)
                .ok_or(StackError::ErrRTPTransceiverCodecUnsupported)?;
            let level_id = parameters
                .header_extensions
                .iter()
                .find(|extension| extension.uri == AUDIO_LEVEL_URI)
                .and_then(|extension| u8::try_from(extension.id).ok());
            let mut header = rtc::rtp::Header {
                version: 2,
                marker: packet.marker,
                payload_type,
                sequence_number: packet.sequence_number,
                timestamp: packet.timestamp,
                ssrc: packet.ssrc,
                ..Default::default()
            };
            if let Some(id) = level_id {
                header.set_extension(id, Bytes::copy_from_slice(&[packet.audio_level]))?;
            }
            sender.write_rtp(
                now,
                rtc::rtp::Packet {
                    header,
                    payload: packet.payload,
                },
            )
        })
    }
}

impl From<RTCRtpTransceiverDirection> for RtpTransceiverDirection {
    fn from(direction: RTCRtpTransceiverDirection) -> Self {
        Self::of(direction.has_send(), direction.has_recv())
    }
}

impl From<RtpTransceiverDirection> for RTCRtpTransceiverDirection {
    fn from(direction: RtpTransceiverDirection) -> Self {
        Self::from_send_recv(direction.sends(), direction.receives())
    }
}
