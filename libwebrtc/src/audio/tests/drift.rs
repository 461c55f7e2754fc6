//! An hour with a sender whose clock runs fast or slow.
//!
//! `cargo test --release -p libwebrtc --lib drift -- --nocapture` prints the figures.

use std::f64::consts::TAU;

use super::{
    receiver::{Receiver, record, talk, talk_of},
    stoi::stoi,
    *,
};
use crate::audio::playout::PlayoutStats;

const HOUR_S: u32 = 3_600;

/// A clock that is off by this is at the limit of what crystals do.
const PPM: i64 = 200;

/// How far the delay may be from its target.
const HELD_US: i64 = 20_000;

/// The encoder has run in after a minute; the second one is repeated, as all sounds here have a
/// whole number of periods in it.
const MINUTE_PACKETS: usize = 3_000;

/// A vowel without an end: harmonics of a voice of 130 Hz that trembles, never silent.
struct Vowel(u64);

impl AudioPull for Vowel {
    fn fill(&mut self, out: &mut [i16]) -> usize {
        for sample in out.iter_mut() {
            let t = self.0 as f64 / 48_000.0;
            let phase = TAU * 130.0 * t + 1.5 * (TAU * 5.0 * t).sin();
            let voice = (1..16).map(|k| (phase * f64::from(k)).sin() / f64::from(k));
            *sample = (5_000.0 * voice.sum::<f64>()) as i16;
            self.0 += 1;
        }
        out.len()
    }
}

/// Noise without an end, which never repeats itself.
struct Noise(Random);

impl AudioPull for Noise {
    fn fill(&mut self, out: &mut [i16]) -> usize {
        out.fill_with(|| (self.0.next() & 0x1fff) as i16 - 0x1000);
        out.len()
    }
}

/// The last minute of two, again and again, for `seconds`.
fn again_and_again(two_minutes: &[Sent], seconds: u32) -> impl Iterator<Item = &Sent> {
    two_minutes[two_minutes.len() - MINUTE_PACKETS..]
        .iter()
        .cycle()
        .take(seconds as usize * 50)
}

/// When packet `n` is there, if the sender's clock is fast by `ppm`.
fn arrival(ppm: i64) -> impl Fn(u64) -> u64 {
    move |n| (n as f64 * 20_000.0 / (1.0 + ppm as f64 / 1e6)) as u64
}

/// What an hour was like.
#[derive(Debug, Default)]
struct Hour {
    off_us: (i64, i64),
    stats: PlayoutStats,
}

fn hour(name: &str, two_minutes: &[Sent], ppm: i64) -> Hour {
    let mut hour = Hour::default();
    let mut receiver = Receiver::new();
    receiver.play(
        again_and_again(two_minutes, HOUR_S),
        arrival(ppm),
        |stats, _| {
            let off = stats.delay_us - stats.target_us;
            // Before the first packet's time there is no delay.
            if stats.delay_us > 0 {
                hour.off_us = (hour.off_us.0.min(off), hour.off_us.1.max(off));
            }
            hour.stats = *stats;
        },
    );
    let stats = &hour.stats;
    eprintln!(
        "{name}, {ppm:+} ppm: delay {:+.1} to {:+.1} ms off its target of {} ms, {} ms taken out, {} ms put in, {} ms concealed",
        hour.off_us.0 as f64 / 1e3,
        hour.off_us.1 as f64 / 1e3,
        stats.target_us / 1_000,
        stats.removed / 48,
        stats.inserted / 48,
        (stats.concealed - stats.silent) / 48,
    );
    hour
}

/// An hour of `two_minutes` in both directions, without a gap and with the delay where it should be.
fn held_for_an_hour(name: &str, two_minutes: &[Sent]) {
    for ppm in [PPM, -PPM] {
        let Hour { off_us, stats } = hour(name, two_minutes, ppm);
        assert!(
            off_us.0 >= -HELD_US && off_us.1 <= HELD_US,
            "{name}, {ppm} ppm: {off_us:?}"
        );
        assert_eq!(stats.concealed, stats.silent, "{stats:?}");
        assert_eq!(stats.discarded + stats.late, 0, "{stats:?}");
        // An hour at 200 ppm is 720 ms, and what is more than that would be to and fro.
        let (with, against) = if ppm > 0 {
            (stats.removed, stats.inserted)
        } else {
            (stats.inserted, stats.removed)
        };
        assert!((33_000..=36_000).contains(&with), "{stats:?}");
        assert_eq!(against, 0, "{stats:?}");
    }
}

#[test]
fn an_hour_of_sentences_keeps_its_delay() {
    held_for_an_hour("sentences", &talk(120));
}

#[test]
fn an_hour_of_a_voice_without_a_pause_keeps_its_delay() {
    held_for_an_hour("a vowel", &record(120, Vowel(0), |_| {}));
}

#[test]
fn an_hour_of_noise_keeps_its_delay() {
    held_for_an_hour("noise", &record(120, Noise(Random(1)), |_| {}));
}

#[test]
fn a_sine_stays_a_sine_through_drift() {
    let hz = 440.0;
    let sine = record(120, Tone::new(hz, 48_000, 1), |_| {});
    let listen = |ppm: i64, seconds: u32| {
        let mut samples = Vec::new();
        let mut receiver = Receiver::new();
        receiver.play(again_and_again(&sine, seconds), arrival(ppm), |_, left| {
            samples.extend_from_slice(left);
        });
        let stats = receiver.playout.stats();
        (samples.split_off(48_000), stats)
    };
    let step_max = |samples: &[i16]| {
        let steps = samples
            .windows(2)
            .map(|w| (i32::from(w[1]) - i32::from(w[0])).abs());
        steps.max().unwrap()
    };
    let (steady, _) = listen(0, 60);
    // Ten times as fast as a crystal could drift, so that there is much to be heard.
    for ppm in [2_000, -2_000] {
        let (samples, stats) = listen(ppm, 60);
        assert!(stats.removed + stats.inserted > 4_000, "{stats:?}");
        let (before, after) = (step_max(&steady), step_max(&samples));
        assert!(
            after * 20 <= before * 21,
            "{ppm} ppm: {after} after {before}"
        );
        let rising = samples.windows(2).filter(|w| w[0] < 0 && w[1] >= 0).count();
        let heard_hz = rising as f64 * 48_000.0 / samples.len() as f64;
        assert!((heard_hz - hz).abs() < 0.3, "{ppm} ppm: {heard_hz} Hz");
        let quality = samples
            .chunks_exact(4_800)
            .map(|piece| sine_quality_db(piece, hz, 48_000))
            .fold(f64::MAX, f64::min);
        eprintln!(
            "a sine, {ppm:+} ppm: {heard_hz:.2} Hz, {quality:.1} dB at the worst, steps of {after} after {before}"
        );
        assert!(quality > 20.0, "{ppm} ppm: {quality:.1} dB");
    }
}

#[test]
fn speech_stays_as_intelligible_as_it_was() {
    // A voice in all bands that are looked at: there is nothing to understand in an empty one.
    let talk = talk_of(30, 60);
    let listen = |ppm: i64| {
        let mut samples = Vec::new();
        Receiver::new().play(&talk, arrival(ppm), |_, left| {
            samples.extend_from_slice(left);
        });
        samples
    };
    let original = listen(0);
    for ppm in [2_000, -2_000] {
        let score = stoi(&original, &listen(ppm), 48_000);
        eprintln!("sentences, {ppm:+} ppm: STOI {score:.3}");
        assert!(score > 0.95, "{ppm} ppm: {score:.3}");
    }
}
