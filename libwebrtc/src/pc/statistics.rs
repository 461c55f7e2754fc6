//! Statistics of a connection and of its senders and receivers.

use std::collections::HashMap;
use std::time::Instant;

use super::transceiver::TransceiverHandle;
use super::{Pc, State};
use crate::RtcError;
use crate::audio::RemoteAudioStats;
use crate::media_stream_track::MediaStreamTrack;
use crate::stats::RtcStats;

impl Pc {
    pub fn get_stats(&self) -> Result<Vec<RtcStats>, RtcError> {
        let mut state = self.state.lock();
        if state.is_closed() {
            return Ok(Vec::new());
        }
        let audio = state.audio_stats();
        Ok(state.core.stats(Instant::now(), &audio)?)
    }
}

impl State {
    fn audio_stats(&self) -> HashMap<u32, RemoteAudioStats> {
        let mut stats = HashMap::new();
        for transceiver in &self.transceivers {
            if let (MediaStreamTrack::Audio(track), Some(remote)) =
                (&transceiver.receiving.track, &transceiver.receiving.remote)
                && let Some(audio) = track.remote()
            {
                stats.extend(remote.ssrcs.iter().map(|&ssrc| (ssrc, audio.stats())));
            }
        }
        stats
    }
}

impl TransceiverHandle {
    pub fn sender_stats(&self) -> Result<Vec<RtcStats>, RtcError> {
        let ssrc = self.read(|t| t.sending.ssrc);
        Ok(about(self.pc.get_stats()?, &[ssrc]))
    }

    pub fn receiver_stats(&self) -> Result<Vec<RtcStats>, RtcError> {
        let ssrcs = self
            .read(|t| t.receiving.remote.clone())
            .map_or_else(Vec::new, |r| r.ssrcs);
        Ok(about(self.pc.get_stats()?, &ssrcs))
    }
}

/// What is about these sources, and what they run over.
fn about(stats: Vec<RtcStats>, ssrcs: &[u32]) -> Vec<RtcStats> {
    let mut stats = stats;
    stats.retain(|entry| match entry {
        RtcStats::InboundRtp(s) => ssrcs.contains(&s.stream.ssrc),
        RtcStats::OutboundRtp(s) => ssrcs.contains(&s.stream.ssrc),
        RtcStats::RemoteInboundRtp(s) => ssrcs.contains(&s.stream.ssrc),
        RtcStats::RemoteOutboundRtp(s) => ssrcs.contains(&s.stream.ssrc),
        RtcStats::DataChannel(_) | RtcStats::PeerConnection(_) => false,
        _ => true,
    });
    stats
}
