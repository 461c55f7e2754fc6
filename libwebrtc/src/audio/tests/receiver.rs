//! Recorded packets, and a receiver for them on its own clock.

use super::*;
use crate::audio::playout::{Frame, Playout, PlayoutStats};

/// Encodes `seconds` of what `pull` yields at 48 kHz mono. `each` is called before every beat.
pub fn record(
    seconds: u32,
    pull: impl AudioPull + 'static,
    mut each: impl FnMut(u32),
) -> Vec<Sent> {
    let mut stage = Stage::new();
    let source = stage.source(48_000, 1, 100);
    source.set_pull(Box::new(pull));
    let (_send, sent) = stage.send(&local(&source), OpusSend::default());
    for beat in 0..seconds * 100 {
        each(beat);
        stage.beat();
    }
    sent.lock().clone()
}

/// A talker in sentences of 2 s and pauses of 0.5 s.
pub fn talk(seconds: u32) -> Vec<Sent> {
    talk_of(8, seconds)
}

/// The same with a voice of so many harmonics.
pub fn talk_of(harmonics: u32, seconds: u32) -> Vec<Sent> {
    let tone = Tone {
        harmonics,
        ..Tone::new(150.0, 48_000, 1)
    };
    let on = Arc::clone(&tone.on);
    record(seconds, tone, |beat| {
        on.store(beat % 250 < 200, Ordering::Relaxed);
    })
}

/// A receiver on its own clock.
pub struct Receiver {
    pub playout: Playout,
    pub frame: Frame,
    start: Instant,
    beats: u32,
}

impl Receiver {
    pub fn new() -> Self {
        Self {
            playout: Playout::new(PlayoutStats::default()).unwrap(),
            frame: Frame::SILENT,
            start: Instant::now(),
            beats: 0,
        }
    }

    /// Plays packets that arrive as `arrival_us` says, the nth of all packets so far at
    /// `arrival_us(n)`, none more than a second out of order. Calls `each` on every beat with the
    /// sound of its left channel.
    pub fn play<'a>(
        &mut self,
        packets: impl IntoIterator<Item = &'a Sent>,
        arrival_us: impl Fn(u64) -> u64,
        mut each: impl FnMut(&PlayoutStats, &[i16]),
    ) {
        let mut packets = packets.into_iter().zip(0_u64..);
        let mut on_the_way: Vec<RtpAudio> = Vec::new();
        let mut left = Vec::new();
        loop {
            while on_the_way.len() < 50
                && let Some((sent, n)) = packets.next()
            {
                let arrival = self.start + Duration::from_micros(arrival_us(n));
                let mut packet = rtp(sent, (n & 0xffff) as u16, arrival);
                packet.timestamp = (n * 960) as u32;
                on_the_way.push(packet);
            }
            if on_the_way.is_empty() {
                return;
            }
            let now = self.start + BEAT * self.beats;
            self.beats += 1;
            let (mut here, later): (Vec<_>, Vec<_>) = on_the_way
                .into_iter()
                .partition(|packet| packet.arrival <= now);
            on_the_way = later;
            here.sort_by_key(|packet| packet.arrival);
            here.into_iter()
                .for_each(|packet| self.playout.insert(packet));
            self.playout.frame(now, &mut self.frame);
            left.clear();
            left.extend(channel(&self.frame, 0));
            each(&self.playout.stats(), &left);
        }
    }
}

/// The samples of one channel, the only one where there is one.
pub fn channel(frame: &Frame, index: usize) -> impl Iterator<Item = i16> {
    let channels = frame.channels();
    let samples = frame.samples().iter().skip(index.min(channels - 1));
    samples.step_by(channels).copied()
}
