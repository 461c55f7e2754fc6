//! How sinks and streams live on a remote track.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use futures_core::Stream;
use proptest::prelude::*;

use super::*;
use crate::{
    audio_frame::AudioFrame, audio_stream::native::NativeAudioStream,
    media_stream_track::RtcTrackState,
};

fn next(stream: &mut NativeAudioStream) -> Poll<Option<AudioFrame<'static>>> {
    Pin::new(stream).poll_next(&mut Context::from_waker(Waker::noop()))
}

fn garbage(stage: &Stage, seq: u16, payload: &'static [u8]) -> RtpAudio {
    RtpAudio {
        ssrc: 1,
        seq,
        timestamp: u32::from(seq) * 960,
        marker: false,
        payload: Bytes::from_static(payload),
        arrival: stage.now(),
        resent: false,
    }
}

#[test]
fn frames_come_on_the_clock_before_any_packet() {
    let mut stage = Stage::new();
    let track = stage.remote();
    let listener = Listener::on(&track, 24_000, 2);
    stage.beats(25);
    assert_eq!(listener.count(), 25);
    assert!(
        listener
            .frames
            .lock()
            .iter()
            .all(|frame| frame == &[0; 480])
    );
}

#[test]
fn a_dropped_handle_takes_the_sink_off_and_the_last_one_lets_the_track_rest() {
    let mut stage = Stage::new();
    let track = stage.remote();
    let one = Listener::on(&track, 16_000, 1);
    let two = Listener::on(&track, 48_000, 1);
    stage.beats(5);
    let frames = Arc::clone(&one.frames);
    drop(one);
    stage.beats(5);
    assert_eq!((frames.lock().len(), two.count()), (5, 10));
    assert!(!two.has_ended());
    drop(two);
    stage.beats(2);
    assert_eq!(stage.units(), 0);
    let again = Listener::on(&track, 16_000, 1);
    stage.beats(5);
    assert_eq!(again.count(), 5);
}

#[test]
fn the_end_of_a_track_ends_its_sinks_and_streams() {
    let mut stage = Stage::new();
    let track = stage.remote();
    let listener = Listener::on(&track, 16_000, 1);
    let mut stream = NativeAudioStream::new(track.clone(), 16_000, 1);
    stage.beats(2);
    assert_eq!(track.state(), RtcTrackState::Live);
    track.remote().unwrap().end();
    stage.beat();
    assert!(listener.has_ended());
    assert_eq!(track.state(), RtcTrackState::Ended);
    assert!(matches!(next(&mut stream), Poll::Ready(Some(_))));
    assert!(matches!(next(&mut stream), Poll::Ready(Some(_))));
    assert!(matches!(next(&mut stream), Poll::Ready(None)));
    assert_eq!(stage.units(), 0);
    // Whoever comes too late is told at once.
    assert!(Listener::on(&track, 16_000, 1).has_ended());
}

#[test]
fn a_stream_yields_frames_in_the_format_asked_for_and_ends_when_closed() {
    let mut stage = Stage::new();
    let track = stage.remote();
    let mut stream = NativeAudioStream::new(track, 24_000, 2);
    assert!(next(&mut stream).is_pending());
    stage.beats(15);
    let Poll::Ready(Some(frame)) = next(&mut stream) else {
        panic!("a frame was expected");
    };
    assert_eq!(
        (
            frame.sample_rate,
            frame.num_channels,
            frame.samples_per_channel
        ),
        (24_000, 2, 240)
    );
    assert_eq!(frame.data.len(), 480);
    // Ten frames are kept of fifteen.
    let waiting = (0..).take_while(|_| next(&mut stream).is_ready()).count();
    assert_eq!(waiting, 9);
    stream.close();
    assert!(matches!(next(&mut stream), Poll::Ready(None)));
}

#[test]
fn a_format_that_can_not_be_served_ends_the_stream() {
    let stage = Stage::new();
    for (rate, channels) in [(0, 1), (-5, 1), (48_000, 7), (48_000, -1)] {
        let mut stream = NativeAudioStream::new(stage.remote(), rate, channels);
        assert!(
            matches!(next(&mut stream), Poll::Ready(None)),
            "{rate} {channels}"
        );
    }
}

#[test]
fn packets_are_counted_though_nobody_listens() {
    let stage = Stage::new();
    let track = stage.remote();
    let remote = track.remote().unwrap();
    for seq in 0..10_000 {
        remote.push_rtp(garbage(&stage, seq, &[0xfc, 0xff, 0xfe]));
    }
    assert_eq!(remote.stats().packets_received, 10_000);
    assert_eq!(stage.units(), 0);
}

#[test]
fn a_flood_is_bounded_and_the_clock_goes_on() {
    let mut stage = Stage::new();
    let track = stage.remote();
    let listener = Listener::on(&track, 48_000, 1);
    stage.beat();
    let remote = track.remote().unwrap();
    for seq in 0..20_000 {
        remote.push_rtp(garbage(&stage, seq, &[0xfc, 0xff, 0xfe]));
    }
    stage.beats(100);
    assert_eq!(listener.count(), 101);
    let stats = remote.stats();
    assert!(stats.packets_discarded >= 19_700, "{stats:?}");
}

#[test]
fn damaged_payloads_are_counted_and_concealed() {
    let mut stage = Stage::new();
    let track = stage.remote();
    let listener = Listener::on(&track, 48_000, 1);
    let payloads: [&[u8]; 4] = [&[], &[0xff], &[0x03], &[0xff, 0xff, 0xff, 0x7f]];
    for seq in 0..200 {
        track
            .remote()
            .unwrap()
            .push_rtp(garbage(&stage, seq, payloads[usize::from(seq) % 4]));
        stage.beats(2);
    }
    assert_eq!(listener.count(), 400);
    assert!(track.remote().unwrap().stats().packets_discarded > 50);
}

#[test]
fn a_sink_that_panics_ends_its_track_and_no_other() {
    struct Bomb;
    impl AudioSink for Bomb {
        fn on_frame(&mut self, _frame: &[i16]) {
            panic!("the test wants this");
        }
    }
    let mut stage = Stage::new();
    let (bad, good) = (stage.remote(), stage.remote());
    let beside = Listener::on(&bad, 48_000, 1);
    let _bomb = bad.add_sink(48_000, 1, Box::new(Bomb));
    let listener = Listener::on(&good, 48_000, 1);
    stage.beats(10);
    assert!(beside.has_ended());
    assert_eq!(bad.state(), RtcTrackState::Ended);
    assert_eq!(listener.count(), 10);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_the_network_brings_every_beat_gives_a_frame(
        packets in prop::collection::vec(
            (0..3_u32, 0_u16..60, 0_u32..60_000, prop::collection::vec(any::<u8>(), 0..200), 0..4_u32),
            0..150,
        ),
    ) {
        let mut stage = Stage::new();
        let track = stage.remote();
        let listener = Listener::on(&track, 16_000, 1);
        let mut beats = 0;
        for (ssrc, seq, timestamp, payload, wait) in packets {
            track.remote().unwrap().push_rtp(RtpAudio {
                ssrc,
                seq,
                timestamp,
                marker: false,
                payload: payload.into(),
                arrival: stage.now(),
                resent: false,
            });
            stage.beats(wait);
            beats += wait as usize;
        }
        stage.beats(100);
        prop_assert_eq!(listener.count(), beats + 100);
        prop_assert!(listener.frames.lock().iter().all(|frame| frame.len() == 160));
    }
}
