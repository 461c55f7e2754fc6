//! The jitter buffer: puts packets in order and says on each beat what to play.
//!
//! It is pure: no thread, clock or decoder, time is an argument. Each packet has an ideal instant
//! of playout, its media time plus the fastest transit of the last seconds plus a target delay
//! that follows the lateness seen ([`delay`]). Sound is never stretched here; the delay is brought
//! to its target in gaps, and the caller stretches by what [`JitterBuffer::excess_us`] says.

mod delay;
mod sequence;

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;

use self::{
    delay::DelayEstimator,
    sequence::{Place, Unwrapper, Verdict},
};
use super::{
    RtpAudio,
    format::{CORE_RATE_HZ, CORE_TICK_SAMPLES},
};

/// Sound held at most, in samples: what is older gives way. A stall longer than this is not worth
/// hearing late.
const SPAN_SAMPLES_MAX: i64 = CORE_RATE_HZ as i64 / 2;

/// Packets held at most, whatever their timestamps say: 500 ms of the shortest packets, 2.5 ms.
const PACKETS_MAX: usize = 200;

/// A gap longer than this is a pause: nobody expects its end at a certain instant, so the delay may
/// be set anew there.
const SPEECH_GAP_SAMPLES_MAX: i64 = 6 * TICK_SAMPLES;

/// Concealment lasts at most this long, then comes silence. Opus fades what it invents within some
/// 100 ms and leaves the background noise. With DTX it sends that noise anew every 400 ms, so a
/// shorter limit would have it pulse.
const CONCEAL_SAMPLES_MAX: i64 = 50 * TICK_SAMPLES;

/// A packet whose transit is off by more than this comes from a sender whose timestamps jumped.
const DISCONTINUITY_US: i64 = 1_000_000;

/// Delay may differ from its target by this, two beats, before a gap is made shorter or longer.
const TOLERANCE_US: i64 = 20_000;

/// Packets of the source before are ignored for this long after a change of source; they are
/// stragglers.
const HANDOVER_US: i64 = 500_000;

/// Opus's smallest unit; loss can be concealed only in multiples of it.
const OPUS_UNIT_SAMPLES: i64 = 120;

const TICK_SAMPLES: i64 = CORE_TICK_SAMPLES as i64;

/// What became of a packet that was put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// It waits to be played.
    Queued,
    /// It waits, and the stream has begun anew before it: the decoder's memory is void.
    Restarted,
    /// It was there already.
    Duplicate,
    /// What it carries has been played or concealed already.
    Late,
    /// It belongs to a source that was replaced, or to none that is known yet.
    Stray,
}

/// What to play next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Decode this packet.
    Decode(Bytes),
    /// Decode this packet, of which `past` samples per channel were concealed already: they are not
    /// to be heard.
    CatchUp {
        /// It was lost and sent again.
        payload: Bytes,
        /// At most what it holds.
        past: usize,
    },
    /// Recover `samples` of the packet that is missing from the redundancy in its successor.
    Recover {
        /// The successor, which will be decoded next.
        successor: Bytes,
        /// What is still missing, in samples per channel.
        samples: usize,
    },
    /// Conceal this; the packet is lost or late.
    Conceal {
        /// A tick per channel, or what a shorter packet held.
        samples: usize,
        /// Its successor is there, so that it was sent for sure.
        was_sent: bool,
    },
    /// One tick without sound: nothing was sent, or not for longer than can be concealed.
    Silence,
}

#[derive(Debug)]
struct Packet {
    seq: i64,
    time: i64,
    samples: i64,
    redundant: bool,
    resent: bool,
    payload: Bytes,
}

#[derive(Debug, Clone, Copy)]
enum Playout {
    /// The first packet has yet to have its time.
    Waiting,
    Running {
        /// Media time of the next sample to be played.
        expected: i64,
        /// Number of the last packet that was played.
        last_seq: i64,
        /// Samples that were concealed or silent since, which `expected` does not count.
        concealed: i64,
        /// What was concealed is left out of the packets that follow on this beat.
        catching_up: bool,
    },
}

/// The packets of one track, in order.
pub(crate) struct JitterBuffer {
    epoch: Option<Instant>,
    source: Option<u32>,
    replaced: Option<(u32, i64)>,
    unwrapper: Unwrapper,
    delay: DelayEstimator,
    packets: VecDeque<Packet>,
    playout: Playout,
    overflowed: u64,
}

impl JitterBuffer {
    pub fn new() -> Self {
        Self {
            epoch: None,
            source: None,
            replaced: None,
            unwrapper: Unwrapper::default(),
            delay: DelayEstimator::new(),
            packets: VecDeque::with_capacity(PACKETS_MAX + 1),
            playout: Playout::Waiting,
            overflowed: 0,
        }
    }

    /// Takes in a packet that holds `samples` of sound per channel, and a copy of the one before it if it
    /// is `redundant`.
    pub fn insert(&mut self, packet: RtpAudio, samples: usize, redundant: bool) -> Inserted {
        let arrival_us = self.micros(packet.arrival);
        let mut restarted = false;
        if self.source != Some(packet.ssrc) {
            if self.is_straggler(packet.ssrc, arrival_us) {
                return Inserted::Stray;
            }
            restarted = self.change_source(packet.ssrc, arrival_us);
        }
        let place = match self.unwrapper.place(packet.seq, packet.timestamp) {
            Verdict::Belongs(place) => place,
            Verdict::Restarts(place) => {
                self.start_over();
                self.delay.rebase();
                restarted = true;
                place
            }
            Verdict::Suspect => return Inserted::Stray,
        };
        // The newest of all sets the time, however it came.
        let resent = packet.resent && !place.newest;
        if resent && !self.may_be_late(place, arrival_us) {
            return Inserted::Stray;
        }
        if self.is_past(place) || resent && self.has_no_room_before(place) {
            self.learn(place, arrival_us, resent);
            return Inserted::Late;
        }
        let Err(index) = self.find(place.seq) else {
            return Inserted::Duplicate;
        };
        if place.newest && self.jumped(place, arrival_us) {
            self.start_over();
            self.delay.rebase();
        }
        self.learn(place, arrival_us, resent);
        let packet = Packet {
            seq: place.seq,
            time: place.time,
            samples: samples as i64,
            redundant,
            resent,
            payload: packet.payload,
        };
        // After a jump the buffer is empty, and the index from before it is beyond its end.
        self.packets.insert(index.min(self.packets.len()), packet);
        self.shed();
        if restarted {
            Inserted::Restarted
        } else {
            Inserted::Queued
        }
    }

    /// What to play at `at`. One call may yield less or more than a tick; the caller asks again
    /// until it has a tick's worth.
    pub fn step(&mut self, at: Instant) -> Step {
        let now_us = self.micros(at);
        loop {
            let Playout::Running {
                expected,
                last_seq,
                concealed,
                catching_up,
            } = self.playout
            else {
                match self.packets.front() {
                    Some(head) if now_us >= self.ideal_us(head.time) => {
                        self.playout = Playout::Running {
                            expected: head.time,
                            last_seq: head.seq - 1,
                            concealed: 0,
                            catching_up: false,
                        };
                        continue;
                    }
                    _ => return Step::Silence,
                }
            };
            let Some(head) = self.packets.front() else {
                return self.conceal(TICK_SAMPLES, false);
            };
            let gap = head.time - expected;
            if gap < 0 {
                // Numbers and timestamps contradict each other; time is what is played by.
                self.packets.pop_front();
                self.overflowed += 1;
                continue;
            }
            let past = concealed - gap;
            // What is sent again comes when its time has begun or is over. Playing it all the same would
            // put off all that follows, loss by loss; that is for when the target delay has risen.
            let is_early = now_us - self.ideal_us(expected + concealed) < -TOLERANCE_US;
            if past > 0 && !is_early && (catching_up || head.resent) {
                return self.catch_up(past);
            }
            let surplus_us = now_us - self.ideal_us(head.time);
            let missing = head.seq - last_seq - 1;
            let remaining = gap - concealed;
            let paused = missing == 0 && gap > 0 || concealed > SPEECH_GAP_SAMPLES_MAX;
            let due = if gap == 0 && concealed == 0 {
                true
            } else if paused {
                surplus_us >= 0
            } else {
                // A gap in speech is as good a place as any to get the delay right, and waiting
                // in it gives the missing packet another chance.
                surplus_us > TOLERANCE_US || remaining <= 0 && surplus_us >= -TOLERANCE_US
            };
            if due {
                return self.play_head();
            }
            let in_time = surplus_us + media_us(remaining) >= -TOLERANCE_US;
            let fits = !paused
                && in_time
                && (1..=head.samples).contains(&remaining)
                && remaining % OPUS_UNIT_SAMPLES == 0;
            if fits && head.redundant {
                let successor = head.payload.clone();
                self.playout = Playout::Running {
                    expected: head.time,
                    last_seq: head.seq - 1,
                    concealed: 0,
                    catching_up: false,
                };
                return Step::Recover {
                    successor,
                    samples: remaining as usize,
                };
            }
            let samples = if fits {
                remaining.min(TICK_SAMPLES)
            } else {
                TICK_SAMPLES
            };
            // Of a pause, the last packets alone were sent.
            let was_sent = missing > 0 && remaining <= missing * head.samples;
            return self.conceal(samples, was_sent);
        }
    }

    /// Whether the next step decodes a packet that follows without a gap.
    pub fn is_flowing(&self) -> bool {
        match (self.playout, self.packets.front()) {
            (Playout::Running { expected, .. }, Some(head)) => head.time == expected,
            _ => false,
        }
    }

    /// How much longer than the target a sample is delayed that is played at `at`, when `ahead`
    /// samples are decoded and not yet played. Negative: it is played too early.
    pub fn excess_us(&self, at: Instant, ahead: usize) -> Option<i64> {
        let Playout::Running { expected, .. } = self.playout else {
            return None;
        };
        self.delay.base_us()?;
        Some(self.micros_since_epoch(at)? - self.ideal_us(expected - ahead as i64))
    }

    /// Sound that waits in the buffer, in samples per channel.
    pub fn span_samples(&self) -> i64 {
        match (self.packets.front(), self.packets.back()) {
            (Some(first), Some(last)) => (last.time + last.samples - first.time).max(0),
            _ => 0,
        }
    }

    /// The delay that playout aims at.
    pub fn target_us(&self) -> i64 {
        self.delay.target_us()
    }

    /// Packets that were thrown away because there was no room or no time for them.
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }

    fn is_straggler(&self, ssrc: u32, now_us: i64) -> bool {
        self.replaced
            .is_some_and(|(old, since_us)| old == ssrc && now_us - since_us < HANDOVER_US)
    }

    /// True when there was a source before.
    fn change_source(&mut self, ssrc: u32, now_us: i64) -> bool {
        let before = self.source.replace(ssrc);
        self.replaced = before.map(|old| (old, now_us));
        self.unwrapper = Unwrapper::default();
        self.delay.rebase();
        self.start_over();
        before.is_some()
    }

    fn start_over(&mut self) {
        self.overflowed += self.packets.len() as u64;
        self.packets.clear();
        self.playout = Playout::Waiting;
    }

    fn is_past(&self, place: Place) -> bool {
        match self.playout {
            Playout::Waiting => false,
            Playout::Running { last_seq, .. } => place.seq <= last_seq,
        }
    }

    /// Whether a packet that was sent again has a time that it could have been sent at first. One from before
    /// a jump of the sender's timestamps has not, and would hold up all that follows.
    fn may_be_late(&self, place: Place, arrival_us: i64) -> bool {
        let transit_us = arrival_us - media_us(place.time);
        let late_us = self.delay.base_us().map(|base_us| transit_us - base_us);
        late_us.is_some_and(|late_us| (0..=DISCONTINUITY_US).contains(&late_us))
    }

    /// Whether so old a packet would push what is newer out. What is sent again never moves playout.
    fn has_no_room_before(&self, place: Place) -> bool {
        let end = self.packets.back().map(|last| last.time + last.samples);
        self.packets.len() >= PACKETS_MAX
            || end.is_some_and(|end| end - place.time > SPAN_SAMPLES_MAX)
    }

    /// The index of the packet with this number, or where it has to go.
    fn find(&self, seq: i64) -> Result<usize, usize> {
        self.packets.binary_search_by_key(&seq, |packet| packet.seq)
    }

    fn jumped(&self, place: Place, arrival_us: i64) -> bool {
        let transit_us = arrival_us - media_us(place.time);
        self.delay
            .base_us()
            .is_some_and(|base| (transit_us - base).abs() > DISCONTINUITY_US)
    }

    fn learn(&mut self, place: Place, arrival_us: i64, is_resent: bool) {
        let transit_us = arrival_us - media_us(place.time);
        if is_resent {
            self.delay.observe_resent(transit_us);
        } else {
            self.delay.observe(transit_us, arrival_us);
        }
    }

    /// Drops the oldest until the bounds hold, and moves playout behind what was dropped.
    fn shed(&mut self) {
        while self.packets.len() > PACKETS_MAX
            || self.packets.len() > 1 && self.span_samples() > SPAN_SAMPLES_MAX
        {
            self.packets.pop_front();
            self.overflowed += 1;
            if let (Playout::Running { .. }, Some(head)) = (self.playout, self.packets.front()) {
                self.playout = Playout::Running {
                    expected: head.time,
                    last_seq: head.seq - 1,
                    concealed: 0,
                    catching_up: false,
                };
            }
        }
    }

    fn play_head(&mut self) -> Step {
        let Some(head) = self.packets.pop_front() else {
            return self.conceal(TICK_SAMPLES, false);
        };
        self.playout = Playout::Running {
            expected: head.time + head.samples,
            last_seq: head.seq,
            concealed: 0,
            catching_up: false,
        };
        Step::Decode(head.payload)
    }

    /// Plays the head without the `past` samples whose time is over, or what it has of them.
    fn catch_up(&mut self, mut past: i64) -> Step {
        // The decoder finds back within a packet; after an outage there may be many, in all tracks at once.
        while let (Some(head), Some(next)) = (self.packets.front(), self.packets.get(1))
            && next.time == head.time + head.samples
            && past >= head.samples + next.samples
        {
            past -= head.samples;
            self.packets.pop_front();
            self.overflowed += 1;
        }
        let Some(head) = self.packets.pop_front() else {
            return self.conceal(TICK_SAMPLES, false);
        };
        let left_out = past.min(head.samples);
        self.playout = Playout::Running {
            expected: head.time + head.samples,
            last_seq: head.seq,
            concealed: past - left_out,
            catching_up: past > left_out,
        };
        Step::CatchUp {
            payload: head.payload,
            past: left_out as usize,
        }
    }

    fn conceal(&mut self, samples: i64, was_sent: bool) -> Step {
        let Playout::Running {
            concealed,
            catching_up,
            ..
        } = &mut self.playout
        else {
            return Step::Silence;
        };
        *catching_up = false;
        if *concealed + samples > CONCEAL_SAMPLES_MAX {
            *concealed += TICK_SAMPLES;
            Step::Silence
        } else {
            *concealed += samples;
            Step::Conceal {
                samples: samples as usize,
                was_sent,
            }
        }
    }

    /// When the sample at media time `time` should be played.
    fn ideal_us(&self, time: i64) -> i64 {
        media_us(time) + self.delay.base_us().unwrap_or(0) + self.delay.target_us()
    }

    fn micros(&mut self, at: Instant) -> i64 {
        self.epoch.get_or_insert(at);
        self.micros_since_epoch(at).unwrap_or(0)
    }

    /// Microseconds from the first instant this buffer was told; before it they are negative.
    fn micros_since_epoch(&self, at: Instant) -> Option<i64> {
        let epoch = self.epoch?;
        let after = at.saturating_duration_since(epoch).as_micros();
        let before = epoch.saturating_duration_since(at).as_micros();
        Some(i64::try_from(after).unwrap_or(i64::MAX) - i64::try_from(before).unwrap_or(i64::MAX))
    }
}

/// Samples at 48 kHz to microseconds.
fn media_us(time: i64) -> i64 {
    time * 125 / 6
}

#[cfg(test)]
mod tests;
