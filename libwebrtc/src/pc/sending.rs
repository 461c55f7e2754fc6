//! Local tracks: encoded on the audio threads, numbered and sent by the driver.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;

use super::transceiver::{Transceiver, TransceiverHandle};
use super::{Pc, State};
use crate::RtcError;
use crate::audio::{AudioSend, EncodedAudio, OpusSend, start_send};
use crate::audio_track::RtcAudioTrack;
use crate::core::OutgoingRtp;
use crate::e2ee::{FrameCipher, Sealed};
use crate::media_stream_track::MediaStreamTrack;
use crate::native::create_random_uuid;
use crate::peer_connection::PeerConnectionState;
use crate::rtp_parameters::{RtpEncodingParameters, RtpParameters};
use crate::rtp_transceiver::RtpTransceiverDirection;
use crate::sdp::OpusFormat;

/// Between two looks at what the peer reports, in packets: about as often as reports come.
const PACKETS_PER_LOOK: u16 = 50;
/// The voice flag of an audio level byte (RFC 6464).
const VOICE_FLAG: u8 = 0x80;
/// The lowest level that fits, in −dBov.
const LEVEL_MAX: u8 = 0x7f;
/// Of the RTP clock of Opus (RFC 7587, section 4.1).
const SAMPLES_PER_MS: u32 = 48;
/// Of a packet of 20 ms.
const PACKET_SAMPLES: u32 = 20 * SAMPLES_PER_MS;

/// The sending half of a transceiver.
pub(super) struct Sending {
    track: Option<RtcAudioTrack>,
    stream_ids: Vec<String>,
    pub encodings: Vec<RtpEncodingParameters>,
    pub ssrc: u32,
    sequence_number: u16,
    clock: RtpClock,
    encoder: Encoder,
    seal: Seal,
}

/// What every packet of a sender goes through, from the moment that it is set.
type Seal = Arc<Mutex<Option<Arc<FrameCipher>>>>;

/// The encoder that runs for a track, and what it was started with.
#[derive(Default)]
enum Encoder {
    #[default]
    Stopped,
    /// Being started, outside the lock.
    Starting(OpusSend),
    Running(
        OpusSend,
        /// Dropping it stops the encoder.
        AudioSend,
    ),
}

/// The RTP timestamps of one stream at 48 kHz. They begin at random and follow the time from there on, whichever encoder
/// makes the packets: an SFU takes a stream whose timestamps fall back behind its first one for another one's, and
/// drops it.
#[derive(Debug, Clone, Copy)]
struct RtpClock {
    began: Instant,
    first: u32,
    last: Option<u32>,
}

impl RtpClock {
    fn new(began: Instant, first: u32) -> Self {
        Self {
            began,
            first,
            last: None,
        }
    }

    /// Where an encoder that starts now begins: behind all that was sent.
    fn start(&self, now: Instant) -> u32 {
        let elapsed_us = now.saturating_duration_since(self.began).as_micros();
        // Timestamps wrap.
        let elapsed = (elapsed_us * u128::from(SAMPLES_PER_MS) / 1_000) as u32;
        let due = self.first.wrapping_add(elapsed);
        match self.last {
            Some(last) if due.wrapping_sub(last).cast_signed() <= 0 => {
                last.wrapping_add(PACKET_SAMPLES)
            }
            _ => due,
        }
    }
}

/// One encoded packet on its way from an audio thread to the driver.
pub(super) struct QueuedRtp {
    index: usize,
    timestamp: u32,
    marker: bool,
    audio_level: u8,
    payload: Bytes,
}

impl Default for Sending {
    fn default() -> Self {
        Self {
            track: None,
            stream_ids: Vec::new(),
            encodings: Vec::new(),
            ssrc: 0,
            sequence_number: rand::random(),
            clock: RtpClock::new(Instant::now(), rand::random()),
            encoder: Encoder::Stopped,
            seal: Seal::default(),
        }
    }
}

impl Sending {
    pub fn new(
        track: RtcAudioTrack,
        mut stream_ids: Vec<String>,
        mut encodings: Vec<RtpEncodingParameters>,
    ) -> Self {
        if stream_ids.is_empty() {
            // Every track needs a stream to be announced in; the remote side goes by the track.
            stream_ids.push(create_random_uuid());
        }
        encodings.truncate(1);
        if encodings.is_empty() {
            encodings.push(RtpEncodingParameters::default());
        }
        let ssrc = rand::random_range(1..u32::MAX / 2);
        for encoding in &mut encodings {
            (encoding.has_ssrc, encoding.ssrc) = (true, ssrc);
        }
        Self {
            track: Some(track),
            stream_ids,
            encodings,
            ssrc,
            ..Self::default()
        }
    }

    pub fn track(&self) -> Option<&RtcAudioTrack> {
        self.track.as_ref()
    }

    pub fn stream_id(&self) -> &str {
        self.stream_ids.first().map_or("", String::as_str)
    }

    /// Stops for good and lets go of the track, which keeps its source.
    pub fn end(&mut self) {
        self.encoder = Encoder::Stopped;
        self.track = None;
    }

    /// What the encoder should run with now, if it should.
    fn wanted(&self, opus: Option<OpusFormat>, sends: bool) -> Option<OpusSend> {
        let encoding = self.encodings.first().filter(|encoding| encoding.active)?;
        let format = opus.filter(|_| sends && self.track.is_some())?;
        let asked = encoding
            .max_bitrate
            .map(|bps| u32::try_from(bps).unwrap_or(u32::MAX));
        Some(OpusSend {
            dtx: format.dtx,
            fec: format.fec,
            stereo: format.stereo,
            bitrate_bps: match (asked, format.max_bitrate_bps) {
                (Some(asked), Some(allowed)) => Some(asked.min(allowed)),
                (asked, allowed) => asked.or(allowed),
            },
        })
    }
}

impl Transceiver {
    fn wanted_encoder(&self) -> Option<OpusSend> {
        let sends = self
            .current_direction
            .is_some_and(RtpTransceiverDirection::sends);
        self.sending.wanted(self.opus, sends)
    }
}

impl Pc {
    /// Starts and stops encoders until they fit what was negotiated and set.
    ///
    /// An encoder starts and ends outside the lock: that may make or join a thread.
    pub(super) fn reconcile_senders(&self) {
        while let Some(step) = self.next_encoder_step() {
            if let Step::Start {
                index,
                track,
                settings,
                timestamp,
            } = step
            {
                self.start_encoder(index, &track, settings, timestamp);
            }
        }
    }

    fn next_encoder_step(&self) -> Option<Step> {
        let mut state = self.state.lock();
        state
            .transceivers
            .iter_mut()
            .enumerate()
            .find_map(|(index, transceiver)| {
                let wanted = transceiver.wanted_encoder();
                let sending = &mut transceiver.sending;
                match (&sending.encoder, wanted) {
                    (Encoder::Stopped, None) => None,
                    (Encoder::Starting(now) | Encoder::Running(now, _), Some(wanted))
                        if *now == wanted =>
                    {
                        None
                    }
                    (Encoder::Stopped, Some(settings)) => {
                        sending.encoder = Encoder::Starting(settings);
                        let track = sending.track.clone()?;
                        Some(Step::Start {
                            index,
                            track,
                            settings,
                            timestamp: sending.clock.start(Instant::now()),
                        })
                    }
                    _ => Some(Step::Stopped(std::mem::take(&mut sending.encoder))),
                }
            })
    }

    fn start_encoder(
        &self,
        index: usize,
        track: &RtcAudioTrack,
        settings: OpusSend,
        timestamp: u32,
    ) {
        let queue = self.rtp_queue.clone();
        let seal = Arc::clone(&self.state.lock().transceivers[index].sending.seal);
        let started = start_send(
            track,
            settings,
            timestamp,
            move |packet: EncodedAudio<'_>| {
                let cipher = seal.lock().clone();
                let payload = match cipher.map_or(Sealed::AsItIs, |c| c.seal(packet.payload)) {
                    Sealed::AsItIs => Bytes::copy_from_slice(packet.payload),
                    Sealed::As(sealed) => sealed.into(),
                    Sealed::Withheld => return,
                };
                // A full queue loses the packet: the audio thread must not wait for the network.
                if queue
                    .try_send(QueuedRtp::new(index, &packet, payload))
                    .is_err()
                {
                    log::debug!("an encoded packet was dropped: the driver is held up or gone");
                }
            },
        );
        let mut state = self.state.lock();
        let sending = &mut state.transceivers[index].sending;
        let awaited = matches!(&sending.encoder, Encoder::Starting(now) if *now == settings);
        match started {
            Ok(encoder) if awaited => sending.encoder = Encoder::Running(settings, encoder),
            Ok(encoder) => {
                drop(state);
                drop(encoder);
            }
            Err(error) => log::error!("track {} can't be sent: {error}", track.id()),
        }
    }
}

enum Step {
    Start {
        index: usize,
        track: RtcAudioTrack,
        settings: OpusSend,
        timestamp: u32,
    },
    /// An encoder to be dropped outside the lock.
    Stopped(#[expect(dead_code, reason = "dropping it stops the encoder")] Encoder),
}

impl QueuedRtp {
    fn new(index: usize, packet: &EncodedAudio<'_>, payload: Bytes) -> Self {
        let voice = if packet.voice { VOICE_FLAG } else { 0 };
        Self {
            index,
            timestamp: packet.timestamp,
            marker: packet.marker,
            audio_level: voice | packet.level_dbov.min(LEVEL_MAX),
            payload,
        }
    }
}

impl State {
    /// Numbers an encoded packet and hands it to the core.
    pub(super) fn write_rtp(&mut self, now: Instant, packet: QueuedRtp) {
        if self.connection != PeerConnectionState::Connected {
            return;
        }
        let Some(transceiver) = self.transceivers.get_mut(packet.index) else {
            return;
        };
        let sending = &mut transceiver.sending;
        if matches!(sending.encoder, Encoder::Stopped) {
            return;
        }
        sending.sequence_number = sending.sequence_number.wrapping_add(1);
        sending.clock.last = Some(packet.timestamp);
        if sending.sequence_number.is_multiple_of(PACKETS_PER_LOOK)
            && let Encoder::Running(_, encoder) = &sending.encoder
            && let Some(loss) = self.core.expected_loss(sending.ssrc)
        {
            encoder.expect_loss(loss);
        }
        let outgoing = OutgoingRtp {
            ssrc: sending.ssrc,
            sequence_number: sending.sequence_number,
            timestamp: packet.timestamp,
            marker: packet.marker,
            audio_level: packet.audio_level,
            payload: packet.payload,
        };
        if let Err(error) = self.core.write_rtp(now, packet.index, outgoing) {
            log::debug!("a packet was not sent: {error}");
        }
    }
}

impl TransceiverHandle {
    pub fn sender_track(&self) -> Option<MediaStreamTrack> {
        self.read(|t| t.sending.track.clone().map(MediaStreamTrack::Audio))
    }

    pub fn set_sender_track(&self, track: Option<MediaStreamTrack>) -> Result<(), RtcError> {
        let track = match track {
            None => None,
            Some(MediaStreamTrack::Audio(track)) => Some(track),
            Some(MediaStreamTrack::Video(_)) => {
                return Err(RtcError::internal(
                    "video can't be sent: there is no video encoder",
                ));
            }
        };
        let former = self.pc.change(|state| {
            state.ensure_open()?;
            let sending = &mut state.transceivers[self.index].sending;
            if sending.ssrc == 0 && track.is_some() {
                return Err(RtcError::invalid_state(
                    "this transceiver was made to receive only: add a transceiver with the track",
                ));
            }
            sending.track = track;
            Ok(std::mem::take(&mut sending.encoder))
        })?;
        drop(former);
        self.pc.reconcile_senders();
        Ok(())
    }

    pub fn set_sender_parameters(&self, parameters: RtpParameters) -> Result<(), RtcError> {
        self.pc.change(|state| {
            state.ensure_open()?;
            let sending = &mut state.transceivers[self.index].sending;
            if parameters.encodings.len() != sending.encodings.len() {
                return Err(RtcError::invalid_state(format!(
                    "the sender has {} encodings and not {}: change the given ones",
                    sending.encodings.len(),
                    parameters.encodings.len()
                )));
            }
            sending.encodings = parameters.encodings;
            Ok(())
        })?;
        self.pc.reconcile_senders();
        Ok(())
    }

    /// Sends nothing from now on that this cipher has not let pass.
    pub fn seal_with(&self, cipher: Arc<FrameCipher>) {
        let seal = self.read(|t| Arc::clone(&t.sending.seal));
        *seal.lock() = Some(cipher);
    }

    pub fn remove_track(&self) -> Result<(), RtcError> {
        self.pc.change(|state| {
            state.ensure_open()?;
            let transceiver = &mut state.transceivers[self.index];
            if transceiver.sending.track.take().is_none() {
                return Ok(());
            }
            transceiver.direction =
                RtpTransceiverDirection::of(false, transceiver.direction.receives());
            state.core.remove_sender(self.index)?;
            Ok::<_, RtcError>(())
        })?;
        self.pc.reconcile_senders();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn timestamps_follow_the_time_whichever_encoder_makes_the_packets() {
        let began = Instant::now();
        let clock = RtpClock::new(began, u32::MAX - 47);
        assert_eq!(clock.start(began), u32::MAX - 47);
        assert_eq!(
            clock.start(began + Duration::from_millis(1)),
            0,
            "they wrap"
        );
        assert_eq!(
            clock.start(began + Duration::from_secs(3600)),
            3600 * 48_000 - 48
        );
    }

    #[test]
    fn an_encoder_that_is_started_anew_begins_behind_all_that_was_sent() {
        let began = Instant::now();
        let mut clock = RtpClock::new(began, 1_000);
        // A head start of a packet.
        clock.last = Some(1_000 + 3 * PACKET_SAMPLES);
        let soon = began + Duration::from_millis(40);
        assert_eq!(clock.start(soon), 1_000 + 4 * PACKET_SAMPLES);
        let later = began + Duration::from_secs(1);
        assert_eq!(clock.start(later), 1_000 + 48_000);
        clock.last = Some(u32::MAX);
        assert_eq!(
            RtpClock {
                first: u32::MAX,
                ..clock
            }
            .start(began),
            PACKET_SAMPLES - 1
        );
    }
}
