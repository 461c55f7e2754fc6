//! Encodes a source's sound for one RTP sender.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
};

use opus::{Application, Bitrate, Channels, Encoder};

use super::{
    clock::Tick,
    convert::Converter,
    format::{CORE_TICK_SAMPLES, Format},
    level::{LEVEL_PAUSE, level_dbov, power},
};
use crate::{RtcError, RtcErrorType, audio_track::RtcAudioTrack};

/// A packet lasts 20 ms, the usual compromise of delay and overhead.
const PACKET_TICKS: usize = 2;

/// What a packet's timestamp advances by, whatever rate it was encoded at (RFC 7587, section 4.1).
const PACKET_TIMESTAMPS: u32 = (PACKET_TICKS * CORE_TICK_SAMPLES) as u32;

/// The largest Opus frame (RFC 6716, 3.2.1).
const PAYLOAD_BYTES_MAX: usize = 1_275;

/// With DTX the encoder marks a packet that needs no sending by this length or less
/// (`opus_encode`'s documentation). The first of them is sent all the same, as WebRTC does: it says
/// that what follows is a pause and no loss.
pub(super) const DTX_BYTES_MAX: usize = 2;

/// Bit rates that libopus accepts for one stream.
const BITRATE_MIN_BPS: u32 = 6_000;
const BITRATE_MAX_BPS: u32 = 510_000;

/// WebRTC's own defaults for speech in mono and stereo.
const BITRATE_MONO_BPS: u32 = 32_000;
const BITRATE_STEREO_BPS: u32 = 64_000;

/// The loss that redundancy is made for before the peer has reported any. With zero, the encoder's
/// default, in-band FEC is a switch without effect; 10 % keeps a readable copy of each packet at
/// speech bit rates.
const EXPECTED_LOSS_FIRST_PERCENT: u8 = 10;
/// What is expected at least and at most, whatever is reported: reports come seconds after the
/// first lost packets, and copies for more than a third of them leave nothing for the sound.
const EXPECTED_LOSS_MIN_PERCENT: u8 = 3;
const EXPECTED_LOSS_MAX_PERCENT: u8 = 35;

/// The encoder's effort, 0–10. From 7 on it analyses the signal and spends no bits above the band
/// that is in use. On 40 s of read speech 9 and 10 chose the same modes and sizes as 7 and took
/// 15 % more time (274 against 238 µs a packet).
const COMPLEXITY: i32 = 7;

/// The same for a thread that has too little time for all its tracks. Read speech took 84 µs a packet
/// in place of 295 and was PESQ 3.88 in place of 4.09; 1 to 3 took more and were no better.
const COMPLEXITY_HURRIED: i32 = 0;

/// How a track is to be encoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpusSend {
    /// Send nothing while there is nothing to hear.
    pub dtx: bool,
    /// Put a coarse copy of each packet into its successor.
    pub fec: bool,
    /// Send two channels, where the source has them.
    pub stereo: bool,
    /// Bits per second, without packet overhead; none means 32,000 for mono, 64,000 for stereo.
    pub bitrate_bps: Option<u32>,
}

/// One packet, ready for RTP.
#[derive(Debug, Clone, Copy)]
pub struct EncodedAudio<'a> {
    /// The Opus packet.
    pub payload: &'a [u8],
    /// RTP timestamp at 48 kHz. It goes on through pauses.
    pub timestamp: u32,
    /// The first packet of all, and the first after a pause in which nothing was sent.
    pub marker: bool,
    /// Samples per channel in the packet at 48 kHz, 960.
    pub samples: u32,
    /// Loudness for RFC 6464's header extension: decibels below full scale, 127 is silence.
    pub level_dbov: u8,
    /// Whether the packet is louder than a pause.
    pub voice: bool,
}

/// Keeps a track being sent; dropping it stops that. A packet that is being handed over then is
/// still handed over.
#[derive(Debug)]
pub struct AudioSend {
    wanted: Arc<AtomicBool>,
    expected_loss: Arc<AtomicU8>,
}

impl AudioSend {
    /// Makes redundancy for this share of lost packets from the next packet on.
    pub fn expect_loss(&self, fraction: f64) {
        let percent = (fraction * 100.0).round().clamp(
            f64::from(EXPECTED_LOSS_MIN_PERCENT),
            f64::from(EXPECTED_LOSS_MAX_PERCENT),
        );
        self.expected_loss.store(percent as u8, Ordering::Relaxed);
    }
}

impl Drop for AudioSend {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Release);
    }
}

/// Sends a local track: `out` is called on an audio thread with each packet of 20 ms, the first of which
/// has this RTP timestamp, and dropped there; neither may block. A disabled track goes on as silence.
///
/// # Errors
/// `InvalidState` for a remote track or a source format that can't be served; `Internal` when the
/// encoder or the audio thread can't be set up.
pub fn start_send(
    track: &RtcAudioTrack,
    settings: OpusSend,
    timestamp: u32,
    out: impl FnMut(EncodedAudio<'_>) + Send + 'static,
) -> Result<AudioSend, RtcError> {
    let Some(source) = track.source() else {
        return Err(RtcError {
            error_type: RtcErrorType::InvalidState,
            message: format!("track {} is remote and can't be sent", track.id()),
        });
    };
    let capture = source.capture();
    let wanted = Arc::new(AtomicBool::new(true));
    let expected_loss = Arc::new(AtomicU8::new(EXPECTED_LOSS_FIRST_PERCENT));
    let sender = Sender::new(
        capture.format()?,
        settings,
        timestamp,
        Arc::clone(track.switch()),
        Arc::clone(&wanted),
        Arc::clone(&expected_loss),
        Box::new(out),
    )?;
    capture.add_sender(sender)?;
    Ok(AudioSend {
        wanted,
        expected_loss,
    })
}

/// One sender of a source, as the audio thread owns it.
pub(crate) struct Sender {
    wanted: Arc<AtomicBool>,
    enabled: Arc<AtomicBool>,
    was_enabled: bool,
    /// Of the source.
    channels: usize,
    converter: Converter,
    muted: Vec<i16>,
    pcm: Vec<i16>,
    packet_samples: usize,
    encoder: Encoder,
    dtx: bool,
    fec: bool,
    expected_loss: Arc<AtomicU8>,
    encoded_for_loss: u8,
    hurried: bool,
    payload: [u8; PAYLOAD_BYTES_MAX],
    timestamp: u32,
    paused: bool,
    failed: bool,
    out: Box<dyn FnMut(EncodedAudio<'_>) + Send>,
}

impl Sender {
    fn new(
        from: Format,
        settings: OpusSend,
        timestamp: u32,
        enabled: Arc<AtomicBool>,
        wanted: Arc<AtomicBool>,
        expected_loss: Arc<AtomicU8>,
        out: Box<dyn FnMut(EncodedAudio<'_>) + Send>,
    ) -> Result<Self, RtcError> {
        let to = from
            .with_channels_at_most(if settings.stereo { 2 } else { 1 })
            .at_encoder_rate();
        let encoder = encoder(to, settings).map_err(|error| RtcError {
            error_type: RtcErrorType::Internal,
            message: format!("an Opus encoder could not be set up with {settings:?}: {error}"),
        })?;
        Ok(Self {
            wanted,
            was_enabled: enabled.load(Ordering::Relaxed),
            enabled,
            channels: from.channels(),
            converter: Converter::new(from, to),
            muted: Vec::new(),
            pcm: head_start(to),
            packet_samples: packet_samples(to),
            encoder,
            dtx: settings.dtx,
            fec: settings.fec,
            expected_loss,
            encoded_for_loss: EXPECTED_LOSS_FIRST_PERCENT,
            hurried: false,
            payload: [0; PAYLOAD_BYTES_MAX],
            timestamp,
            paused: true,
            failed: false,
            out,
        })
    }

    /// Takes 10 ms of the source's sound in and sends what makes a packet; false when the sender is
    /// not wanted any more.
    pub fn feed(&mut self, samples: &[i16], tick: Tick) -> bool {
        if !self.wanted.load(Ordering::Acquire) {
            return false;
        }
        self.keep_pace(tick.hurried);
        let skipped_samples = tick.skipped.wrapping_mul(CORE_TICK_SAMPLES as u32);
        self.timestamp = self.timestamp.wrapping_add(skipped_samples);
        let enabled = self.enabled.load(Ordering::Relaxed);
        if enabled && self.was_enabled {
            self.converter
                .process(samples, self.channels, &mut self.pcm);
        } else {
            mute(samples, self.was_enabled, enabled, &mut self.muted);
            self.converter
                .process(&self.muted, self.channels, &mut self.pcm);
        }
        self.was_enabled = enabled;
        while self.pcm.len() >= self.packet_samples {
            self.send();
        }
        true
    }

    /// Follows what the peer reports, where copies are made at all.
    fn follow_loss(&mut self) {
        let expected = self.expected_loss.load(Ordering::Relaxed);
        if self.fec && expected != self.encoded_for_loss {
            self.encoded_for_loss = expected;
            if let Err(error) = self.encoder.set_packet_loss_perc(i32::from(expected)) {
                log::warn!("redundancy stays as it was: {error}");
            }
        }
    }

    /// Sound that is a little coarser is better than sound that comes too late.
    fn keep_pace(&mut self, hurried: bool) {
        if hurried == self.hurried {
            return;
        }
        self.hurried = hurried;
        let complexity = if hurried {
            COMPLEXITY_HURRIED
        } else {
            COMPLEXITY
        };
        if let Err(error) = self.encoder.set_complexity(complexity) {
            log::warn!("the encoder's effort stays as it was: {error}");
        }
    }

    fn send(&mut self) {
        self.follow_loss();
        let pcm = &self.pcm[..self.packet_samples];
        let level_dbov = level_dbov(power(pcm));
        let encoded = self.encoder.encode(pcm, &mut self.payload);
        self.pcm.drain(..self.packet_samples);
        let timestamp = self.timestamp;
        self.timestamp = timestamp.wrapping_add(PACKET_TIMESTAMPS);
        match encoded {
            Ok(length) if self.dtx && length <= DTX_BYTES_MAX && self.paused => {}
            Ok(length) => {
                let pauses = self.dtx && length <= DTX_BYTES_MAX;
                let marker = std::mem::replace(&mut self.paused, pauses);
                (self.out)(EncodedAudio {
                    payload: &self.payload[..length],
                    timestamp,
                    marker,
                    samples: PACKET_TIMESTAMPS,
                    level_dbov,
                    voice: level_dbov < LEVEL_PAUSE,
                });
            }
            // The packet is missing like a lost one. Once is enough to say so.
            Err(error) if !self.failed => {
                log::error!("a packet of 20 ms could not be encoded and is left out: {error}");
                self.failed = true;
            }
            Err(_) => {}
        }
    }
}

fn encoder(format: Format, settings: OpusSend) -> Result<Encoder, opus::Error> {
    let (channels, usual_bps) = match format.channels() {
        1 => (Channels::Mono, BITRATE_MONO_BPS),
        _ => (Channels::Stereo, BITRATE_STEREO_BPS),
    };
    let bps = settings
        .bitrate_bps
        .unwrap_or(usual_bps)
        .clamp(BITRATE_MIN_BPS, BITRATE_MAX_BPS);
    let mut encoder = Encoder::new(format.rate_hz(), channels, Application::Voip)?;
    encoder.set_bitrate(Bitrate::Bits(bps.cast_signed()))?;
    encoder.set_complexity(COMPLEXITY)?;
    encoder.set_dtx(settings.dtx)?;
    encoder.set_inband_fec(settings.fec)?;
    encoder.set_packet_loss_perc(if settings.fec {
        i32::from(EXPECTED_LOSS_FIRST_PERCENT)
    } else {
        0
    })?;
    Ok(encoder)
}

/// Interleaved samples of a packet.
fn packet_samples(format: Format) -> usize {
    PACKET_TICKS * format.tick_samples() * format.channels()
}

/// What a new sender begins with: nothing or half a packet of silence in turn, so that of many
/// senders each half encodes on one beat and the other half on the next.
fn head_start(format: Format) -> Vec<i16> {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let halves = STARTED.fetch_add(1, Ordering::Relaxed) as usize % 2;
    // A beat may bring a sample more than it lasts, where the source's rate is another.
    let mut pcm = Vec::with_capacity(packet_samples(format) * 3 / 2);
    pcm.resize(halves * packet_samples(format) / 2, 0);
    pcm
}

/// Writes `samples` into `muted` as silence, or fading where the switch has just been turned.
fn mute(samples: &[i16], was_enabled: bool, enabled: bool, muted: &mut Vec<i16>) {
    muted.clear();
    if was_enabled == enabled {
        muted.resize(samples.len(), 0);
        return;
    }
    let len = samples.len() as f32;
    muted.extend(samples.iter().enumerate().map(|(index, &sample)| {
        let rise = index as f32 / len;
        let gain = if enabled { rise } else { 1.0 - rise };
        (f32::from(sample) * gain) as i16
    }));
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn an_encoder_does_with_less_while_its_thread_is_hurried() {
        let mut sender = Sender::new(
            Format::CORE,
            OpusSend::default(),
            0,
            Arc::new(AtomicBool::new(true)),
            Arc::new(AtomicBool::new(true)),
            Arc::default(),
            Box::new(|_| {}),
        )
        .unwrap();
        for (hurried, complexity) in [
            (false, COMPLEXITY),
            (true, COMPLEXITY_HURRIED),
            (false, COMPLEXITY),
        ] {
            let tick = Tick {
                at: Instant::now(),
                skipped: 0,
                hurried,
            };
            assert!(sender.feed(&[0; CORE_TICK_SAMPLES], tick));
            assert_eq!(sender.encoder.get_complexity().unwrap(), complexity);
        }
    }
}
