//! The room as a session sees it, so that a session can be tested without one.

use std::future::Future;

use livekit::webrtc::audio_track::RtcAudioTrack;
use tokio::sync::mpsc;

use super::ear::Ear;
use crate::room::{JoinedRoom, RoomNews};
use crate::voice::endpoint::EndpointSettings;
use crate::voice::listen::ListenEvent;
use crate::voice::vad::VadEngine;

/// Where an interview takes place.
pub(super) trait Venue {
    /// A voice in it.
    type Voice;

    /// The next thing that concerns the interview. Cancel-safe.
    fn news(&mut self) -> impl Future<Output = RoomNews<Self::Voice>> + Send;

    /// Listens to this voice alone from now on and tells `events` what is heard. A turn that was being heard goes on.
    fn listen(&mut self, voice: &Self::Voice, events: mpsc::Sender<ListenEvent>);

    /// Listens to nobody; a turn that was being heard is told to be closed.
    fn stop_listening(&mut self);
}

/// A LiveKit room that was joined.
pub(super) struct LiveKitVenue {
    pub(super) room: JoinedRoom,
    pub(super) vad: VadEngine,
    pub(super) endpointing: EndpointSettings,
    pub(super) ear: Option<Ear>,
}

impl Venue for LiveKitVenue {
    type Voice = RtcAudioTrack;

    fn news(&mut self) -> impl Future<Output = RoomNews<RtcAudioTrack>> + Send {
        self.room.news()
    }

    fn listen(&mut self, voice: &RtcAudioTrack, events: mpsc::Sender<ListenEvent>) {
        match &mut self.ear {
            // After a reconnection the same voice is another track: the turn that it was in goes on.
            Some(ear) => ear.turn_to(voice),
            None => self.ear = Some(Ear::open(voice, &self.vad, self.endpointing, events)),
        }
    }

    fn stop_listening(&mut self) {
        self.ear = None;
    }
}

#[cfg(test)]
mod tests;
