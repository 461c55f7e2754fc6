//! Asks STUN servers how the sockets look from outside: what is asked when, and what becomes of the answers, without I/O.
//!
//! A question is repeated at growing intervals (RFC 8489, section 6.2.1) and given up after a while. An address that was
//! learned is asked for again while no path has been found, so that the NAT on the way does not forget it (RFC 8445,
//! section 11); once there is a path, the checks on it do that.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::core::{BindingAnswer, BindingRequest, Packet};

/// Between two new questions (Ta of RFC 8445, section 14.2), so that a machine with many addresses floods nobody.
const PACE: Duration = Duration::from_millis(50);
/// Until a question is repeated, doubled each time (the RTO of RFC 8489, halved: an answer is a round trip away).
const REPEAT_FIRST: Duration = Duration::from_millis(250);
/// A server that has not answered by then is of no use to a conversation; six questions have been sent.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(10);
/// Between an answer and the next question (Tr of RFC 8445, section 11). NATs keep a mapping for 30 s at least.
const REFRESH_EVERY: Duration = Duration::from_secs(15);
/// Questions at a time: eight addresses and four servers.
const QUESTIONS_MAX: usize = 32;

/// A server whose address is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownServer {
    pub url: String,
    pub address: SocketAddr,
}

/// What came of a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The socket on `base` looks like `seen` from there.
    Seen { base: SocketAddr, seen: SocketAddr },
    /// The server is of no use to the socket on `base`; the code is STUN's own, or none if there was no answer.
    Failed {
        base: SocketAddr,
        url: String,
        code: Option<u16>,
        reason: String,
    },
}

/// The questions of one peer connection.
#[derive(Debug, Default)]
pub(super) struct Reflexive {
    servers: Vec<KnownServer>,
    questions: Vec<Question>,
}

#[derive(Debug)]
struct Question {
    server: KnownServer,
    base: SocketAddr,
    request: BindingRequest,
    /// When it was, or will be, sent first.
    begins: Instant,
    next: Instant,
    pause: Duration,
    /// Whether there was an answer before: then nobody waits for this one.
    is_refresh: bool,
}

impl Reflexive {
    /// Adds a server, and asks it from all these sockets.
    pub fn add_server(&mut self, now: Instant, server: KnownServer, sockets: &[SocketAddr]) {
        if self.servers.contains(&server) {
            return;
        }
        for &base in sockets {
            self.ask(now, &server, base);
        }
        self.servers.push(server);
    }

    /// Asks all servers from a new socket.
    pub fn add_socket(&mut self, now: Instant, base: SocketAddr) {
        for server in self.servers.clone() {
            self.ask(now, &server, base);
        }
    }

    /// Asks everything again, from these sockets.
    pub fn restart(&mut self, now: Instant, sockets: &[SocketAddr]) {
        self.questions.clear();
        for &base in sockets {
            self.add_socket(now, base);
        }
    }

    /// Forgets the questions of a socket that is no more.
    pub fn forget_socket(&mut self, base: SocketAddr) {
        self.questions.retain(|question| question.base != base);
    }

    /// Asks nothing more of what was answered: a path has been found.
    pub fn rest(&mut self) {
        self.questions.retain(|question| !question.is_refresh);
    }

    /// Whether there is a question whose first answer is not there yet.
    pub fn is_waiting(&self) -> bool {
        self.questions.iter().any(|question| !question.is_refresh)
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.questions.iter().map(|question| question.next).min()
    }

    /// Sends what is due, and gives up what is over.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Packet>) -> Vec<Outcome> {
        let mut given_up = Vec::new();
        self.questions.retain_mut(|question| {
            if now < question.next {
                return true;
            }
            if now >= question.begins + GIVEN_UP_AFTER {
                if !question.is_refresh {
                    given_up.push(question.unanswered());
                }
                return false;
            }
            out.push(Packet {
                local: question.base,
                peer: question.server.address,
                tcp: false,
                data: question.request.bytes.clone(),
            });
            question.next = (now + question.pause).min(question.begins + GIVEN_UP_AFTER);
            question.pause *= 2;
            true
        });
        given_up
    }

    /// Takes a datagram if it is the answer to a question; none if it is for somebody else.
    pub fn take(
        &mut self,
        now: Instant,
        local: SocketAddr,
        peer: SocketAddr,
        datagram: &[u8],
    ) -> Option<Outcome> {
        if !self.questions.iter().any(|q| q.server.address == peer) {
            return None;
        }
        let answer = BindingAnswer::read(datagram)?;
        let at = self.questions.iter().position(|question| {
            question.request.id == answer.id
                && question.server.address == peer
                && question.base == local
        })?;
        let question = self.questions.swap_remove(at);
        let (code, reason) = match answer.seen {
            Ok(seen) if is_usable(seen, local) => {
                self.refresh_later(now, &question);
                return Some(Outcome::Seen { base: local, seen });
            }
            Ok(seen) => (None, format!("it names an address that is none: {seen}")),
            Err((code, reason)) => (Some(code), reason),
        };
        Some(Outcome::Failed {
            base: local,
            url: question.server.url,
            code,
            reason,
        })
    }

    fn refresh_later(&mut self, now: Instant, answered: &Question) {
        let (server, base) = (answered.server.clone(), answered.base);
        self.push(now + REFRESH_EVERY, server, base, true);
    }

    fn ask(&mut self, now: Instant, server: &KnownServer, base: SocketAddr) {
        // A socket on loopback reaches only what is there, and an IPv4 one no IPv6.
        let reaches = base.is_ipv4() == server.address.is_ipv4()
            && (!base.ip().is_loopback() || server.address.ip().is_loopback());
        if !reaches {
            return;
        }
        let latest = self.questions.iter().filter(|q| !q.is_refresh);
        let begins = latest
            .map(|question| question.begins + PACE)
            .max()
            .map_or(now, |after| after.max(now));
        self.push(begins, server.clone(), base, false);
    }

    fn push(&mut self, begins: Instant, server: KnownServer, base: SocketAddr, is_refresh: bool) {
        if self.questions.len() >= QUESTIONS_MAX {
            log::debug!("{} is not asked from {base}: enough is asked", server.url);
            return;
        }
        let request = match BindingRequest::new() {
            Ok(request) => request,
            Err(error) => {
                log::debug!("{} can't be asked: {error}", server.url);
                return;
            }
        };
        self.questions.push(Question {
            server,
            base,
            request,
            begins,
            next: begins,
            pause: REPEAT_FIRST,
            is_refresh,
        });
    }
}

impl Question {
    fn unanswered(&self) -> Outcome {
        Outcome::Failed {
            base: self.base,
            url: self.server.url.clone(),
            code: None,
            reason: format!("no answer within {} s", GIVEN_UP_AFTER.as_secs()),
        }
    }
}

/// Whether an address can be that of a socket: a server may say anything, and the peer would send there.
fn is_usable(seen: SocketAddr, base: SocketAddr) -> bool {
    let ip = seen.ip();
    seen.is_ipv4() == base.is_ipv4()
        && seen.port() != 0
        && !ip.is_unspecified()
        && !ip.is_multicast()
        && (!ip.is_loopback() || base.ip().is_loopback())
}

#[cfg(test)]
#[path = "reflexive_tests.rs"]
mod tests;
