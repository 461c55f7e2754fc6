//! A piece of PCM sound as the public API hands it over.

use std::borrow::Cow;

/// Interleaved 16-bit PCM, borrowed from the caller or owned.
#[derive(Debug, Clone)]
pub struct AudioFrame<'a> {
    /// `samples_per_channel * num_channels` samples, the channels of one instant side by side.
    pub data: Cow<'a, [i16]>,
    /// Samples per second and channel.
    pub sample_rate: u32,
    /// 1 for mono, 2 for stereo.
    pub num_channels: u32,
    /// Length of the frame in samples of one channel.
    pub samples_per_channel: u32,
}

impl AudioFrame<'_> {
    /// An owned frame of silence.
    #[must_use]
    pub fn new(sample_rate: u32, num_channels: u32, samples_per_channel: u32) -> Self {
        let samples = num_channels as usize * samples_per_channel as usize;
        Self {
            data: Cow::Owned(vec![0; samples]),
            sample_rate,
            num_channels,
            samples_per_channel,
        }
    }
}
