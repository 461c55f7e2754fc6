//! How playout keeps its delay where it should be.

use super::*;
use crate::audio::playout::{FRAME_SAMPLES, Playout, PlayoutStats};

/// A talker in sentences of 2 s and pauses of 0.5 s, encoded once for all tests.
fn talk(seconds: u32) -> Vec<Sent> {
    let mut stage = Stage::new();
    let source = stage.source(48_000, 1, 100);
    let tone = Tone {
        harmonics: 8,
        ..Tone::new(150.0, 48_000, 1)
    };
    let on = Arc::clone(&tone.on);
    source.set_pull(Box::new(tone));
    let (_send, sent) = stage.send(&local(&source), OpusSend::default());
    for beat in 0..seconds * 100 {
        on.store(beat % 250 < 200, Ordering::Relaxed);
        stage.beat();
    }
    sent.lock().clone()
}

/// A receiver on its own clock.
struct Receiver {
    playout: Playout,
    start: Instant,
    beats: u32,
    frame: [i16; FRAME_SAMPLES],
}

impl Receiver {
    fn new() -> Self {
        Self {
            playout: Playout::new(PlayoutStats::default()).unwrap(),
            start: Instant::now(),
            beats: 0,
            frame: [0; FRAME_SAMPLES],
        }
    }

    /// Plays all of `talk`, whose packets arrive as `arrival_us` says, and calls `each` per beat.
    fn play(
        &mut self,
        talk: &[Sent],
        arrival_us: impl Fn(u64) -> u64,
        mut each: impl FnMut(&PlayoutStats),
    ) {
        let mut packets = talk
            .iter()
            .enumerate()
            .map(|(n, sent)| {
                let arrival = self.start + Duration::from_micros(arrival_us(n as u64));
                rtp(sent, n as u16, arrival)
            })
            .collect::<Vec<_>>();
        packets.sort_by_key(|packet| packet.arrival);
        let mut packets = packets.into_iter().peekable();
        while packets.peek().is_some() {
            let now = self.start + BEAT * self.beats;
            self.beats += 1;
            while let Some(packet) = packets.next_if(|packet| packet.arrival <= now) {
                self.playout.insert(packet);
            }
            self.playout.frame(now, &mut self.frame);
            each(&self.playout.stats());
        }
    }
}

#[test]
fn a_fast_sender_is_kept_up_with_in_pauses() {
    let talk = talk(90);
    let mut receiver = Receiver::new();
    let mut delay_us_max = 0;
    // 500 ppm is five times what a bad crystal does.
    receiver.play(
        &talk,
        |n| n * 19_990,
        |stats| delay_us_max = delay_us_max.max(stats.delay_us),
    );
    let stats = receiver.playout.stats();
    assert!(delay_us_max < 90_000, "{delay_us_max}");
    // 90 s at 500 ppm are 45 ms.
    assert!((480..=2_880).contains(&stats.removed), "{stats:?}");
    assert_eq!(stats.discarded + stats.late, 0, "{stats:?}");
}

#[test]
fn a_slow_sender_is_waited_for_in_pauses() {
    let talk = talk(90);
    let mut receiver = Receiver::new();
    receiver.play(&talk, |n| n * 20_010, |_| {});
    let stats = receiver.playout.stats();
    assert!((20_000..=80_000).contains(&stats.delay_us), "{stats:?}");
    assert!((960..=3_840).contains(&stats.inserted), "{stats:?}");
    assert_eq!(stats.concealed, stats.silent, "{stats:?}");
}

#[test]
fn the_delay_of_a_stall_is_worked_off() {
    let talk = talk(30);
    let mut receiver = Receiver::new();
    let mut delays = Vec::new();
    // At 10 s nothing comes for 400 ms, and then all at once.
    let arrival = |n: u64| match n * 20_000 {
        at @ 10_000_000..10_400_000 => at.max(10_400_000),
        at => at,
    };
    receiver.play(&talk, arrival, |stats| delays.push(stats.delay_us));
    assert!(delays[1_050] > 200_000, "{}", delays[1_050]);
    // Three seconds and one pause later it is where it was.
    assert!(delays[1_400] < 120_000, "{}", delays[1_400]);
    assert!(delays[2_400] < 90_000, "{}", delays[2_400]);
    let stats = receiver.playout.stats();
    assert!(stats.removed > 4_800, "{stats:?}");
}

#[test]
fn a_steady_network_is_left_alone() {
    let talk = talk(30);
    for offset_us in [0, 3_000, 7_000, 9_900] {
        let mut receiver = Receiver::new();
        receiver.play(&talk, |n| n * 20_000 + offset_us, |_| {});
        let stats = receiver.playout.stats();
        assert_eq!(
            (stats.removed, stats.inserted, stats.recovered),
            (0, 0, 0),
            "{stats:?}"
        );
        assert!((30_000..=60_000).contains(&stats.delay_us), "{stats:?}");
    }
}
