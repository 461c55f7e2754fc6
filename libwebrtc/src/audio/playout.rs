//! Turns one track's packets into exactly 10 ms of sound on every beat.

use std::time::Instant;

use super::{
    RtpAudio,
    decoder::{TrackDecoder, has_redundancy, packet_samples},
    format::CORE_TICK_SAMPLES,
    jitter::{Inserted, JitterBuffer, Step},
    level::{LEVEL_PAUSE, level_dbov, power},
};
use crate::RtcError;

/// Length of one beat in interleaved samples of the core format.
pub(crate) const FRAME_SAMPLES: usize = CORE_TICK_SAMPLES * CHANNELS;

const CHANNELS: usize = 2;

/// Delay may exceed its target by this before pauses are shortened: two beats, so that the grid of
/// packets and beats alone causes nothing.
const EXCESS_PAUSE_US: i64 = 20_000;

/// From here on quiet parts of speech are shortened too.
const EXCESS_QUIET_US: i64 = 60_000;

/// From here on any sound is, though never two beats close together.
const EXCESS_ANY_US: i64 = 120_000;

/// Delay may fall short of its target by this before pauses are lengthened.
const SHORTFALL_US: i64 = -12_000;

/// Decibels below full scale of what counts as a quiet part of speech.
const LEVEL_QUIET: u8 = 38;

/// Beats between two cuts into sound that is neither pause nor quiet: 20 % faster at most.
const CUT_INTERVAL_BEATS: u32 = 5;

/// Sound after silence is faded in over 2.5 ms, the overlap of Opus's own blocks.
const FADE_IN_SAMPLES: usize = 120;

/// What playout has done since the track began.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct PlayoutStats {
    pub played: u64,
    pub concealed: u64,
    pub silent: u64,
    pub recovered: u64,
    pub inserted: u64,
    pub removed: u64,
    pub concealment_events: u64,
    pub late: u64,
    pub duplicate: u64,
    pub discarded: u64,
    pub delay_us: i64,
    pub target_us: i64,
    pub delay_s_sum: f64,
    pub energy_s_sum: f64,
    pub level_dbov: u8,
}

/// Jitter buffer, decoder and what is between them and the sinks.
pub(crate) struct Playout {
    buffer: JitterBuffer,
    decoder: TrackDecoder,
    /// Decoded and not yet played, interleaved.
    pcm: Vec<i16>,
    last: Last,
    /// The first frame in `pcm` has been played already and is to be played once more.
    repeat: bool,
    beats_since_cut: u32,
    /// Packets that were discarded other than by the buffer's bounds.
    refused: u64,
    stats: PlayoutStats,
}

/// What the sound at the end of `pcm` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Decoded,
    Concealed,
    Silent,
}

impl Playout {
    /// Starts with the counts of an earlier one of the same track.
    pub fn new(stats: PlayoutStats) -> Result<Self, RtcError> {
        Ok(Self {
            buffer: JitterBuffer::new(),
            decoder: TrackDecoder::new()?,
            pcm: Vec::with_capacity(16 * FRAME_SAMPLES),
            last: Last::Silent,
            repeat: false,
            beats_since_cut: 0,
            refused: stats.discarded,
            stats,
        })
    }

    pub fn stats(&self) -> PlayoutStats {
        self.stats
    }

    /// Takes a packet from the network in.
    pub fn insert(&mut self, packet: RtpAudio) {
        let Some(samples) = packet_samples(&packet.payload) else {
            self.refused += 1;
            return;
        };
        match self.buffer.insert(packet, samples) {
            Inserted::Queued => {}
            Inserted::Restarted => self.decoder.reset(),
            Inserted::Late => self.stats.late += 1,
            Inserted::Duplicate => self.stats.duplicate += 1,
            Inserted::Stray => self.refused += 1,
        }
    }

    /// Writes the sound of the beat that is due at `at` into `out`.
    pub fn frame(&mut self, at: Instant, out: &mut [i16; FRAME_SAMPLES]) {
        while self.pcm.len() < FRAME_SAMPLES {
            self.advance(at);
        }
        let ahead = self.pcm.len() / CHANNELS;
        let excess_us = self.buffer.excess_us(at, ahead);
        out.copy_from_slice(&self.pcm[..FRAME_SAMPLES]);
        let power = power(out.as_slice());
        self.emit(at, excess_us, level_dbov(power), out);
        self.account(excess_us, power);
    }

    /// Plays the frame that is copied to `out` already, or bends the delay with it.
    fn emit(
        &mut self,
        at: Instant,
        excess_us: Option<i64>,
        level: u8,
        out: &mut [i16; FRAME_SAMPLES],
    ) {
        self.beats_since_cut = self.beats_since_cut.saturating_add(1);
        let bend = match excess_us {
            Some(excess_us) if self.last == Last::Decoded => self.bend(excess_us, level),
            _ => Bend::Keep,
        };
        if self.repeat {
            blend_from_mirror(out);
        }
        match bend {
            Bend::Shorten if !self.repeat && self.two_frames(at) => {
                crossfade(out, &self.pcm[FRAME_SAMPLES..2 * FRAME_SAMPLES]);
                self.pcm.drain(..2 * FRAME_SAMPLES);
                self.stats.removed += CORE_TICK_SAMPLES as u64;
                self.beats_since_cut = 0;
            }
            Bend::Lengthen if !self.repeat => {
                self.repeat = true;
                self.stats.inserted += CORE_TICK_SAMPLES as u64;
            }
            _ => {
                self.pcm.drain(..FRAME_SAMPLES);
                self.repeat = false;
            }
        }
    }

    fn bend(&self, excess_us: i64, level: u8) -> Bend {
        let waiting = self.buffer.span_samples() + (self.pcm.len() / CHANNELS) as i64;
        let enough = waiting * 125 / 6 > self.buffer.target_us() / 2 + EXCESS_PAUSE_US;
        if enough
            && (excess_us > EXCESS_PAUSE_US && level >= LEVEL_PAUSE
                || excess_us > EXCESS_QUIET_US && level >= LEVEL_QUIET
                || excess_us > EXCESS_ANY_US && self.beats_since_cut >= CUT_INTERVAL_BEATS)
        {
            Bend::Shorten
        } else if excess_us < SHORTFALL_US && level >= LEVEL_PAUSE {
            Bend::Lengthen
        } else {
            Bend::Keep
        }
    }

    /// Decodes until two frames are there, as far as packets follow without a gap.
    fn two_frames(&mut self, at: Instant) -> bool {
        while self.pcm.len() < 2 * FRAME_SAMPLES {
            if !self.buffer.is_flowing() {
                return false;
            }
            self.advance(at);
        }
        true
    }

    /// Adds what comes next to `pcm`.
    fn advance(&mut self, at: Instant) {
        match self.buffer.step(at) {
            Step::Decode(payload) => self.decode(&payload),
            Step::Recover { successor, samples } => {
                if has_redundancy(&successor) {
                    self.pcm
                        .extend_from_slice(self.decoder.recover(&successor, samples));
                    self.stats.recovered += samples as u64;
                    self.last = Last::Decoded;
                } else {
                    self.conceal(samples);
                }
            }
            Step::Conceal => self.conceal(CORE_TICK_SAMPLES),
            Step::Silence => self.silence(),
        }
    }

    fn decode(&mut self, payload: &[u8]) {
        let start = self.pcm.len();
        match self.decoder.decode(payload) {
            Some(samples) => self.pcm.extend_from_slice(samples),
            None => {
                self.refused += 1;
                return self.conceal(packet_samples(payload).unwrap_or(CORE_TICK_SAMPLES));
            }
        }
        if self.last == Last::Silent {
            fade_in(&mut self.pcm[start..]);
        }
        self.last = Last::Decoded;
    }

    fn conceal(&mut self, samples: usize) {
        if self.last == Last::Decoded {
            self.stats.concealment_events += 1;
        }
        // Concealment of silence is silence, and costs nothing.
        if self.last == Last::Silent {
            self.pcm.resize(self.pcm.len() + samples * CHANNELS, 0);
            self.stats.silent += samples as u64;
        } else {
            self.pcm.extend_from_slice(self.decoder.conceal(samples));
            self.last = Last::Concealed;
        }
        self.stats.concealed += samples as u64;
    }

    fn silence(&mut self) {
        let start = self.pcm.len();
        if self.last == Last::Silent {
            self.pcm.resize(start + FRAME_SAMPLES, 0);
        } else {
            self.pcm
                .extend_from_slice(self.decoder.conceal(CORE_TICK_SAMPLES));
            fade_out(&mut self.pcm[start..]);
            self.last = Last::Silent;
        }
        self.stats.concealed += CORE_TICK_SAMPLES as u64;
        self.stats.silent += CORE_TICK_SAMPLES as u64;
    }

    fn account(&mut self, excess_us: Option<i64>, power: f64) {
        let stats = &mut self.stats;
        stats.played += CORE_TICK_SAMPLES as u64;
        stats.level_dbov = level_dbov(power);
        stats.energy_s_sum += power * 0.01;
        stats.target_us = self.buffer.target_us();
        stats.discarded = self.refused + self.buffer.overflowed();
        if let (Some(excess_us), Last::Decoded) = (excess_us, self.last) {
            stats.delay_us = excess_us + stats.target_us;
            stats.delay_s_sum += stats.delay_us as f64 / 1e6 * CORE_TICK_SAMPLES as f64;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bend {
    Keep,
    Shorten,
    Lengthen,
}

/// The weight of sample `index` of `len` in a linear ramp from 0 to 1.
fn ramp(index: usize, len: usize) -> f32 {
    (index as f32 + 0.5) / len as f32
}

fn mix(from: i16, to: i16, weight: f32) -> i16 {
    let from = f32::from(from);
    (from + (f32::from(to) - from) * weight).round() as i16
}

/// Goes from the sound in `out` over to `next` within the frame.
fn crossfade(out: &mut [i16], next: &[i16]) {
    let frames = out.len() / CHANNELS;
    for (index, (from, &to)) in out.iter_mut().zip(next).enumerate() {
        *from = mix(*from, to, ramp(index / CHANNELS, frames));
    }
}

/// Begins a repeated frame with its own mirror image, which starts at the sample it ended with, so
/// that there is no jump between the two.
fn blend_from_mirror(out: &mut [i16; FRAME_SAMPLES]) {
    let frame = *out;
    let frames = FRAME_SAMPLES / CHANNELS;
    for (index, sample) in out.iter_mut().enumerate() {
        let (at, channel) = (index / CHANNELS, index % CHANNELS);
        let mirrored = frame[(frames - 1 - at) * CHANNELS + channel];
        *sample = mix(mirrored, *sample, ramp(at, frames));
    }
}

fn fade_in(pcm: &mut [i16]) {
    for (index, sample) in pcm.iter_mut().take(FADE_IN_SAMPLES * CHANNELS).enumerate() {
        *sample = mix(0, *sample, ramp(index / CHANNELS, FADE_IN_SAMPLES));
    }
}

fn fade_out(pcm: &mut [i16]) {
    let frames = pcm.len() / CHANNELS;
    for (index, sample) in pcm.iter_mut().enumerate() {
        *sample = mix(*sample, 0, ramp(index / CHANNELS, frames));
    }
}
