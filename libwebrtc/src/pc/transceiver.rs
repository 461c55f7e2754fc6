//! Transceivers behind the API.

use std::sync::Arc;

use super::sending::Sending;
use super::{Pc, State};
use crate::audio_track::RtcAudioTrack;
use crate::core::capabilities;
use crate::e2ee::FrameCipher;
use crate::media_stream::MediaStream;
use crate::media_stream_track::MediaStreamTrack;
use crate::native::create_random_uuid;
use crate::rtp_parameters::{
    RtcpParameters, RtpCodecCapability, RtpCodecParameters, RtpParameters,
};
use crate::rtp_sender::RtpSender;
use crate::rtp_transceiver::{RtpTransceiver, RtpTransceiverDirection, RtpTransceiverInit};
use crate::sdp::OpusFormat;
use crate::video_track::RtcVideoTrack;
use crate::{MediaType, RtcError};

/// One transceiver; its index is the same here and in the protocol core.
pub(super) struct Transceiver {
    pub media_type: MediaType,
    pub mid: Option<String>,
    pub direction: RtpTransceiverDirection,
    pub current_direction: Option<RtpTransceiverDirection>,
    pub sending: Sending,
    pub receiving: Receiving,
    /// What the remote side wants to receive as Opus.
    pub opus: Option<OpusFormat>,
}

/// The receiving half.
pub(super) struct Receiving {
    /// The track of the present sender. A new sender gets a new track, so that who reads the
    /// former sees its end.
    pub track: MediaStreamTrack,
    /// What the remote description says of the sender, if there is one.
    pub remote: Option<RemoteTrack>,
}

/// A remote track as its description announces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemoteTrack {
    pub stream_ids: Vec<String>,
    pub track_id: Option<String>,
    pub ssrcs: Vec<u32>,
}

impl Transceiver {
    pub fn new(media_type: MediaType, direction: RtpTransceiverDirection) -> Self {
        Self {
            media_type,
            mid: None,
            direction,
            current_direction: None,
            sending: Sending::default(),
            receiving: Receiving {
                track: remote_track(media_type, create_random_uuid()),
                remote: None,
            },
            opus: None,
        }
    }

    /// Ends both halves.
    pub fn end(&mut self) {
        self.sending.end();
        self.receiving.end();
        self.current_direction = Some(RtpTransceiverDirection::Stopped);
    }

    pub fn streams(&self) -> Vec<MediaStream> {
        let track = &self.receiving.track;
        self.stream_ids()
            .into_iter()
            .map(|id| MediaStream::new(id, vec![track.clone()]))
            .collect()
    }

    fn stream_ids(&self) -> Vec<String> {
        self.receiving
            .remote
            .as_ref()
            .map(|r| r.stream_ids.clone())
            .unwrap_or_default()
    }
}

impl Receiving {
    pub fn end(&mut self) {
        self.remote = None;
        match &self.track {
            MediaStreamTrack::Audio(track) => {
                if let Some(remote) = track.remote() {
                    remote.end();
                }
            }
            MediaStreamTrack::Video(track) => track.end(),
        }
    }
}

/// A track that is to receive media of this kind.
pub(super) fn remote_track(media_type: MediaType, id: String) -> MediaStreamTrack {
    match media_type {
        MediaType::Video => RtcVideoTrack::new_remote(id).into(),
        MediaType::Audio | MediaType::Data | MediaType::Unsupported => {
            RtcAudioTrack::new_remote(id).into()
        }
    }
}

impl State {
    pub(super) fn transceiver_by_mid(&self, mid: &str) -> Option<usize> {
        self.transceivers
            .iter()
            .position(|t| t.mid.as_deref() == Some(mid))
    }

    /// Takes over from the core the mids that a description gave, and the directions.
    pub(super) fn adopt_mids(&mut self) -> Result<(), RtcError> {
        let count = self.core.transceiver_count()?;
        while self.transceivers.len() < count {
            // The core made it for a section of the remote offer; `apply_remote_section` knows its kind.
            let direction = RtpTransceiverDirection::RecvOnly;
            self.transceivers
                .push(Transceiver::new(MediaType::Unsupported, direction));
        }
        for index in 0..count {
            let info = self.core.transceiver(index)?;
            let transceiver = &mut self.transceivers[index];
            transceiver.mid = info.mid;
            transceiver.direction = info.direction;
        }
        Ok(())
    }
}

impl Pc {
    /// All transceivers; none once the connection is closed.
    pub fn transceivers(self: &Arc<Self>) -> Vec<RtpTransceiver> {
        let state = self.state.lock();
        let count = if state.is_closed() {
            0
        } else {
            state.transceivers.len()
        };
        drop(state);
        (0..count).map(|index| self.transceiver(index)).collect()
    }

    pub(super) fn transceiver(self: &Arc<Self>, index: usize) -> RtpTransceiver {
        RtpTransceiver {
            handle: TransceiverHandle {
                pc: Arc::clone(self),
                index,
            },
        }
    }

    pub fn add_track(
        self: &Arc<Self>,
        track: MediaStreamTrack,
        stream_ids: Vec<String>,
    ) -> Result<RtpSender, RtcError> {
        let init = RtpTransceiverInit {
            direction: RtpTransceiverDirection::SendRecv,
            stream_ids,
            send_encodings: Vec::new(),
        };
        Ok(self.add_transceiver(track, init)?.sender())
    }

    pub fn add_transceiver(
        self: &Arc<Self>,
        track: MediaStreamTrack,
        init: RtpTransceiverInit,
    ) -> Result<RtpTransceiver, RtcError> {
        let MediaStreamTrack::Audio(track) = track else {
            return Err(RtcError::internal(
                "video can't be sent: this implementation has no video encoder; publish audio or data",
            ));
        };
        let sending = Sending::new(track, init.stream_ids, init.send_encodings);
        self.add(MediaType::Audio, init.direction, sending)
    }

    pub fn add_transceiver_for_media(
        self: &Arc<Self>,
        media_type: MediaType,
        init: &RtpTransceiverInit,
    ) -> Result<RtpTransceiver, RtcError> {
        if init.direction.sends() {
            return Err(RtcError::internal(
                "a transceiver that sends needs a track: use add_transceiver",
            ));
        }
        self.add(media_type, init.direction, Sending::default())
    }

    fn add(
        self: &Arc<Self>,
        media_type: MediaType,
        direction: RtpTransceiverDirection,
        sending: Sending,
    ) -> Result<RtpTransceiver, RtcError> {
        let index = self.change(|state| {
            state.ensure_open()?;
            let index = match sending.track() {
                Some(track) => {
                    state
                        .core
                        .add_audio_sender(sending.stream_id(), &track.id(), sending.ssrc)?
                }
                None => state.core.add_receiver(media_type)?,
            };
            state.core.set_direction(index, direction)?;
            let mut transceiver = Transceiver::new(media_type, direction);
            transceiver.sending = sending;
            debug_assert_eq!(index, state.transceivers.len());
            state.transceivers.push(transceiver);
            Ok::<_, RtcError>(index)
        })?;
        Ok(self.transceiver(index))
    }
}

/// A transceiver of a connection, for the API's transceivers, senders and receivers.
#[derive(Clone)]
pub(crate) struct TransceiverHandle {
    pub(super) pc: Arc<Pc>,
    pub(super) index: usize,
}

impl TransceiverHandle {
    pub(super) fn read<R>(&self, read: impl FnOnce(&Transceiver) -> R) -> R {
        read(&self.pc.state.lock().transceivers[self.index])
    }

    pub fn mid(&self) -> Option<String> {
        self.read(|t| t.mid.clone())
    }

    pub fn current_direction(&self) -> Option<RtpTransceiverDirection> {
        self.read(|t| t.current_direction)
    }

    pub fn direction(&self) -> RtpTransceiverDirection {
        self.read(|t| t.direction)
    }

    pub fn receiver_track(&self) -> Option<MediaStreamTrack> {
        self.read(|t| Some(t.receiving.track.clone()))
    }

    /// Hears nothing from now on of the present track that this cipher has not let pass.
    pub fn open_with(&self, cipher: Arc<FrameCipher>) {
        let track = self.read(|t| t.receiving.track.clone());
        // A video track has no frames that could be heard or seen.
        if let MediaStreamTrack::Audio(track) = &track
            && let Some(remote) = track.remote()
        {
            remote.open_with(move |payload| cipher.open(payload));
        }
    }

    pub fn receiver_stream_ids(&self) -> Vec<String> {
        self.read(Transceiver::stream_ids)
    }

    pub fn receiver_streams(&self) -> Vec<MediaStream> {
        self.read(Transceiver::streams)
    }

    pub fn receiver_parameters(&self) -> RtpParameters {
        self.read(|t| RtpParameters {
            codecs: codecs(t.media_type),
            ..Default::default()
        })
    }

    pub fn sender_parameters(&self) -> RtpParameters {
        self.read(|t| RtpParameters {
            codecs: codecs(t.media_type),
            encodings: t.sending.encodings.clone(),
            rtcp: RtcpParameters {
                cname: t.sending.stream_id().to_owned(),
                reduced_size: true,
            },
            ..Default::default()
        })
    }

    pub fn set_codec_preferences(&self, codecs: &[RtpCodecCapability]) -> Result<(), RtcError> {
        self.pc.change(|state| {
            state.ensure_open()?;
            let media_type = state.transceivers[self.index].media_type;
            Ok(state
                .core
                .set_codec_preferences(self.index, media_type, codecs)?)
        })
    }

    pub fn stop(&self) -> Result<(), RtcError> {
        self.pc.change(|state| {
            state.ensure_open()?;
            state
                .core
                .set_direction(self.index, RtpTransceiverDirection::Stopped)?;
            let transceiver = &mut state.transceivers[self.index];
            transceiver.direction = RtpTransceiverDirection::Stopped;
            transceiver.end();
            state.rebuild_routes();
            Ok(())
        })
    }
}

fn codecs(media_type: MediaType) -> Vec<RtpCodecParameters> {
    capabilities(media_type)
        .codecs
        .into_iter()
        .map(|codec| RtpCodecParameters {
            payload_type: 0,
            mime_type: codec.mime_type,
            clock_rate: codec.clock_rate,
            channels: codec.channels,
        })
        .collect()
}
