//! The local candidates: what their lines say, and which of them the peer has been told of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::net::{ACTIVE_PORT, RelayTransport};
use crate::peer_connection_factory::IceTransportsType;

/// The type preferences of RFC 8445, section 5.1.2.2.
const HOST_TYPE_PREFERENCE: u32 = 126;
const REFLEXIVE_TYPE_PREFERENCE: u32 = 100;
/// The type preference of TCP candidates, below every UDP one that is not relayed (as libwebrtc has it).
const TCP_TYPE_PREFERENCE: u32 = 90;
/// The direction preference of an active TCP candidate (RFC 6544, section 4.2).
const TCP_ACTIVE_PREFERENCE: u32 = 6 << 13;

/// What kind of address a candidate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of a socket of this machine.
    Host,
    /// Of a socket as a STUN server sees it.
    Reflexive,
    /// At a TURN server.
    Relayed,
}

/// One local candidate.
#[derive(Debug)]
pub(super) struct LocalCandidate {
    pub kind: Kind,
    pub address: SocketAddr,
    /// The address of this machine that it stands and falls with.
    pub base: IpAddr,
    pub line: String,
    is_told: bool,
}

/// The local candidates that exist.
#[derive(Debug, Default)]
pub(super) struct LocalCandidates {
    list: Vec<LocalCandidate>,
    /// How many there were: foundations are not used twice, and earlier candidates are preferred.
    made: u32,
}

impl LocalCandidates {
    /// Adds the candidate of a socket.
    pub fn add_host(&mut self, address: SocketAddr) -> &LocalCandidate {
        let (ip, port) = (address.ip(), address.port());
        let rest = format!("{ip} {port} typ host");
        self.add(Kind::Host, HOST_TYPE_PREFERENCE, address, ip, &rest)
    }

    /// Adds the address `seen` of the socket on `base`; none if it is no other one, or is known.
    ///
    /// Where host addresses are not to be told, the related address is none.
    pub fn add_reflexive(
        &mut self,
        seen: SocketAddr,
        base: SocketAddr,
        tells_base: bool,
    ) -> Option<&LocalCandidate> {
        if seen == base || self.list.iter().any(|known| known.address == seen) {
            return None;
        }
        let related = if tells_base { base } else { nowhere(seen.ip()) };
        let rest = format!(
            "{} {} typ srflx raddr {} rport {}",
            seen.ip(),
            seen.port(),
            related.ip(),
            related.port()
        );
        let preference = REFLEXIVE_TYPE_PREFERENCE;
        Some(self.add(Kind::Reflexive, preference, seen, base.ip(), &rest))
    }

    /// Adds an address at a TURN server that is reached from `base`. Its related address says nothing of ours, as in
    /// browsers.
    pub fn add_relayed(
        &mut self,
        relayed: SocketAddr,
        base: IpAddr,
        transport: RelayTransport,
    ) -> &LocalCandidate {
        let related = nowhere(relayed.ip());
        let rest = format!(
            "{} {} typ relay raddr {} rport {}",
            relayed.ip(),
            relayed.port(),
            related.ip(),
            related.port()
        );
        // A datagram that is lost on the way to the server should not hold up those behind it (as libwebrtc has it).
        let preference = match transport {
            RelayTransport::Udp => 2,
            RelayTransport::Tcp => 1,
            RelayTransport::Tls => 0,
        };
        self.add(Kind::Relayed, preference, relayed, base, &rest)
    }

    fn add(
        &mut self,
        kind: Kind,
        type_preference: u32,
        address: SocketAddr,
        base: IpAddr,
        rest: &str,
    ) -> &LocalCandidate {
        let priority = priority(
            type_preference,
            u32::from(u16::MAX).saturating_sub(self.made),
        );
        self.made = self.made.saturating_add(1);
        let line = format!("candidate:{} 1 udp {priority} {rest}", self.made);
        let at = self.list.len();
        self.list.push(LocalCandidate {
            kind,
            address,
            base,
            line,
            is_told: false,
        });
        &self.list[at]
    }

    pub fn iter(&self) -> impl Iterator<Item = &LocalCandidate> {
        self.list.iter()
    }

    /// Those that the peer may know of.
    pub fn tellable(&self, transports: IceTransportsType) -> impl Iterator<Item = &str> {
        self.list
            .iter()
            .filter(move |candidate| is_tellable(candidate.kind, transports))
            .map(|candidate| candidate.line.as_str())
    }

    /// Takes those that the peer may know of and has not been told of.
    pub fn take_untold(&mut self, transports: IceTransportsType) -> Vec<String> {
        self.list
            .iter_mut()
            .filter(|candidate| !candidate.is_told && is_tellable(candidate.kind, transports))
            .map(|candidate| {
                candidate.is_told = true;
                candidate.line.clone()
            })
            .collect()
    }

    /// Begins anew: what sockets look like from outside is asked again, and the peer is told everything again.
    pub fn restart(&mut self) {
        self.list
            .retain(|candidate| candidate.kind != Kind::Reflexive);
        for candidate in &mut self.list {
            candidate.is_told = false;
        }
    }

    /// Forgets those that are no more.
    pub fn forget(&mut self, is_gone: impl Fn(&LocalCandidate) -> bool) {
        self.list.retain(|candidate| !is_gone(candidate));
    }
}

fn is_tellable(kind: Kind, transports: IceTransportsType) -> bool {
    transports == IceTransportsType::All || kind != Kind::Host
}

/// The line of an active TCP candidate: it has no port, since it is never connected to, and the peer is not told of it.
pub(super) fn tcp_line(ip: IpAddr, index: usize) -> String {
    let preference = TCP_ACTIVE_PREFERENCE.saturating_sub(u32::try_from(index).unwrap_or(u32::MAX));
    let priority = priority(TCP_TYPE_PREFERENCE, preference);
    format!(
        "candidate:tcp{} 1 tcp {priority} {ip} {ACTIVE_PORT} typ host tcptype active",
        index + 1
    )
}

/// The formula of RFC 8445, section 5.1.2.1, for component 1.
fn priority(type_preference: u32, local_preference: u32) -> u32 {
    (type_preference << 24) | (local_preference << 8) | 255
}

/// What stands for a related address that is not told.
fn nowhere(of_family: IpAddr) -> SocketAddr {
    match of_family {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_reflexive_candidate_names_the_socket_behind_it() {
        let mut candidates = LocalCandidates::default();
        let base = at("10.0.0.1:4000");
        candidates.add_host(base);
        let line = &candidates
            .add_reflexive(at("192.0.2.1:5000"), base, true)
            .unwrap()
            .line;
        assert_eq!(
            line,
            "candidate:2 1 udp 1694498559 192.0.2.1 5000 typ srflx raddr 10.0.0.1 rport 4000"
        );
    }

    #[test]
    fn it_hides_the_socket_where_host_addresses_are_not_told() {
        let mut candidates = LocalCandidates::default();
        let base = at("[2001:db8::1]:4000");
        let line = &candidates
            .add_reflexive(at("[2001:db8::2]:5000"), base, false)
            .unwrap()
            .line;
        assert!(line.ends_with("typ srflx raddr :: rport 0"), "{line}");
    }

    #[test]
    fn an_address_that_is_no_news_makes_no_candidate() {
        let mut candidates = LocalCandidates::default();
        let base = at("192.0.2.1:4000");
        candidates.add_host(base);
        assert!(
            candidates.add_reflexive(base, base, true).is_none(),
            "no NAT"
        );
        let seen = at("192.0.2.9:1");
        assert!(candidates.add_reflexive(seen, base, true).is_some());
        assert!(
            candidates.add_reflexive(seen, base, true).is_none(),
            "the second server says the same"
        );
    }

    #[test]
    fn each_is_told_once_until_a_restart() {
        let mut candidates = LocalCandidates::default();
        let base = at("10.0.0.1:4000");
        candidates.add_host(base);
        candidates.add_reflexive(at("192.0.2.1:5000"), base, true);
        let all = IceTransportsType::All;
        assert_eq!(candidates.take_untold(all).len(), 2);
        assert!(candidates.take_untold(all).is_empty());
        candidates.restart();
        assert_eq!(
            candidates.take_untold(all).len(),
            1,
            "the server is asked again"
        );
        candidates.forget(|candidate| candidate.base == base.ip());
        assert_eq!(candidates.iter().count(), 0);
    }

    #[test]
    fn host_addresses_are_told_only_where_all_may_be() {
        let mut candidates = LocalCandidates::default();
        candidates.add_host(at("10.0.0.1:4000"));
        candidates.add_relayed(
            at("192.0.2.1:1"),
            at("10.0.0.1:0").ip(),
            RelayTransport::Tls,
        );
        for hidden in [IceTransportsType::NoHost, IceTransportsType::Relay] {
            let lines: Vec<&str> = candidates.tellable(hidden).collect();
            assert!(
                matches!(lines[..], [relay] if relay.ends_with("typ relay raddr 0.0.0.0 rport 0"))
            );
        }
        assert_eq!(candidates.tellable(IceTransportsType::All).count(), 2);
    }

    #[test]
    fn a_relay_over_udp_is_preferred_to_one_over_tls() {
        let mut candidates = LocalCandidates::default();
        let base = at("10.0.0.1:0").ip();
        let mut priority = |transport| {
            let line = &candidates
                .add_relayed(at("192.0.2.1:1"), base, transport)
                .line;
            line.split(' ').nth(3).unwrap().parse::<u32>().unwrap()
        };
        let tls = priority(RelayTransport::Tls);
        assert!(priority(RelayTransport::Udp) > tls);
        assert!(priority(RelayTransport::Tcp) > tls);
    }
}
