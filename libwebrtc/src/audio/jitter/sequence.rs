//! Turns the wrapping counters of RTP into numbers that only grow.

/// A jump ahead of more than this (a minute of 20 ms packets) is not loss but another stream
/// (RFC 3550, A.1).
const DROPOUT_MAX: i16 = 3_000;

/// A packet from further back than this (10 s of 20 ms packets) is not late but from another
/// stream. RFC 3550 proposes 100, which a resumed network path can exceed.
const MISORDER_MAX: i16 = 500;

/// A packet's place in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Sequence number without wrap-around.
    pub seq: i64,
    /// Timestamp in samples without wrap-around.
    pub time: i64,
    /// No packet with a higher number came before.
    pub newest: bool,
}

/// What to do with a packet, judged by its numbers alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Part of the stream.
    Belongs(Place),
    /// The sender has started over; what is buffered is history.
    Restarts(Place),
    /// Far off, and not yet confirmed by a successor.
    Suspect,
}

/// Follows one stream.
#[derive(Debug, Default)]
pub(super) struct Unwrapper {
    newest: Option<Place>,
    /// The number that would confirm a jump.
    suspect_next: Option<u16>,
}

impl Unwrapper {
    pub fn place(&mut self, seq: u16, timestamp: u32) -> Verdict {
        let Some(newest) = self.newest else {
            return Verdict::Belongs(self.start(seq, timestamp));
        };
        let ahead = seq.wrapping_sub(low16(newest.seq)).cast_signed();
        if !(-MISORDER_MAX..=DROPOUT_MAX).contains(&ahead) {
            if self.suspect_next == Some(seq) {
                return Verdict::Restarts(self.start(seq, timestamp));
            }
            self.suspect_next = Some(seq.wrapping_add(1));
            return Verdict::Suspect;
        }
        let later = timestamp.wrapping_sub(low32(newest.time)).cast_signed();
        let place = Place {
            seq: newest.seq + i64::from(ahead),
            time: newest.time + i64::from(later),
            newest: ahead > 0,
        };
        if place.newest {
            self.newest = Some(place);
            self.suspect_next = None;
        }
        Verdict::Belongs(place)
    }

    fn start(&mut self, seq: u16, timestamp: u32) -> Place {
        let place = Place {
            seq: i64::from(seq),
            time: i64::from(timestamp),
            newest: true,
        };
        self.newest = Some(place);
        self.suspect_next = None;
        place
    }
}

fn low16(value: i64) -> u16 {
    (value & 0xffff) as u16
}

fn low32(value: i64) -> u32 {
    (value & 0xffff_ffff) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn belongs(verdict: Verdict) -> Place {
        match verdict {
            Verdict::Belongs(place) => place,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn both_counters_wrap_without_a_jump() {
        let mut unwrapper = Unwrapper::default();
        let (seq, time) = (65_530_u16, u32::MAX - 2_000);
        let first = belongs(unwrapper.place(seq, time));
        for n in 1..200_u16 {
            let place = belongs(
                unwrapper.place(seq.wrapping_add(n), time.wrapping_add(u32::from(n) * 960)),
            );
            assert_eq!(place.seq, first.seq + i64::from(n));
            assert_eq!(place.time, first.time + i64::from(n) * 960);
        }
    }

    #[test]
    fn a_late_packet_is_placed_before_the_newest() {
        let mut unwrapper = Unwrapper::default();
        let newest = belongs(unwrapper.place(1, 0));
        let late = belongs(unwrapper.place(65_535, 0_u32.wrapping_sub(1_920)));
        assert_eq!(late.seq, newest.seq - 2);
        assert_eq!(late.time, newest.time - 1_920);
        assert!(!late.newest);
    }

    #[test]
    fn one_stray_packet_is_no_restart_and_two_in_a_row_are() {
        let mut unwrapper = Unwrapper::default();
        belongs(unwrapper.place(100, 0));
        assert_eq!(unwrapper.place(30_000, 0), Verdict::Suspect);
        belongs(unwrapper.place(101, 960));
        assert_eq!(unwrapper.place(30_000, 0), Verdict::Suspect);
        assert!(matches!(unwrapper.place(30_001, 960), Verdict::Restarts(_)));
        belongs(unwrapper.place(30_002, 1_920));
    }

    proptest! {
        #[test]
        fn any_numbers_are_taken(packets in prop::collection::vec(any::<(u16, u32)>(), 0..500)) {
            let mut unwrapper = Unwrapper::default();
            for (seq, timestamp) in packets {
                if let Verdict::Belongs(place) | Verdict::Restarts(place) = unwrapper.place(seq, timestamp) {
                    prop_assert_eq!(low16(place.seq), seq);
                    prop_assert_eq!(low32(place.time), timestamp);
                }
            }
        }
    }
}
