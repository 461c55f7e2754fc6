//! What a stream sent last, for those who did not get it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtc::rtp;

/// A second of packets of 20 ms; who misses more than that has an outage.
const PACKETS_MAX: usize = 50;
/// How often a packet is sent again: whoever asks more often asks for the sake of asking.
const RESENDS_MAX: u8 = 5;
/// Within this time, or a round trip if that is longer, one copy answers all questions.
const RESEND_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// But a round trip that seems longer is not believed.
const ROUND_TRIP_MAX: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct Sent {
    packet: rtp::Packet,
    resends: u8,
    last: Option<Instant>,
}

/// A packet to be sent again.
#[derive(Debug, PartialEq)]
pub(super) struct Again {
    pub packet: rtp::Packet,
    /// Whether nobody had asked for it before.
    pub is_first: bool,
}

/// The last packets of one stream.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<Sent>);

impl History {
    pub fn note(&mut self, packet: rtp::Packet) {
        if self.0.len() == PACKETS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Sent {
            packet,
            resends: 0,
            last: None,
        });
    }

    /// The packet with this number, if it is to be sent again at `now`.
    pub fn resend(&mut self, now: Instant, seq: u16, round_trip: Duration) -> Option<Again> {
        let is_it = |sent: &&mut Sent| sent.packet.header.sequence_number == seq;
        let sent = self.0.iter_mut().rev().find(is_it)?;
        let pause = RESEND_AGAIN_AFTER.max(round_trip.min(ROUND_TRIP_MAX));
        let is_answered = sent
            .last
            .is_some_and(|at| now.saturating_duration_since(at) < pause);
        if is_answered || sent.resends == RESENDS_MAX {
            return None;
        }
        sent.resends += 1;
        sent.last = Some(now);
        Some(Again {
            packet: sent.packet.clone(),
            is_first: sent.resends == 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: Duration = Duration::ZERO;

    fn packet(seq: u16) -> rtp::Packet {
        rtp::Packet {
            header: rtp::Header {
                version: 2,
                sequence_number: seq,
                timestamp: u32::from(seq) * 960,
                ..Default::default()
            },
            payload: vec![1, 2, 3].into(),
        }
    }

    #[test]
    fn the_last_second_can_be_had_again_and_no_more() {
        let mut history = History::default();
        (0..120).for_each(|n| history.note(packet(65_500_u16.wrapping_add(n))));
        let now = Instant::now();
        for n in 70..120 {
            let seq = 65_500_u16.wrapping_add(n);
            let again = Again {
                packet: packet(seq),
                is_first: true,
            };
            assert_eq!(history.resend(now, seq, NEAR), Some(again));
        }
        assert_eq!(history.resend(now, 65_500_u16.wrapping_add(69), NEAR), None);
        assert_eq!(
            history.resend(now, 65_500_u16.wrapping_add(120), NEAR),
            None
        );
    }

    #[test]
    fn who_asks_without_end_gets_an_end() {
        let mut history = History::default();
        history.note(packet(7));
        let start = Instant::now();
        let copies = (0..1_000)
            .filter(|&ms| {
                history
                    .resend(start + Duration::from_millis(ms), 7, NEAR)
                    .is_some()
            })
            .count();
        assert_eq!(copies, usize::from(RESENDS_MAX));
        let mut history = History::default();
        history.note(packet(7));
        assert!(history.resend(start, 7, NEAR).is_some());
        assert!(
            history
                .resend(start + Duration::from_millis(9), 7, NEAR)
                .is_none()
        );
        let again = history.resend(start + Duration::from_millis(10), 7, NEAR);
        assert!(!again.unwrap().is_first);
    }

    #[test]
    fn nobody_is_answered_twice_before_the_first_answer_can_have_come() {
        let mut history = History::default();
        history.note(packet(7));
        let start = Instant::now();
        let far = Duration::from_millis(90);
        assert!(history.resend(start, 7, far).is_some());
        for (ms, is_answered) in [(12, false), (62, false), (89, false), (90, true)] {
            let again = history.resend(start + Duration::from_millis(ms), 7, far);
            assert_eq!(again.is_some(), is_answered, "{ms} ms");
        }
    }
}
