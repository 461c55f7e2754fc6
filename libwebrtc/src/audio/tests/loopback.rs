//! Sound that goes from a source over a simulated network to a sink.

use super::*;

/// What the network does to packets.
#[derive(Debug, Clone, Copy, Default)]
struct Network {
    seed: u64,
    delay_ms: u64,
    jitter_ms: u64,
    loss_percent: u64,
    duplicate_percent: u64,
}

struct Call {
    stage: Stage,
    random: Random,
    network: Network,
    sent: Log<Sent>,
    seq: u16,
    on_the_way: Vec<(Instant, RtpAudio)>,
    remote: RtcAudioTrack,
    lost: u64,
    _send: AudioSend,
}

impl Call {
    fn new(network: Network, settings: OpusSend, pull: Tone) -> Self {
        let stage = Stage::new();
        let source = stage.source(pull.rate_hz, pull.channels as u32, 100);
        source.set_pull(Box::new(pull));
        let (send, sent) = stage.send(&local(&source), settings);
        let remote = stage.remote();
        Self {
            stage,
            random: Random(network.seed),
            network,
            sent,
            seq: 65_000,
            on_the_way: Vec::new(),
            remote,
            lost: 0,
            _send: send,
        }
    }

    fn beats(&mut self, count: u32) {
        for _ in 0..count {
            self.stage.beat();
            self.carry();
        }
    }

    fn carry(&mut self) {
        let now = self.stage.now();
        for sent in self.sent.lock().drain(..) {
            self.seq = self.seq.wrapping_add(1);
            if self.random.percent(self.network.loss_percent) {
                self.lost += 1;
                continue;
            }
            let copies = 1 + u64::from(self.random.percent(self.network.duplicate_percent));
            for _ in 0..copies {
                let jitter_ms = self.random.next() % (self.network.jitter_ms + 1);
                let arrival = now + Duration::from_millis(self.network.delay_ms + jitter_ms);
                self.on_the_way
                    .push((arrival, rtp(&sent, self.seq, arrival)));
            }
        }
        self.on_the_way.sort_by_key(|&(arrival, _)| arrival);
        let remote = self.remote.remote().unwrap();
        while self
            .on_the_way
            .first()
            .is_some_and(|&(arrival, _)| arrival <= now)
        {
            remote.push_rtp(self.on_the_way.remove(0).1);
        }
    }

    fn stats(&self) -> crate::audio::RemoteAudioStats {
        self.remote.remote().unwrap().stats()
    }
}

/// The share of beats in `signal` whose sine is not clean, in percent.
fn broken_percent(signal: &[i16], hz: f64, rate_hz: u32, clean_db: f64) -> f64 {
    let beats: Vec<_> = signal.chunks_exact(rate_hz as usize / 100).collect();
    let broken = beats
        .iter()
        .filter(|beat| sine_quality_db(beat, hz, rate_hz) < clean_db)
        .count();
    100.0 * broken as f64 / beats.len() as f64
}

#[test]
fn a_tone_comes_through_clean_at_every_rate() {
    for (from, to) in [
        (48_000, 48_000),
        (24_000, 16_000),
        (16_000, 16_000),
        (44_100, 48_000),
        (22_050, 24_000),
        (48_000, 8_000),
    ] {
        let settings = OpusSend {
            bitrate_bps: Some(96_000),
            ..OpusSend::default()
        };
        let mut call = Call::new(Network::default(), settings, Tone::new(600.0, from, 1));
        let listener = Listener::on(&call.remote, to, 1);
        call.beats(300);
        assert_eq!(listener.count(), 300);
        let samples = listener.samples();
        let steady = &samples[to as usize..2 * to as usize];
        let quality = sine_quality_db(steady, 600.0, to);
        assert!(quality > 25.0, "{from} -> {to}: {quality:.1} dB");
        let stats = call.stats();
        assert_eq!((stats.packets_lost, stats.packets_discarded), (0, 0));
        assert_eq!(
            stats.samples_removed + stats.samples_inserted,
            0,
            "{stats:?}"
        );
    }
}

#[test]
fn stereo_reaches_stereo_and_mono_sinks() {
    let settings = OpusSend {
        stereo: true,
        ..OpusSend::default()
    };
    let mut call = Call::new(Network::default(), settings, Tone::new(500.0, 48_000, 2));
    let stereo = Listener::on(&call.remote, 48_000, 2);
    let mono = Listener::on(&call.remote, 16_000, 1);
    call.beats(200);
    let frames = stereo.frames.lock();
    assert!(frames.iter().all(|frame| frame.len() == 960));
    assert!(mono.frames.lock().iter().all(|frame| frame.len() == 160));
    let left: Vec<i16> = frames.concat().into_iter().step_by(2).collect();
    assert!(sine_quality_db(&left[48_000..72_000], 500.0, 48_000) > 20.0);
    assert!(sine_quality_db(&mono.samples()[16_000..24_000], 500.0, 16_000) > 20.0);
}

#[test]
fn a_bad_network_is_heard_only_in_places() {
    let mut worst = 0.0_f64;
    for seed in 0..8 {
        let network = Network {
            seed,
            delay_ms: 30,
            jitter_ms: 50,
            loss_percent: 5,
            duplicate_percent: 3,
        };
        let settings = OpusSend {
            fec: true,
            ..OpusSend::default()
        };
        let mut call = Call::new(network, settings, Tone::new(400.0, 48_000, 1));
        let listener = Listener::on(&call.remote, 48_000, 1);
        call.beats(1_500);
        // The clock doesn't care about the network.
        assert_eq!(listener.count(), 1_500, "seed {seed}");
        let stats = call.stats();
        assert!(
            (40.0..=130.0).contains(&stats.target_delay_ms),
            "seed {seed}: {stats:?}"
        );
        assert!(stats.delay_ms < 200.0, "seed {seed}: {stats:?}");
        assert!(stats.jitter_s > 0.005, "seed {seed}: {stats:?}");
        let samples = listener.samples();
        worst = worst.max(broken_percent(&samples[5 * 48_000..], 400.0, 48_000, 8.0));
    }
    assert!(worst < 15.0, "{worst:.1} % of the beats are broken");
}

#[test]
fn most_single_losses_of_a_voice_are_recovered_from_redundancy() {
    let network = Network {
        seed: 5,
        delay_ms: 20,
        loss_percent: 5,
        ..Network::default()
    };
    let settings = OpusSend {
        fec: true,
        ..OpusSend::default()
    };
    let voice = Tone {
        harmonics: 12,
        ..Tone::new(130.0, 48_000, 1)
    };
    let mut call = Call::new(network, settings, voice);
    let _listener = Listener::on(&call.remote, 48_000, 1);
    call.beats(2_000);
    let stats = call.stats();
    let missing = stats.samples_recovered + stats.samples_concealed - stats.samples_silent;
    assert!(stats.samples_recovered * 10 > missing * 7, "{stats:?}");
}

#[test]
fn losses_are_counted() {
    let network = Network {
        seed: 3,
        delay_ms: 20,
        loss_percent: 10,
        ..Network::default()
    };
    let mut call = Call::new(network, OpusSend::default(), Tone::new(400.0, 48_000, 1));
    let _listener = Listener::on(&call.remote, 48_000, 1);
    call.beats(1_000);
    let stats = call.stats();
    assert!(stats.packets_lost > 20, "{stats:?}");
    assert!(
        stats.packets_lost.unsigned_abs() <= call.lost,
        "{stats:?}, {} lost",
        call.lost
    );
    assert!(stats.concealment_events > 10, "{stats:?}");
}

#[test]
fn pauses_with_dtx_are_silent_and_as_long_as_they_were() {
    let tone = Tone::new(440.0, 48_000, 1);
    let on = Arc::clone(&tone.on);
    let settings = OpusSend {
        dtx: true,
        ..OpusSend::default()
    };
    let network = Network {
        delay_ms: 25,
        ..Network::default()
    };
    let mut call = Call::new(network, settings, tone);
    let listener = Listener::on(&call.remote, 16_000, 1);
    call.beats(200);
    let before = call.stats();
    on.store(false, Ordering::Relaxed);
    call.beats(300);
    on.store(true, Ordering::Relaxed);
    call.beats(200);
    assert_eq!(listener.count(), 700);
    // Nothing was missing.
    let after = call.stats();
    assert_eq!(after.samples_concealed, before.samples_concealed);
    assert_eq!(after.concealment_events, before.concealment_events);
    let loud: Vec<usize> = listener
        .frames
        .lock()
        .iter()
        .enumerate()
        .filter(|(_, frame)| frame.iter().any(|sample| sample.unsigned_abs() > 3_000))
        .map(|(beat, _)| beat)
        .collect();
    let pause = loud.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(
        (297..=303).contains(&pause),
        "a pause of 300 beats became one of {pause}"
    );
    assert!(call.stats().packets_received < 300, "{:?}", call.stats());
}

#[test]
fn a_muted_track_is_heard_as_silence_on_the_same_clock() {
    let stage_tone = Tone::new(440.0, 48_000, 1);
    let mut call = Call::new(Network::default(), OpusSend::default(), stage_tone);
    let listener = Listener::on(&call.remote, 16_000, 1);
    call.beats(100);
    assert!(call.remote.set_enabled(false));
    call.beats(100);
    assert!(call.remote.set_enabled(true));
    call.beats(100);
    assert_eq!(listener.count(), 300);
    let frames = listener.frames.lock();
    let peak = |range: std::ops::Range<usize>| {
        frames[range]
            .iter()
            .flatten()
            .map(|sample| sample.unsigned_abs())
            .max()
            .unwrap()
    };
    assert!(peak(20..100) > 8_000);
    assert_eq!(peak(101..200), 0);
    assert!(peak(201..300) > 8_000);
}
