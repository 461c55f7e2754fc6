//! Where a track's sound goes: callbacks on the audio thread.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{convert::Converter, format::Format};

/// Takes a track's sound on the audio clock.
///
/// Both calls come on an audio thread that serves other tracks too, and the sink is dropped there:
/// none of it may block, wait or take long. A sink that panics takes its track out of service.
pub trait AudioSink: Send {
    /// 10 ms of interleaved PCM in the format the sink was added with. On a remote track it comes
    /// every 10 ms, whether or not packets did; what is missing is concealed or silent. On a local
    /// one it comes with the sound that is sent: when that was late, some of it comes at once.
    fn on_frame(&mut self, frame: &[i16]);

    /// No frame will follow, because the track has ended. Not called when the handle is dropped.
    fn on_end(&mut self) {}
}

/// Keeps a sink on its track; dropping it takes the sink off. A call that has begun by then is
/// finished.
#[derive(Debug)]
pub struct SinkHandle {
    wanted: Arc<AtomicBool>,
}

impl Drop for SinkHandle {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Release);
    }
}

/// A sink with its conversion, as the audio thread owns it.
pub(crate) struct SinkSlot {
    sink: Box<dyn AudioSink>,
    converter: Converter,
    frame: Vec<i16>,
    wanted: Arc<AtomicBool>,
}

impl SinkSlot {
    /// A slot that turns `from`, or as much of it in fewer channels, into what the sink wants, and the handle that keeps it. Without a
    /// slot the format can't be served, and the sink has been told the end.
    pub fn new(
        from: Format,
        rate_hz: u32,
        channels: u32,
        mut sink: Box<dyn AudioSink>,
    ) -> (Option<Self>, SinkHandle) {
        let wanted = Arc::new(AtomicBool::new(true));
        let handle = SinkHandle {
            wanted: Arc::clone(&wanted),
        };
        match Format::new(rate_hz, channels) {
            Ok(to) => {
                let slot = Self {
                    sink,
                    converter: Converter::new(from, to),
                    frame: Vec::new(),
                    wanted,
                };
                (Some(slot), handle)
            }
            Err(error) => {
                log::error!("an audio sink can't be served: {}", error.message);
                sink.on_end();
                (None, handle)
            }
        }
    }

    /// Hands one tick of sound in so many channels over; false when the sink is not wanted any more.
    pub fn deliver(&mut self, samples: &[i16], channels: usize) -> bool {
        if !self.wanted.load(Ordering::Acquire) {
            return false;
        }
        self.frame.clear();
        self.converter.process(samples, channels, &mut self.frame);
        self.sink.on_frame(&self.frame);
        true
    }

    pub fn end(mut self) {
        if self.wanted.load(Ordering::Acquire) {
            self.sink.on_end();
        }
    }
}
