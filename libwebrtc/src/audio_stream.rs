//! A track's sound as an asynchronous stream of frames.

/// The stream for native programs.
pub mod native {
    use std::{
        collections::VecDeque,
        fmt,
        pin::Pin,
        sync::Arc,
        task::{Context, Poll, Waker},
    };

    use futures_core::Stream;
    use parking_lot::Mutex;

    use crate::{
        audio::{AudioSink, SinkHandle},
        audio_frame::AudioFrame,
        audio_track::RtcAudioTrack,
    };

    /// 100 ms: enough for a scheduler's hiccup, little enough not to be heard as a delay.
    const DEFAULT_QUEUE_SIZE_FRAMES: usize = 10;

    /// How a stream buffers between the audio clock and its reader.
    #[derive(Clone, Debug, Default)]
    pub struct NativeAudioStreamOptions {
        /// Frames of 10 ms that may wait for the reader; the oldest is dropped when one more comes.
        /// `None` means 10, `Some(0)` means no bound, which leaves latency and memory to the reader.
        pub queue_size_frames: Option<usize>,
    }

    /// Frames of 10 ms from a track, at the rate and with the channels asked for.
    pub struct NativeAudioStream {
        track: RtcAudioTrack,
        queue: Arc<Queue>,
        sink: Option<SinkHandle>,
    }

    impl NativeAudioStream {
        /// Listens to `audio_track` with the default queue.
        #[must_use]
        pub fn new(audio_track: RtcAudioTrack, sample_rate: i32, num_channels: i32) -> Self {
            Self::with_options(
                audio_track,
                sample_rate,
                num_channels,
                NativeAudioStreamOptions::default(),
            )
        }

        /// Listens to `audio_track` with a queue of one's own size.
        #[must_use]
        #[allow(clippy::needless_pass_by_value)] // The original API takes the options by value.
        pub fn with_options(
            audio_track: RtcAudioTrack,
            sample_rate: i32,
            num_channels: i32,
            options: NativeAudioStreamOptions,
        ) -> Self {
            // A negative number becomes zero, which add_sink refuses with an explanation.
            let sample_rate = u32::try_from(sample_rate).unwrap_or(0);
            let num_channels = u32::try_from(num_channels).unwrap_or(0);
            let frames_max = match options.queue_size_frames {
                None => Some(DEFAULT_QUEUE_SIZE_FRAMES),
                Some(0) => None,
                bound => bound,
            };
            let queue = Arc::new(Queue::new(frames_max));
            let feeder = Feeder {
                queue: Arc::clone(&queue),
                sample_rate,
                num_channels,
            };
            let sink = audio_track.add_sink(sample_rate, num_channels, Box::new(feeder));
            Self {
                track: audio_track,
                queue,
                sink: Some(sink),
            }
        }

        /// The track that is listened to.
        #[must_use]
        pub fn track(&self) -> RtcAudioTrack {
            self.track.clone()
        }

        /// Stops listening; what is queued is thrown away and the stream ends.
        pub fn close(&mut self) {
            self.sink = None;
            self.queue.discard();
            self.queue.end();
        }
    }

    impl Stream for NativeAudioStream {
        type Item = AudioFrame<'static>;

        fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            self.queue.poll(cx)
        }
    }

    impl fmt::Debug for NativeAudioStream {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("NativeAudioStream")
                .field("track", &self.track)
                .finish_non_exhaustive()
        }
    }

    /// The audio thread's end of a stream.
    struct Feeder {
        queue: Arc<Queue>,
        sample_rate: u32,
        num_channels: u32,
    }

    impl AudioSink for Feeder {
        fn on_frame(&mut self, frame: &[i16]) {
            let samples = u32::try_from(frame.len()).unwrap_or(u32::MAX);
            self.queue.push(AudioFrame {
                data: frame.to_vec().into(),
                sample_rate: self.sample_rate,
                num_channels: self.num_channels,
                samples_per_channel: samples / self.num_channels.max(1),
            });
        }
    }

    impl Drop for Feeder {
        fn drop(&mut self) {
            // However the sink leaves its track, no frame will follow.
            self.queue.end();
        }
    }

    /// Between the audio thread and the reader. The lock is held to move one frame, never longer.
    struct Queue {
        state: Mutex<State>,
        frames_max: Option<usize>,
    }

    struct State {
        frames: VecDeque<AudioFrame<'static>>,
        reader: Option<Waker>,
        ended: bool,
    }

    impl Queue {
        fn new(frames_max: Option<usize>) -> Self {
            Self {
                state: Mutex::new(State {
                    frames: VecDeque::new(),
                    reader: None,
                    ended: false,
                }),
                frames_max,
            }
        }

        fn push(&self, frame: AudioFrame<'static>) {
            let mut state = self.state.lock();
            if state.ended {
                return;
            }
            let full = self.frames_max.is_some_and(|max| state.frames.len() >= max);
            let oldest = if full { state.frames.pop_front() } else { None };
            state.frames.push_back(frame);
            let reader = state.reader.take();
            drop(state);
            drop(oldest);
            wake(reader);
        }

        fn end(&self) {
            let mut state = self.state.lock();
            state.ended = true;
            let reader = state.reader.take();
            drop(state);
            wake(reader);
        }

        fn discard(&self) {
            self.state.lock().frames.clear();
        }

        fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<AudioFrame<'static>>> {
            let mut state = self.state.lock();
            if let Some(frame) = state.frames.pop_front() {
                return Poll::Ready(Some(frame));
            }
            if state.ended {
                return Poll::Ready(None);
            }
            state.reader = Some(cx.waker().clone());
            Poll::Pending
        }
    }

    fn wake(reader: Option<Waker>) {
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn frame(mark: i16) -> AudioFrame<'static> {
            AudioFrame {
                data: vec![mark].into(),
                sample_rate: 48_000,
                num_channels: 1,
                samples_per_channel: 1,
            }
        }

        fn marks(queue: &Queue) -> Vec<i16> {
            let mut cx = Context::from_waker(Waker::noop());
            let mut marks = Vec::new();
            while let Poll::Ready(Some(frame)) = queue.poll(&mut cx) {
                marks.push(frame.data[0]);
            }
            marks
        }

        #[test]
        fn a_slow_reader_loses_the_oldest_frames() {
            let queue = Queue::new(Some(3));
            for mark in 0..10 {
                queue.push(frame(mark));
            }
            assert_eq!(marks(&queue), [7, 8, 9]);
        }

        #[test]
        fn an_unbounded_queue_keeps_everything() {
            let queue = Queue::new(None);
            for mark in 0..100 {
                queue.push(frame(mark));
            }
            assert_eq!(marks(&queue), (0..100).collect::<Vec<_>>());
        }

        #[test]
        fn frames_that_were_queued_before_the_end_are_still_read() {
            let queue = Queue::new(Some(3));
            queue.push(frame(1));
            queue.end();
            queue.push(frame(2));
            assert_eq!(marks(&queue), [1]);
            let mut cx = Context::from_waker(Waker::noop());
            assert!(matches!(queue.poll(&mut cx), Poll::Ready(None)));
        }
    }
}
