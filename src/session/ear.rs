//! The way from a LiveKit track to the VAD, on the audio thread.

use livekit::webrtc::audio::{AudioSink, SinkHandle};
use livekit::webrtc::audio_track::RtcAudioTrack;
use tokio::sync::mpsc;

use crate::speech::INPUT_RATE_HZ;
use crate::voice::endpoint::EndpointSettings;
use crate::voice::listen::{ListenEvent, Listener};
use crate::voice::vad::{VadEngine, VadInput};

/// Listens to one track for as long as it is kept.
pub struct Ear {
    _sink: SinkHandle,
}

impl Ear {
    /// Listens to `track` and tells `events` what is heard.
    pub fn open(
        track: &RtcAudioTrack,
        vad: &VadEngine,
        settings: EndpointSettings,
        events: mpsc::Sender<ListenEvent>,
    ) -> Self {
        let input = vad.open(Box::new(Listener::new(settings, events)));
        Self {
            _sink: track.add_sink(INPUT_RATE_HZ, 1, Box::new(ToVad(input))),
        }
    }
}

struct ToVad(VadInput);

impl AudioSink for ToVad {
    fn on_frame(&mut self, frame: &[i16]) {
        self.0.push(frame);
    }
}
