//! Video frames: memory for pictures that nothing encodes or decodes.

use std::fmt;

use crate::video_source::VideoResolution;

/// How a picture is turned.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum VideoRotation {
    /// Not at all.
    VideoRotation0 = 0,
    /// By a quarter.
    VideoRotation90 = 90,
    /// By a half.
    VideoRotation180 = 180,
    /// By three quarters.
    VideoRotation270 = 270,
}

/// The order of bytes in a packed picture.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum VideoFormatType {
    ARGB,
    BGRA,
    ABGR,
    RGBA,
}

/// The layout of a picture in memory.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum VideoBufferType {
    Native,
    I420,
    I420A,
    I422,
    I444,
    I010,
    NV12,
}

/// What travels beside a frame.
#[derive(Debug, Clone)]
pub struct FrameMetadata {
    /// When it was captured, in microseconds since the Unix epoch.
    pub user_timestamp: Option<u64>,
    /// Which frame it is.
    pub frame_id: Option<u32>,
    /// Bytes of the application.
    pub user_data: Option<Vec<u8>>,
}

/// The codec of an encoded frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum EncodedVideoCodec {
    H264,
    H265,
    VP8,
    VP9,
    AV1,
}

/// Whether an encoded frame stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodedFrameType {
    /// It does.
    Key,
    /// It needs earlier ones.
    Delta,
}

/// A frame that is encoded already.
#[derive(Debug, Clone)]
pub struct EncodedVideoFrame<'a> {
    /// The codec.
    pub codec: EncodedVideoCodec,
    /// The encoded picture.
    pub payload: &'a [u8],
    /// When it was captured, in microseconds.
    pub timestamp_us: i64,
    /// Whether it stands alone.
    pub frame_type: EncodedFrameType,
    /// Its size.
    pub resolution: VideoResolution,
    /// What travels beside it.
    pub frame_metadata: Option<FrameMetadata>,
}

/// A picture with its time.
#[derive(Debug)]
pub struct VideoFrame<T>
where
    T: AsRef<dyn VideoBuffer>,
{
    /// How it is turned.
    pub rotation: VideoRotation,
    /// When it was captured, in microseconds.
    pub timestamp_us: i64,
    /// What travels beside it.
    pub frame_metadata: Option<FrameMetadata>,
    /// The picture.
    pub buffer: T,
}

impl<T: AsRef<dyn VideoBuffer>> VideoFrame<T> {
    /// A frame without time and metadata.
    pub fn new(rotation: VideoRotation, buffer: T) -> Self {
        Self {
            rotation,
            timestamp_us: 0,
            frame_metadata: None,
            buffer,
        }
    }
}

/// A picture of any layout.
pub type BoxVideoBuffer = Box<dyn VideoBuffer>;
/// A frame of any layout.
pub type BoxVideoFrame = VideoFrame<BoxVideoBuffer>;

/// A picture in memory.
pub trait VideoBuffer: Send + Sync + fmt::Debug {
    /// The width, in pixels.
    fn width(&self) -> u32;
    /// The height, in pixels.
    fn height(&self) -> u32;
    /// The layout.
    fn buffer_type(&self) -> VideoBufferType;

    /// The picture as I420.
    fn to_i420(&self) -> I420Buffer;

    /// The buffer itself, if it is one of the platform's.
    fn as_native(&self) -> Option<&native::NativeBuffer> {
        None
    }

    /// The buffer itself, if it is an I420 one.
    fn as_i420(&self) -> Option<&I420Buffer> {
        None
    }
}

/// A picture with a full plane of brightness and two quarter planes of colour.
#[derive(Clone)]
pub struct I420Buffer {
    width: u32,
    height: u32,
    strides: (u32, u32, u32),
    planes: [Vec<u8>; 3],
}

impl I420Buffer {
    /// A picture with these distances between rows, all zero.
    #[must_use]
    pub fn with_strides(
        width: u32,
        height: u32,
        stride_y: u32,
        stride_u: u32,
        stride_v: u32,
    ) -> Self {
        let plane = |stride: u32, rows: u32| vec![0; stride as usize * rows as usize];
        let chroma_rows = height.div_ceil(2);
        Self {
            width,
            height,
            strides: (stride_y, stride_u, stride_v),
            planes: [
                plane(stride_y, height),
                plane(stride_u, chroma_rows),
                plane(stride_v, chroma_rows),
            ],
        }
    }

    /// A picture without gaps between rows.
    #[must_use]
    pub fn new(width: u32, height: u32) -> Self {
        Self::with_strides(width, height, width, width.div_ceil(2), width.div_ceil(2))
    }

    /// As `new`, black.
    #[must_use]
    pub fn new_black(width: u32, height: u32) -> Self {
        let mut buffer = Self::new(width, height);
        buffer.planes[1].fill(128);
        buffer.planes[2].fill(128);
        buffer
    }

    /// The width of the colour planes.
    #[must_use]
    pub fn chroma_width(&self) -> u32 {
        self.width.div_ceil(2)
    }

    /// The height of the colour planes.
    #[must_use]
    pub fn chroma_height(&self) -> u32 {
        self.height.div_ceil(2)
    }

    /// The distances between rows, in bytes.
    #[must_use]
    pub fn strides(&self) -> (u32, u32, u32) {
        self.strides
    }

    /// The planes Y, U and V.
    #[must_use]
    pub fn data(&self) -> (&[u8], &[u8], &[u8]) {
        let [y, u, v] = &self.planes;
        (y, u, v)
    }

    /// The planes Y, U and V, to be written.
    #[must_use]
    pub fn data_mut(&mut self) -> (&mut [u8], &mut [u8], &mut [u8]) {
        let [y, u, v] = &mut self.planes;
        (y, u, v)
    }
}

impl VideoBuffer for I420Buffer {
    fn width(&self) -> u32 {
        self.width
    }

    fn height(&self) -> u32 {
        self.height
    }

    fn buffer_type(&self) -> VideoBufferType {
        VideoBufferType::I420
    }

    fn to_i420(&self) -> I420Buffer {
        self.clone()
    }

    fn as_i420(&self) -> Option<&I420Buffer> {
        Some(self)
    }
}

impl fmt::Debug for I420Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("I420Buffer")
            .field("width", &self.width)
            .field("height", &self.height)
            .finish()
    }
}

impl AsRef<dyn VideoBuffer> for I420Buffer {
    fn as_ref(&self) -> &(dyn VideoBuffer + 'static) {
        self
    }
}

macro_rules! absent_buffers {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub enum $name {}
    )*};
}

absent_buffers! {
    /// I420 with an alpha plane; there is none.
    I420ABuffer
    /// 4:2:2; there is none.
    I422Buffer
    /// 4:4:4; there is none.
    I444Buffer
    /// 10-bit I420; there is none.
    I010Buffer
    /// NV12; there is none.
    NV12Buffer
}

/// The buffers of native platforms.
pub mod native {
    /// A buffer of the platform; there is none.
    #[derive(Debug, Clone)]
    pub enum NativeBuffer {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_black_picture_has_no_brightness_and_no_colour() {
        let buffer = I420Buffer::new_black(5, 3);
        let (y, u, v) = buffer.data();
        assert_eq!((y.len(), u.len(), v.len()), (15, 6, 6));
        assert!(y.iter().all(|&byte| byte == 0) && u.iter().chain(v).all(|&byte| byte == 128));
    }
}
