//! Playout: from synthesized speech to the audio clock, counted to the sample.
//!
//! Two halves share a wait-free ring. [`PlayoutClock`] runs on the audio thread, which asks it for 10 ms at a time and
//! never waits; [`Playout`] runs on the application's runtime, keeps the ring filled, and knows how much was heard.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use rtrb::{Consumer, Producer, RingBuffer};

use crate::speech::OUTPUT_RATE_HZ;

/// Sound that may wait in the ring: long enough to bridge a stall of the runtime, short enough to be filled at once.
const RING_MS: u32 = 1_000;

const SAMPLES_PER_MS: usize = (OUTPUT_RATE_HZ / 1000) as usize;

#[derive(Default)]
struct Shared {
    /// Samples that went to the encoder since the start.
    played: AtomicU64,
    /// Silence instead of sound, and nothing is taken from the ring.
    paused: AtomicBool,
    /// Raised by one for each flush that is asked for.
    flushes_asked: AtomicU32,
    /// The last flush that was done.
    flushes_done: AtomicU32,
}

/// The application's half.
pub struct Playout {
    ring: Producer<i16>,
    shared: Arc<Shared>,
    written: u64,
}

/// The audio thread's half.
pub struct PlayoutClock {
    ring: Consumer<i16>,
    shared: Arc<Shared>,
}

/// Both halves of a playout that is silent.
pub fn playout() -> (Playout, PlayoutClock) {
    let (producer, consumer) = RingBuffer::new(RING_MS as usize * SAMPLES_PER_MS);
    let shared = Arc::new(Shared::default());
    (
        Playout {
            ring: producer,
            shared: shared.clone(),
            written: 0,
        },
        PlayoutClock {
            ring: consumer,
            shared,
        },
    )
}

impl Playout {
    /// Puts as much of `pcm` into the ring as fits and returns how many samples that was.
    pub fn write(&mut self, pcm: &[i16]) -> usize {
        let fits = pcm.len().min(self.ring.slots());
        let Ok(mut chunk) = self.ring.write_chunk(fits) else {
            return 0;
        };
        let (first, second) = chunk.as_mut_slices();
        let split = first.len();
        first.copy_from_slice(&pcm[..split]);
        second.copy_from_slice(&pcm[split..fits]);
        chunk.commit_all();
        self.written += fits as u64;
        fits
    }

    /// Samples written since the start; the position at which what is written next will begin.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Samples heard since the start.
    pub fn played(&self) -> u64 {
        self.shared.played.load(Ordering::Acquire)
    }

    /// Holds the sound where it is, or lets it go on.
    pub fn set_paused(&self, paused: bool) {
        self.shared.paused.store(paused, Ordering::Release);
    }

    /// Asks for everything in the ring to be thrown away. What was heard is final once [`Playout::is_flushed`] says so.
    pub fn flush(&self) {
        self.shared.flushes_asked.fetch_add(1, Ordering::AcqRel);
    }

    /// Has the audio thread done what [`Playout::flush`] asked?
    pub fn is_flushed(&self) -> bool {
        self.shared.flushes_done.load(Ordering::Acquire)
            == self.shared.flushes_asked.load(Ordering::Acquire)
    }

    /// After a flush: counts what was thrown away as if it had never been written.
    pub fn forget_unplayed(&mut self) {
        self.written = self.played();
    }
}

impl PlayoutClock {
    /// Gives the next 10 ms; fewer samples than asked for mean that the rest is silence.
    pub fn fill(&mut self, out: &mut [i16]) -> usize {
        let asked = self.shared.flushes_asked.load(Ordering::Acquire);
        if asked != self.shared.flushes_done.load(Ordering::Relaxed) {
            let tail = self.fade_out(out);
            self.shared.flushes_done.store(asked, Ordering::Release);
            return tail;
        }
        if self.shared.paused.load(Ordering::Acquire) {
            return 0;
        }
        let got = self.take(out);
        self.shared.played.fetch_add(got as u64, Ordering::AcqRel);
        got
    }

    fn take(&mut self, out: &mut [i16]) -> usize {
        let ready = out.len().min(self.ring.slots());
        let Ok(chunk) = self.ring.read_chunk(ready) else {
            return 0;
        };
        let (first, second) = chunk.as_slices();
        out[..first.len()].copy_from_slice(first);
        out[first.len()..ready].copy_from_slice(second);
        chunk.commit_all();
        ready
    }

    /// The last 10 ms of speech that is cut off, faded so that it does not click; the rest is dropped.
    fn fade_out(&mut self, out: &mut [i16]) -> usize {
        let paused = self.shared.paused.load(Ordering::Acquire);
        let tail = if paused { 0 } else { self.take(out) };
        for (at, sample) in out[..tail].iter_mut().enumerate() {
            let left = i64::try_from(tail - at).unwrap_or(0);
            let all = i64::try_from(tail).unwrap_or(1);
            *sample = i16::try_from(i64::from(*sample) * left / all).unwrap_or(0);
        }
        self.shared.played.fetch_add(tail as u64, Ordering::AcqRel);
        let rest = self.ring.slots();
        if let Ok(chunk) = self.ring.read_chunk(rest) {
            chunk.commit_all();
        }
        tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: usize = 10 * SAMPLES_PER_MS;

    #[test]
    fn sound_comes_out_in_order_and_is_counted() {
        let (mut playout, mut clock) = playout();
        let sound: Vec<i16> = (1..=500).collect();
        assert_eq!(playout.write(&sound), 500);
        let mut out = [0; TICK];
        assert_eq!(clock.fill(&mut out), TICK);
        assert_eq!(out[..], sound[..TICK]);
        assert_eq!(playout.played(), 240);
        clock.fill(&mut out);
        assert_eq!(clock.fill(&mut out), 20);
        assert_eq!((playout.played(), playout.written()), (500, 500));
    }

    #[test]
    fn a_full_ring_takes_what_fits() {
        let (mut playout, _clock) = playout();
        let ring = RING_MS as usize * SAMPLES_PER_MS;
        assert_eq!(playout.write(&vec![1; ring + 7]), ring);
        assert_eq!(playout.write(&[1; 7]), 0);
    }

    #[test]
    fn a_pause_is_silent_and_loses_nothing() {
        let (mut playout, mut clock) = playout();
        playout.write(&[5; TICK]);
        playout.set_paused(true);
        let mut out = [0; TICK];
        assert_eq!(clock.fill(&mut out), 0);
        playout.set_paused(false);
        assert_eq!(clock.fill(&mut out), TICK);
        assert_eq!(out, [5; TICK]);
    }

    #[test]
    fn a_flush_fades_the_last_tick_drops_the_rest_and_says_so() {
        let (mut playout, mut clock) = playout();
        playout.write(&[1000; 10 * TICK]);
        playout.flush();
        assert!(!playout.is_flushed());
        let mut out = [0; TICK];
        assert_eq!(clock.fill(&mut out), TICK);
        assert!(out.is_sorted_by(|a, b| a >= b) && out[TICK - 1] < 10);
        assert!(playout.is_flushed());
        playout.forget_unplayed();
        assert_eq!(
            (playout.played(), playout.written()),
            (TICK as u64, TICK as u64)
        );
        assert_eq!(clock.fill(&mut out), 0);
    }
}
