//! Video streams: they end at once.

/// The streams of native platforms.
pub mod native {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use futures_core::Stream;

    use crate::native::packet_trailer::PacketTrailerHandler;
    use crate::video_frame::BoxVideoFrame;
    use crate::video_track::RtcVideoTrack;

    /// How a stream is to queue frames.
    #[derive(Clone, Debug, Default)]
    pub struct NativeVideoStreamOptions {
        /// Frames that may wait.
        pub queue_size_frames: Option<usize>,
    }

    /// The frames of a track: none, since there is no video decoder.
    #[derive(Debug)]
    pub struct NativeVideoStream {
        track: RtcVideoTrack,
    }

    impl NativeVideoStream {
        /// A stream of the frames of `video_track`.
        #[must_use]
        pub fn new(video_track: RtcVideoTrack) -> Self {
            log::warn!(
                "track {} can't be seen: there is no video decoder",
                video_track.id()
            );
            Self { track: video_track }
        }

        /// As `new`: there is nothing to queue.
        #[must_use]
        pub fn with_options(
            video_track: RtcVideoTrack,
            _options: NativeVideoStreamOptions,
        ) -> Self {
            Self::new(video_track)
        }

        /// Has no effect.
        pub fn set_packet_trailer_handler(&self, _handler: PacketTrailerHandler) {}

        /// The track it was made of.
        #[must_use]
        pub fn track(&self) -> RtcVideoTrack {
            self.track.clone()
        }

        /// Has no effect: the stream is over already.
        pub fn close(&mut self) {}
    }

    impl Stream for NativeVideoStream {
        type Item = BoxVideoFrame;

        fn poll_next(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(None)
        }
    }
}
