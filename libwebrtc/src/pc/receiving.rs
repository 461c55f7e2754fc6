//! Remote tracks: announced by descriptions, fed by RTP.

use std::collections::HashMap;
use std::sync::Arc;

use super::event::Event;
use super::transceiver::{RemoteTrack, remote_track};
use super::{Pc, State};
use crate::MediaType;
use crate::audio::{RemoteAudio, RtpAudio};
use crate::core::ReceivedRtp;
use crate::media_stream_track::MediaStreamTrack;
use crate::native::create_random_uuid;
use crate::peer_connection::TrackEvent;
use crate::rtp_transceiver::RtpTransceiverDirection;
use crate::sdp::Section;
use crate::session_description::SdpType;

/// Which decoder the packets of a source go to.
#[derive(Default)]
pub(super) struct Routes {
    by_ssrc: HashMap<u32, RemoteAudio>,
    /// The decoder of the only receiving audio section, if that announces no source.
    any: Option<RemoteAudio>,
}

impl Routes {
    /// The decoder for a packet and the packet as it takes it.
    pub fn route(&self, packet: ReceivedRtp) -> Option<(RemoteAudio, RtpAudio)> {
        let audio = self.by_ssrc.get(&packet.ssrc).or(self.any.as_ref())?;
        let packet = RtpAudio {
            ssrc: packet.ssrc,
            seq: packet.sequence_number,
            timestamp: packet.timestamp,
            marker: packet.marker,
            payload: packet.payload,
            arrival: packet.arrival,
            resent: packet.resent,
        };
        Some((audio.clone(), packet))
    }
}

impl State {
    /// Applies what a remote media section says about both halves of its transceiver.
    ///
    /// A remote track begins here, at the description, and not with its first packet: `livekit`
    /// subscribes by it, and a muted track may send nothing for hours.
    pub(super) fn apply_remote_section(
        &mut self,
        pc: &Arc<Pc>,
        section: &Section,
        sdp_type: SdpType,
    ) {
        if !matches!(section.media_type, MediaType::Audio | MediaType::Video) {
            return;
        }
        let Some(index) = self.transceiver_by_mid(&section.mid) else {
            return;
        };
        let transceiver = &mut self.transceivers[index];
        if transceiver.media_type == MediaType::Unsupported {
            transceiver.media_type = section.media_type;
        }
        if section.opus.is_some() {
            transceiver.opus = section.opus;
        }
        let receives = section.direction.sends() && transceiver.direction.receives();
        if sdp_type == SdpType::Answer {
            let sends = section.direction.receives() && transceiver.direction.sends();
            transceiver.current_direction = Some(RtpTransceiverDirection::of(sends, receives));
        }

        let announced = receives.then(|| RemoteTrack {
            stream_ids: section.stream_ids.clone(),
            track_id: section.track_id.clone(),
            ssrcs: section.ssrcs.clone(),
        });
        let same_track = match (&transceiver.receiving.remote, &announced) {
            (Some(old), Some(new)) => {
                old.track_id == new.track_id && old.stream_ids == new.stream_ids
            }
            (old, new) => old.is_none() && new.is_none(),
        };
        if same_track {
            transceiver.receiving.remote = announced;
            return;
        }
        transceiver.receiving.end();
        let Some(announced) = announced else { return };
        let id = announced
            .track_id
            .clone()
            .unwrap_or_else(create_random_uuid);
        transceiver.receiving.track = remote_track(transceiver.media_type, id);
        transceiver.receiving.remote = Some(announced);

        let (streams, track) = (transceiver.streams(), transceiver.receiving.track.clone());
        let transceiver = pc.transceiver(index);
        self.events.push_back(Event::Track(Box::new(TrackEvent {
            receiver: transceiver.receiver(),
            streams,
            track,
            transceiver,
        })));
    }

    /// Maps sources to decoders anew.
    pub(super) fn rebuild_routes(&mut self) {
        let mut routes = Routes::default();
        let mut receiving = 0;
        for transceiver in &self.transceivers {
            let MediaStreamTrack::Audio(track) = &transceiver.receiving.track else {
                continue;
            };
            let Some(remote) = &transceiver.receiving.remote else {
                continue;
            };
            let Some(audio) = track.remote() else {
                continue;
            };
            receiving += 1;
            for &ssrc in &remote.ssrcs {
                routes.by_ssrc.insert(ssrc, audio.clone());
            }
            if remote.ssrcs.is_empty() {
                routes.any = Some(audio.clone());
            }
        }
        if receiving > 1 {
            routes.any = None;
        }
        self.routes = routes;
    }
}
