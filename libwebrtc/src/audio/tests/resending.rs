//! Packets that were lost and sent again.

use super::receiver::{channel, record};
use super::*;
use crate::audio::playout::{Frame, Playout, PlayoutStats};

/// What is heard of packets of 20 ms, each of which comes on time or so many milliseconds late, as
/// one that was sent again.
fn heard(packets: &[Sent], late_ms: impl Fn(u16) -> Option<u64>) -> (Vec<i16>, PlayoutStats) {
    let mut playout = Playout::new(PlayoutStats::default()).unwrap();
    let start = Instant::now();
    let mut coming: Vec<RtpAudio> = (0_u16..)
        .zip(packets)
        .map(|(n, sent)| {
            let late_ms = late_ms(n);
            let due = Duration::from_millis(u64::from(n) * 20 + late_ms.unwrap_or(0));
            RtpAudio {
                resent: late_ms.is_some(),
                timestamp: u32::from(n) * 960,
                ..rtp(sent, n, start + due)
            }
        })
        .collect();
    coming.sort_by_key(|packet| packet.arrival);
    let mut coming = coming.into_iter().peekable();
    let mut frame = Frame::SILENT;
    let mut out = Vec::new();
    for beat in 0..packets.len() as u32 * 2 {
        let now = start + BEAT * beat;
        while let Some(packet) = coming.next_if(|packet| packet.arrival <= now) {
            playout.insert(packet);
        }
        playout.frame(now, &mut frame);
        out.extend(channel(&frame, 0));
    }
    (out, playout.stats())
}

fn tone() -> Vec<Sent> {
    record(4, Tone::new(440.0, 48_000, 1), |_| {})
}

/// The packets 100 to 102 come when the one after them has come, and a round trip later.
fn a_burst_of_three(round_trip_ms: u64) -> impl Fn(u16) -> Option<u64> {
    move |n| {
        (100..103)
            .contains(&n)
            .then(|| u64::from(103 - n) * 20 + round_trip_ms)
    }
}

#[test]
fn what_comes_in_time_leaves_no_trace() {
    let packets = tone();
    let (clean, _) = heard(&packets, |_| None);
    let (again, stats) = heard(&packets, |n| (n % 25 == 10).then_some(30));
    assert!(again == clean, "{stats:?}");
}

#[test]
fn what_comes_too_late_is_joined_without_a_step_and_without_delay() {
    let packets = tone();
    let (clean, before) = heard(&packets, |_| None);
    let (again, stats) = heard(&packets, a_burst_of_three(10));
    let concealed = stats.concealed - before.concealed;
    assert!((960..=1_920).contains(&concealed), "{concealed}");
    assert_eq!((stats.late, stats.inserted, stats.removed), (0, 0, 0));
    // 40 ms after the join the decoder has found back to where it would have been.
    let from = (103 * 20 + 100) * 48;
    let rest = clean[from..].iter().zip(&again[from..]);
    let noise: f64 = rest
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2))
        .sum();
    let signal: f64 = clean[from..].iter().map(|&a| f64::from(a).powi(2)).sum();
    assert!(signal > 1_000.0 * noise, "{signal} {noise}");
    let step = |pcm: &[i16]| {
        pcm.windows(2)
            .map(|two| (i32::from(two[1]) - i32::from(two[0])).abs())
            .max()
    };
    let (before, now) = (step(&clean).unwrap(), step(&again).unwrap());
    assert!(now < 2 * before, "a step of {now}, {before} without loss");
}

#[test]
fn what_comes_after_all_of_its_time_does_no_harm() {
    let packets = tone();
    let (clean, _) = heard(&packets, |_| None);
    let (again, stats) = heard(&packets, a_burst_of_three(100));
    assert_eq!((stats.inserted, stats.removed), (0, 0));
    let from = (103 * 20 + 200) * 48;
    assert!(sine_quality_db(&again[from..from + 24_000], 440.0, 48_000) > 15.0);
    assert_eq!(again.len(), clean.len());
}
