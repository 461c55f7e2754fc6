//! Video tracks: identities without pictures.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::media_stream_track::RtcTrackState;
use crate::native::packet_trailer::PacketTrailerHandler;
use crate::video_source::native::NativeVideoSource;

/// A video track. A local one can't be sent; a remote one never delivers a frame.
#[derive(Clone)]
pub struct RtcVideoTrack {
    inner: Arc<Inner>,
}

struct Inner {
    id: String,
    enabled: AtomicBool,
    ended: AtomicBool,
    packet_trailer: Mutex<Option<PacketTrailerHandler>>,
}

impl RtcVideoTrack {
    pub(crate) fn new_local(id: String, _source: NativeVideoSource) -> Self {
        Self::new_remote(id)
    }

    pub(crate) fn new_remote(id: String) -> Self {
        Self {
            inner: Arc::new(Inner {
                id,
                enabled: AtomicBool::new(true),
                ended: AtomicBool::new(false),
                packet_trailer: Mutex::new(None),
            }),
        }
    }

    pub(crate) fn end(&self) {
        self.inner.ended.store(true, Ordering::Relaxed);
    }

    /// The track's id, the second part of `a=msid`.
    #[must_use]
    pub fn id(&self) -> String {
        self.inner.id.clone()
    }

    /// Whether pictures may pass.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.inner.enabled.load(Ordering::Relaxed)
    }

    /// Says whether pictures may pass, and returns whether that changed something.
    #[allow(clippy::must_use_candidate)]
    pub fn set_enabled(&self, enabled: bool) -> bool {
        self.inner.enabled.swap(enabled, Ordering::Relaxed) != enabled
    }

    /// Whether the track's sender still announces it.
    #[must_use]
    pub fn state(&self) -> RtcTrackState {
        if self.inner.ended.load(Ordering::Relaxed) {
            RtcTrackState::Ended
        } else {
            RtcTrackState::Live
        }
    }

    /// Remembers a handler; it is never called.
    pub fn set_packet_trailer_handler(&self, handler: PacketTrailerHandler) {
        *self.inner.packet_trailer.lock() = Some(handler);
    }

    /// The remembered handler.
    #[must_use]
    pub fn packet_trailer_handler(&self) -> Option<PacketTrailerHandler> {
        self.inner.packet_trailer.lock().clone()
    }
}

impl fmt::Debug for RtcVideoTrack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtcVideoTrack")
            .field("id", &self.inner.id)
            .field("enabled", &self.enabled())
            .field("state", &self.state())
            .finish()
    }
}
