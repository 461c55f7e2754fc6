//! Reads the RTCP reports of both sides as they pass, for the statistics.
//!
//! The stack's own statistics have no round-trip time: that needs the moment at which a sender
//! report left, which only a look at both directions gives (RFC 3550, section 6.4.1).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rtc::interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::sansio::Protocol;
use rtc::shared::error::Error as StackError;

use super::Core;

/// Sender reports leave every second; the peer's answer refers to one of the last few.
const SENT_REPORTS_MAX: usize = 8;
/// How much of an expected loss is left with each later report without one: a tenth after twenty reports.
const LOSS_FADING: f64 = 0.9;
/// Reports come every few seconds; one about more packets than this has its numbers wrong.
const REPORT_PACKETS_MAX: u32 = 10_000;
/// The fractional unit of `last_sender_report` and `delay`: 1/65536 s.
const SHORT_NTP_HZ: f64 = 65_536.0;

/// What the remote side reports about a stream that we send.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct RemoteReception {
    pub packets_lost: i64,
    pub fraction_lost: f64,
    /// The share of lost packets that is to be reckoned with: rises with a report and falls slowly, since
    /// losses come in bursts.
    pub expected_loss: f64,
    /// Packets that were asked for again since the last report, which may count them as received.
    asked_for: u32,
    last_seq: Option<u32>,
    /// In the units of the RTP clock.
    pub jitter: u32,
    pub round_trip_s: f64,
    pub total_round_trip_s: f64,
    pub round_trip_count: u64,
}

/// What the remote side reports about a stream that it sends.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct RemoteSending {
    pub packets_sent: u64,
    pub bytes_sent: u64,
    /// NTP time of the report, in milliseconds since the Unix epoch.
    pub remote_timestamp_ms: f64,
    pub reports: u64,
}

/// What was sent again of a stream that we send.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Resendings {
    /// Messages that asked for packets.
    pub questions: u32,
    pub packets: u64,
    /// Payload alone.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Book {
    sent: HashMap<u32, VecDeque<(u32, Instant)>>,
    receptions: HashMap<u32, RemoteReception>,
    sendings: HashMap<u32, RemoteSending>,
    resendings: HashMap<u32, Resendings>,
}

/// The reports of one peer connection, shared between its stack and its statistics.
#[derive(Debug, Default, Clone)]
pub(super) struct Reports(Arc<Mutex<Book>>);

impl Reports {
    pub fn reception(&self, ssrc: u32) -> Option<RemoteReception> {
        self.0.lock().receptions.get(&ssrc).copied()
    }

    pub fn sending(&self, ssrc: u32) -> Option<RemoteSending> {
        self.0.lock().sendings.get(&ssrc).copied()
    }

    /// How long the way to the peer and back is, as its reports on a stream show; zero before the first.
    pub fn round_trip(&self, ssrc: u32) -> Duration {
        let round_trip_s = self.reception(ssrc).map_or(0.0, |r| r.round_trip_s);
        Duration::try_from_secs_f64(round_trip_s).unwrap_or_default()
    }

    pub fn resendings(&self, ssrc: u32) -> Resendings {
        let book = self.0.lock();
        book.resendings.get(&ssrc).copied().unwrap_or_default()
    }

    /// Notes that packets of a stream that we send are asked for.
    pub fn note_question(&self, ssrc: u32) {
        self.0.lock().resendings.entry(ssrc).or_default().questions += 1;
    }

    /// Notes that a packet of a stream that we send is sent again, with so many bytes of payload, and whether nobody
    /// had asked for it before.
    pub fn note_resending(&self, ssrc: u32, bytes: usize, is_first: bool) {
        let mut book = self.0.lock();
        let resendings = book.resendings.entry(ssrc).or_default();
        resendings.packets += 1;
        resendings.bytes += bytes as u64;
        if is_first && let Some(reception) = book.receptions.get_mut(&ssrc) {
            reception.asked_for = reception.asked_for.saturating_add(1);
        }
    }

    fn sent(&self, now: Instant, packets: &[Box<dyn rtcp::Packet>]) {
        let mut book = self.0.lock();
        for report in packets
            .iter()
            .filter_map(|p| p.as_any().downcast_ref::<SenderReport>())
        {
            let sent = book.sent.entry(report.ssrc).or_default();
            if sent.len() == SENT_REPORTS_MAX {
                sent.pop_front();
            }
            sent.push_back((short_ntp(report.ntp_time), now));
        }
    }

    fn received(&self, now: Instant, packets: &[Box<dyn rtcp::Packet>]) {
        let mut book = self.0.lock();
        for packet in packets {
            if let Some(report) = packet.as_any().downcast_ref::<SenderReport>() {
                book.note_sending(report);
                report
                    .reports
                    .iter()
                    .for_each(|block| book.note_reception(now, block));
            } else if let Some(report) = packet.as_any().downcast_ref::<ReceiverReport>() {
                report
                    .reports
                    .iter()
                    .for_each(|block| book.note_reception(now, block));
            }
        }
    }

    fn expect_sending(&self, ssrc: u32) {
        self.0.lock().sendings.entry(ssrc).or_default();
    }

    fn forget_sending(&self, ssrc: u32) {
        self.0.lock().sendings.remove(&ssrc);
    }

    fn forget_sent(&self, ssrc: u32) {
        let mut book = self.0.lock();
        book.sent.remove(&ssrc);
        book.receptions.remove(&ssrc);
        book.resendings.remove(&ssrc);
    }
}

impl Core {
    /// The share of lost packets to reckon with on a stream that we send; none before the first report.
    pub fn expected_loss(&self, ssrc: u32) -> Option<f64> {
        Some(self.reports.reception(ssrc)?.expected_loss)
    }
}

impl RemoteReception {
    /// Which share of the packets since the last report was asked for.
    fn share_asked_for(&mut self, block: &ReceptionReport) -> f64 {
        let asked_for = std::mem::take(&mut self.asked_for);
        let last_seq = self.last_seq.replace(block.last_sequence_number);
        match last_seq.map(|last| block.last_sequence_number.wrapping_sub(last)) {
            // A report that is older than its predecessor has nothing to compare with.
            Some(packets) if (1..=REPORT_PACKETS_MAX).contains(&packets) => {
                (f64::from(asked_for) / f64::from(packets)).min(1.0)
            }
            _ => 0.0,
        }
    }
}

impl Book {
    fn note_sending(&mut self, report: &SenderReport) {
        // Only for streams that are received: the peer cannot make this table grow.
        let Some(sending) = self.sendings.get_mut(&report.ssrc) else {
            return;
        };
        sending.packets_sent = report.packet_count.into();
        sending.bytes_sent = report.octet_count.into();
        sending.remote_timestamp_ms = ntp_to_unix_ms(report.ntp_time);
        sending.reports += 1;
    }

    fn note_reception(&mut self, now: Instant, block: &ReceptionReport) {
        // Only for streams that we send: the peer cannot make this table grow.
        let Some(sent) = self.sent.get(&block.ssrc) else {
            return;
        };
        let sent_at = sent
            .iter()
            .find(|(ntp, _)| *ntp == block.last_sender_report)
            .map(|&(_, at)| at);
        let reception = self.receptions.entry(block.ssrc).or_default();
        reception.packets_lost = block.total_lost.into();
        reception.fraction_lost = f64::from(block.fraction_lost) / 256.0;
        let faded = reception.expected_loss * LOSS_FADING;
        let loss = reception
            .fraction_lost
            .max(reception.share_asked_for(block));
        reception.expected_loss = loss.max(faded);
        reception.jitter = block.jitter;
        if let Some(sent_at) = sent_at {
            let held = Duration::from_secs_f64(f64::from(block.delay) / SHORT_NTP_HZ);
            let round_trip = now.saturating_duration_since(sent_at).saturating_sub(held);
            reception.round_trip_s = round_trip.as_secs_f64();
            reception.total_round_trip_s += reception.round_trip_s;
            reception.round_trip_count += 1;
        }
    }
}

/// The middle 32 bits of an NTP timestamp, as report blocks carry it.
fn short_ntp(ntp: u64) -> u32 {
    ((ntp >> 16) & u64::from(u32::MAX)) as u32
}

fn ntp_to_unix_ms(ntp: u64) -> f64 {
    const NTP_TO_UNIX_S: f64 = 2_208_988_800.0;
    let seconds = (ntp >> 32) as f64 + (ntp & u64::from(u32::MAX)) as f64 / 4_294_967_296.0;
    (seconds - NTP_TO_UNIX_S) * 1000.0
}

/// The interceptor that lets everything pass and notes the reports.
pub(super) struct ReportObserver {
    reports: Reports,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl ReportObserver {
    pub fn new(reports: Reports) -> Self {
        Self {
            reports,
            reads: VecDeque::new(),
            writes: VecDeque::new(),
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for ReportObserver {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = StackError;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), StackError> {
        if let Packet::Rtcp(packets) = &packet.message.packet {
            self.reports.received(packet.now, packets);
        }
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), StackError> {
        if let Packet::Rtcp(packets) = &packet.message.packet {
            self.reports.sent(packet.now, packets);
        }
        self.writes.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }
}

impl Interceptor for ReportObserver {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        self.reports.forget_sent(info.ssrc);
    }

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        self.reports.expect_sending(info.ssrc);
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.reports.forget_sending(info.ssrc);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender_report(ssrc: u32, ntp_time: u64) -> Box<dyn rtcp::Packet> {
        Box::new(SenderReport {
            ssrc,
            ntp_time,
            ..Default::default()
        })
    }

    fn receiver_report(block: ReceptionReport) -> Box<dyn rtcp::Packet> {
        Box::new(ReceiverReport {
            reports: vec![block],
            ..Default::default()
        })
    }

    #[test]
    fn the_round_trip_is_the_time_away_less_the_time_held() {
        let reports = Reports::default();
        let sent_at = Instant::now();
        let ntp = 0x1234_5678_9abc_def0;
        reports.sent(sent_at, &[sender_report(7, ntp)]);

        let block = ReceptionReport {
            ssrc: 7,
            last_sender_report: short_ntp(ntp),
            delay: 65_536 / 2,
            fraction_lost: 64,
            total_lost: 3,
            ..Default::default()
        };
        let answer = receiver_report(block);
        reports.received(sent_at + Duration::from_millis(580), &[answer]);

        let reception = reports.reception(7).unwrap();
        assert!(
            (reception.round_trip_s - 0.080).abs() < 1e-6,
            "{reception:?}"
        );
        assert!((reception.fraction_lost - 0.25).abs() < 1e-9);
        assert_eq!((reception.packets_lost, reception.round_trip_count), (3, 1));
    }

    #[test]
    fn a_loss_is_reckoned_with_for_a_while_after_it_was_reported() {
        let reports = Reports::default();
        let now = Instant::now();
        reports.sent(now, &[sender_report(7, 1 << 32)]);
        let mut expected = Vec::new();
        for fraction_lost in [0, 64, 0, 0, 128] {
            let block = ReceptionReport {
                ssrc: 7,
                fraction_lost,
                ..Default::default()
            };
            let report = receiver_report(block);
            reports.received(now, &[report]);
            expected.push(reports.reception(7).unwrap().expected_loss);
        }
        assert_eq!(expected[..2], [0.0, 0.25]);
        assert!(expected[2] < 0.25 && expected[3] < expected[2] && expected[3] > 0.15);
        assert!((expected[4] - 0.5).abs() < 1e-9, "{expected:?}");
    }

    #[test]
    fn a_packet_that_was_asked_for_was_lost_whatever_the_report_says() {
        let reports = Reports::default();
        let now = Instant::now();
        reports.sent(now, &[sender_report(7, 1 << 32)]);
        let mut expected = Vec::new();
        for (last_sequence_number, asked_for) in [(1_000, 50), (1_050, 5), (1_100, 0), (1_100, 9)] {
            (0..asked_for).for_each(|_| reports.note_resending(7, 100, true));
            let block = ReceptionReport {
                ssrc: 7,
                last_sequence_number,
                ..Default::default()
            };
            let report = receiver_report(block);
            reports.received(now, &[report]);
            expected.push(reports.reception(7).unwrap().expected_loss);
        }
        assert_eq!(expected[..2], [0.0, 0.1]);
        assert!(
            expected[2] < 0.1 && expected[3] < expected[2],
            "{expected:?}"
        );
        assert_eq!(reports.resendings(7).bytes, 6_400);
    }

    #[test]
    fn reports_about_streams_that_we_do_not_send_are_not_kept() {
        let reports = Reports::default();
        let block = ReceptionReport {
            ssrc: 99,
            ..Default::default()
        };
        let answer = receiver_report(block);
        reports.received(Instant::now(), &[answer]);
        assert!(reports.reception(99).is_none());
    }

    #[test]
    fn a_sender_report_dates_the_remote_clock() {
        // 1970-01-01 00:00:01.5 in NTP.
        let ntp = (2_208_988_801_u64 << 32) | (1 << 31);
        let reports = Reports::default();
        reports.received(Instant::now(), &[sender_report(5, ntp)]);
        assert!(
            reports.sending(5).is_none(),
            "nothing is received from there"
        );
        reports.expect_sending(5);
        reports.received(Instant::now(), &[sender_report(5, ntp)]);
        let sending = reports.sending(5).unwrap();
        assert!((sending.remote_timestamp_ms - 1500.0).abs() < 1e-3);
    }
}
