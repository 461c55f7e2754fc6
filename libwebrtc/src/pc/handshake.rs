//! Repeats what was said of a DTLS handshake that does not come to its end, and gives it up after a while.
//!
//! The stack (`rtc-dtls` 0.21.1) stops its timer when a part of the peer's flight arrives, or an old one again, and then waits
//! for the rest for ever: on a path that loses 5 % one handshake in five never ended. The same datagrams again mend that,
//! since the peer takes those that it lacks and drops the others as replayed.
//!
//! Nor does the stack say that a handshake has failed: that the peer's certificate is not the one whose fingerprint was told, or that
//! it has no cipher suite of ours.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::core::Packet;

/// Since something new was said; longer than the stack's own timer of a second, which comes first where it runs.
const REPEAT_AFTER: Duration = Duration::from_millis(1_200);
/// The pause doubles up to this.
const REPEAT_MAX: Duration = Duration::from_secs(5);
/// To a peer that is not done although this side is; a burst of his datagrams is one question.
const ANSWER_AFTER: Duration = Duration::from_millis(100);
/// Such answers, so that nobody can make this side send without end.
const ANSWERS_MAX: u32 = 20;
/// From the first datagram to the last; five repeats at least.
const LIMIT: Duration = Duration::from_secs(15);
/// Datagrams that are kept: the last flight is among them, and the one before it.
const KEPT_MAX: usize = 16;
/// The records of a handshake (RFC 6347, section 4.3.1): change of cipher, handshake.
const RECORDS: [u8; 2] = [20, 22];

/// What was said, and when it is due again.
#[derive(Default)]
pub(super) struct Handshake {
    kept: VecDeque<Packet>,
    begun: Option<Instant>,
    due: Option<Instant>,
    repeats: u32,
    answers: u32,
    is_done: bool,
}

impl Handshake {
    /// Keeps what belongs to the handshake.
    pub fn note(&mut self, now: Instant, packets: &[Packet]) {
        for packet in packets.iter().filter(|packet| is_part(&packet.data)) {
            if self.kept.len() == KEPT_MAX {
                self.kept.pop_front();
            }
            self.kept.push_back(again(packet));
            self.begun.get_or_insert(now);
            if !self.is_done {
                self.repeats = 0;
                self.due = Some(now + REPEAT_AFTER);
            }
        }
    }

    /// Notes that this side is done.
    pub fn done(&mut self) {
        self.is_done = true;
        self.due = None;
    }

    /// Notes a datagram of the peer's.
    pub fn heard(&mut self, now: Instant, datagram: &[u8]) {
        if self.is_done && self.answers < ANSWERS_MAX && self.due.is_none() && is_part(datagram) {
            self.answers += 1;
            self.due = Some(now + ANSWER_AFTER);
        }
    }

    /// Whether it has not come to its end in time.
    pub fn has_failed(&self, now: Instant) -> bool {
        self.limit().is_some_and(|limit| now >= limit)
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.due.into_iter().chain(self.limit()).min()
    }

    fn limit(&self) -> Option<Instant> {
        let begun = self.begun.filter(|_| !self.is_done)?;
        Some(begun + LIMIT)
    }

    /// Says it again, if it is time.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Packet>) {
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        out.extend(self.kept.iter().map(again));
        self.repeats = self.repeats.saturating_add(1);
        let pause = REPEAT_AFTER * 2_u32.saturating_pow(self.repeats);
        self.due = (!self.is_done).then_some(now + pause.min(REPEAT_MAX));
    }
}

fn is_part(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|typ| RECORDS.contains(typ))
}

fn again(packet: &Packet) -> Packet {
    Packet {
        data: packet.data.clone(),
        ..*packet
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    fn packet(first: u8) -> Packet {
        Packet {
            local: ([127, 0, 0, 1], 1).into(),
            peer: ([127, 0, 0, 1], 2).into(),
            tcp: false,
            data: BytesMut::from(&[first, 7][..]),
        }
    }

    #[test]
    fn a_handshake_that_stalls_is_repeated_ever_more_slowly() {
        let (begin, mut handshake) = (Instant::now(), Handshake::default());
        handshake.note(begin, &[packet(22), packet(23), packet(20), packet(0)]);
        let mut pauses = Vec::new();
        let mut now = begin;
        for _ in 0..4 {
            let due = handshake.next_timeout().unwrap();
            pauses.push((due - now).as_millis());
            now = due;
            let mut out = Vec::new();
            handshake.handle_timeout(now, &mut out);
            assert_eq!(out.len(), 2, "what is no handshake is not kept");
        }
        assert_eq!(pauses, [1200, 2400, 4800, 5000]);
        handshake.done();
        assert_eq!(handshake.next_timeout(), None);
    }

    #[test]
    fn one_that_comes_to_no_end_has_failed_after_a_while() {
        let (begin, mut handshake) = (Instant::now(), Handshake::default());
        assert!(!handshake.has_failed(begin + LIMIT * 2), "it has not begun");
        handshake.note(begin, &[packet(22)]);
        handshake.note(begin + LIMIT / 2, &[packet(22)]);
        assert!(!handshake.has_failed(begin + LIMIT - REPEAT_AFTER));
        assert!(handshake.has_failed(begin + LIMIT));
        handshake.done();
        assert!(!handshake.has_failed(begin + LIMIT));
    }

    #[test]
    fn a_peer_that_is_not_done_is_answered_but_not_without_end() {
        let (mut now, mut handshake) = (Instant::now(), Handshake::default());
        handshake.note(now, &[packet(22)]);
        handshake.done();
        handshake.heard(now, &[23, 0]);
        assert_eq!(handshake.next_timeout(), None);
        let mut out = Vec::new();
        for _ in 0..ANSWERS_MAX * 2 {
            handshake.heard(now, &[22, 0]);
            handshake.heard(now, &[22, 0]);
            now += ANSWER_AFTER;
            handshake.handle_timeout(now, &mut out);
        }
        assert_eq!(out.len(), ANSWERS_MAX as usize);
    }

    #[test]
    fn the_latest_is_kept_and_no_more() {
        let (now, mut handshake) = (Instant::now(), Handshake::default());
        for _ in 0..100 {
            handshake.note(now, &[packet(22)]);
        }
        assert_eq!(handshake.kept.len(), KEPT_MAX);
    }
}
