//! Turns one track's packets into exactly 10 ms of sound on every beat.

use std::time::Instant;

use super::{
    RtpAudio,
    decoder::{Sound, TrackDecoder, has_redundancy, packet_samples},
    fade::{cross_fade, fade_in, fade_out},
    format::{CHANNELS_MAX, CORE_TICK_SAMPLES},
    jitter::{Inserted, JitterBuffer, Step},
    level::{level_dbov, power},
    send::DTX_BYTES_MAX,
    steering::{Bend, Steering},
    stretch::{LAG_MAX, Stretcher, WINDOW},
};
use crate::RtcError;

/// One beat of sound at 48 kHz.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    samples: [i16; CORE_TICK_SAMPLES * CHANNELS_MAX],
    channels: usize,
}

impl Frame {
    /// Silence in one channel.
    pub const SILENT: Self = Self {
        samples: [0; CORE_TICK_SAMPLES * CHANNELS_MAX],
        channels: 1,
    };

    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Interleaved.
    pub fn samples(&self) -> &[i16] {
        &self.samples[..CORE_TICK_SAMPLES * self.channels]
    }

    pub fn mute(&mut self) {
        self.samples.fill(0);
    }
}

/// Sound that is left when some is taken out, beyond half the target: two beats, so that a change
/// of the delay never ends in a gap.
const SPARE_US: i64 = 20_000;

/// The most that is decoded and not yet played, in samples per channel: what is looked at before a
/// change, the longest packet of 120 ms, and a repeated piece.
const AHEAD_MAX: usize = WINDOW + 5_760 + LAG_MAX;

/// Concealment that is broken off fades out over 5 ms.
const BRIDGE_SAMPLES: usize = 240;

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
    /// One until there are two.
    channels: usize,
    /// Decoded and not yet played, interleaved.
    pcm: Vec<i16>,
    last: Last,
    /// The last packet said that its sender pauses.
    pausing: bool,
    steering: Steering,
    stretcher: Stretcher,
    /// How the concealment would have gone on, to be faded out under what is played instead.
    bridge: Vec<i16>,
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
            channels: 1,
            pcm: Vec::with_capacity(AHEAD_MAX * CHANNELS_MAX),
            last: Last::Silent,
            pausing: false,
            steering: Steering::default(),
            stretcher: Stretcher::new(),
            bridge: Vec::with_capacity(BRIDGE_SAMPLES * CHANNELS_MAX),
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
        let redundant = has_redundancy(&packet.payload);
        match self.buffer.insert(packet, samples, redundant) {
            Inserted::Queued => {}
            Inserted::Restarted => self.decoder.reset(),
            Inserted::Late => self.stats.late += 1,
            Inserted::Duplicate => self.stats.duplicate += 1,
            Inserted::Stray => self.refused += 1,
        }
    }

    /// Writes the sound of the beat that is due at `at` into `out`.
    pub fn frame(&mut self, at: Instant, out: &mut Frame) {
        while self.ahead() < CORE_TICK_SAMPLES {
            self.advance(at);
        }
        let excess_us = self.buffer.excess_us(at, self.ahead());
        self.steering.beat();
        if let (Some(excess_us), Last::Decoded) = (excess_us, self.last)
            && Steering::is_off(excess_us)
            && self.look_ahead(at)
        {
            self.steer(excess_us);
        }
        let samples = CORE_TICK_SAMPLES * self.channels;
        out.channels = self.channels;
        out.samples[..samples].copy_from_slice(&self.pcm[..samples]);
        self.pcm.drain(..samples);
        self.account(excess_us, power(out.samples()));
    }

    /// Samples per channel that are decoded and not yet played.
    fn ahead(&self) -> usize {
        self.pcm.len() / self.channels
    }

    /// Brings the delay closer to its target, if that would not be heard.
    fn steer(&mut self, excess_us: i64) {
        let channels = self.channels;
        let level = level_dbov(power(&self.pcm[..WINDOW * channels]));
        let Some(wish) = self.steering.wish(excess_us, level) else {
            return;
        };
        let waiting = self.buffer.span_samples() + self.ahead() as i64;
        let (pcm, similarity_min) = (&mut self.pcm, wish.similarity_min);
        let changed = match wish.bend {
            Bend::Shorten if waiting * 125 / 6 > self.buffer.target_us() / 2 + SPARE_US => {
                let removed = self.stretcher.shorten(pcm, channels, similarity_min);
                self.stats.removed += removed.unwrap_or(0) as u64;
                removed
            }
            Bend::Shorten => None,
            Bend::Lengthen => {
                let inserted = self.stretcher.lengthen(pcm, channels, similarity_min);
                self.stats.inserted += inserted.unwrap_or(0) as u64;
                inserted
            }
        };
        if let Some(samples) = changed {
            self.steering.fulfilled(samples);
        }
    }

    /// Decodes until there is enough to be changed, as far as packets follow without a gap.
    fn look_ahead(&mut self, at: Instant) -> bool {
        while self.ahead() < WINDOW {
            if !self.buffer.is_flowing() {
                return false;
            }
            self.advance(at);
        }
        self.last == Last::Decoded
    }

    /// Adds what comes next to `pcm`.
    fn advance(&mut self, at: Instant) {
        match self.buffer.step(at) {
            Step::Decode(payload) => self.decode(&payload, 0),
            Step::CatchUp { payload, past } => self.catch_up(&payload, past),
            Step::Recover { successor, samples } => {
                self.pausing = false;
                let start = append(&mut self.pcm, self.decoder.recover(&successor, samples), 0);
                self.join(start);
                self.stats.recovered += samples as u64;
                self.last = Last::Decoded;
            }
            Step::Conceal { samples, was_sent } => {
                self.pausing &= !was_sent;
                self.conceal(samples);
            }
            Step::Silence => self.silence(),
        }
    }

    /// Decodes a packet and leaves its first `past` samples per channel out.
    fn decode(&mut self, payload: &[u8], past: usize) {
        self.pausing = payload.len() <= DTX_BYTES_MAX;
        let Some(sound) = self.decoder.decode(payload) else {
            self.refused += 1;
            let samples = packet_samples(payload).unwrap_or(CORE_TICK_SAMPLES);
            return self.conceal(samples.saturating_sub(past));
        };
        if self.channels < sound.channels {
            double(&mut self.pcm);
            double(&mut self.bridge);
            self.channels = sound.channels;
        }
        let start = append(&mut self.pcm, sound, past);
        if self.pcm.len() == start {
            return;
        }
        if self.last == Last::Silent {
            fade_in(&mut self.pcm[start..], self.channels);
        }
        self.join(start);
        self.last = Last::Decoded;
    }

    /// Leads over from concealment that was broken off to what stands at `start`.
    fn join(&mut self, start: usize) {
        cross_fade(&self.bridge, &mut self.pcm[start..], self.channels);
        self.bridge.clear();
    }

    /// Joins in after concealment where the stream has got to meanwhile. The decoder hears all of the
    /// packet, since what follows builds on it.
    fn catch_up(&mut self, payload: &[u8], past: usize) {
        if self.last == Last::Concealed && self.bridge.is_empty() {
            let bridge = self.decoder.conceal(BRIDGE_SAMPLES);
            self.bridge.extend_from_slice(bridge.samples);
        }
        self.decode(payload, past);
    }

    fn conceal(&mut self, samples: usize) {
        if self.last == Last::Decoded && !self.pausing {
            self.stats.concealment_events += 1;
        }
        // Concealment of silence is silence, and costs nothing.
        if self.last == Last::Silent {
            self.pcm.resize(self.pcm.len() + samples * self.channels, 0);
            self.count_missing(samples, samples);
        } else {
            // In a pause the decoder makes the noise that was there before.
            let start = append(&mut self.pcm, self.decoder.conceal(samples), 0);
            self.join(start);
            self.last = Last::Concealed;
            self.count_missing(samples, 0);
        }
    }

    /// Where a sender pauses, nothing is missing.
    fn count_missing(&mut self, samples: usize, silent: usize) {
        if !self.pausing {
            self.stats.concealed += samples as u64;
            self.stats.silent += silent as u64;
        }
    }

    fn silence(&mut self) {
        // In a pause something comes sooner than this, and a new stream has not announced any.
        self.pausing = false;
        self.bridge.clear();
        if self.last == Last::Silent {
            let samples = self.pcm.len() + CORE_TICK_SAMPLES * self.channels;
            self.pcm.resize(samples, 0);
        } else {
            let start = append(&mut self.pcm, self.decoder.conceal(CORE_TICK_SAMPLES), 0);
            fade_out(&mut self.pcm[start..], self.channels);
            self.last = Last::Silent;
        }
        self.count_missing(CORE_TICK_SAMPLES, CORE_TICK_SAMPLES);
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

/// Adds a sound without its first `past` samples per channel to `pcm`, which has as many channels, and says where it begins.
fn append(pcm: &mut Vec<i16>, sound: Sound<'_>, past: usize) -> usize {
    let start = pcm.len();
    let rest = sound.samples.get(past * sound.channels..);
    pcm.extend_from_slice(rest.unwrap_or_default());
    start
}

/// Makes one channel two, interleaved.
fn double(pcm: &mut Vec<i16>) {
    let samples = pcm.len();
    pcm.resize(samples * CHANNELS_MAX, 0);
    for index in (0..samples).rev() {
        let sample = pcm[index];
        pcm[CHANNELS_MAX * index..][..CHANNELS_MAX].fill(sample);
    }
}
