//! The audio thread's side of a source.

use std::{
    sync::{Arc, atomic::Ordering},
    task::Waker,
};

use rtrb::Consumer;

use super::{AudioPull, Capture, Intake, frame_samples};
use crate::audio::{
    clock::Tick,
    engine::{Next, Unit},
    format::Format,
    send::Sender,
    sink::SinkSlot,
};

/// Beats after which a source that nobody feeds or hears is served no more: a second, so that an
/// irregular capturer doesn't set it up again for every frame.
const IDLE_BEATS_MAX: u32 = 100;

/// Sound of direct capture beyond this is dropped from its old end, or a burst of the caller would
/// stay a delay for ever.
const DIRECT_FRAMES_MAX: usize = 5;

/// What is left of it then: a capturer that comes by a timer of its own is a beat late at times.
const DIRECT_FRAMES_KEPT: usize = 2;

/// A capturer that is late is waited for, for so many beats; so nothing has to be kept in hand for
/// when it is. More would come too late for who listens, which waits for packets as long as two of
/// them last.
const LATE_BEATS_MAX: u32 = 2;

/// The sound is behind the clock by so many beats at most, 100 ms, until a pause makes up for them.
/// A capturer that is slower than that makes gaps.
const BEHIND_BEATS_MAX: u32 = 10;

pub(super) struct CaptureUnit {
    capture: Arc<Capture>,
    input: Input,
    pull: Option<Box<dyn AudioPull>>,
    senders: Vec<Sender>,
    sinks: Vec<SinkSlot>,
    pace: Pace,
    channels: usize,
    frame: Vec<i16>,
    /// Beats that were skipped since the last sound was handed on.
    skipped: u32,
    /// Beats by which what is handed on is behind the clock.
    behind: u32,
    woken: Vec<Waker>,
    idle_beats: u32,
}

impl CaptureUnit {
    pub fn new(
        capture: Arc<Capture>,
        format: Format,
        samples: Consumer<i16>,
        captured: u64,
    ) -> Self {
        let direct = capture.queue_samples == 0;
        Self {
            capture,
            input: Input {
                samples,
                read: captured,
                frame: frame_samples(format),
                direct,
                flowing: false,
                late_beats: 0,
            },
            pull: None,
            senders: Vec::new(),
            sinks: Vec::new(),
            pace: Pace::new(format),
            channels: format.channels(),
            frame: Vec::with_capacity(frame_samples(format)),
            skipped: 0,
            behind: 0,
            woken: Vec::new(),
            idle_beats: 0,
        }
    }

    /// Takes over what the program has handed in, and wakes capturers for whom there is room. When
    /// the list is just being written, the next beat does it.
    fn read_news(&mut self) {
        if !self.capture.news.load(Ordering::Acquire) {
            return;
        }
        let Some(mut intake) = self.capture.intake.try_lock() else {
            return;
        };
        self.senders.append(&mut intake.senders);
        self.sinks.append(&mut intake.sinks);
        let replaced = match intake.pull.take() {
            Some(pull) => self.pull.replace(pull),
            None => None,
        };
        if self.input.samples.slots() <= self.capture.queue_samples {
            self.woken.append(&mut intake.waiting);
        }
        let news = !intake.waiting.is_empty();
        self.capture.news.store(news, Ordering::Release);
        drop(intake);
        drop(replaced);
        for waker in self.woken.drain(..) {
            waker.wake();
        }
    }

    /// Puts the beat's sound into the frame.
    fn fill(&mut self) -> Beat {
        self.frame.clear();
        self.frame.resize(self.pace.samples(), 0);
        let discard_until = self.capture.discard_until.load(Ordering::Acquire);
        self.input.discard(discard_until);
        let heard = self.is_heard();
        if self.pull.is_some() {
            // What was captured before the hook came has no place any more.
            self.input.skip(self.input.samples.slots());
        }
        match &mut self.pull {
            Some(pull) if heard => {
                let filled = pull.fill(&mut self.frame).min(self.frame.len());
                self.frame[filled..].fill(0);
                Beat::Sound
            }
            Some(_) => Beat::Pause,
            None => self.input.read(&mut self.frame),
        }
    }

    /// Gives the frame to all who want it.
    fn hand_on(&mut self, tick: Tick) {
        let tick = Tick {
            skipped: std::mem::take(&mut self.skipped),
            ..tick
        };
        let (frame, channels) = (&self.frame, self.channels);
        self.senders.retain_mut(|sender| sender.feed(frame, tick));
        self.sinks.retain_mut(|sink| sink.deliver(frame, channels));
        self.pace.advance();
    }

    /// Comes back to the clock in a pause, where it is not heard.
    fn catch_up(&mut self, tick: Tick) {
        for _ in 0..std::mem::take(&mut self.behind) {
            self.frame.clear();
            self.frame.resize(self.pace.samples(), 0);
            self.hand_on(tick);
        }
    }

    fn is_heard(&self) -> bool {
        !self.senders.is_empty() || !self.sinks.is_empty()
    }

    /// Leaves, unless something has been handed in since.
    fn rest(&mut self) -> Next {
        let Some(mut intake) = self.capture.intake.try_lock() else {
            return Next::Stay;
        };
        if !intake.is_idle() || !self.input.samples.is_empty() {
            return Next::Stay;
        }
        intake.ring = None;
        if intake.pull.is_none() {
            intake.pull = self.pull.take();
        }
        Next::Leave
    }
}

impl Unit for CaptureUnit {
    fn tick(&mut self, tick: Tick) -> Next {
        self.read_news();
        self.skipped = self.skipped.saturating_add(tick.skipped);
        match self.fill() {
            Beat::Sound => self.hand_on(tick),
            Beat::Late if self.behind < BEHIND_BEATS_MAX => self.behind += 1,
            Beat::Late => self.hand_on(tick),
            Beat::Pause => {
                self.hand_on(tick);
                self.catch_up(tick);
            }
        }
        if self.is_heard() || !self.input.samples.is_empty() {
            self.idle_beats = 0;
            return Next::Stay;
        }
        self.idle_beats += 1;
        if self.idle_beats > IDLE_BEATS_MAX {
            self.rest()
        } else {
            Next::Stay
        }
    }

    fn abandon(&mut self) {
        let mut intake = self.capture.intake.lock();
        intake.ring = None;
        let waiting = std::mem::take(&mut intake.waiting);
        drop(intake);
        for waker in waiting {
            waker.wake();
        }
        for sink in self.sinks.drain(..) {
            sink.end();
        }
    }
}

impl Intake {
    fn is_idle(&self) -> bool {
        self.senders.is_empty() && self.sinks.is_empty() && self.waiting.is_empty()
    }
}

/// How many samples each beat takes. Whole samples first, so that a resampler behind it always has
/// enough for its own beat.
struct Pace {
    rate_hz: u64,
    channels: usize,
    beats: u64,
}

impl Pace {
    fn new(format: Format) -> Self {
        Self {
            rate_hz: u64::from(format.rate_hz()),
            channels: format.channels(),
            beats: 0,
        }
    }

    /// Samples of all channels in the next frame.
    fn samples(&self) -> usize {
        let until = |beats: u64| (beats * self.rate_hz).div_ceil(100);
        (until(self.beats + 1) - until(self.beats)) as usize * self.channels
    }

    fn advance(&mut self) {
        self.beats += 1;
    }
}

/// What there is on a beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beat {
    Sound,
    /// Whoever captures is expected to come a little later; what it brings then follows on what was
    /// there before, without a gap.
    Late,
    /// Nobody captures, or the end of what somebody has captured.
    Pause,
}

/// Captured sound on its way to a beat.
struct Input {
    samples: Consumer<i16>,
    /// Samples taken or discarded, on the same count as [`Intake::captured`].
    read: u64,
    frame: usize,
    direct: bool,
    /// Somebody captures.
    flowing: bool,
    /// Beats for which more has been waited for.
    late_beats: u32,
}

impl Input {
    /// Drops what was captured before the count `until`.
    fn discard(&mut self, until: u64) {
        let obsolete = until
            .saturating_sub(self.read)
            .min(self.samples.slots() as u64);
        self.skip(obsolete as usize);
    }

    /// Fills `out`, which is silent, with what was captured. A remainder shorter than a beat is
    /// played alone when its rest does not come.
    fn read(&mut self, out: &mut [i16]) -> Beat {
        if self.direct && self.samples.slots() > DIRECT_FRAMES_MAX * self.frame {
            self.skip(self.samples.slots() - DIRECT_FRAMES_KEPT * self.frame);
        }
        let level = self.samples.slots();
        let enough = level >= out.len();
        if !enough && (self.flowing || level > 0) && self.late_beats < LATE_BEATS_MAX {
            self.late_beats += 1;
            return if self.flowing {
                Beat::Late
            } else {
                Beat::Pause
            };
        }
        self.late_beats = 0;
        self.flowing = enough;
        let (filled, _) = self.samples.pop_partial_slice(out);
        self.read += filled.len() as u64;
        if enough { Beat::Sound } else { Beat::Pause }
    }

    fn skip(&mut self, samples: usize) {
        if let Ok(chunk) = self.samples.read_chunk(samples) {
            chunk.commit_all();
            self.read += samples as u64;
        }
    }
}
