//! A local or remote audio track: its identity, its switch, and the way to its sound.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    audio::{AudioSink, RemoteAudio, SinkHandle},
    audio_source::native::NativeAudioSource,
    media_stream_track::RtcTrackState,
};

/// One audio track. Clones are the same track.
#[derive(Clone)]
pub struct RtcAudioTrack {
    inner: Arc<Inner>,
}

struct Inner {
    id: String,
    enabled: Arc<AtomicBool>,
    end: End,
}

enum End {
    Local(NativeAudioSource),
    Remote(RemoteAudio),
}

impl RtcAudioTrack {
    /// A track that carries what `source` captures. `id` is the one in the session description.
    #[must_use]
    pub fn new_local(id: String, source: NativeAudioSource) -> Self {
        let enabled = Arc::new(AtomicBool::new(true));
        Self::build(id, enabled, End::Local(source))
    }

    /// A track that carries what the peer sends.
    #[must_use]
    pub fn new_remote(id: String) -> Self {
        let enabled = Arc::new(AtomicBool::new(true));
        let remote = RemoteAudio::new(Arc::clone(&enabled));
        Self::build(id, enabled, End::Remote(remote))
    }

    /// As [`new_remote`](Self::new_remote), around a receiver that exists already.
    #[cfg(test)]
    pub(crate) fn around(id: String, enabled: Arc<AtomicBool>, remote: RemoteAudio) -> Self {
        Self::build(id, enabled, End::Remote(remote))
    }

    fn build(id: String, enabled: Arc<AtomicBool>, end: End) -> Self {
        Self {
            inner: Arc::new(Inner { id, enabled, end }),
        }
    }

    /// The track's id, as in the session description.
    #[must_use]
    pub fn id(&self) -> String {
        self.inner.id.clone()
    }

    /// Whether the track's sound passes. A disabled track sends or plays silence.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.inner.enabled.load(Ordering::Relaxed)
    }

    /// Lets the sound pass or silences it; true when that was a change.
    #[allow(clippy::must_use_candidate)] // Most callers don't ask, as in the original API.
    pub fn set_enabled(&self, enabled: bool) -> bool {
        self.inner.enabled.swap(enabled, Ordering::Relaxed) != enabled
    }

    /// Live until the receiver of a remote track has stopped; a local track stays live.
    #[must_use]
    pub fn state(&self) -> RtcTrackState {
        match &self.inner.end {
            End::Remote(remote) if remote.has_ended() => RtcTrackState::Ended,
            End::Remote(_) | End::Local(_) => RtcTrackState::Live,
        }
    }

    /// The receiving side, when this is a remote track.
    #[must_use]
    pub fn remote(&self) -> Option<&RemoteAudio> {
        match &self.inner.end {
            End::Remote(remote) => Some(remote),
            End::Local(_) => None,
        }
    }

    /// The capturing side, when this is a local track.
    #[must_use]
    pub fn source(&self) -> Option<&NativeAudioSource> {
        match &self.inner.end {
            End::Local(source) => Some(source),
            End::Remote(_) => None,
        }
    }

    /// Calls `sink` every 10 ms on an audio thread with 10 ms of the track's sound, whether or not
    /// packets come, until the handle is dropped or the track ends.
    ///
    /// `sample_rate` is in Hz and `channels` is 1 or 2. At rates whose 10 ms are not a whole number
    /// of samples (22,050 Hz) the frames alternate in length, so that none are lost. A format that
    /// can't be served is reported to the log and ends the sink at once.
    #[must_use = "dropping the handle removes the sink"]
    pub fn add_sink(
        &self,
        sample_rate: u32,
        channels: u32,
        sink: Box<dyn AudioSink>,
    ) -> SinkHandle {
        match &self.inner.end {
            End::Remote(remote) => remote.add_sink(sample_rate, channels, sink),
            End::Local(source) => source.add_sink(sample_rate, channels, sink),
        }
    }

    pub(crate) fn switch(&self) -> &Arc<AtomicBool> {
        &self.inner.enabled
    }
}

impl fmt::Debug for RtcAudioTrack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtcAudioTrack")
            .field("id", &self.inner.id)
            .field("enabled", &self.enabled())
            .field("state", &self.state())
            .finish()
    }
}
