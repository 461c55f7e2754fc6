//! Opus decoding as playout needs it: 48 kHz, as many channels as are sent, concealment, recovery.

use opus::{Channels, Decoder, packet};

use super::{
    fade::{mix, ramp},
    format::{CHANNELS_MAX, CORE_RATE_HZ},
    send::DTX_BYTES_MAX,
};
use crate::{RtcError, RtcErrorType};

/// The longest Opus packet, 120 ms, in samples per channel (RFC 6716, 3.2.5).
const PACKET_SAMPLES_MAX: usize = 5_760;

/// The bit of a packet's first byte that says that it is in stereo (RFC 6716, 3.1).
const STEREO: u8 = 0b100;

/// Configurations of the table of contents below this are SILK or hybrid, the modes that can carry
/// redundancy (RFC 6716, table 2).
const CELT_CONFIG_FIRST: u8 = 16;

/// Samples per channel that a payload decodes to; none when it is no Opus packet.
pub(super) fn packet_samples(payload: &[u8]) -> Option<usize> {
    packet::get_nb_samples(payload, CORE_RATE_HZ)
        .ok()
        .filter(|samples| (1..=PACKET_SAMPLES_MAX).contains(samples))
}

/// Whether a packet carries a coarse copy of its predecessor (RFC 6716, 4.2.3 and 4.2.4).
pub(super) fn has_redundancy(payload: &[u8]) -> bool {
    let Ok(parsed) = packet::parse(payload) else {
        return false;
    };
    let config = parsed.toc >> 3;
    let Some(&header) = parsed.frames.first().and_then(|frame| frame.first()) else {
        return false;
    };
    if config >= CELT_CONFIG_FIRST {
        return false;
    }
    // SILK splits an Opus frame into pieces of 20 ms. The header has a voice bit for each piece
    // and then the redundancy bit, once for each channel, from the highest bit down.
    let pieces = match config {
        0..=11 => [1, 1, 2, 3][usize::from(config % 4)],
        _ => 1,
    };
    let stereo = parsed.toc & STEREO != 0;
    let mid = header >> (7 - pieces) & 1;
    let side = if stereo {
        header >> (6 - 2 * pieces) & 1
    } else {
        0
    };
    mid | side == 1
}

/// Whether a packet was encoded in two channels.
fn is_stereo(payload: &[u8]) -> bool {
    payload.first().is_some_and(|first| first & STEREO != 0)
}

/// Packets that the decoder for two channels hears before it is heard. Opus tells the energies of the bands
/// as differences: a decoder that joins in is 15 dB too quiet at first, 2 dB after three packets, and
/// 0.1 dB after eight.
const PACKETS_BEFORE_STEREO: u8 = 8;

/// The sound goes over from one channel to two within 5 ms.
const WIDENING_SAMPLES: usize = 240;

/// One track's decoder with its working space. It gives one channel until the sender uses two.
pub(super) struct TrackDecoder {
    /// Both are made beforehand, so that nothing is allocated on the audio thread: a mono one takes 18 kB.
    mono: Decoder,
    stereo: Decoder,
    width: Width,
    narrow: Vec<i16>,
    wide: Vec<i16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    /// Nothing was decoded yet.
    Unknown,
    Mono,
    /// Packets in stereo come, of which the decoder for them has heard so many. The other gives their mean.
    Widening(u8),
    Stereo,
}

/// Interleaved sound at 48 kHz.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sound<'a> {
    pub samples: &'a [i16],
    pub channels: usize,
}

impl TrackDecoder {
    pub fn new() -> Result<Self, RtcError> {
        Ok(Self {
            mono: decoder(Channels::Mono)?,
            stereo: decoder(Channels::Stereo)?,
            width: Width::Unknown,
            narrow: vec![0; PACKET_SAMPLES_MAX],
            wide: vec![0; PACKET_SAMPLES_MAX * CHANNELS_MAX],
        })
    }

    /// Decodes a packet; none when it is damaged. From some packet on there are two channels, and they stay:
    /// an encoder for two sends one where the second would add nothing.
    pub fn decode(&mut self, payload: &[u8]) -> Option<Sound<'_>> {
        let width = match self.width {
            Width::Unknown if is_stereo(payload) => Width::Stereo,
            Width::Unknown => Width::Mono,
            Width::Mono if is_stereo(payload) => Width::Widening(0),
            known => known,
        };
        let samples = match width {
            Width::Stereo => self.stereo.decode(payload, &mut self.wide, false),
            _ => self.mono.decode(payload, &mut self.narrow, false),
        };
        let samples = samples.ok()?;
        self.width = width;
        if let Width::Widening(heard) = width
            && self.stereo.decode(payload, &mut self.wide, false).is_ok()
        {
            // What a pause is made of says nothing about the sound after it.
            let heard = heard + u8::from(payload.len() > DTX_BYTES_MAX);
            self.width = Width::Widening(heard);
            if heard > PACKETS_BEFORE_STEREO {
                widen(&self.narrow[..samples], &mut self.wide);
                self.width = Width::Stereo;
            }
        }
        Some(self.sound(samples))
    }

    /// Makes up `samples` per channel that sound like what came before.
    pub fn conceal(&mut self, samples: usize) -> Sound<'_> {
        self.make(&[], samples, false)
    }

    /// The `samples` per channel before `successor`, from the redundancy in it.
    pub fn recover(&mut self, successor: &[u8], samples: usize) -> Sound<'_> {
        self.make(successor, samples, true)
    }

    /// Forgets the stream so far.
    pub fn reset(&mut self) {
        for decoder in [&mut self.mono, &mut self.stereo] {
            if let Err(error) = decoder.reset_state() {
                log::warn!("the Opus decoder kept the state of another stream: {error}");
            }
        }
        if self.width != Width::Stereo {
            self.width = Width::Unknown;
        }
    }

    fn make(&mut self, payload: &[u8], samples: usize, fec: bool) -> Sound<'_> {
        let samples = samples.min(PACKET_SAMPLES_MAX);
        if matches!(self.width, Width::Widening(_) | Width::Stereo) {
            let wide = &mut self.wide[..samples * CHANNELS_MAX];
            let made = self.stereo.decode(payload, wide, fec).unwrap_or(0);
            // Silence for what the decoder could not make, so that time goes on as it should.
            wide[made * CHANNELS_MAX..].fill(0);
        }
        if self.width != Width::Stereo {
            let narrow = &mut self.narrow[..samples];
            let made = self.mono.decode(payload, narrow, fec).unwrap_or(0);
            narrow[made..].fill(0);
        }
        self.sound(samples)
    }

    fn sound(&self, samples: usize) -> Sound<'_> {
        match self.width {
            Width::Stereo => Sound {
                samples: &self.wide[..samples * CHANNELS_MAX],
                channels: CHANNELS_MAX,
            },
            _ => Sound {
                samples: &self.narrow[..samples],
                channels: 1,
            },
        }
    }
}

/// Fades the one channel out at the beginning of the two.
fn widen(narrow: &[i16], wide: &mut [i16]) {
    let both = wide.chunks_exact_mut(CHANNELS_MAX).zip(narrow);
    for (index, (both, &one)) in both.take(WIDENING_SAMPLES).enumerate() {
        for sample in both {
            *sample = mix(one, *sample, ramp(index, WIDENING_SAMPLES));
        }
    }
}

fn decoder(channels: Channels) -> Result<Decoder, RtcError> {
    Decoder::new(CORE_RATE_HZ, channels).map_err(|error| RtcError {
        error_type: RtcErrorType::Internal,
        message: format!("an Opus decoder could not be made: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use opus::{Application, Bitrate, Encoder};
    use proptest::prelude::*;

    use super::*;

    fn speechlike(n: usize) -> Vec<i16> {
        (0..960)
            .map(|i| {
                let t = (n * 960 + i) as f64 / 48_000.0;
                let voice = (1..12).map(|k| {
                    (t * 130.0 * f64::from(k) * std::f64::consts::TAU).sin() / f64::from(k)
                });
                (voice.sum::<f64>() * 6_000.0 * (1.0 + (t * 20.0).sin()) / 2.0) as i16
            })
            .collect()
    }

    fn packets(fec: bool) -> Vec<Vec<u8>> {
        let mut encoder = Encoder::new(CORE_RATE_HZ, Channels::Mono, Application::Voip).unwrap();
        encoder.set_inband_fec(fec).unwrap();
        encoder
            .set_packet_loss_perc(if fec { 20 } else { 0 })
            .unwrap();
        encoder.set_bitrate(Bitrate::Bits(32_000)).unwrap();
        (0..50)
            .map(|n| encoder.encode_vec(&speechlike(n), 1_275).unwrap())
            .collect()
    }

    #[test]
    fn redundancy_is_seen_where_the_encoder_put_it() {
        let with = packets(true).iter().filter(|p| has_redundancy(p)).count();
        let without = packets(false).iter().filter(|p| has_redundancy(p)).count();
        assert!(with > 30, "{with}");
        assert_eq!(without, 0);
    }

    #[test]
    fn a_packet_says_how_long_it_is() {
        assert!(
            packets(false)
                .iter()
                .all(|p| packet_samples(p) == Some(960))
        );
        assert_eq!(packet_samples(&[]), None);
    }

    proptest! {
        #[test]
        fn any_payload_is_survived(payload in prop::collection::vec(any::<u8>(), 0..1_500), samples in 1_usize..24) {
            let mut decoder = TrackDecoder::new().unwrap();
            let _ = (packet_samples(&payload), has_redundancy(&payload), is_stereo(&payload));
            if !payload.is_empty() {
                let _ = decoder.decode(&payload);
            }
            let recovered = decoder.recover(&payload, samples * 120);
            prop_assert_eq!(recovered.samples.len(), samples * 120 * recovered.channels);
            let concealed = decoder.conceal(480);
            prop_assert_eq!(concealed.samples.len(), 480 * concealed.channels);
        }
    }
}
