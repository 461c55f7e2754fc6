//! Which packets of a received stream are missing, and when to ask for them.
//!
//! Pure: time is an argument. A packet is asked for as soon as its successor shows that it is
//! missing, since a playout that waits 40 ms leaves a round trip of 20 ms and no more. Where
//! packets merely overtake each other, the copies that come back without need tell so, and
//! asking waits for as long as the stragglers take.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A longer gap, half a second, is an outage: what comes back would be too late, and a network that
/// recovers has enough to carry.
const GAP_MAX: i16 = 25;
/// A jump beyond this is another stream (RFC 3550, A.1).
const DROPOUT_MAX: i16 = 3_000;
/// How often a packet is asked for: once, and twice more in case the question or its answer was lost.
const ASKS_MAX: u8 = 3;
/// Playout never waits longer for a packet.
const WANTED_FOR: Duration = Duration::from_millis(300);
/// For how long an answered packet is known, so that a second copy of it is noticed.
const REMEMBERED_FOR: Duration = Duration::from_secs(1);
/// What is kept in mind at most, in packets: two outages that just count as losses.
const MISSING_MAX: usize = 2 * GAP_MAX as usize;
/// Before anything was measured. libwebrtc begins with the same.
const ROUND_TRIP_FIRST: Duration = Duration::from_millis(100);
/// A new measurement's share in the round trip is one of so many (RFC 6298).
const ROUND_TRIP_WEIGHT: u32 = 8;
/// Asked again after the round trip and this: half of a packet's length.
const GRACE: Duration = Duration::from_millis(10);
/// Waiting longer than this for stragglers would come to the same as not asking.
const PATIENCE_MAX: Duration = Duration::from_millis(100);
/// Each loss takes one of so many parts off the patience, so that it ends where stragglers end.
const PATIENCE_FADING: u32 = 16;

/// A packet that did not come in its turn.
#[derive(Debug)]
struct Missing {
    seq: u16,
    since: Instant,
    asks: u8,
    /// When it is to be asked for next; after the first time, so long after `asked_at`.
    next: Instant,
    asked_at: Instant,
    arrived_at: Option<Instant>,
}

impl Missing {
    fn next_ask(&self) -> Option<Instant> {
        let is_wanted = self.arrived_at.is_none()
            && self.asks < ASKS_MAX
            && self.next.saturating_duration_since(self.since) < WANTED_FOR;
        is_wanted.then_some(self.next)
    }
}

/// What is missing of one stream.
#[derive(Debug)]
pub(super) struct Requests {
    highest: Option<u16>,
    missing: VecDeque<Missing>,
    round_trip: Duration,
    /// How long a packet may be missing before it is asked for.
    patience: Duration,
}

impl Requests {
    pub fn new() -> Self {
        Self {
            highest: None,
            missing: VecDeque::new(),
            round_trip: ROUND_TRIP_FIRST,
            patience: Duration::ZERO,
        }
    }

    /// Notes a packet that arrived at `now`, and says whether it was asked for.
    pub fn note(&mut self, now: Instant, seq: u16) -> bool {
        let Some(highest) = self.highest else {
            self.highest = Some(seq);
            return false;
        };
        let ahead = seq.wrapping_sub(highest).cast_signed();
        if ahead.unsigned_abs() > DROPOUT_MAX.unsigned_abs() {
            self.highest = Some(seq);
            self.missing.clear();
            return false;
        }
        if ahead <= 0 {
            return self.note_late(now, seq);
        }
        self.highest = Some(seq);
        self.forget_old(now);
        if ahead - 1 > GAP_MAX {
            self.missing.clear();
        } else {
            for back in (1..ahead.cast_unsigned()).rev() {
                self.miss(now, seq.wrapping_sub(back));
            }
        }
        false
    }

    /// Adds to `seqs` what is to be asked for at `now`, and takes it as asked for.
    pub fn take_due(&mut self, now: Instant, seqs: &mut Vec<u16>) {
        let again_after = self.round_trip + GRACE;
        for missing in &mut self.missing {
            if missing.next_ask().is_none_or(|next| next > now) {
                continue;
            }
            if missing.asks == 0 {
                self.patience -= self.patience / PATIENCE_FADING;
            }
            missing.asks += 1;
            missing.asked_at = now;
            missing.next = now + again_after;
            seqs.push(missing.seq);
        }
    }

    /// When there is something to be asked for next.
    pub fn next_ask(&self) -> Option<Instant> {
        self.missing.iter().filter_map(Missing::next_ask).min()
    }

    fn miss(&mut self, now: Instant, seq: u16) {
        if self.missing.len() == MISSING_MAX {
            self.missing.pop_front();
        }
        self.missing.push_back(Missing {
            seq,
            since: now,
            asks: 0,
            next: now + self.patience,
            asked_at: now,
            arrived_at: None,
        });
    }

    fn note_late(&mut self, now: Instant, seq: u16) -> bool {
        let Some(index) = self.missing.iter().position(|m| m.seq == seq) else {
            return false;
        };
        let missing = &mut self.missing[index];
        let (since, asked_at, asks) = (missing.since, missing.asked_at, missing.asks);
        let Some(arrived_at) = missing.arrived_at else {
            if asks == 0 {
                // Nobody was asked: it was overtaken on its way.
                self.missing.remove(index);
                self.be_patient(now.saturating_duration_since(since));
                return false;
            }
            missing.arrived_at = Some(now);
            // After a second question nobody knows which of them was answered (Karn's algorithm).
            if asks == 1 {
                self.measure(now.saturating_duration_since(asked_at));
            }
            return true;
        };
        self.missing.remove(index);
        if asks == 1 {
            // One question, two copies: the first one had only been overtaken.
            self.measure(now.saturating_duration_since(asked_at));
            self.be_patient(arrived_at.saturating_duration_since(since));
        }
        true
    }

    fn be_patient(&mut self, straggler: Duration) {
        self.patience = self.patience.max(straggler + GRACE).min(PATIENCE_MAX);
    }

    fn measure(&mut self, round_trip: Duration) {
        let before = self.round_trip;
        self.round_trip = before - before / ROUND_TRIP_WEIGHT + round_trip / ROUND_TRIP_WEIGHT;
    }

    fn forget_old(&mut self, now: Instant) {
        while self
            .missing
            .front()
            .is_some_and(|m| now.saturating_duration_since(m.since) > REMEMBERED_FOR)
        {
            self.missing.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A stream of packets of 20 ms whose numbers wrap on the way.
    struct Bench {
        start: Instant,
        requests: Requests,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                start: Instant::now(),
                requests: Requests::new(),
            }
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        fn seq(n: u16) -> u16 {
            65_530_u16.wrapping_add(n)
        }

        /// Packet `n` arrives at `ms`.
        fn note(&mut self, n: u16, ms: u64) -> bool {
            let at = self.at(ms);
            self.requests.note(at, Self::seq(n))
        }

        /// What is asked for at `ms`, as numbers of packets.
        fn asked(&mut self, ms: u64) -> Vec<u16> {
            let mut seqs = Vec::new();
            self.requests.take_due(self.at(ms), &mut seqs);
            seqs.iter()
                .map(|seq| seq.wrapping_sub(Self::seq(0)))
                .collect()
        }

        /// Packets arrive on time.
        fn note_all(&mut self, packets: std::ops::Range<u16>) {
            for n in packets {
                assert!(!self.note(n, u64::from(n) * 20), "packet {n}");
            }
        }
    }

    #[test]
    fn nothing_is_asked_for_while_all_comes() {
        let mut bench = Bench::new();
        bench.note_all(0..100);
        assert!(bench.asked(2_000).is_empty());
        assert_eq!(bench.requests.next_ask(), None);
    }

    #[test]
    fn what_is_missing_is_asked_for_at_once() {
        let mut bench = Bench::new();
        bench.note_all(0..5);
        bench.note(8, 160);
        assert_eq!(bench.requests.next_ask(), Some(bench.at(160)));
        assert_eq!(bench.asked(160), [5, 6, 7]);
        assert!(bench.note(5, 165) && bench.note(6, 165) && bench.note(7, 166));
        assert_eq!(bench.requests.next_ask(), None);
    }

    #[test]
    fn it_is_asked_for_thrice_and_not_sooner_than_an_answer_can_come() {
        let mut bench = Bench::new();
        bench.note_all(0..5);
        bench.note(6, 120);
        let asks: Vec<u64> = (120..2_000)
            .filter(|&ms| !bench.asked(ms).is_empty())
            .collect();
        assert_eq!(asks, [120, 230, 340]);
        assert_eq!(bench.requests.next_ask(), None);
    }

    #[test]
    fn nobody_asks_for_what_would_come_too_late_to_be_played() {
        let mut bench = Bench::new();
        bench.note_all(0..5);
        bench.note(6, 120);
        bench.asked(120);
        bench.asked(415);
        assert_eq!(bench.requests.next_ask(), None, "295 ms and a round trip");
    }

    #[test]
    fn on_a_short_way_it_is_asked_for_again_soon() {
        let mut bench = Bench::new();
        let mut ms = 0;
        for n in 0..60_u16 {
            ms = u64::from(n) * 20;
            if n % 2 == 1 {
                continue;
            }
            bench.note(n, ms);
            for lost in bench.asked(ms) {
                assert!(bench.note(lost, ms + 5));
            }
        }
        bench.note(62, ms + 60);
        assert_eq!(bench.asked(ms + 60).len(), 3);
        let again = bench.requests.next_ask().unwrap();
        let wait = again - bench.at(ms + 60);
        assert!(wait < Duration::from_millis(25), "{wait:?}");
    }

    #[test]
    fn an_outage_is_not_asked_for() {
        let mut bench = Bench::new();
        bench.note_all(0..5);
        bench.note(31, 620);
        assert!(bench.asked(620).is_empty());
        bench.note(57, 1_140);
        assert_eq!(bench.asked(1_140).len(), 25);
    }

    #[test]
    fn stragglers_are_waited_for_once_they_are_known() {
        let mut bench = Bench::new();
        bench.note_all(0..10);
        // Packet 10 is overtaken; what was asked for in vain comes as well.
        bench.note(11, 220);
        assert_eq!(bench.asked(220), [10]);
        assert!(bench.note(10, 230), "taken for the answer");
        assert!(bench.note(10, 240), "the answer");
        bench.note(13, 260);
        assert!(bench.asked(260).is_empty());
        assert!(!bench.note(12, 270));
        assert_eq!(bench.requests.next_ask(), None);
        // What does not come is asked for all the same.
        bench.note(15, 300);
        assert!(bench.asked(315).is_empty());
        assert_eq!(bench.asked(320), [14]);
    }

    #[test]
    fn patience_ends_with_the_stragglers() {
        let mut bench = Bench::new();
        bench.note_all(0..2);
        bench.note(3, 60);
        assert_eq!(bench.asked(60), [2]);
        bench.note(2, 130);
        bench.note(2, 160);
        assert_eq!(bench.requests.patience, Duration::from_millis(80));
        for n in (5..200_u16).step_by(2) {
            bench.note(n, u64::from(n) * 20);
            bench.asked(u64::from(n) * 20 + 100);
        }
        let patience = bench.requests.patience;
        assert!(patience < Duration::from_millis(1), "{patience:?}");
    }

    #[test]
    fn another_stream_begins_anew() {
        let mut bench = Bench::new();
        bench.note_all(0..5);
        bench.note(7, 140);
        bench.note(30_000, 160);
        assert_eq!(bench.requests.next_ask(), None);
        bench.note(30_002, 200);
        assert_eq!(bench.asked(200), [30_001]);
    }

    proptest! {
        #[test]
        fn any_packets_are_taken_and_questions_are_bounded(
            packets in prop::collection::vec((any::<u16>(), 0..40_u64, prop::bool::ANY), 0..400)
        ) {
            let mut bench = Bench::new();
            let mut ms = 0;
            for (seq, later, is_near) in packets {
                ms += later;
                bench.note(if is_near { seq % 60 } else { seq }, ms);
                prop_assert!(bench.asked(ms).len() <= MISSING_MAX);
                prop_assert!(bench.requests.missing.len() <= MISSING_MAX);
                prop_assert!(bench.requests.patience <= PATIENCE_MAX);
                prop_assert!(bench.requests.next_ask().is_none_or(|next| next > bench.at(ms)));
            }
        }
    }
}
