//! What a sender puts out.

use super::*;

fn tone_source(stage: &Stage, rate_hz: u32) -> (NativeAudioSource, Arc<AtomicBool>) {
    let source = stage.source(rate_hz, 1, 100);
    let tone = Tone::new(440.0, rate_hz, 1);
    let on = Arc::clone(&tone.on);
    source.set_pull(Box::new(tone));
    (source, on)
}

#[test]
fn every_20_ms_give_one_packet_and_960_samples_of_time() {
    for rate_hz in [8_000, 16_000, 22_050, 44_100, 48_000] {
        let mut stage = Stage::new();
        let (source, _) = tone_source(&stage, rate_hz);
        let (_send, sent) = stage.send(&local(&source), OpusSend::default());
        stage.beats(200);
        let sent = sent.lock();
        assert_eq!(sent.len(), 100, "{rate_hz}");
        assert!(
            sent.windows(2)
                .all(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp) == 960)
        );
        assert!(sent[0].marker && sent[1..].iter().all(|packet| !packet.marker));
    }
}

#[test]
fn a_muted_track_goes_on_sending_silence() {
    let mut stage = Stage::new();
    let (source, _) = tone_source(&stage, 48_000);
    let track = local(&source);
    let (_send, sent) = stage.send(&track, OpusSend::default());
    stage.beats(100);
    track.set_enabled(false);
    stage.beats(100);
    let sent = sent.lock();
    assert_eq!(sent.len(), 100);
    assert!(sent[10].voice && sent[10].level_dbov < 20, "{:?}", sent[10]);
    assert!(
        sent[60..]
            .iter()
            .all(|packet| !packet.voice && packet.level_dbov == 127)
    );
}

#[test]
fn with_dtx_a_pause_costs_next_to_nothing_and_its_end_is_marked() {
    let mut stage = Stage::new();
    let (source, on) = tone_source(&stage, 48_000);
    let (_send, sent) = stage.send(
        &local(&source),
        OpusSend {
            dtx: true,
            ..OpusSend::default()
        },
    );
    stage.beats(100);
    on.store(false, Ordering::Relaxed);
    stage.beats(100);
    let before = sent.lock().len();
    stage.beats(400);
    let pause = sent.lock().len() - before;
    // The noise is sent anew every 400 ms, and after it that the pause goes on.
    assert!(pause <= 25, "{pause} packets in 4 s of silence");
    on.store(true, Ordering::Relaxed);
    stage.beats(20);
    let sent = sent.lock();
    // Time went on through the gaps, and each end of one is marked.
    for pair in sent.windows(2) {
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        assert_eq!(step % 960, 0);
        assert_eq!(pair[1].marker, step > 960, "a step of {step}");
    }
    let whole = sent[sent.len() - 1]
        .timestamp
        .wrapping_sub(sent[0].timestamp);
    assert!((whole / 960).abs_diff(309) <= 1, "{whole}");
}

#[test]
fn with_dtx_the_noise_of_a_line_is_no_speech_whatever_its_rate() {
    for rate_hz in [8_000, 16_000, 22_050, 24_000, 48_000] {
        let mut stage = Stage::new();
        let source = stage.source(rate_hz, 1, 100);
        let tone = Tone {
            harmonics: 8,
            ..Tone::new(150.0, rate_hz, 1)
        };
        let voice = Arc::clone(&tone.on);
        source.set_pull(Box::new(Line { tone, seed: 1 }));
        let settings = OpusSend {
            dtx: true,
            ..OpusSend::default()
        };
        let (_send, sent) = stage.send(&local(&source), settings);
        stage.beats(200);
        voice.store(false, Ordering::Relaxed);
        stage.beats(100);
        let before = sent.lock().len();
        stage.beats(400);
        let noise = sent.lock().len() - before;
        assert!(noise < 60, "{noise} of 200 packets at {rate_hz} Hz");
    }
}

/// A voice on a line that has some noise, 50 dB below full scale.
struct Line {
    tone: Tone,
    seed: u32,
}

impl AudioPull for Line {
    fn fill(&mut self, out: &mut [i16]) -> usize {
        let filled = self.tone.fill(out);
        for sample in &mut *out {
            self.seed = self
                .seed
                .wrapping_mul(1_664_525)
                .wrapping_add(1_013_904_223);
            *sample = sample.saturating_add((self.seed >> 23) as i16 % 180 - 90);
        }
        filled
    }
}

#[test]
fn redundancy_is_sent_when_it_is_asked_for() {
    for fec in [false, true] {
        let mut stage = Stage::new();
        let (source, _) = tone_source(&stage, 48_000);
        let (_send, sent) = stage.send(
            &local(&source),
            OpusSend {
                fec,
                ..OpusSend::default()
            },
        );
        stage.beats(100);
        let sent = sent.lock();
        let with = sent
            .iter()
            .filter(|packet| super::super::decoder::has_redundancy(&packet.payload))
            .count();
        assert_eq!(with > 30, fec, "{with} of {}", sent.len());
    }
}

#[test]
fn dropping_the_handle_stops_sending() {
    let mut stage = Stage::new();
    let (source, _) = tone_source(&stage, 48_000);
    let (send, sent) = stage.send(&local(&source), OpusSend::default());
    stage.beats(20);
    let before = sent.lock().len();
    drop(send);
    stage.beats(20);
    assert_eq!(sent.lock().len(), before);
    // Without a sender or listener the source is served no more after a while.
    stage.beats(150);
    assert_eq!(stage.units(), 0);
}

#[test]
fn two_senders_of_one_source_send_the_same_sound() {
    let mut stage = Stage::new();
    let (source, _) = tone_source(&stage, 48_000);
    let track = local(&source);
    let (_one, sent_by_one) = stage.send(&track, OpusSend::default());
    let (_two, sent_by_two) = stage.send(&track, OpusSend::default());
    stage.beats(101);
    assert!(sent_by_one.lock().len() >= 50 && sent_by_two.lock().len() >= 50);
    let loud = |sent: &Log<Sent>| sent.lock()[5..].iter().all(|packet| packet.level_dbov < 20);
    assert!(loud(&sent_by_one) && loud(&sent_by_two));
}

#[test]
fn time_that_the_machine_slept_through_is_skipped_in_the_timestamps() {
    let mut stage = Stage::new();
    let (source, _) = tone_source(&stage, 48_000);
    let (_send, sent) = stage.send(&local(&source), OpusSend::default());
    stage.beats(50);
    stage.stall(1_000);
    stage.beats(50);
    let sent = sent.lock();
    let whole = sent[sent.len() - 1]
        .timestamp
        .wrapping_sub(sent[0].timestamp);
    assert!((whole / 480).abs_diff(1_099) <= 3, "{}", whole / 480);
    assert!(sent.len() < 70, "a burst of {} packets", sent.len());
}

#[test]
fn a_remote_track_can_not_be_sent() {
    let stage = Stage::new();
    let error = start_send(&stage.remote(), OpusSend::default(), 0, |_| {}).unwrap_err();
    assert!(error.message.contains("remote"), "{error}");
}

#[test]
fn a_hook_that_panics_stops_only_its_own_source() {
    struct Bomb;
    impl AudioPull for Bomb {
        fn fill(&mut self, _out: &mut [i16]) -> usize {
            panic!("the test wants this");
        }
    }
    let mut stage = Stage::new();
    let bad = stage.source(48_000, 1, 100);
    bad.set_pull(Box::new(Bomb));
    let (_bad_send, bad_sent) = stage.send(&local(&bad), OpusSend::default());
    let (good, _) = tone_source(&stage, 48_000);
    let (_good_send, good_sent) = stage.send(&local(&good), OpusSend::default());
    stage.beats(100);
    assert_eq!(bad_sent.lock().len(), 0);
    assert!(good_sent.lock().len() >= 49);
}
