//! Where the sound of a local track comes from.

/// The rate of WebRTC's audio path in Hz, and what a device source reports.
pub const DEFAULT_SAMPLE_RATE: u32 = 48_000;

/// Mono, as a device source reports.
pub const DEFAULT_NUM_CHANNELS: u32 = 1;

/// Wishes about sound processing. They are kept and returned; nothing here has a microphone, so
/// there is no echo to cancel and no gain to control.
#[derive(Clone, Copy, Default, Debug)]
pub struct AudioSourceOptions {
    /// Remove what the loudspeaker plays from the microphone.
    pub echo_cancellation: bool,
    /// Remove steady noise.
    pub noise_suppression: bool,
    /// Level the loudness.
    pub auto_gain_control: bool,
}

/// The kinds of source a local track can have.
#[non_exhaustive]
#[derive(Debug, Clone)]
pub enum RtcAudioSource {
    /// Sound that the program provides.
    Native(native::NativeAudioSource),
    /// The machine's microphone, which this implementation does not have.
    Device,
}

impl RtcAudioSource {
    /// Keeps the options of a native source; a device has none of its own here.
    pub fn set_audio_options(&self, options: AudioSourceOptions) {
        if let Self::Native(source) = self {
            source.set_audio_options(options);
        }
    }

    /// The options that were kept, or the defaults.
    #[must_use]
    pub fn audio_options(&self) -> AudioSourceOptions {
        match self {
            Self::Native(source) => source.audio_options(),
            Self::Device => AudioSourceOptions::default(),
        }
    }

    /// Samples per second and channel.
    #[must_use]
    pub fn sample_rate(&self) -> u32 {
        match self {
            Self::Native(source) => source.sample_rate(),
            Self::Device => DEFAULT_SAMPLE_RATE,
        }
    }

    /// Number of channels.
    #[must_use]
    pub fn num_channels(&self) -> u32 {
        match self {
            Self::Native(source) => source.num_channels(),
            Self::Device => DEFAULT_NUM_CHANNELS,
        }
    }
}

/// The source for native programs.
pub mod native {
    use std::{fmt, sync::Arc};

    use super::AudioSourceOptions;
    use crate::{
        RtcError,
        audio::{AudioPull, AudioSink, SinkHandle, capture::Capture},
        audio_frame::AudioFrame,
    };

    /// Sound that the program provides: pushed through [`capture_frame`](Self::capture_frame), or
    /// pulled from an [`AudioPull`] on the audio clock. Clones are the same source.
    #[derive(Clone)]
    pub struct NativeAudioSource {
        capture: Arc<Capture>,
    }

    impl NativeAudioSource {
        /// A source of `sample_rate` Hz (8,000–48,000) with 1 or 2 channels.
        ///
        /// With `queue_size_ms` above zero (a multiple of 10; other values are rounded up)
        /// captured sound queues up to that length, is drained at real-time speed whether or not
        /// anything listens, and `capture_frame` waits while more than that is queued. With zero
        /// there is no waiting: the caller paces itself with frames of exactly 10 ms.
        ///
        /// A format that can't be served is reported by `capture_frame` and by publishing.
        #[must_use]
        pub fn new(
            options: AudioSourceOptions,
            sample_rate: u32,
            num_channels: u32,
            queue_size_ms: u32,
        ) -> Self {
            Self {
                capture: Arc::new(Capture::new(
                    options,
                    sample_rate,
                    num_channels,
                    queue_size_ms,
                )),
            }
        }

        /// Throws away what is queued; whoever waits in `capture_frame` goes on within a tick.
        pub fn clear_buffer(&self) {
            self.capture.clear();
        }

        /// Queues `frame`, of any length when the source has a queue, and returns when no more
        /// than the queue's size is left to be sent. What was queued stays queued when the
        /// future is dropped.
        ///
        /// # Errors
        /// `InvalidState` when the frame's format is not the source's, its length doesn't fit, or
        /// a pull hook fills this source; `Internal` when the audio thread can't be started.
        pub async fn capture_frame(&self, frame: &AudioFrame<'_>) -> Result<(), RtcError> {
            self.capture.capture(frame).await
        }

        /// Has `pull` called on the audio thread every 10 ms while a sender or a sink takes this
        /// source's sound, in place of `capture_frame`. A later hook replaces an earlier one.
        pub fn set_pull(&self, pull: Box<dyn AudioPull>) {
            self.capture.set_pull(pull);
        }

        /// Keeps `options`.
        pub fn set_audio_options(&self, options: AudioSourceOptions) {
            self.capture.set_options(options);
        }

        /// The options that were kept.
        #[must_use]
        pub fn audio_options(&self) -> AudioSourceOptions {
            self.capture.options()
        }

        /// Samples per second and channel.
        #[must_use]
        pub fn sample_rate(&self) -> u32 {
            self.capture.sample_rate()
        }

        /// Number of channels.
        #[must_use]
        pub fn num_channels(&self) -> u32 {
            self.capture.num_channels()
        }

        pub(crate) fn add_sink(
            &self,
            sample_rate: u32,
            channels: u32,
            sink: Box<dyn AudioSink>,
        ) -> SinkHandle {
            self.capture.add_sink(sample_rate, channels, sink)
        }

        pub(crate) fn capture(&self) -> &Arc<Capture> {
            &self.capture
        }

        #[cfg(test)]
        pub(crate) fn around(capture: Arc<Capture>) -> Self {
            Self { capture }
        }
    }

    impl fmt::Debug for NativeAudioSource {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("NativeAudioSource")
                .field("sample_rate", &self.sample_rate())
                .field("num_channels", &self.num_channels())
                .finish_non_exhaustive()
        }
    }
}
