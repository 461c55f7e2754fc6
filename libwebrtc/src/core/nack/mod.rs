//! Lost packets, asked for and sent again: generic negative acknowledgements (RFC 4585, 6.2.1),
//! on streams for which they were negotiated.
//!
//! A packet is sent again as it was, under its own number: there is no RTX for sound. The stack
//! has interceptors for both sides; its asking one wakes up ten times a second for ever and asks
//! up to 100 ms after a loss, when a conversation has gone on without the packet.

mod history;
mod requests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use rtc::interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use rtc::shared::error::Error as StackError;

use self::history::History;
use self::requests::Requests;
use super::drain::ReceivedRtp;
use super::reports::Reports;

/// What one message can have sent again: all that is kept of a stream.
const ANSWERS_MAX: usize = 50;
/// Answers that wait to be fetched: more than all questions of a moment can have.
const ANSWERS_WAITING_MAX: usize = 64;

/// Packets that were asked for and have come.
///
/// They go round the rest of the chain, where the receiver reports are made: those are to say what
/// the network loses, not what is left of it. A sender who is told of no loss gives up the
/// redundancy that covers for answers which come too late.
#[derive(Debug, Default, Clone)]
pub(super) struct Resent(Arc<Mutex<Vec<ReceivedRtp>>>);

impl Resent {
    fn add(&self, packet: ReceivedRtp) {
        let mut waiting = self.0.lock();
        if waiting.len() < ANSWERS_WAITING_MAX {
            waiting.push(packet);
        }
    }

    /// Takes out what has come since the last time.
    pub fn take_into(&self, media: &mut Vec<ReceivedRtp>) {
        media.append(&mut self.0.lock());
    }
}

/// The interceptor that asks and answers.
pub(super) struct Retransmission {
    /// By the SSRC of a received stream.
    requests: HashMap<u32, Requests>,
    /// By the SSRC of a sent stream.
    histories: HashMap<u32, History>,
    resent: Resent,
    reports: Reports,
    /// The sender in our messages; nobody needs it to be one of our streams.
    sender_ssrc: u32,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl Retransmission {
    pub fn new(resent: Resent, reports: Reports) -> Self {
        Self {
            requests: HashMap::new(),
            histories: HashMap::new(),
            resent,
            reports,
            sender_ssrc: rand::random(),
            reads: VecDeque::new(),
            writes: VecDeque::new(),
        }
    }

    fn ask(&mut self, now: Instant, media_ssrc: u32) {
        let Some(requests) = self.requests.get_mut(&media_ssrc) else {
            return;
        };
        let mut seqs = Vec::new();
        requests.take_due(now, &mut seqs);
        if seqs.is_empty() {
            return;
        }
        let nack = TransportLayerNack {
            sender_ssrc: self.sender_ssrc,
            media_ssrc,
            nacks: nack_pairs_from_sequence_numbers(&seqs),
        };
        self.write(now, Packet::Rtcp(vec![Box::new(nack)]));
    }

    fn answer(&mut self, now: Instant, packets: &[Box<dyn rtcp::Packet>]) {
        for nack in packets
            .iter()
            .filter_map(|packet| packet.as_any().downcast_ref::<TransportLayerNack>())
        {
            let Some(history) = self.histories.get_mut(&nack.media_ssrc) else {
                continue;
            };
            self.reports.note_question(nack.media_ssrc);
            let round_trip = self.reports.round_trip(nack.media_ssrc);
            let wanted = nack.nacks.iter().flat_map(|pair| pair.into_iter());
            let again: Vec<_> = wanted
                .take(ANSWERS_MAX)
                .filter_map(|seq| history.resend(now, seq, round_trip))
                .collect();
            for again in again {
                let bytes = again.packet.payload.len();
                self.reports
                    .note_resending(nack.media_ssrc, bytes, again.is_first);
                self.write(now, Packet::Rtp(again.packet));
            }
        }
    }

    fn write(&mut self, now: Instant, packet: Packet) {
        self.writes.push_back(TaggedPacket {
            now,
            transport: TransportContext::default(),
            message: packet.into(),
        });
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Retransmission {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = StackError;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), StackError> {
        match &packet.message.packet {
            Packet::Rtp(rtp) => {
                let ssrc = rtp.header.ssrc;
                if let Some(requests) = self.requests.get_mut(&ssrc) {
                    if requests.note(packet.now, rtp.header.sequence_number) {
                        self.resent
                            .add(ReceivedRtp::resent(packet.now, rtp.clone()));
                        return Ok(());
                    }
                    self.ask(packet.now, ssrc);
                }
            }
            Packet::Rtcp(packets) => self.answer(packet.now, packets),
            _ => {}
        }
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), StackError> {
        if let Packet::Rtp(rtp) = &packet.message.packet
            && let Some(history) = self.histories.get_mut(&rtp.header.ssrc)
        {
            history.note(rtp.clone());
        }
        self.writes.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), StackError> {
        let due: Vec<u32> = self
            .requests
            .iter()
            .filter(|(_, requests)| requests.next_ask().is_some_and(|next| next <= now))
            .map(|(&ssrc, _)| ssrc)
            .collect();
        due.into_iter().for_each(|ssrc| self.ask(now, ssrc));
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.requests.values().filter_map(Requests::next_ask).min()
    }
}

impl Interceptor for Retransmission {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        if is_negotiated(info) {
            self.histories.entry(info.ssrc).or_default();
        }
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        self.histories.remove(&info.ssrc);
    }

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        if is_negotiated(info) {
            self.requests.entry(info.ssrc).or_default();
        }
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.requests.remove(&info.ssrc);
    }
}

fn is_negotiated(info: &StreamInfo) -> bool {
    info.rtcp_feedback
        .iter()
        .any(|feedback| feedback.typ == "nack" && feedback.parameter.is_empty())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rtc::interceptor::RTCPFeedback;

    use super::*;

    const SSRC: u32 = 7;

    /// A stream, with `nack` or without.
    fn stream(feedback: &[(&str, &str)]) -> StreamInfo {
        let feedback = feedback.iter().map(|&(typ, parameter)| RTCPFeedback {
            typ: typ.to_owned(),
            parameter: parameter.to_owned(),
        });
        StreamInfo {
            ssrc: SSRC,
            rtcp_feedback: feedback.collect(),
            ..Default::default()
        }
    }

    fn tagged(now: Instant, packet: Packet) -> TaggedPacket {
        TaggedPacket {
            now,
            transport: TransportContext::default(),
            message: packet.into(),
        }
    }

    fn packet(seq: u16) -> rtc::rtp::Packet {
        rtc::rtp::Packet {
            header: rtc::rtp::Header {
                version: 2,
                ssrc: SSRC,
                sequence_number: seq,
                timestamp: u32::from(seq) * 960,
                ..Default::default()
            },
            payload: seq.to_be_bytes().to_vec().into(),
        }
    }

    /// Both ends of a stream, 5 ms apart there and back.
    struct Pair {
        start: Instant,
        sender: Retransmission,
        receiver: Retransmission,
        resent: Resent,
        reports: Reports,
        /// What went on through the receiver's chain.
        chain: Vec<u16>,
    }

    impl Pair {
        fn new(info: &StreamInfo) -> Self {
            let (resent, reports) = (Resent::default(), Reports::default());
            let mut sender = Retransmission::new(Resent::default(), reports.clone());
            let mut receiver = Retransmission::new(resent.clone(), Reports::default());
            sender.bind_local_stream(info);
            receiver.bind_remote_stream(info);
            Self {
                start: Instant::now(),
                sender,
                receiver,
                resent,
                reports,
                chain: Vec::new(),
            }
        }

        fn at(&self, seq: u16) -> Instant {
            self.start + Duration::from_millis(20) * u32::from(seq)
        }

        fn send(&mut self, seq: u16, is_lost: bool) {
            let now = self.at(seq);
            let packet = tagged(now, Packet::Rtp(packet(seq)));
            self.sender.handle_write(packet).unwrap();
            let sent = self.sender.poll_write().unwrap();
            if !is_lost {
                self.receiver.handle_read(sent).unwrap();
            }
            while let Some(question) = self.receiver.poll_write() {
                self.sender.handle_read(question).unwrap();
                assert!(self.sender.poll_read().is_some(), "the reports pass");
            }
            while let Some(mut answer) = self.sender.poll_write() {
                answer.now = now + Duration::from_millis(5);
                self.receiver.handle_read(answer).unwrap();
            }
            while let Some(read) = self.receiver.poll_read() {
                if let Packet::Rtp(rtp) = &read.message.packet {
                    self.chain.push(rtp.header.sequence_number);
                }
            }
        }
    }

    #[test]
    fn a_lost_packet_comes_back_as_it_was_and_goes_round_the_reports() {
        let mut pair = Pair::new(&stream(&[("nack", "")]));
        // The first gap is the one that shows whether packets are only overtaken.
        (0..10).for_each(|seq| pair.send(seq, seq == 1));
        let control = pair.reports.resendings(SSRC).packets;
        pair.resent.take_into(&mut Vec::new());
        pair.chain.clear();
        (10..20).for_each(|seq| pair.send(seq, seq == 14 || seq == 15));
        assert_eq!(pair.chain, [10, 11, 12, 13, 16, 17, 18, 19]);
        let mut media = Vec::new();
        pair.resent.take_into(&mut media);
        let came: Vec<_> = media
            .iter()
            .map(|m| (m.sequence_number, m.timestamp, m.resent))
            .collect();
        assert_eq!(came, [(14, 14 * 960, true), (15, 15 * 960, true)]);
        assert_eq!(media[0].payload[..], 14_u16.to_be_bytes());
        assert_eq!(media[0].arrival, pair.at(16) + Duration::from_millis(5));
        assert_eq!(pair.receiver.poll_timeout(), None);
        let resendings = pair.reports.resendings(SSRC);
        assert_eq!((control, resendings.packets, resendings.bytes), (1, 3, 6));
    }

    #[test]
    fn it_is_asked_for_again_when_its_time_has_come() {
        let mut pair = Pair::new(&stream(&[("nack", "")]));
        (0..10).for_each(|seq| pair.send(seq, seq == 1));
        for seq in [10, 12] {
            let packet = tagged(pair.at(seq), Packet::Rtp(packet(seq)));
            pair.receiver.handle_read(packet).unwrap();
        }
        assert!(pair.receiver.poll_write().is_some(), "asked at once");
        let again = pair.receiver.poll_timeout().unwrap();
        pair.receiver
            .handle_timeout(again - Duration::from_millis(1))
            .unwrap();
        assert!(pair.receiver.poll_write().is_none());
        pair.receiver.handle_timeout(again).unwrap();
        assert!(pair.receiver.poll_write().is_some());
        pair.receiver.unbind_remote_stream(&stream(&[]));
        assert_eq!(pair.receiver.poll_timeout(), None);
    }

    #[test]
    fn where_it_was_not_negotiated_nobody_asks_and_nobody_answers() {
        for feedback in [&[][..], &[("nack", "pli")]] {
            let mut pair = Pair::new(&stream(feedback));
            (0..10).for_each(|seq| pair.send(seq, seq == 4));
            assert_eq!(pair.chain.len(), 9);
            assert_eq!(pair.receiver.poll_timeout(), None);
            let nack = TransportLayerNack {
                sender_ssrc: 1,
                media_ssrc: SSRC,
                nacks: nack_pairs_from_sequence_numbers(&[4]),
            };
            let question = tagged(pair.at(10), Packet::Rtcp(vec![Box::new(nack)]));
            pair.sender.handle_read(question).unwrap();
            assert!(pair.sender.poll_write().is_none());
        }
    }

    #[test]
    fn a_question_for_everything_gets_what_is_kept_and_no_more() {
        let mut pair = Pair::new(&stream(&[("nack", "")]));
        (0..200).for_each(|seq| pair.send(seq, false));
        let nack = TransportLayerNack {
            sender_ssrc: 1,
            media_ssrc: SSRC,
            nacks: nack_pairs_from_sequence_numbers(&(0..=u16::MAX).rev().collect::<Vec<_>>()),
        };
        let question = tagged(pair.at(200), Packet::Rtcp(vec![Box::new(nack)]));
        pair.sender.handle_read(question).unwrap();
        let answers = std::iter::from_fn(|| pair.sender.poll_write()).count();
        assert!(answers <= ANSWERS_MAX, "{answers}");
    }
}
