//! Video sources: they refuse every frame.

use crate::enum_dispatch;

/// The size of a picture, in pixels.
#[derive(Debug, Clone)]
pub struct VideoResolution {
    /// The width.
    pub width: u32,
    /// The height.
    pub height: u32,
}

impl Default for VideoResolution {
    fn default() -> Self {
        Self {
            width: 1280,
            height: 720,
        }
    }
}

/// What a rate control asks an encoder for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EncodedRateControl {
    /// In bits per second.
    pub target_bitrate_bps: u64,
    /// In frames per second.
    pub framerate_fps: f64,
}

/// Where the pictures of a local track would come from.
#[non_exhaustive]
#[derive(Debug, Clone)]
pub enum RtcVideoSource {
    /// From the application.
    Native(native::NativeVideoSource),
}

impl RtcVideoSource {
    enum_dispatch!(
        [Native];
        pub fn video_resolution(self: &Self) -> VideoResolution;
    );
}

/// The sources of native platforms.
pub mod native {
    use super::{EncodedRateControl, VideoResolution};
    use crate::native::packet_trailer::PacketTrailerHandler;
    use crate::video_frame::{EncodedVideoFrame, VideoBuffer, VideoFrame};

    /// A source that the application would feed.
    #[derive(Debug, Clone, Default)]
    pub struct NativeVideoSource {
        resolution: VideoResolution,
    }

    impl NativeVideoSource {
        /// A source of pictures of this size.
        #[must_use]
        pub fn new(resolution: VideoResolution, _is_screencast: bool) -> Self {
            Self { resolution }
        }

        /// A source of encoded pictures of this size.
        #[must_use]
        pub fn new_encoded(resolution: VideoResolution) -> Self {
            Self { resolution }
        }

        /// Refuses the frame: there is no video encoder.
        #[must_use]
        pub fn capture_frame<T: AsRef<dyn VideoBuffer>>(&self, _frame: &VideoFrame<T>) -> bool {
            false
        }

        /// Refuses the frame: video can't be sent.
        #[must_use]
        pub fn capture_encoded_frame(&self, _frame: &EncodedVideoFrame<'_>) -> bool {
            false
        }

        /// There never is a request.
        #[must_use]
        pub fn take_keyframe_request(&self) -> bool {
            false
        }

        /// There never is a request.
        #[must_use]
        pub fn take_rate_control_request(&self) -> Option<EncodedRateControl> {
            None
        }

        /// Has no effect.
        pub fn set_packet_trailer_handler(&self, _handler: PacketTrailerHandler) {}

        /// The size that the source was made for.
        #[must_use]
        pub fn video_resolution(&self) -> VideoResolution {
            self.resolution.clone()
        }
    }
}
