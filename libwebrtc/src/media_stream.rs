//! Media streams: the grouping of remote tracks that `a=msid` announces.

use std::fmt;

use crate::audio_track::RtcAudioTrack;
use crate::media_stream_track::MediaStreamTrack;
use crate::video_track::RtcVideoTrack;

/// A group of tracks of one sender; a snapshot taken when it was asked for.
#[derive(Clone)]
pub struct MediaStream {
    id: String,
    tracks: Vec<MediaStreamTrack>,
}

impl MediaStream {
    pub(crate) fn new(id: String, tracks: Vec<MediaStreamTrack>) -> Self {
        Self { id, tracks }
    }

    /// The stream's id, the first part of `a=msid`.
    #[must_use]
    pub fn id(&self) -> String {
        self.id.clone()
    }

    /// The audio tracks in it.
    #[must_use]
    pub fn audio_tracks(&self) -> Vec<RtcAudioTrack> {
        self.tracks
            .iter()
            .filter_map(|track| match track {
                MediaStreamTrack::Audio(track) => Some(track.clone()),
                MediaStreamTrack::Video(_) => None,
            })
            .collect()
    }

    /// The video tracks in it.
    #[must_use]
    pub fn video_tracks(&self) -> Vec<RtcVideoTrack> {
        self.tracks
            .iter()
            .filter_map(|track| match track {
                MediaStreamTrack::Video(track) => Some(track.clone()),
                MediaStreamTrack::Audio(_) => None,
            })
            .collect()
    }
}

impl fmt::Debug for MediaStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MediaStream")
            .field("id", &self.id)
            .field("tracks", &self.tracks)
            .finish()
    }
}
