//! A stream that has one channel first and two later.

use opus::{Application, Channels, Encoder};

use super::receiver::channel;
use super::*;
use crate::audio::playout::{Frame, Playout, PlayoutStats};

const RATE_HZ: u32 = 48_000;
/// Packets after the first in stereo until it is heard so.
const WIDENING: usize = 8;

/// Packets of 20 ms, each in so many channels as `channels` says, by one encoder for two: a tone on the left and
/// nothing on the right, or the tone on both while it encodes one.
fn packets(count: u16, channels: impl Fn(u16) -> Channels) -> Vec<Bytes> {
    let mut encoder = Encoder::new(RATE_HZ, Channels::Stereo, Application::Audio).unwrap();
    let mut tone = Tone::new(500.0, RATE_HZ, 1);
    (0..count)
        .map(|n| {
            let mut left = [0; 960];
            tone.fill(&mut left);
            let is_mono = channels(n) == Channels::Mono;
            let both: Vec<i16> = left
                .iter()
                .flat_map(|&sample| [sample, if is_mono { sample } else { 0 }])
                .collect();
            // Whatever it would choose by itself.
            encoder.set_force_channels(Some(channels(n))).unwrap();
            Bytes::from(encoder.encode_vec(&both, 1_275).unwrap())
        })
        .collect()
}

fn stereo_from(first: u16) -> impl Fn(u16) -> Channels {
    move |n| {
        if n < first {
            Channels::Mono
        } else {
            Channels::Stereo
        }
    }
}

/// The frames of all beats, where every packet comes that is not empty.
fn played(packets: &[Bytes]) -> Vec<Frame> {
    let mut playout = Playout::new(PlayoutStats::default()).unwrap();
    let start = Instant::now();
    let mut frames = Vec::new();
    for (n, payload) in (0_u16..).zip(packets) {
        let now = start + BEAT * 2 * u32::from(n);
        if !payload.is_empty() {
            playout.insert(RtpAudio {
                ssrc: 1,
                seq: n,
                timestamp: u32::from(n) * 960,
                marker: false,
                payload: payload.clone(),
                arrival: now,
                resent: false,
            });
        }
        for beat in 0..2 {
            let mut frame = Frame::SILENT;
            playout.frame(now + BEAT * beat, &mut frame);
            frames.push(frame);
        }
    }
    frames
}

fn first_in_stereo(frames: &[Frame]) -> usize {
    frames
        .iter()
        .position(|frame| frame.channels() == 2)
        .unwrap()
}

fn step_max(samples: &[i16]) -> i32 {
    let steps = samples.windows(2);
    steps
        .map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs())
        .max()
        .unwrap()
}

/// Of a whole number of periods.
fn rms(samples: &[i16]) -> f64 {
    let squares = samples.iter().map(|&s| f64::from(s).powi(2));
    (squares.sum::<f64>() / samples.len() as f64).sqrt()
}

/// Of some frames, the samples of one channel.
fn of(frames: &[Frame], index: usize) -> Vec<i16> {
    frames
        .iter()
        .flat_map(|frame| channel(frame, index))
        .collect()
}

#[test]
fn a_second_channel_comes_in_without_a_step_or_a_dip() {
    for lost in [None, Some(99), Some(100), Some(104)] {
        let mut packets = packets(200, stereo_from(100));
        if let Some(lost) = lost {
            packets[lost] = Bytes::new();
        }
        let frames = played(&packets);
        let wide = first_in_stereo(&frames);
        assert!(frames[wide..].iter().all(|frame| frame.channels() == 2));
        let heard = (wide - 200) / 2;
        assert!(
            (WIDENING..WIDENING + 8).contains(&heard),
            "{lost:?}: {heard} packets"
        );
        let left = of(&frames[wide - 5..wide + 20], 0);
        let steady = of(&frames[wide + 50..wide + 150], 0);
        assert!(
            step_max(&left) < step_max(&steady) * 3 / 2,
            "{lost:?}: {} where {} is usual",
            step_max(&left),
            step_max(&steady)
        );
        // The mean of the tone and of nothing is half of it until then.
        for (n, piece) in left.chunks_exact(480).enumerate().skip(6) {
            let share = rms(piece) / rms(&steady);
            assert!(
                (0.7..1.3).contains(&share),
                "{lost:?}: {share} of it in frame {n}"
            );
        }
        let right = of(&frames[wide + 5..], 1);
        let loudest = right.iter().map(|s| s.unsigned_abs()).max().unwrap();
        assert!(loudest < 600, "{lost:?}: {loudest}");
    }
}

#[test]
fn a_stream_in_stereo_is_so_from_its_first_packet() {
    let frames = played(&packets(50, |_| Channels::Stereo));
    let wide = first_in_stereo(&frames);
    assert!(wide < 10, "{wide}");
    assert!(rms(&of(&frames[wide + 5..], 0)) > 5_000.0);
    assert!(rms(&of(&frames[wide + 5..], 1)) < 300.0);
}

#[test]
fn a_damaged_packet_that_claims_to_be_in_stereo_changes_nothing() {
    let mut packets = packets(100, |_| Channels::Mono);
    // It says that it is padded, and ends before it says by how much (RFC 6716, section 3.2.5).
    packets[50] = Bytes::from_static(&[0b1111_1111, 0b0100_0001]);
    let frames = played(&packets);
    assert!(frames.iter().all(|frame| frame.channels() == 1));
    let quietest = frames[10..].iter().map(|frame| rms(frame.samples()));
    let quietest = quietest.fold(f64::MAX, f64::min);
    assert!(quietest > 3_000.0, "{quietest}");
}

#[test]
fn a_stream_that_goes_back_to_one_channel_stays_in_two() {
    let frames = played(&packets(100, |n| {
        if (20..60).contains(&n) {
            Channels::Stereo
        } else {
            Channels::Mono
        }
    }));
    let wide = first_in_stereo(&frames);
    assert!(frames[wide..].iter().all(|frame| frame.channels() == 2));
    let last = &frames[195];
    assert!(channel(last, 0).eq(channel(last, 1)));
}
