//! Which packets of a received stream are missing, and when to ask for them.
//!
//! Pure: time is an argument. A packet is asked for as soon as its successor shows that it is
//! missing, since a playout that waits 40 ms leaves a round trip of 20 ms and no more. Packets that
//! are merely overtaken would come anyway: some gaps are not asked for at first, and if those fill by
//! themselves, asking waits for as long as that takes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A longer gap is an outage, half a second of packets of 20 ms: what comes back would be too late, and a
/// network that recovers has enough to carry.
const GAP_MAX: i16 = 25;
/// A jump beyond this is another stream (RFC 3550, A.1).
const DROPOUT_MAX: i16 = 3_000;
/// What is kept in mind at most, in packets: two outages that just count as losses.
const MISSING_MAX: usize = 2 * GAP_MAX as usize;
/// The pauses between the questions for one packet, in case one of them or its answer is lost. The second one comes soon
/// for LiveKit's server, which answers nobody until two round trips after it sent a packet; whoever has
/// answered already knows not to do it twice within a round trip.
const ASK_AGAIN_AFTER: [Duration; 3] = [
    Duration::from_millis(12),
    Duration::from_millis(50),
    Duration::from_millis(100),
];
/// One gap of so many is not asked for until nobody waits for its packets any more, to see whether they come by themselves.
const CONTROL_EVERY: u32 = 8;
/// The longest that asking waits for stragglers; after that an answer would be of no use.
const PATIENCE_MAX: Duration = Duration::from_millis(100);
/// Added to how long a straggler took: half of a packet of 20 ms.
const GRACE: Duration = Duration::from_millis(10);
/// Each loss takes one of so many parts off the patience, so that it ends where stragglers end.
const PATIENCE_FADING: u32 = 16;

/// A packet that did not come in its turn.
#[derive(Debug)]
struct Missing {
    seq: u16,
    since: Instant,
    asks: usize,
    /// When it is to be asked for next.
    next: Option<Instant>,
}

/// What is missing of one stream.
#[derive(Debug, Default)]
pub(super) struct Requests {
    highest: Option<u16>,
    missing: VecDeque<Missing>,
    /// How long a packet may be missing before it is asked for.
    patience: Duration,
    gaps: u32,
}

impl Requests {
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
        if ahead - 1 > GAP_MAX {
            self.missing.clear();
        } else if ahead > 1 {
            self.note_gap(now, seq, ahead.cast_unsigned() - 1);
        }
        false
    }

    /// Adds to `seqs` what is to be asked for at `now`, and takes it as asked for.
    pub fn take_due(&mut self, now: Instant, seqs: &mut Vec<u16>) {
        for missing in &mut self.missing {
            if missing.next.is_none_or(|next| next > now) {
                continue;
            }
            if missing.asks == 0 {
                self.patience -= self.patience / PATIENCE_FADING;
            }
            missing.next = ASK_AGAIN_AFTER.get(missing.asks).map(|&pause| now + pause);
            missing.asks += 1;
            seqs.push(missing.seq);
        }
    }

    /// When there is something to be asked for next.
    pub fn next_ask(&self) -> Option<Instant> {
        self.missing.iter().filter_map(|missing| missing.next).min()
    }

    /// Notes that the `count` packets before `seq` are missing.
    fn note_gap(&mut self, now: Instant, seq: u16, count: u16) {
        let is_control = self.gaps.is_multiple_of(CONTROL_EVERY);
        self.gaps = self.gaps.wrapping_add(1);
        let wait = if is_control {
            PATIENCE_MAX
        } else {
            self.patience
        };
        for back in (1..=count).rev() {
            if self.missing.len() == MISSING_MAX {
                self.missing.pop_front();
            }
            self.missing.push_back(Missing {
                seq: seq.wrapping_sub(back),
                since: now,
                asks: 0,
                next: Some(now + wait),
            });
        }
    }

    fn note_late(&mut self, now: Instant, seq: u16) -> bool {
        // From the back, since numbers come round again.
        let index = self.missing.iter().rposition(|missing| missing.seq == seq);
        let Some(missing) = index.and_then(|index| self.missing.remove(index)) else {
            return false;
        };
        if missing.asks == 0 {
            // Nobody was asked: it was overtaken on its way.
            let straggler = now.saturating_duration_since(missing.since);
            self.patience = self.patience.max(straggler + GRACE).min(PATIENCE_MAX);
        }
        missing.asks > 0
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
                requests: Requests::default(),
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

        /// One that has lost packet 10 of its first 15 and knows by now that it does not come by itself.
        fn after_control() -> Self {
            let mut bench = Self::new();
            bench.note_all(0..10);
            bench.note_all(11..15);
            assert!(bench.asked(319).is_empty());
            assert_eq!(bench.asked(320), [10]);
            bench.requests.missing.clear();
            bench
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
        let mut bench = Bench::after_control();
        bench.note(18, 360);
        assert_eq!(bench.requests.next_ask(), Some(bench.at(360)));
        assert_eq!(bench.asked(360), [15, 16, 17]);
        assert!(bench.note(15, 365) && bench.note(16, 365) && bench.note(17, 366));
        assert_eq!(bench.requests.next_ask(), None);
    }

    #[test]
    fn it_is_asked_for_four_times() {
        let mut bench = Bench::after_control();
        bench.note(16, 320);
        let asks: Vec<u64> = (320..2_000)
            .filter(|&ms| !bench.asked(ms).is_empty())
            .collect();
        assert_eq!(asks, [320, 332, 382, 482]);
        assert_eq!(bench.requests.next_ask(), None);
    }

    #[test]
    fn one_gap_in_eight_shows_whether_its_packets_come_by_themselves() {
        let mut bench = Bench::new();
        let mut asked_at_once = 0;
        for n in (0..160_u16).step_by(2) {
            let ms = u64::from(n) * 20;
            bench.note(n, ms);
            asked_at_once += bench.asked(ms).len();
            bench.asked(ms + 39);
        }
        assert_eq!(asked_at_once, 79 - 10);
    }

    #[test]
    fn stragglers_are_waited_for_once_they_are_known() {
        let mut bench = Bench::new();
        bench.note_all(0..10);
        // Packet 10 is overtaken, in a gap that nobody is asked about yet.
        bench.note(11, 220);
        assert!(bench.asked(220).is_empty());
        assert!(!bench.note(10, 230));
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
        bench.note(2, 130);
        assert_eq!(bench.requests.patience, Duration::from_millis(80));
        for n in (5..200_u16).step_by(2) {
            bench.note(n, u64::from(n) * 20);
            bench.asked(u64::from(n) * 20 + 100);
        }
        let patience = bench.requests.patience;
        assert!(patience < Duration::from_millis(1), "{patience:?}");
    }

    #[test]
    fn an_outage_is_not_asked_for() {
        let mut bench = Bench::after_control();
        bench.note(41, 820);
        assert!(bench.asked(820).is_empty());
        bench.note(67, 1_340);
        assert_eq!(bench.asked(1_340).len(), 25);
    }

    #[test]
    fn another_stream_begins_anew() {
        let mut bench = Bench::after_control();
        bench.note(17, 340);
        bench.note(30_000, 360);
        assert_eq!(bench.requests.next_ask(), None);
        bench.note(30_002, 400);
        assert_eq!(bench.asked(400), [30_001]);
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
