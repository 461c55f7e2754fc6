//! Opus decoding as playout needs it: 48 kHz stereo, concealment, recovery.

use opus::{Channels, Decoder, packet};

use super::format::{CORE_RATE_HZ, Format};
use crate::{RtcError, RtcErrorType};

/// The longest Opus packet, 120 ms, in samples per channel (RFC 6716, 3.2.5).
const PACKET_SAMPLES_MAX: usize = 5_760;

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
    let stereo = parsed.toc & 0b100 != 0;
    let mid = header >> (7 - pieces) & 1;
    let side = if stereo {
        header >> (6 - 2 * pieces) & 1
    } else {
        0
    };
    mid | side == 1
}

/// One track's decoder with its working space.
pub(super) struct TrackDecoder {
    decoder: Decoder,
    space: Vec<i16>,
}

impl TrackDecoder {
    pub fn new() -> Result<Self, RtcError> {
        let decoder = Decoder::new(CORE_RATE_HZ, Channels::Stereo).map_err(|error| RtcError {
            error_type: RtcErrorType::Internal,
            message: format!("an Opus decoder could not be made: {error}"),
        })?;
        Ok(Self {
            decoder,
            space: vec![0; PACKET_SAMPLES_MAX * Format::CORE.channels()],
        })
    }

    /// Decodes a packet; none when it is damaged.
    pub fn decode(&mut self, payload: &[u8]) -> Option<&[i16]> {
        let samples = self.decoder.decode(payload, &mut self.space, false).ok()?;
        self.space.get(..samples * Format::CORE.channels())
    }

    /// Makes up `samples` per channel that sound like what came before.
    pub fn conceal(&mut self, samples: usize) -> &[i16] {
        self.make(&[], samples, false)
    }

    /// The `samples` per channel before `successor`, from the redundancy in it.
    pub fn recover(&mut self, successor: &[u8], samples: usize) -> &[i16] {
        self.make(successor, samples, true)
    }

    /// Forgets the stream so far.
    pub fn reset(&mut self) {
        if let Err(error) = self.decoder.reset_state() {
            log::warn!("the Opus decoder kept the state of another stream: {error}");
        }
    }

    fn make(&mut self, payload: &[u8], samples: usize, fec: bool) -> &[i16] {
        let wanted = (samples * Format::CORE.channels()).min(self.space.len());
        let space = &mut self.space[..wanted];
        let made = self.decoder.decode(payload, space, fec).unwrap_or(0);
        // Silence for what the decoder could not make, so that time goes on as it should.
        space[made * Format::CORE.channels()..].fill(0);
        space
    }
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
            let _ = (packet_samples(&payload), has_redundancy(&payload));
            if !payload.is_empty() {
                let _ = decoder.decode(&payload);
            }
            prop_assert_eq!(decoder.recover(&payload, samples * 120).len(), samples * 240);
            prop_assert_eq!(decoder.conceal(480).len(), 960);
        }
    }
}
