//! How a program's sound gets into a source.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use super::*;
use crate::{RtcError, audio_frame::AudioFrame};

fn frame(rate_hz: u32, ms: u32, value: i16) -> AudioFrame<'static> {
    let samples = rate_hz * ms / 1_000;
    AudioFrame {
        data: vec![value; samples as usize].into(),
        sample_rate: rate_hz,
        num_channels: 1,
        samples_per_channel: samples,
    }
}

fn poll<F: Future>(future: &mut Pin<&mut F>) -> Poll<F::Output> {
    future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

/// Captures a frame for which there is room.
fn capture(source: &NativeAudioSource, frame: &AudioFrame<'_>) -> Result<(), RtcError> {
    match poll(&mut pin!(source.capture_frame(frame))) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("the frame was expected to have room"),
    }
}

#[test]
fn a_capturer_waits_while_more_than_the_queue_is_waiting() {
    let mut stage = Stage::new();
    let source = stage.source(48_000, 1, 100);
    capture(&source, &frame(48_000, 100, 1)).unwrap();
    let next = frame(48_000, 30, 2);
    let mut waiting = pin!(source.capture_frame(&next));
    assert!(poll(&mut waiting).is_pending());
    stage.beats(2);
    assert!(poll(&mut waiting).is_pending());
    stage.beats(1);
    assert!(matches!(poll(&mut waiting), Poll::Ready(Ok(()))));
}

#[test]
fn a_waiting_capturer_is_woken() {
    let stage = Arc::new(Mutex::new(Stage::new()));
    let source = stage.lock().source(48_000, 1, 50);
    let clock = Arc::clone(&stage);
    let ticking = Arc::new(AtomicBool::new(true));
    let stop = Arc::clone(&ticking);
    let beats = std::thread::spawn(move || {
        while stop.load(Ordering::Relaxed) {
            clock.lock().beat();
            std::thread::yield_now();
        }
    });
    // Without a wake-up this would never return.
    futures_executor::block_on(async {
        for _ in 0..50 {
            source.capture_frame(&frame(48_000, 40, 1)).await.unwrap();
        }
    });
    ticking.store(false, Ordering::Relaxed);
    beats.join().unwrap();
}

#[test]
fn a_frame_longer_than_the_queue_is_taken_in_pieces() {
    let mut stage = Stage::new();
    let source = stage.source(16_000, 1, 50);
    let listener = Listener::on(&local(&source), 16_000, 1);
    let long = frame(16_000, 400, 9);
    let mut capturing = pin!(source.capture_frame(&long));
    let mut beats = 0;
    while poll(&mut capturing).is_pending() {
        stage.beat();
        beats += 1;
    }
    assert!((30..=36).contains(&beats), "{beats}");
    stage.beats(10);
    let heard = listener
        .samples()
        .into_iter()
        .filter(|&sample| sample == 9)
        .count();
    assert_eq!(heard, 6_400);
}

#[test]
fn odd_pieces_are_joined_without_gaps() {
    let mut stage = Stage::new();
    let source = stage.source(48_000, 1, 200);
    let listener = Listener::on(&local(&source), 48_000, 1);
    let mut value = 0;
    for _ in 0..30 {
        let mut piece = frame(48_000, 7, 0);
        for sample in piece.data.to_mut() {
            value = value % 30_000 + 1;
            *sample = value;
        }
        capture(&source, &piece).unwrap();
        if value % 2 == 0 {
            stage.beat();
        }
    }
    stage.beats(30);
    let heard: Vec<_> = listener
        .samples()
        .into_iter()
        .filter(|&sample| sample != 0)
        .collect();
    assert_eq!(heard.len(), 30 * 336);
    assert!(
        heard
            .iter()
            .zip((1..=30_000).cycle())
            .all(|(&heard, wanted)| heard == wanted)
    );
}

/// What a listener hears of a source to which each of `beats` brings so many frames of 10 ms, which
/// are numbered.
fn heard_of(stage: &mut Stage, source: &NativeAudioSource, beats: &[u32]) -> Vec<Vec<i16>> {
    let listener = Listener::on(&local(source), 48_000, 1);
    let mut value = 0;
    for &frames in beats {
        for _ in 0..frames {
            value += 1;
            capture(source, &frame(48_000, 10, value)).unwrap();
        }
        stage.beat();
    }
    let frames = listener.frames.lock();
    frames.clone()
}

#[test]
fn who_captures_for_each_beat_is_heard_in_that_beat() {
    for queue_ms in [0, 100] {
        let mut stage = Stage::new();
        let source = stage.source(48_000, 1, queue_ms);
        // Served from now on.
        let _listener = Listener::on(&local(&source), 48_000, 1);
        let heard = heard_of(&mut stage, &source, &[1; 50]);
        let heard: Vec<_> = heard.iter().map(|frame| frame[0]).collect();
        assert_eq!(heard, (1..=50).collect::<Vec<_>>());
    }
}

#[test]
fn who_is_late_now_and_then_leaves_no_gap() {
    let by_one = &[1, 1, 1, 0, 2, 1, 1, 0, 0, 3, 1, 0, 2, 1, 1, 1];
    let by_two = &[1, 1, 0, 0, 3, 1];
    for (queue_ms, beats) in [(0, &by_one[..]), (100, by_one), (0, by_two), (100, by_two)] {
        let mut stage = Stage::new();
        let source = stage.source(48_000, 1, queue_ms);
        let _listener = Listener::on(&local(&source), 48_000, 1);
        let heard = heard_of(&mut stage, &source, beats);
        let heard: Vec<_> = heard.iter().map(|frame| frame[0]).collect();
        // By as much as it was late, two beats in all, it is ahead of what is heard from then on.
        let captured: i16 = beats.iter().sum::<u32>() as i16;
        assert_eq!(heard, (1..=captured - 2).collect::<Vec<_>>());
    }
}

#[test]
fn one_that_is_too_slow_makes_gaps_and_no_lasting_delay() {
    let mut stage = Stage::new();
    let source = stage.source(48_000, 1, 100);
    let (_send, sent) = stage.send(&local(&source), OpusSend::default());
    let beats: Vec<u32> = (0..200).map(|beat| 1 - beat % 2).collect();
    heard_of(&mut stage, &source, &beats);
    // 200 beats are 100 packets; 10 of the beats may be owed.
    let count = sent.lock().len();
    assert!((94..=96).contains(&count), "{count}");
    heard_of(&mut stage, &source, &[0; 20]);
    let sent = sent.lock();
    assert!((109..=110).contains(&sent.len()), "{}", sent.len());
    assert!(
        sent.windows(2)
            .all(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp) == 960)
    );
}

#[test]
fn the_time_that_late_capturers_took_is_made_up_for_in_the_pause() {
    let mut stage = Stage::new();
    let source = stage.source(48_000, 1, 0);
    let (_send, sent) = stage.send(&local(&source), OpusSend::default());
    for _ in 0..10 {
        let beats = [1, 1, 0, 2, 1, 1, 0, 0, 0, 4, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        heard_of(&mut stage, &source, &beats);
    }
    let sent = sent.lock();
    // Half a packet may be waiting for its other half.
    assert!((99..=100).contains(&sent.len()), "{}", sent.len());
    let last = sent.last().unwrap().timestamp;
    assert_eq!(last, 960 * (sent.len() as u32 - 1));
}

#[test]
fn clearing_drops_what_waits_and_nothing_that_comes_after() {
    let mut stage = Stage::new();
    let source = stage.source(48_000, 1, 1_000);
    let listener = Listener::on(&local(&source), 48_000, 1);
    capture(&source, &frame(48_000, 500, 1)).unwrap();
    stage.beats(10);
    source.clear_buffer();
    capture(&source, &frame(48_000, 100, 2)).unwrap();
    stage.beats(30);
    let samples = listener.samples();
    let heard = |value| samples.iter().filter(|&&sample| sample == value).count() / 480;
    assert_eq!((heard(1), heard(2)), (10, 10));
}

#[test]
fn a_queued_source_drains_in_real_time_though_nobody_listens() {
    let mut stage = Stage::new();
    let source = stage.source(48_000, 1, 100);
    for _ in 0..3 {
        capture(&source, &frame(48_000, 100, 1)).unwrap();
        stage.beats(10);
    }
    stage.beats(150);
    assert_eq!(stage.units(), 0);
    // And it comes back for more.
    capture(&source, &frame(48_000, 100, 1)).unwrap();
    assert_eq!(stage.units(), 1);
}

#[test]
fn without_a_queue_frames_of_10_ms_pass_and_others_are_refused() {
    let mut stage = Stage::new();
    let source = stage.source(48_000, 1, 0);
    // Nobody listens yet: dropped, as documented.
    capture(&source, &frame(48_000, 10, 1)).unwrap();
    let listener = Listener::on(&local(&source), 48_000, 1);
    for _ in 0..20 {
        capture(&source, &frame(48_000, 10, 2)).unwrap();
        stage.beat();
    }
    let heard = listener
        .samples()
        .into_iter()
        .filter(|&sample| sample == 2)
        .count()
        / 480;
    assert_eq!(heard, 20);
    let error = capture(&source, &frame(48_000, 20, 2)).unwrap_err();
    assert!(error.message.contains("10 ms"), "{error}");
}

#[test]
fn without_a_queue_a_burst_does_not_become_a_delay() {
    let mut stage = Stage::new();
    let source = stage.source(48_000, 1, 0);
    let _listener = Listener::on(&local(&source), 48_000, 1);
    for _ in 0..10 {
        capture(&source, &frame(48_000, 10, 1)).unwrap();
    }
    let late = Listener::on(&local(&source), 48_000, 1);
    stage.beats(10);
    let heard = late
        .samples()
        .into_iter()
        .filter(|&sample| sample == 1)
        .count()
        / 480;
    assert!(heard <= 5, "{heard}");
}

#[test]
fn frames_that_do_not_fit_the_source_are_refused() {
    let stage = Stage::new();
    let source = stage.source(48_000, 2, 100);
    assert!(capture(&source, &frame(48_000, 10, 0)).is_err());
    let mut odd = frame(48_000, 10, 0);
    odd.num_channels = 2;
    odd.data.to_mut().pop();
    assert!(capture(&source, &odd).is_err());
    assert!(capture(&stage.source(1_234, 1, 100), &frame(1_234, 10, 0)).is_err());
}

#[test]
fn a_pulled_source_takes_no_frames() {
    let stage = Stage::new();
    let source = stage.source(48_000, 1, 100);
    source.set_pull(Box::new(Tone::new(440.0, 48_000, 1)));
    let error = capture(&source, &frame(48_000, 10, 0)).unwrap_err();
    assert!(error.message.contains("pull"), "{error}");
}

#[test]
fn a_capturer_that_waits_when_a_hook_comes_goes_on() {
    let mut stage = Stage::new();
    let source = stage.source(48_000, 1, 50);
    capture(&source, &frame(48_000, 50, 1)).unwrap();
    let next = frame(48_000, 50, 1);
    let mut waiting = pin!(source.capture_frame(&next));
    assert!(poll(&mut waiting).is_pending());
    source.set_pull(Box::new(Tone::new(440.0, 48_000, 1)));
    stage.beats(2);
    assert!(poll(&mut waiting).is_ready());
    stage.beats(150);
    assert_eq!(stage.units(), 0);
}

#[test]
fn a_hook_is_asked_only_while_somebody_hears_it_and_for_10_ms_each_time() {
    struct Count(Log<usize>);
    impl AudioPull for Count {
        fn fill(&mut self, out: &mut [i16]) -> usize {
            self.0.lock().push(out.len());
            out.fill(5);
            out.len() / 2
        }
    }
    let mut stage = Stage::new();
    let asked: Log<usize> = Arc::default();
    let source = stage.source(22_050, 1, 0);
    source.set_pull(Box::new(Count(Arc::clone(&asked))));
    stage.beats(10);
    assert!(asked.lock().is_empty());
    let listener = Listener::on(&local(&source), 22_050, 1);
    stage.beats(100);
    assert_eq!(asked.lock().iter().sum::<usize>(), 22_050);
    assert_eq!(listener.count(), 100);
    let frame = listener.frames.lock()[50].clone();
    assert!(frame[frame.len() / 2..].iter().all(|&sample| sample == 0));
    // It stays the source's hook over a time without listeners.
    drop(listener);
    stage.beats(150);
    assert_eq!(stage.units(), 0);
    let _again = Listener::on(&local(&source), 22_050, 1);
    let before = asked.lock().len();
    stage.beats(10);
    assert_eq!(asked.lock().len(), before + 10);
}
