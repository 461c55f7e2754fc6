//! Counts what arrived and what did not, as RFC 3550 defines it.

use std::time::Instant;

use super::{RtpAudio, format::CORE_RATE_HZ};

/// A jump of the sequence number beyond this begins a new count (RFC 3550, A.1).
const DROPOUT_MAX: i16 = 3_000;

/// Share of a new value in the running jitter (RFC 3550, 6.4.1).
const JITTER_WEIGHT: f64 = 1.0 / 16.0;

/// The count of one track over all its sources.
#[derive(Debug, Default)]
pub(super) struct Reception {
    packets: u64,
    bytes: u64,
    resent: (u64, u64),
    source: Option<Source>,
    expected_before: i64,
    jitter_samples: f64,
}

#[derive(Debug)]
struct Source {
    ssrc: u32,
    first: i64,
    highest: i64,
    last: (u32, Instant),
}

impl Reception {
    pub fn count(&mut self, packet: &RtpAudio) {
        self.packets += 1;
        self.bytes += packet.payload.len() as u64;
        if packet.resent {
            self.resent.0 += 1;
            self.resent.1 += packet.payload.len() as u64;
        }
        let Some(source) = self
            .source
            .as_mut()
            .filter(|source| source.ssrc == packet.ssrc)
        else {
            return self.begin(packet);
        };
        let ahead = packet
            .seq
            .wrapping_sub((source.highest & 0xffff) as u16)
            .cast_signed();
        if !(-DROPOUT_MAX..=DROPOUT_MAX).contains(&ahead) {
            return self.begin(packet);
        }
        source.highest += i64::from(ahead.max(0));
        if packet.resent {
            return;
        }
        let media = packet.timestamp.wrapping_sub(source.last.0).cast_signed();
        let elapsed = seconds_between(source.last.1, packet.arrival) * f64::from(CORE_RATE_HZ);
        // A sender whose timestamps jump says nothing about the network.
        let change = (elapsed - f64::from(media))
            .abs()
            .min(f64::from(CORE_RATE_HZ));
        self.jitter_samples += (change - self.jitter_samples) * JITTER_WEIGHT;
        source.last = (packet.timestamp, packet.arrival);
    }

    fn begin(&mut self, packet: &RtpAudio) {
        self.expected_before = self.expected();
        self.source = Some(Source {
            ssrc: packet.ssrc,
            first: i64::from(packet.seq),
            highest: i64::from(packet.seq),
            last: (packet.timestamp, packet.arrival),
        });
    }

    fn expected(&self) -> i64 {
        let now = self
            .source
            .as_ref()
            .map_or(0, |source| source.highest - source.first + 1);
        self.expected_before + now
    }

    pub fn packets(&self) -> u64 {
        self.packets
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Of these, the packets and their bytes that were lost and sent again.
    pub fn resent(&self) -> (u64, u64) {
        self.resent
    }

    /// Expected less received, which duplicates can make negative.
    pub fn lost(&self) -> i64 {
        self.expected() - i64::try_from(self.packets).unwrap_or(i64::MAX)
    }

    /// Interarrival jitter in seconds.
    pub fn jitter_s(&self) -> f64 {
        self.jitter_samples / f64::from(CORE_RATE_HZ)
    }
}

fn seconds_between(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64()
        - from.saturating_duration_since(to).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    fn packet(start: Instant, n: u16, late_ms: u64) -> RtpAudio {
        RtpAudio {
            ssrc: 7,
            seq: 65_500_u16.wrapping_add(n),
            timestamp: u32::from(n) * 960,
            marker: false,
            payload: Bytes::from_static(&[0; 40]),
            arrival: start + Duration::from_millis(u64::from(n) * 20 + late_ms),
            resent: false,
        }
    }

    #[test]
    fn losses_are_counted_over_the_wrap_around() {
        let start = Instant::now();
        let mut reception = Reception::default();
        for n in (0..100).filter(|n| n % 10 != 5) {
            reception.count(&packet(start, n, 0));
        }
        assert_eq!((reception.packets(), reception.lost()), (90, 10));
        assert_eq!(reception.bytes(), 3_600);
        assert!(reception.jitter_s() < 1e-6);
    }

    #[test]
    fn reordered_packets_are_not_lost() {
        let start = Instant::now();
        let mut reception = Reception::default();
        for n in [0, 2, 1, 4, 3, 5] {
            reception.count(&packet(start, n, 0));
        }
        assert_eq!(reception.lost(), 0);
    }

    #[test]
    fn jitter_approaches_the_mean_change_of_transit() {
        let start = Instant::now();
        let mut reception = Reception::default();
        for n in 0..500 {
            reception.count(&packet(start, n, u64::from(n % 2) * 8));
        }
        assert!(
            (reception.jitter_s() - 0.008).abs() < 0.0005,
            "{}",
            reception.jitter_s()
        );
    }

    #[test]
    fn what_was_sent_again_is_no_loss_and_no_jitter() {
        let start = Instant::now();
        let mut reception = Reception::default();
        for n in 0..200 {
            if n % 10 != 5 {
                reception.count(&packet(start, n, 0));
            }
            if n % 10 == 7 {
                reception.count(&RtpAudio {
                    resent: true,
                    ..packet(start, n - 2, 55)
                });
            }
        }
        assert_eq!((reception.packets(), reception.lost()), (200, 0));
        assert_eq!(reception.resent(), (20, 20 * 40));
        assert!(reception.jitter_s() < 1e-9, "{}", reception.jitter_s());
    }

    #[test]
    fn a_new_source_keeps_the_losses_of_the_old_one() {
        let start = Instant::now();
        let mut reception = Reception::default();
        for n in [0, 1, 4] {
            reception.count(&packet(start, n, 0));
        }
        for n in [10, 11] {
            reception.count(&RtpAudio {
                ssrc: 8,
                ..packet(start, n, 0)
            });
        }
        assert_eq!((reception.packets(), reception.lost()), (5, 2));
    }
}
