//! The receiving side of one track, between the network driver and the sinks.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use parking_lot::Mutex;
use rtrb::{Consumer, Producer, RingBuffer};

use super::{
    clock::Tick,
    engine::{Executor, Next, Pool, Unit},
    format::Format,
    playout::{Frame, Playout, PlayoutStats},
    reception::Reception,
    sink::{AudioSink, SinkHandle, SinkSlot},
};
use crate::RtcError;

/// Packets that may wait for the next beat: 5 s of 20 ms packets, after which the audio thread has
/// other troubles. More are dropped and counted.
const RING_PACKETS: usize = 256;

/// One received RTP packet of Opus, decrypted, header removed.
#[derive(Debug, Clone)]
pub struct RtpAudio {
    /// Synchronisation source.
    pub ssrc: u32,
    /// Sequence number.
    pub seq: u16,
    /// Timestamp on Opus's 48 kHz clock.
    pub timestamp: u32,
    /// Marker bit; playout doesn't depend on it.
    pub marker: bool,
    /// The Opus packet without padding and extensions.
    pub payload: Bytes,
    /// When it was read from the socket.
    pub arrival: Instant,
    /// It was lost and sent again, so that its arrival says nothing about the network.
    pub resent: bool,
}

/// What has happened to a received track since it began. Samples are counted per channel at
/// 48 kHz; the names follow the W3C's inbound-rtp statistics.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct RemoteAudioStats {
    /// Packets that arrived.
    pub packets_received: u64,
    /// Payload bytes that arrived.
    pub bytes_received: u64,
    /// Of these packets, the ones that were lost and sent again.
    pub packets_resent: u64,
    /// Their payload bytes.
    pub bytes_resent: u64,
    /// Packets expected by sequence number and not received; duplicates count against it.
    pub packets_lost: i64,
    /// Packets that arrived and were not played: late, duplicate, damaged or too many.
    pub packets_discarded: u64,
    /// Of these, the ones whose time had passed.
    pub packets_late: u64,
    /// Interarrival jitter in seconds (RFC 3550).
    pub jitter_s: f64,
    /// Samples given to sinks.
    pub samples_played: u64,
    /// Samples that were concealed or silent in place of sound that didn't come. A pause that the
    /// sender announces, as with DTX, is none.
    pub samples_concealed: u64,
    /// Of these, the silent ones: before the first packet, after the last, and long losses.
    pub samples_silent: u64,
    /// Samples recovered from in-band redundancy.
    pub samples_recovered: u64,
    /// Samples added to build up delay: periods that were played twice.
    pub samples_inserted: u64,
    /// Samples removed to reduce delay: periods that were left out.
    pub samples_removed: u64,
    /// How often concealment began.
    pub concealment_events: u64,
    /// Delay between the fastest packet's arrival and playout at the moment, in milliseconds.
    pub delay_ms: f64,
    /// What that delay is steered to, in milliseconds.
    pub target_delay_ms: f64,
    /// Sum of that delay over all samples with sound, in seconds times samples.
    pub delay_s_sum: f64,
    /// Integral of the power over time, in seconds at full scale.
    pub energy_s_sum: f64,
    /// Level of the last 10 ms in decibels below full scale, 0–127.
    pub level_dbov: u8,
}

/// Jitter buffer and decoder of one remote track. Clones are the same receiver.
///
/// Packets are counted always and decoded while there is a sink.
#[derive(Clone)]
pub struct RemoteAudio {
    shared: Arc<Shared>,
}

struct Shared {
    executor: Arc<dyn Executor>,
    enabled: Arc<AtomicBool>,
    ended: AtomicBool,
    intake: Mutex<Intake>,
    opening: Mutex<Option<Opening>>,
    sinks: Mutex<Sinks>,
    /// There are sinks to be taken over by the audio thread.
    joining: AtomicBool,
    playout: Mutex<PlayoutStats>,
}

/// Turns payloads into Opus packets; none is for one that must not be heard.
type Opening = Arc<dyn Fn(Bytes) -> Option<Bytes> + Send + Sync>;

/// The network driver's side. The audio thread takes its lock only when it goes to rest.
#[derive(Default)]
struct Intake {
    reception: Reception,
    overflowed: u64,
    ring: Option<Producer<RtpAudio>>,
}

#[derive(Default)]
struct Sinks {
    joining: Vec<SinkSlot>,
    running: bool,
}

impl RemoteAudio {
    pub(crate) fn new(enabled: Arc<AtomicBool>) -> Self {
        Self::on(Arc::clone(Pool::global()) as Arc<dyn Executor>, enabled)
    }

    pub(crate) fn on(executor: Arc<dyn Executor>, enabled: Arc<AtomicBool>) -> Self {
        Self {
            shared: Arc::new(Shared {
                executor,
                enabled,
                ended: AtomicBool::new(false),
                intake: Mutex::default(),
                opening: Mutex::default(),
                sinks: Mutex::default(),
                joining: AtomicBool::new(false),
                playout: Mutex::default(),
            }),
        }
    }

    /// Takes a packet from the network. It never waits for the audio thread.
    pub fn push_rtp(&self, mut packet: RtpAudio) {
        self.shared.intake.lock().reception.count(&packet);
        // Neither lock is held meanwhile: opening may call the application.
        let opening = self.shared.opening.lock().clone();
        if let Some(opening) = opening {
            let Some(opened) = opening(packet.payload) else {
                return;
            };
            packet.payload = opened;
        }
        let mut intake = self.shared.intake.lock();
        let refused = intake
            .ring
            .as_mut()
            .is_some_and(|ring| ring.push(packet).is_err());
        if refused {
            intake.overflowed += 1;
        }
    }

    /// Puts every payload through this first.
    pub(crate) fn open_with(
        &self,
        opening: impl Fn(Bytes) -> Option<Bytes> + Send + Sync + 'static,
    ) {
        *self.shared.opening.lock() = Some(Arc::new(opening));
    }

    /// Nothing will come any more: sinks and streams end at the next beat, and later ones at once.
    pub fn end(&self) {
        self.shared.ended.store(true, Ordering::Release);
    }

    /// Whether [`end`](Self::end) was called, or the track had to be taken out of service.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire)
    }

    /// The counts so far.
    #[must_use]
    pub fn stats(&self) -> RemoteAudioStats {
        let playout = *self.shared.playout.lock();
        let intake = self.shared.intake.lock();
        let reception = &intake.reception;
        RemoteAudioStats {
            packets_received: reception.packets(),
            bytes_received: reception.bytes(),
            packets_resent: reception.resent().0,
            bytes_resent: reception.resent().1,
            packets_lost: reception.lost(),
            packets_discarded: playout.discarded
                + playout.late
                + playout.duplicate
                + intake.overflowed,
            packets_late: playout.late,
            jitter_s: reception.jitter_s(),
            samples_played: playout.played,
            samples_concealed: playout.concealed,
            samples_silent: playout.silent,
            samples_recovered: playout.recovered,
            samples_inserted: playout.inserted,
            samples_removed: playout.removed,
            concealment_events: playout.concealment_events,
            delay_ms: playout.delay_us as f64 / 1e3,
            target_delay_ms: playout.target_us as f64 / 1e3,
            delay_s_sum: playout.delay_s_sum,
            energy_s_sum: playout.energy_s_sum,
            level_dbov: playout.level_dbov,
        }
    }

    pub(crate) fn add_sink(
        &self,
        rate_hz: u32,
        channels: u32,
        sink: Box<dyn AudioSink>,
    ) -> SinkHandle {
        let (slot, handle) = SinkSlot::new(Format::CORE, rate_hz, channels, sink);
        if let Some(slot) = slot
            && let Some(refused) = self.shared.join(slot)
        {
            refused.end();
        }
        handle
    }
}

impl Shared {
    /// Gives a sink to the audio thread, which is set to work when it rests. The sink comes back
    /// when the track has ended or can't be played.
    fn join(self: &Arc<Self>, slot: SinkSlot) -> Option<SinkSlot> {
        let mut sinks = self.sinks.lock();
        if self.ended.load(Ordering::Acquire) {
            return Some(slot);
        }
        if !sinks.running {
            if let Err(error) = self.start() {
                log::error!("a remote audio track can't be played: {}", error.message);
                return Some(slot);
            }
            sinks.running = true;
        }
        sinks.joining.push(slot);
        self.joining.store(true, Ordering::Release);
        None
    }

    fn start(self: &Arc<Self>) -> Result<(), RtcError> {
        let (producer, packets) = RingBuffer::new(RING_PACKETS);
        let unit = RemoteUnit {
            shared: Arc::clone(self),
            packets,
            playout: Playout::new(*self.playout.lock())?,
            sinks: Vec::new(),
            frame: Frame::SILENT,
        };
        self.intake.lock().ring = Some(producer);
        self.executor.register(Box::new(unit))
    }

    /// Notes that playout stops when `may_stop` agrees, and yields the sinks that wait to join.
    /// None when it doesn't, or when another thread is at it, which a beat must not wait for.
    fn stop(&self, may_stop: impl Fn(&Vec<SinkSlot>) -> bool) -> Option<Vec<SinkSlot>> {
        let mut sinks = self.sinks.try_lock()?;
        if !may_stop(&sinks.joining) {
            return None;
        }
        self.intake.try_lock()?.ring = None;
        sinks.running = false;
        Some(std::mem::take(&mut sinks.joining))
    }
}

/// The audio thread's side of a track that has sinks.
struct RemoteUnit {
    shared: Arc<Shared>,
    packets: Consumer<RtpAudio>,
    playout: Playout,
    sinks: Vec<SinkSlot>,
    frame: Frame,
}

impl Unit for RemoteUnit {
    fn tick(&mut self, tick: Tick) -> Next {
        self.welcome();
        if self.shared.ended.load(Ordering::Acquire) {
            return self.finish();
        }
        // What comes meanwhile is for the next beat, or a flood could hold this one up.
        for _ in 0..self.packets.slots() {
            if let Ok(packet) = self.packets.pop() {
                self.playout.insert(packet);
            }
        }
        self.playout.frame(tick.at, &mut self.frame);
        if !self.shared.enabled.load(Ordering::Relaxed) {
            self.frame.mute();
        }
        let (samples, channels) = (self.frame.samples(), self.frame.channels());
        self.sinks
            .retain_mut(|sink| sink.deliver(samples, channels));
        if let Some(mut stats) = self.shared.playout.try_lock() {
            *stats = self.playout.stats();
        }
        if self.sinks.is_empty() {
            self.rest()
        } else {
            Next::Stay
        }
    }

    fn abandon(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        let mut sinks = self.shared.sinks.lock();
        sinks.running = false;
        let joining = std::mem::take(&mut sinks.joining);
        drop(sinks);
        self.shared.intake.lock().ring = None;
        self.end_sinks(joining);
    }
}

impl RemoteUnit {
    /// Takes new sinks over. When their list is just being written, the next beat does it.
    fn welcome(&mut self) {
        if self.shared.joining.load(Ordering::Acquire)
            && let Some(mut sinks) = self.shared.sinks.try_lock()
        {
            self.sinks.append(&mut sinks.joining);
            self.shared.joining.store(false, Ordering::Release);
        }
    }

    /// Leaves because the track has ended.
    fn finish(&mut self) -> Next {
        let shared = Arc::clone(&self.shared);
        let Some(joining) = shared.stop(|_| true) else {
            return Next::Stay;
        };
        self.end_sinks(joining);
        Next::Leave
    }

    /// Leaves because nobody listens, unless somebody is about to.
    fn rest(&mut self) -> Next {
        match self.shared.stop(Vec::is_empty) {
            Some(_) => Next::Leave,
            None => Next::Stay,
        }
    }

    fn end_sinks(&mut self, joining: Vec<SinkSlot>) {
        for sink in self.sinks.drain(..).chain(joining) {
            sink.end();
        }
    }
}

impl fmt::Debug for RemoteAudio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteAudio")
            .field("ended", &self.has_ended())
            .finish_non_exhaustive()
    }
}
