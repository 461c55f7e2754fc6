//! Local candidates: one UDP socket per local address, TCP where that leads nowhere, and what is told of them.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::State;
use super::event::Event;
use crate::RtcError;
use crate::ice_candidate::{CandidateFields, IceCandidate};
use crate::net::{ACTIVE_PORT, BoundSocket, LocalAddresses, RelayServer};
use crate::peer_connection::{IceCandidateError, IceConnectionState, IceGatheringState};
use crate::peer_connection_factory::{ContinualGatheringPolicy, IceTransportsType};
use crate::sdp;

/// The type preference of host candidates (RFC 8445, section 5.1.2.2).
const HOST_TYPE_PREFERENCE: u32 = 126;
/// The type preference of TCP candidates, below every UDP one that is not relayed (as libwebrtc has it).
const TCP_TYPE_PREFERENCE: u32 = 90;
/// The direction preference of an active TCP candidate (RFC 6544, section 4.2).
const TCP_ACTIVE_PREFERENCE: u32 = 6 << 13;
/// The lead that UDP has over TCP. Sound over TCP stalls with each lost packet, so it is the way out when UDP is
/// blocked and nothing that should ever win by chance; six checks get an answer in this time.
const TCP_AFTER: Duration = Duration::from_millis(300);
/// The error code for a local address that can't be used (the W3C's value for "nothing was reached").
const NOT_REACHED: i32 = 701;

/// The way around a network that lets no UDP through: connections to the peer's passive TCP candidates.
#[derive(Default)]
pub(super) struct TcpPaths {
    /// Since when there is a peer to connect to.
    offered: Option<Instant>,
    /// The local addresses that are connected from.
    from: Vec<IpAddr>,
}

impl State {
    /// Prepares for checks with these remote candidates, before the core begins them.
    pub(super) fn meet(&mut self, now: Instant, remote: &[CandidateFields]) {
        let usable = remote.iter().filter(|c| c.udp || c.tcp_passive);
        self.gather(usable.filter_map(|candidate| candidate.address));
        if remote.iter().any(|candidate| candidate.tcp_passive) {
            self.tcp.offered.get_or_insert(now);
        }
    }

    /// When TCP is to be tried, unless there is a path by then.
    pub(super) fn tcp_due(&self) -> Option<Instant> {
        let has_path = matches!(
            self.ice,
            IceConnectionState::Connected
                | IceConnectionState::Completed
                | IceConnectionState::Closed
        );
        let is_new = |addr: &SocketAddr| !self.tcp.from.contains(&addr.ip());
        if has_path || !self.bound.iter().any(is_new) {
            return None;
        }
        self.tcp.offered.map(|offered| offered + TCP_AFTER)
    }

    /// Lets the core try TCP from every local address, if it is time.
    pub(super) fn try_tcp(&mut self, now: Instant) {
        if self.tcp_due().is_none_or(|due| now < due) {
            return;
        }
        for addr in &self.bound {
            let ip = addr.ip();
            if self.tcp.from.contains(&ip) {
                continue;
            }
            // The peer learns of it by the connection, so it need not be told.
            let line = tcp_candidate(ip, self.tcp.from.len());
            if let Err(error) = self.core.add_local_candidate(&line) {
                log::debug!("TCP can't be tried from {ip}: {error}");
            }
            self.tcp.from.push(ip);
        }
    }

    /// Binds a socket on each local address that has none yet; on loopback only for a peer there.
    pub(super) fn gather(&mut self, remotes: impl IntoIterator<Item = IpAddr>) {
        if self.gathering == IceGatheringState::New {
            self.ask_servers();
            self.set_gathering(IceGatheringState::Gathering);
        }
        if self.transports == IceTransportsType::Relay {
            return;
        }
        let found = LocalAddresses::enumerate().unwrap_or_else(|error| {
            log::warn!("the local addresses are unknown, only loopback is used: {error}");
            LocalAddresses::loopback()
        });
        for ip in found.with_loopback_for(remotes).iter() {
            if self.bound.iter().all(|addr| addr.ip() != ip) {
                self.bind(ip);
            }
        }
    }

    /// Lets the driver ask the TURN servers that are not in use yet.
    pub(super) fn ask_servers(&mut self) {
        for server in &self.configured_servers {
            for url in &server.urls {
                let Some(relay) = RelayServer::parse(url, &server.username, &server.password)
                else {
                    log::debug!("{url} is no TURN server that can be used");
                    continue;
                };
                if !self.servers.contains(&relay) {
                    self.servers.push(relay.clone());
                    self.new_servers.push(relay);
                }
            }
        }
    }

    /// Offers an address at a TURN server to the peer.
    pub(super) fn add_relay(&mut self, relayed: SocketAddr) {
        let line = relay_candidate(relayed, self.candidates.len());
        if let Err(error) = self.core.add_local_candidate(&line) {
            log::warn!("the relayed address {relayed} can't be used: {error}");
            return;
        }
        self.candidates.push(line);
        self.report_candidates();
    }

    /// Tells the user that a TURN server is of no use for now.
    pub(super) fn relay_failed(&mut self, url: String, error_text: String) {
        log::warn!("{url} gives no relayed address: {error_text}");
        self.events
            .push_back(Event::CandidateError(IceCandidateError {
                address: String::new(),
                port: 0,
                url,
                error_code: NOT_REACHED,
                error_text,
            }));
    }

    fn bind(&mut self, ip: IpAddr) {
        let added = BoundSocket::bind(ip)
            .map_err(|error| error.to_string())
            .and_then(|socket| {
                let line = host_candidate(socket.addr, self.bound.len());
                self.core
                    .add_local_candidate(&line)
                    .map_err(|error| error.to_string())?;
                Ok((socket, line))
            });
        match added {
            Ok((socket, line)) => {
                self.bound.push(socket.addr);
                self.new_sockets.push(socket);
                self.candidates.push(line);
            }
            Err(error_text) => self
                .events
                .push_back(Event::CandidateError(IceCandidateError {
                    address: ip.to_string(),
                    port: 0,
                    url: String::new(),
                    error_code: NOT_REACHED,
                    error_text,
                })),
        }
    }

    /// Tells the user of the candidates that he doesn't know yet, once a description names their section.
    pub(super) fn report_candidates(&mut self) {
        let Some(local) = self.descriptions.latest_local() else {
            return;
        };
        let mid = sdp::sections(local.sdp())
            .into_iter()
            .next()
            .map_or_else(String::new, |s| s.mid);
        for line in &self.candidates[self.candidates_reported..] {
            if self.transports == IceTransportsType::All || !line.contains(sdp::HOST_TYPE) {
                let candidate = IceCandidate::trusted(mid.clone(), 0, line.clone());
                self.events.push_back(Event::Candidate(candidate));
            }
        }
        self.candidates_reported = self.candidates.len();
        if self.gathering_policy == ContinualGatheringPolicy::GatherOnce {
            self.set_gathering(IceGatheringState::Complete);
        }
    }

    pub(super) fn add_remote_candidate(&mut self, line: &str) -> Result<(), RtcError> {
        self.ensure_open()?;
        if line.is_empty() {
            return Ok(());
        }
        let fields = CandidateFields::parse(line)
            .map_err(|error| RtcError::invalid_sdp(format!("{line:?} is no candidate: {error}")))?;
        if fields.tcp_passive || fields.address.is_some_and(|address| address.is_loopback()) {
            self.meet(Instant::now(), &[fields]);
            self.report_candidates();
        }
        self.core.add_remote_candidate(line)?;
        Ok(())
    }

    fn set_gathering(&mut self, gathering: IceGatheringState) {
        if self.gathering != gathering {
            self.gathering = gathering;
            self.events.push_back(Event::Gathering(gathering));
        }
    }
}

/// The line of a host candidate (RFC 8839, section 5.1); earlier ones are preferred.
fn host_candidate(addr: SocketAddr, index: usize) -> String {
    let local_preference = u32::from(u16::MAX).saturating_sub(index as u32);
    let priority = (HOST_TYPE_PREFERENCE << 24) | (local_preference << 8) | 255;
    let (ip, port) = (addr.ip(), addr.port());
    format!(
        "candidate:{} 1 udp {priority} {ip} {port} typ host",
        index + 1
    )
}

/// The line of an active TCP candidate: it has no port, since it is never connected to.
fn tcp_candidate(ip: IpAddr, index: usize) -> String {
    let local_preference = TCP_ACTIVE_PREFERENCE.saturating_sub(index as u32);
    let priority = (TCP_TYPE_PREFERENCE << 24) | (local_preference << 8) | 255;
    format!(
        "candidate:tcp{} 1 tcp {priority} {ip} {ACTIVE_PORT} typ host tcptype active",
        index + 1
    )
}

/// The line of a relayed candidate. Its related address says nothing of ours, as in browsers.
fn relay_candidate(relayed: SocketAddr, index: usize) -> String {
    let local_preference = u32::from(u16::MAX).saturating_sub(index as u32);
    let priority = (local_preference << 8) | 255;
    let (ip, port) = (relayed.ip(), relayed.port());
    let any = if ip.is_ipv4() { "0.0.0.0" } else { "::" };
    format!(
        "candidate:{} 1 udp {priority} {ip} {port} typ relay raddr {any} rport 0",
        index + 1
    )
}
