//! Listens to one voice: turns 32 ms frames into turns and the audio that belongs to them.
//!
//! It runs on the inference thread, after the VAD; the application hears of it by events in a bounded queue and
//! never sees a single frame.

use tokio::sync::mpsc;

use super::endpoint::{Change, EndpointSettings, Endpointer, FRAME_MS};
use super::vad::FrameHandler;
use crate::speech::{INPUT_RATE_HZ, UTTERANCE_MS_MAX};

/// Events that may wait for the session; a turn has a handful, so a full queue means that the session is stuck.
pub const EVENTS_MAX: usize = 64;

/// Audio before the detected onset that belongs to the turn: the VAD hears a soft first consonant late.
const PREROLL_MS: u32 = 320;

/// A pause after this much speech closes the segment: its words are final and what follows is transcribed by
/// itself, so that the work at the end of a long answer is that of its last sentences. Shorter pieces are
/// transcribed again together with what follows: a recogniser needs context.
const SEGMENT_MS_MIN: u32 = 5_000;

/// Trailing silence that goes to STT with a segment: enough to hear the last consonant out.
const TAIL_MS: u32 = 160;

const SAMPLES_PER_MS: usize = (INPUT_RATE_HZ / 1000) as usize;

/// What the listener tells the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenEvent {
    /// The candidate began to speak.
    Began,
    /// The candidate has spoken long enough to mean it.
    Sustained,
    /// The turn may be over; `segment` is what was said since the last closed one.
    Paused(Segment),
    /// The turn goes on.
    WentOn,
    /// The turn is over.
    Finished {
        /// Silence since the last speech, ms.
        silence_ms: u32,
    },
    /// The track ended; a turn that was under way was finished before this.
    Closed,
}

/// A stretch of one turn, to be transcribed in one piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Position in the turn, from 0. The same index again replaces the earlier text: the segment has grown.
    pub index: u32,
    /// 16 kHz mono.
    pub pcm: Vec<i16>,
}

/// Endpointing and the audio of the turn under way.
pub struct Listener {
    endpointer: Endpointer,
    events: mpsc::Sender<ListenEvent>,
    /// The turn's open segment, or between turns the last `PREROLL_MS`.
    audio: Vec<i16>,
    index: u32,
}

impl Listener {
    /// A listener that hears nothing yet.
    pub fn new(settings: EndpointSettings, events: mpsc::Sender<ListenEvent>) -> Self {
        Self {
            endpointer: Endpointer::new(settings),
            events,
            audio: Vec::with_capacity(ms(PREROLL_MS) * 2),
            index: 0,
        }
    }

    fn tell(&self, event: ListenEvent) {
        // Full: the session has not looked for dozens of events and is being ended by its own limits; the ear must not wait for it.
        if self.events.try_send(event).is_err() && !self.events.is_closed() {
            tracing::error!("the session does not take what is heard; an event is lost");
        }
    }

    /// Hands over the open segment without most of the `silence_ms` at its end.
    fn pause(&self, silence_ms: u32) {
        let speech = self
            .audio
            .len()
            .saturating_sub(ms(silence_ms.saturating_sub(TAIL_MS)));
        self.tell(ListenEvent::Paused(Segment {
            index: self.index,
            pcm: self.audio[..speech].to_vec(),
        }));
    }

    fn close_segment(&mut self) {
        self.index += 1;
        self.audio.clear();
    }

    fn trim_preroll(&mut self) {
        let excess = self.audio.len().saturating_sub(ms(PREROLL_MS));
        self.audio.drain(..excess);
    }
}

impl FrameHandler for Listener {
    fn on_frame(&mut self, pcm: &[i16; 512], speech_probability: f32) {
        self.audio.extend_from_slice(pcm);
        match self.endpointer.frame(speech_probability) {
            Change::None if !self.endpointer.in_turn() => self.trim_preroll(),
            Change::None if self.audio.len() >= ms(UTTERANCE_MS_MAX - FRAME_MS) => {
                // A minute without a pause: transcribed as it is, so that the buffer has a bound.
                self.pause(0);
                self.close_segment();
            }
            Change::None => {}
            Change::Began { .. } => {
                self.index = 0;
                self.tell(ListenEvent::Began);
            }
            Change::Sustained => self.tell(ListenEvent::Sustained),
            Change::Paused { silence_ms } => self.pause(silence_ms),
            Change::WentOn => {
                if self.audio.len() >= ms(SEGMENT_MS_MIN) {
                    let preroll = self
                        .audio
                        .split_off(self.audio.len().saturating_sub(ms(PREROLL_MS)));
                    self.close_segment();
                    self.audio = preroll;
                }
                self.tell(ListenEvent::WentOn);
            }
            Change::Finished { silence_ms } => {
                self.tell(ListenEvent::Finished { silence_ms });
                self.trim_preroll();
            }
        }
    }

    fn on_closed(&mut self) {
        if self.endpointer.in_turn() {
            self.pause(0);
            self.tell(ListenEvent::Finished { silence_ms: 0 });
        }
        self.tell(ListenEvent::Closed);
    }
}

fn ms(ms: u32) -> usize {
    ms as usize * SAMPLES_PER_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: EndpointSettings = EndpointSettings {
        speech_threshold: 0.5,
        pause_ms: 192,
        turn_end_ms: 544,
    };
    const LOUD: [i16; 512] = [1000; 512];
    const QUIET: [i16; 512] = [0; 512];

    fn hear(listener: &mut Listener, speech_ms: u32, silence_ms: u32) {
        for _ in 0..speech_ms / FRAME_MS {
            listener.on_frame(&LOUD, 0.9);
        }
        for _ in 0..silence_ms / FRAME_MS {
            listener.on_frame(&QUIET, 0.0);
        }
    }

    fn told(events: &mut mpsc::Receiver<ListenEvent>) -> Vec<ListenEvent> {
        std::iter::from_fn(|| events.try_recv().ok()).collect()
    }

    fn loud_ms(segment: &Segment) -> usize {
        segment.pcm.iter().filter(|s| **s == 1000).count() / SAMPLES_PER_MS
    }

    #[test]
    fn a_segment_holds_all_speech_of_the_turn_and_little_of_the_silence_around_it() {
        let (sender, mut events) = mpsc::channel(EVENTS_MAX);
        let mut listener = Listener::new(SETTINGS, sender);
        hear(&mut listener, 0, 5_000);
        hear(&mut listener, 960, 640);
        let events = told(&mut events);
        let [
            ListenEvent::Began,
            ListenEvent::Sustained,
            ListenEvent::Paused(segment),
            ListenEvent::Finished { .. },
        ] = &events[..]
        else {
            panic!("{events:?}");
        };
        assert_eq!((segment.index, loud_ms(segment)), (0, 960));
        assert!(segment.pcm.len() <= ms(960 + PREROLL_MS + TAIL_MS + FRAME_MS));
    }

    #[test]
    fn a_short_segment_grows_over_a_pause_and_a_long_one_is_closed() {
        let (sender, mut events) = mpsc::channel(EVENTS_MAX);
        let mut listener = Listener::new(SETTINGS, sender);
        hear(&mut listener, 960, 320);
        hear(&mut listener, 5_120, 320);
        hear(&mut listener, 960, 640);
        let segments: Vec<_> = told(&mut events)
            .into_iter()
            .filter_map(|e| match e {
                ListenEvent::Paused(segment) => Some((segment.index, loud_ms(&segment))),
                _ => None,
            })
            .collect();
        assert_eq!(segments, [(0, 960), (0, 960 + 5_120), (1, 960)]);
    }

    #[test]
    fn a_minute_without_a_pause_is_handed_over_in_pieces() {
        let (sender, mut events) = mpsc::channel(EVENTS_MAX);
        let mut listener = Listener::new(SETTINGS, sender);
        hear(&mut listener, 90_016, 640);
        let total: usize = told(&mut events)
            .iter()
            .filter_map(|e| match e {
                ListenEvent::Paused(segment) => Some(loud_ms(segment)),
                _ => None,
            })
            .sum();
        assert_eq!(total, 90_016);
    }

    #[test]
    fn a_track_that_ends_in_the_middle_of_a_word_still_ends_the_turn() {
        let (sender, mut events) = mpsc::channel(EVENTS_MAX);
        let mut listener = Listener::new(SETTINGS, sender);
        hear(&mut listener, 320, 0);
        listener.on_closed();
        let events = told(&mut events);
        let [
            ListenEvent::Began,
            ListenEvent::Paused(segment),
            ListenEvent::Finished { silence_ms: 0 },
            ListenEvent::Closed,
        ] = &events[..]
        else {
            panic!("{events:?}");
        };
        assert_eq!(loud_ms(segment), 320);
    }
}
