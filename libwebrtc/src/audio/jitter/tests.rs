use std::time::Duration;

use proptest::prelude::*;

use super::{delay::TARGET_MIN_US, *};

const BEAT: Duration = Duration::from_millis(10);
const PACKET_SAMPLES: u32 = 960;

/// A jitter buffer on a clock of its own. Packets carry their number as payload.
struct Bench {
    buffer: JitterBuffer,
    start: Instant,
    beats: u32,
    owed: i64,
    heard: Vec<Heard>,
}

/// What was played, in units of what the buffer said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Packet(u16),
    /// The rest of a packet that came late, in samples.
    CaughtUp(u16, usize),
    Recovered(usize),
    Concealed,
    Silent,
}

impl Bench {
    fn new() -> Self {
        Self {
            buffer: JitterBuffer::new(),
            start: Instant::now(),
            beats: 0,
            owed: 0,
            heard: Vec::new(),
        }
    }

    fn packet(&self, n: u16, arrival_ms: u64) -> RtpAudio {
        RtpAudio {
            ssrc: 1,
            seq: n,
            timestamp: u32::from(n).wrapping_mul(PACKET_SAMPLES),
            marker: false,
            payload: Bytes::copy_from_slice(&n.to_be_bytes()),
            arrival: self.start + Duration::from_millis(arrival_ms),
            resent: false,
        }
    }

    fn resent(&self, n: u16, arrival_ms: u64) -> RtpAudio {
        RtpAudio {
            resent: true,
            ..self.packet(n, arrival_ms)
        }
    }

    fn insert(&mut self, packet: &RtpAudio) -> Inserted {
        self.insert_with(packet, true)
    }

    fn insert_with(&mut self, packet: &RtpAudio, redundant: bool) -> Inserted {
        let samples = PACKET_SAMPLES as usize;
        self.buffer.insert(packet.clone(), samples, redundant)
    }

    /// Plays one beat, as a caller with a decoder would.
    fn beat(&mut self) {
        let at = self.start + BEAT * self.beats;
        self.beats += 1;
        self.owed += TICK_SAMPLES;
        while self.owed > 0 {
            let (heard, samples) = match self.buffer.step(at) {
                Step::Decode(payload) => {
                    let n = u16::from_be_bytes([payload[0], payload[1]]);
                    (Heard::Packet(n), i64::from(PACKET_SAMPLES))
                }
                Step::CatchUp { payload, past } => {
                    let n = u16::from_be_bytes([payload[0], payload[1]]);
                    let left = PACKET_SAMPLES as usize - past;
                    (Heard::CaughtUp(n, left), left as i64)
                }
                Step::Recover { samples, .. } => (Heard::Recovered(samples), samples as i64),
                Step::Conceal { samples, .. } => (Heard::Concealed, samples as i64),
                Step::Silence => (Heard::Silent, TICK_SAMPLES),
            };
            self.heard.push(heard);
            self.owed -= samples;
        }
    }

    /// Plays for `ms`, with packets (number, arrival in ms) put in when they arrive.
    fn run(&mut self, packets: &[(u16, u64)], until_ms: u64) {
        let mut packets = packets.to_vec();
        packets.sort_by_key(|&(_, arrival)| arrival);
        let mut packets = packets.into_iter().peekable();
        while u64::from(self.beats) * 10 <= until_ms {
            let now_ms = u64::from(self.beats) * 10;
            while let Some((n, arrival)) = packets.next_if(|&(_, arrival)| arrival <= now_ms) {
                let packet = self.packet(n, arrival);
                self.insert(&packet);
            }
            self.beat();
        }
    }

    fn played(&self) -> Vec<u16> {
        self.heard
            .iter()
            .filter_map(|heard| match heard {
                Heard::Packet(n) => Some(*n),
                _ => None,
            })
            .collect()
    }

    fn count(&self, wanted: Heard) -> usize {
        self.heard.iter().filter(|&&heard| heard == wanted).count()
    }

    /// What was heard from the first packet to the last.
    fn talk(&self) -> &[Heard] {
        let is_packet = |heard: &Heard| matches!(heard, Heard::Packet(_));
        let first = self.heard.iter().position(is_packet).unwrap();
        let last = self.heard.iter().rposition(is_packet).unwrap();
        &self.heard[first..=last]
    }

    fn excess_us(&self) -> i64 {
        self.buffer
            .excess_us(self.start + BEAT * self.beats, 0)
            .unwrap()
    }
}

fn on_time(numbers: impl IntoIterator<Item = u16>) -> Vec<(u16, u64)> {
    numbers
        .into_iter()
        .map(|n| (n, u64::from(n) * 20))
        .collect()
}

#[test]
fn the_first_packet_waits_for_the_initial_delay() {
    let mut bench = Bench::new();
    bench.run(&on_time(0..50), 1_200);
    let silent = bench
        .heard
        .iter()
        .take_while(|&&heard| heard == Heard::Silent)
        .count();
    assert_eq!(silent as i64 * 10_000, TARGET_MIN_US);
    assert_eq!(bench.played(), (0..50).collect::<Vec<_>>());
    assert!(
        bench
            .talk()
            .iter()
            .all(|heard| matches!(heard, Heard::Packet(_)))
    );
}

#[test]
fn reordered_packets_are_played_in_order() {
    let mut bench = Bench::new();
    let mut packets = on_time(0..50);
    for pair in packets.chunks_exact_mut(2) {
        pair[0].1 += 25;
    }
    bench.run(&packets, 1_200);
    assert_eq!(bench.played(), (0..50).collect::<Vec<_>>());
    assert!(
        bench
            .talk()
            .iter()
            .all(|heard| matches!(heard, Heard::Packet(_)))
    );
}

#[test]
fn duplicates_are_played_once() {
    let mut bench = Bench::new();
    let mut packets = on_time(0..50);
    packets.extend((0..50).map(|n| (n, u64::from(n) * 20 + 5)));
    bench.run(&packets, 1_200);
    assert_eq!(bench.played(), (0..50).collect::<Vec<_>>());
}

#[test]
fn a_lost_packet_is_recovered_from_its_successor_and_takes_its_time() {
    let mut bench = Bench::new();
    bench.run(&on_time((0..50).filter(|&n| n != 20)), 1_200);
    let at = bench
        .talk()
        .iter()
        .position(|&heard| heard == Heard::Packet(19))
        .unwrap();
    assert_eq!(
        bench.talk()[at..at + 3],
        [Heard::Packet(19), Heard::Recovered(960), Heard::Packet(21)]
    );
}

#[test]
fn of_several_lost_packets_the_last_is_recovered_and_the_others_concealed() {
    let mut bench = Bench::new();
    bench.run(&on_time((0..50).filter(|n| !(20..22).contains(n))), 1_200);
    let at = bench
        .talk()
        .iter()
        .position(|&heard| heard == Heard::Packet(19))
        .unwrap();
    let concealed = [Heard::Concealed; 2];
    assert_eq!(bench.talk()[at + 1..at + 3], concealed);
    assert_eq!(
        bench.talk()[at + 3..at + 5],
        [Heard::Recovered(960), Heard::Packet(22)]
    );
}

#[test]
fn a_late_packet_is_thrown_away_when_its_time_has_passed() {
    let mut bench = Bench::new();
    bench.run(&on_time((0..50).filter(|&n| n != 20)), 1_000);
    let late = bench.packet(20, 1_000);
    assert_eq!(bench.insert(&late), Inserted::Late);
}

#[test]
fn a_stalled_network_costs_delay_and_no_words() {
    let mut bench = Bench::new();
    // Nothing for 180 ms, then everything at once.
    let packets: Vec<_> = (0..100)
        .map(|n| (n, u64::from(n) * 20))
        .map(|(n, at)| (n, if (600..780).contains(&at) { 780 } else { at }))
        .collect();
    bench.run(&packets, 2_500);
    assert_eq!(bench.played(), (0..100).collect::<Vec<_>>());
    assert!(bench.count(Heard::Concealed) > 0);
}

#[test]
fn sound_that_never_comes_ends_in_silence() {
    let mut bench = Bench::new();
    bench.run(&on_time(0..10), 2_000);
    let after = &bench.heard[bench.heard.len() - 120..];
    assert!(after.iter().all(|&heard| heard == Heard::Silent));
    assert_eq!(
        bench.count(Heard::Concealed) as i64 * TICK_SAMPLES,
        CONCEAL_SAMPLES_MAX
    );
}

#[test]
fn a_pause_of_the_sender_keeps_its_length() {
    let mut bench = Bench::new();
    // Numbers go on without a gap, time doesn't: nothing was sent for a second.
    for n in 0..10 {
        let packet = bench.packet(n, u64::from(n) * 20);
        bench.run(&[], u64::from(n) * 20);
        bench.insert(&packet);
    }
    bench.run(&[], 1_190);
    for n in 10..20_u16 {
        let arrival = 1_000 + u64::from(n) * 20;
        bench.run(&[], arrival);
        let mut packet = bench.packet(n, arrival);
        packet.timestamp += 48_000;
        bench.insert(&packet);
    }
    bench.run(&[], 1_600);
    assert_eq!(bench.played(), (0..20).collect::<Vec<_>>());
    let talk = bench.talk();
    let gap = talk
        .iter()
        .filter(|heard| !matches!(heard, Heard::Packet(_)))
        .count();
    assert!((99..=101).contains(&gap), "{gap} beats");
}

#[test]
fn a_pause_in_which_the_senders_time_stands_still_is_survived() {
    let mut bench = Bench::new();
    bench.run(&on_time(0..50), 11_000);
    let later: Vec<_> = (50..100).map(|n| (n, u64::from(n) * 20 + 10_000)).collect();
    bench.run(&later, 11_950);
    assert!(bench.excess_us().abs() < 30_000, "{}", bench.excess_us());
    bench.run(&[], 13_000);
    assert_eq!(bench.played(), (0..98).collect::<Vec<_>>());
}

#[test]
fn both_counters_wrap_without_a_gap() {
    let mut bench = Bench::new();
    for n in 0..100_u16 {
        bench.run(&[], u64::from(n) * 20);
        let mut packet = bench.packet(n, u64::from(n) * 20);
        packet.seq = 65_500_u16.wrapping_add(n);
        packet.timestamp = (u32::MAX - 40_000).wrapping_add(u32::from(n) * PACKET_SAMPLES);
        bench.insert(&packet);
    }
    bench.run(&[], 2_100);
    assert_eq!(bench.played(), (0..100).collect::<Vec<_>>());
    assert!(
        bench
            .talk()
            .iter()
            .all(|heard| matches!(heard, Heard::Packet(_)))
    );
}

#[test]
fn a_new_source_starts_over_and_stragglers_of_the_old_one_are_ignored() {
    let mut bench = Bench::new();
    bench.run(&on_time(0..20), 400);
    let mut packet = bench.packet(7_000, 410);
    packet.ssrc = 2;
    assert_eq!(bench.insert(&packet), Inserted::Restarted);
    let straggler = bench.packet(20, 415);
    assert_eq!(bench.insert(&straggler), Inserted::Stray);
    bench.run(&[], 600);
    assert_eq!(bench.played().last(), Some(&7_000));
}

#[test]
fn a_sender_that_starts_over_is_followed_from_its_second_packet() {
    let mut bench = Bench::new();
    bench.run(&on_time(0..20), 400);
    for n in 0..20_u16 {
        let arrival = 400 + u64::from(n) * 20;
        bench.run(&[], arrival);
        let packet = bench.packet(30_000 + n, arrival);
        bench.insert(&packet);
    }
    bench.run(&[], 1_000);
    let restarted: Vec<_> = bench
        .played()
        .into_iter()
        .filter(|&n| n >= 30_000)
        .collect();
    assert_eq!(restarted, (30_001..30_020).collect::<Vec<_>>());
}

#[test]
fn a_burst_beyond_the_bound_drops_the_oldest() {
    let mut bench = Bench::new();
    let burst: Vec<_> = (0..100).map(|n| (n, 0)).collect();
    bench.run(&burst, 0);
    assert!(bench.buffer.span_samples() <= SPAN_SAMPLES_MAX);
    assert_eq!(bench.buffer.overflowed(), 75);
    bench.run(&[], 2_000);
    assert_eq!(bench.played(), (75..100).collect::<Vec<_>>());
}

#[test]
fn jitter_within_the_learned_range_causes_no_concealment() {
    let mut bench = Bench::new();
    let packets: Vec<_> = (0..1_000_u16)
        .map(|n| (n, u64::from(n) * 20 + u64::from(n) * 7_919 % 60))
        .collect();
    bench.run(&packets, 20_500);
    let settled = &bench.talk()[200..];
    let gaps = settled
        .iter()
        .filter(|heard| !matches!(heard, Heard::Packet(_)))
        .count();
    assert!(gaps <= 2, "{gaps}");
    assert!(
        bench.buffer.target_us() <= 90_000,
        "{}",
        bench.buffer.target_us()
    );
}

#[test]
fn what_is_sent_again_after_long_does_not_delay_the_rest() {
    let mut bench = Bench::new();
    let mut packets: Vec<_> = (0..1_000_u16)
        .map(|n| (n, n % 10 == 5))
        .map(|(n, is_lost)| {
            (
                u64::from(n) * 20 + if is_lost { 150 } else { 0 },
                n,
                is_lost,
            )
        })
        .collect();
    packets.sort_unstable();
    for (arrival, n, is_lost) in packets {
        bench.run(&[], arrival);
        let packet = RtpAudio {
            resent: is_lost,
            ..bench.packet(n, arrival)
        };
        bench.insert(&packet);
    }
    assert_eq!(bench.buffer.target_us(), TARGET_MIN_US);
}

#[test]
fn what_is_sent_again_in_time_is_played_as_if_it_had_never_been_lost() {
    let mut bench = Bench::new();
    for n in 0..200_u16 {
        if n % 10 != 5 {
            bench.run(&[], u64::from(n) * 20);
            bench.insert(&bench.packet(n, u64::from(n) * 20));
        }
        if n % 10 == 6 {
            let arrival = u64::from(n) * 20 + 8;
            let packet = bench.resent(n - 1, arrival);
            assert_eq!(bench.insert(&packet), Inserted::Queued);
        }
    }
    bench.run(&[], 4_100);
    assert_eq!(bench.played(), (0..200).collect::<Vec<_>>());
    assert_eq!(bench.talk().len(), 200);
}

#[test]
fn what_is_sent_again_too_late_is_joined_where_the_stream_has_got_to() {
    let mut bench = Bench::new();
    for n in 0..200_u16 {
        let arrival = u64::from(n) * 20;
        bench.run(&[], arrival);
        if !(100..103).contains(&n) {
            bench.insert(&bench.packet(n, arrival));
        }
        if n == 103 {
            bench.run(&[], arrival + 10);
            for lost in 100..103 {
                let packet = bench.resent(lost, arrival + 15);
                assert_eq!(bench.insert(&packet), Inserted::Queued);
            }
        }
    }
    bench.run(&[], 4_100);
    let at = |wanted: Heard| bench.heard.iter().position(|&heard| heard == wanted);
    let (from, to) = (
        at(Heard::Packet(99)).unwrap(),
        at(Heard::Packet(103)).unwrap(),
    );
    let concealed = bench.heard[from..to]
        .iter()
        .filter(|heard| matches!(heard, Heard::Concealed))
        .count();
    assert!(
        (3..=5).contains(&concealed),
        "{:?}",
        &bench.heard[from..=to]
    );
    let played: usize = bench.heard[from + 1..to]
        .iter()
        .map(|heard| match heard {
            Heard::Concealed => TICK_SAMPLES as usize,
            Heard::Packet(_) => PACKET_SAMPLES as usize,
            Heard::CaughtUp(_, samples) => *samples,
            other => panic!("{other:?}"),
        })
        .sum();
    // Neither longer nor shorter than what was lost.
    assert_eq!(played, 3 * PACKET_SAMPLES as usize);
    let is_joined = |heard: &Heard| matches!(heard, Heard::CaughtUp(..));
    assert!(bench.heard[from..to].iter().any(is_joined));
    assert_eq!(bench.heard.last(), Some(&Heard::Concealed));
}

#[test]
fn a_packet_that_comes_within_its_own_time_is_heard_from_there_on() {
    let mut bench = Bench::new();
    for n in 0..200_u16 {
        let arrival = u64::from(n) * 20;
        bench.run(&[], arrival);
        if n != 100 {
            bench.insert_with(&bench.packet(n, arrival), false);
        }
        if n == 102 {
            let packet = bench.resent(100, arrival + 5);
            assert_eq!(bench.insert(&packet), Inserted::Queued);
        }
    }
    bench.run(&[], 4_100);
    let half = PACKET_SAMPLES as usize / 2;
    assert_eq!(bench.count(Heard::CaughtUp(100, half)), 1);
    assert_eq!(bench.played().len(), 199);
}

#[test]
fn what_comes_again_after_an_outage_is_not_all_decoded() {
    let mut bench = Bench::new();
    for n in 0..125_u16 {
        let arrival = u64::from(n) * 20;
        bench.run(&[], arrival);
        if !(100..123).contains(&n) {
            bench.insert(&bench.packet(n, arrival));
        }
        if n == 123 {
            for lost in 100..123 {
                let packet = bench.resent(lost, arrival);
                bench.insert(&packet);
            }
        }
    }
    bench.run(&[], 3_000);
    let caught_up = bench
        .heard
        .iter()
        .filter(|heard| matches!(heard, Heard::CaughtUp(..)));
    assert!(caught_up.count() <= 3, "{:?}", bench.heard);
    assert_eq!(bench.played().last(), Some(&124));
}

#[test]
fn what_is_sent_again_does_not_push_out_what_is_newer() {
    let mut bench = Bench::new();
    for n in 0..150_u16 {
        let arrival = u64::from(n) * 20;
        bench.run(&[], arrival);
        if !(100..125).contains(&n) {
            bench.insert(&bench.packet(n, arrival));
        }
        if n == 125 {
            for lost in 100..125 {
                let packet = bench.resent(lost, arrival);
                let inserted = bench.insert(&packet);
                let expected = if lost == 100 {
                    Inserted::Late
                } else {
                    Inserted::Queued
                };
                assert_eq!(inserted, expected, "{lost}");
            }
        }
    }
    assert!(bench.excess_us().abs() <= 20_000, "{}", bench.excess_us());
    bench.run(&[], 3_100);
    let after: Vec<u16> = bench.played().into_iter().filter(|n| *n >= 125).collect();
    assert_eq!(after, (125..150).collect::<Vec<_>>());
}

#[test]
fn a_lost_packet_that_is_shorter_than_a_beat_takes_no_more_than_its_time() {
    let mut bench = Bench::new();
    let (mut owed, mut concealed) = (0, Vec::new());
    for beat in 0..200_u16 {
        for n in [2 * beat, 2 * beat + 1].into_iter().filter(|n| *n != 200) {
            let packet = RtpAudio {
                timestamp: u32::from(n) * 240,
                ..bench.packet(n, u64::from(beat) * 10)
            };
            bench.buffer.insert(packet, 240, false);
        }
        owed += TICK_SAMPLES;
        while owed > 0 {
            owed -= match bench.buffer.step(bench.start + BEAT * u32::from(beat)) {
                Step::Decode(_) => 240,
                Step::Silence => TICK_SAMPLES,
                Step::Conceal { samples, .. } => {
                    concealed.push(samples);
                    samples as i64
                }
                other => panic!("{other:?}"),
            };
        }
    }
    assert_eq!(concealed, [240]);
}

#[test]
fn of_a_pause_that_ends_with_a_loss_the_lost_packet_alone_was_sent() {
    let mut bench = Bench::new();
    // 300 ms of pause, then the first packet is lost and the second comes.
    bench.run(&on_time(0..50), 1_100);
    let packet = |n: u16, arrival_ms: u64, bench: &Bench| RtpAudio {
        timestamp: u32::from(n + 15) * PACKET_SAMPLES,
        ..bench.packet(n, arrival_ms)
    };
    let mut was_sent_ticks = 0;
    for beat in bench.beats..150 {
        let now_ms = u64::from(beat) * 10;
        for n in 51_u16..60 {
            if u64::from(n + 15) * 20 == now_ms {
                let packet = packet(n, now_ms, &bench);
                bench.buffer.insert(packet, PACKET_SAMPLES as usize, false);
            }
        }
        match bench.buffer.step(bench.start + BEAT * beat) {
            Step::Conceal { was_sent, .. } => was_sent_ticks += u32::from(was_sent),
            Step::Decode(_) => break,
            _ => {}
        }
    }
    assert!((1..=2).contains(&was_sent_ticks), "{was_sent_ticks}");
}

#[test]
fn what_was_lost_before_a_stream_began_anew_is_not_waited_for() {
    let mut bench = Bench::new();
    bench.run(&on_time(0..99), 1_985);
    // The sender's clock jumps back by 5 s; its last packet before that was lost, and comes now.
    let jumped = |n: u16, packet: RtpAudio| RtpAudio {
        timestamp: u32::from(n)
            .wrapping_mul(PACKET_SAMPLES)
            .wrapping_sub(240_000),
        ..packet
    };
    bench.insert(&jumped(100, bench.packet(100, 2_000)));
    let lost = bench.resent(99, 2_010);
    assert_eq!(bench.insert(&lost), Inserted::Stray);
    for n in 101..150 {
        let arrival = u64::from(n) * 20;
        bench.run(&[], arrival);
        bench.insert(&jumped(n, bench.packet(n, arrival)));
    }
    bench.run(&[], 3_100);
    assert_eq!(bench.played().last(), Some(&149));
}

#[test]
fn the_excess_shows_a_drifting_sender() {
    let mut bench = Bench::new();
    // A sender that is fast by 0.1 %: its sound piles up by 1 ms each second.
    let packets: Vec<_> = (0..3_000_u16)
        .map(|n| (n, u64::from(n) * 1_998 / 100))
        .collect();
    bench.run(&packets, 59_000);
    let excess = bench.excess_us();
    assert!((30_000..=70_000).contains(&excess), "{excess}");
}

/// One event of a hostile or broken network.
fn event() -> impl Strategy<Value = (u32, u16, u32, u64, usize, bool, bool)> {
    (
        prop_oneof![9 => Just(1_u32), 1 => any::<u32>()],
        prop_oneof![8 => 0_u16..300, 1 => any::<u16>()],
        prop_oneof![8 => 0_u32..300_000, 1 => any::<u32>()],
        0_u64..200,
        prop_oneof![Just(120_usize), Just(960), Just(5_760)],
        any::<bool>(),
        any::<bool>(),
    )
}

proptest! {
    #[test]
    fn whatever_comes_every_beat_is_served_and_the_bounds_hold(events in prop::collection::vec(event(), 0..400)) {
        let mut bench = Bench::new();
        let mut now_ms = 0;
        for (ssrc, seq, timestamp, wait_ms, samples, resent, redundant) in events {
            now_ms += wait_ms / 8;
            bench.run(&[], now_ms);
            let packet = RtpAudio { ssrc, timestamp, resent, ..bench.packet(seq, now_ms) };
            let inserted = bench.buffer.insert(packet, samples, redundant);
            prop_assert!(bench.buffer.packets.len() <= PACKETS_MAX);
            let in_bounds = bench.buffer.packets.len() == 1 || bench.buffer.span_samples() <= SPAN_SAMPLES_MAX;
            prop_assert!(inserted != Inserted::Queued || in_bounds);
            let in_order = bench.buffer.packets.iter().is_sorted_by(|a, b| a.seq < b.seq);
            prop_assert!(in_order);
        }
        // Whatever is left is played within the longest delay, or dropped.
        bench.run(&[], now_ms + 12_000);
        prop_assert!(bench.buffer.packets.is_empty());
    }

    #[test]
    fn what_was_sent_again_and_how_late_never_silences_what_comes_after_it(
        before in prop::collection::vec((0_u64..300, any::<bool>()), 1..60),
        later_ms in 0_u64..200,
    ) {
        let mut bench = Bench::new();
        let mut packets: Vec<_> = (0_u16..400)
            .map(|n| match before.get(usize::from(n)) {
                Some(&(late_ms, resent)) => (n, u64::from(n) * 20 + late_ms, resent),
                None => (n, u64::from(n) * 20 + later_ms, false),
            })
            .collect();
        packets.sort_by_key(|&(_, arrival, _)| arrival);
        for (n, arrival, resent) in packets {
            bench.run(&[], arrival);
            let packet = RtpAudio { resent, ..bench.packet(n, arrival) };
            bench.insert_with(&packet, false);
        }
        bench.run(&[], 9_000);
        // All that came in order and at one pace, after a second.
        let heard: Vec<u16> = bench.played().into_iter().filter(|n| *n >= 150).collect();
        prop_assert_eq!(heard, (150..400).collect::<Vec<_>>());
    }

    #[test]
    fn without_loss_everything_is_played_once_and_in_order(
        late_ms in prop::collection::vec(0_u64..100, 1..200),
        first in any::<u16>(),
    ) {
        let mut bench = Bench::new();
        let packets: Vec<_> = late_ms.iter().enumerate()
            .map(|(n, late)| (first.wrapping_add(n as u16), n as u64 * 20 + late))
            .collect();
        let mut by_arrival: Vec<_> = packets.iter().enumerate().collect();
        by_arrival.sort_by_key(|(_, (_, arrival))| *arrival);
        for (n, &(seq, arrival)) in by_arrival {
            bench.run(&[], arrival);
            let mut packet = bench.packet(seq, arrival);
            packet.timestamp = u32::from(first).wrapping_add(n as u32 * PACKET_SAMPLES);
            bench.insert(&packet);
        }
        bench.run(&[], late_ms.len() as u64 * 20 + 1_000);
        let played = bench.played();
        prop_assert!(played.is_sorted_by_key(|n| n.wrapping_sub(first)));
        let mut unique = played.clone();
        unique.dedup();
        prop_assert_eq!(unique.len(), played.len());
        // At the start, before the jitter is known, some come too late.
        prop_assert!(played.len() + 10 >= late_ms.len(), "{} of {}", played.len(), late_ms.len());
    }
}
