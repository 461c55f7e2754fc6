//! The way from a LiveKit track to the VAD, on the audio thread.

use std::sync::{Arc, Mutex, TryLockError};

use livekit::webrtc::audio::{AudioSink, SinkHandle};
use livekit::webrtc::audio_track::RtcAudioTrack;
use tokio::sync::mpsc;

use crate::speech::INPUT_RATE_HZ;
use crate::voice::endpoint::EndpointSettings;
use crate::voice::listen::{ListenEvent, Listener};
use crate::voice::vad::{VadEngine, VadInput};

/// Listens to one track at a time for as long as it is kept. The turn under way goes on when the track is another one.
pub struct Ear {
    /// Locked by the one sink that there is; while the track changes, both may want it for a moment.
    input: Arc<Mutex<VadInput>>,
    sink: SinkHandle,
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
        let input = Arc::new(Mutex::new(input));
        Self {
            sink: sink(track, &input),
            input,
        }
    }

    /// Listens to another track from now on.
    pub fn turn_to(&mut self, track: &RtcAudioTrack) {
        self.sink = sink(track, &self.input);
    }
}

fn sink(track: &RtcAudioTrack, input: &Arc<Mutex<VadInput>>) -> SinkHandle {
    track.add_sink(INPUT_RATE_HZ, 1, Box::new(ToVad(input.clone())))
}

struct ToVad(Arc<Mutex<VadInput>>);

impl AudioSink for ToVad {
    fn on_frame(&mut self, frame: &[i16]) {
        // The audio thread never waits: what the sink of the track before still has is not to be heard now.
        match self.0.try_lock() {
            Ok(mut input) => input.push(frame),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().push(frame),
            Err(TryLockError::WouldBlock) => {}
        }
    }
}
