//! Looks for local candidates: a UDP socket on each local address, what STUN and TURN servers say, and what is told of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::State;
use super::candidates::Kind;
use super::event::Event;
use super::reflexive::{KnownServer, Outcome};
use crate::RtcError;
use crate::ice_candidate::{CandidateFields, IceCandidate};
use crate::net::{BoundSocket, LocalAddresses, RelayServer, StunServer};
use crate::peer_connection::{IceCandidateError, IceGatheringState};
use crate::peer_connection_factory::{ContinualGatheringPolicy, IceTransportsType};
use crate::sdp;

/// The error code for an address or a server that can't be used (the W3C's value for "nothing was reached").
const NOT_REACHED: i32 = 701;
/// Servers of each kind beyond this many are left out: each costs questions, and a TURN server an allocation and checks.
const SERVERS_MAX: usize = 4;

/// A TURN server that is used.
pub(super) struct Relay {
    server: RelayServer,
    /// Whether it gave an address, or said that it won't.
    has_answered: bool,
}

impl State {
    /// Prepares for checks with these remote candidates, before the core begins them.
    pub(super) fn meet(&mut self, now: Instant, remote: &[CandidateFields]) {
        let usable = remote.iter().filter(|c| c.udp || c.tcp_passive);
        self.gather(now, usable.filter_map(|candidate| candidate.address));
        if remote.iter().any(|candidate| candidate.tcp_passive) {
            self.tcp.offer(now);
        }
    }

    /// Binds a socket on each local address that has none yet; on loopback only for a peer there.
    pub(super) fn gather(&mut self, now: Instant, remotes: impl IntoIterator<Item = IpAddr>) {
        if self.gathering == IceGatheringState::New {
            self.ask_servers();
            self.set_gathering(IceGatheringState::Gathering);
            self.watch.begin(now);
        }
        if self.transports == IceTransportsType::Relay {
            return;
        }
        let found = LocalAddresses::known(now, Duration::ZERO).unwrap_or_else(|error| {
            log::warn!("the local addresses are unknown, only loopback is used: {error}");
            Arc::default()
        });
        for ip in found.with_loopback_for(remotes) {
            if self.bound.iter().all(|addr| addr.ip() != ip) {
                self.bind(now, ip);
            }
        }
    }

    /// Lets the driver ask the servers that are not in use yet.
    pub(super) fn ask_servers(&mut self) {
        for server in &self.configured_servers {
            for url in &server.urls {
                if let Some(stun) = StunServer::parse(url) {
                    let is_wanted = self.transports != IceTransportsType::Relay;
                    if is_wanted
                        && !self.stun_servers.contains(&stun)
                        && has_room(&self.stun_servers, url)
                    {
                        self.stun_servers.push(stun.clone());
                        self.new_stun_servers.push(stun);
                        self.lookups += 1;
                    }
                } else if let Some(relay) =
                    RelayServer::parse(url, &server.username, &server.password)
                {
                    let is_known = self.relays.iter().any(|known| known.server == relay);
                    if !is_known && has_room(&self.relays, url) {
                        self.relays.push(Relay {
                            server: relay.clone(),
                            has_answered: false,
                        });
                        self.new_relays.push(relay);
                    }
                } else {
                    log::debug!("{url} is no STUN or TURN server that can be used");
                }
            }
        }
    }

    /// Asks a STUN server whose name was looked up, or tells that it has no address.
    pub(super) fn stun_server_found(
        &mut self,
        now: Instant,
        server: &StunServer,
        found: Result<Vec<SocketAddr>, String>,
    ) {
        self.lookups = self.lookups.saturating_sub(1);
        match found {
            Ok(addresses) => {
                // One of each family: they are the same server.
                let v4 = addresses.iter().find(|address| address.is_ipv4());
                let v6 = addresses.iter().find(|address| address.is_ipv6());
                for &address in v4.into_iter().chain(v6) {
                    let url = server.url();
                    let known = KnownServer { url, address };
                    self.stun.add_server(now, known, &self.bound);
                }
            }
            Err(reason) => self.report_error(String::new(), 0, server.url(), NOT_REACHED, reason),
        }
        self.report_candidates();
    }

    /// Takes what came of a question to a STUN server.
    pub(super) fn take_outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Seen { base, seen } => {
                // The core is not told: its checks from the socket are those from the address outside.
                let tells_base = self.transports == IceTransportsType::All;
                self.candidates.add_reflexive(seen, base, tells_base);
            }
            Outcome::Failed {
                base,
                url,
                code,
                reason,
            } => {
                // An SFU sees the address by itself, so this is no warning.
                log::debug!("{url} says nothing about {base}: {reason}");
                let code = code.map_or(NOT_REACHED, i32::from);
                self.report_error(base.ip().to_string(), base.port(), url, code, reason);
            }
        }
        self.report_candidates();
    }

    /// Offers an address at a TURN server to the peer.
    pub(super) fn add_relay(&mut self, server: usize, relayed: SocketAddr, local: IpAddr) {
        let Some(relay) = self.relays.get_mut(server) else {
            return;
        };
        relay.has_answered = true;
        let transport = relay.server.transport;
        let candidate = self.candidates.add_relayed(relayed, local, transport);
        if let Err(error) = self.core.add_local_candidate(&candidate.line) {
            log::warn!("the relayed address {relayed} can't be used: {error}");
            self.candidates.forget(|known| known.address == relayed);
        }
        self.report_candidates();
    }

    /// Tells the user that a TURN server is of no use for now.
    pub(super) fn relay_failed(
        &mut self,
        server: usize,
        relayed: Option<SocketAddr>,
        reason: String,
    ) {
        let Some(relay) = self.relays.get_mut(server) else {
            return;
        };
        relay.has_answered = true;
        let url = relay.server.url();
        log::warn!("{url} gives no relayed address: {reason}");
        self.candidates
            .forget(|known| known.kind == Kind::Relayed && Some(known.address) == relayed);
        self.report_error(String::new(), 0, url, NOT_REACHED, reason);
        self.report_candidates();
    }

    /// Begins to look for candidates anew, for another path: what is no more is left out, and the peer is told everything.
    pub(super) fn restart_gathering(&mut self, now: Instant) {
        self.watch.restart(now);
        self.tcp.restart();
        self.forget_absent(now);
        self.candidates.restart();
        self.stun.restart(now, &self.bound);
        self.set_gathering(IceGatheringState::Gathering);
    }

    /// Gives the core the candidates again that a restart took from it.
    pub(super) fn refill_core(&mut self) {
        for candidate in self.candidates.iter() {
            // A reflexive one is the same as its socket to the core.
            if candidate.kind != Kind::Reflexive
                && let Err(error) = self.core.add_local_candidate(&candidate.line)
            {
                log::debug!("{} can't be used: {error}", candidate.address);
            }
        }
    }

    /// Forgets sockets, candidates and connections of an address that is no more.
    pub(super) fn forget_address(&mut self, gone: IpAddr) {
        for addr in self.bound.extract_if(.., |addr| addr.ip() == gone) {
            self.stun.forget_socket(addr);
        }
        self.candidates.forget(|candidate| candidate.base == gone);
        self.tcp.forget(gone);
        self.gone.push(gone);
    }

    fn bind(&mut self, now: Instant, ip: IpAddr) {
        let bound = BoundSocket::bind(ip).map_err(|error| error.to_string());
        let added = bound.and_then(|socket| {
            let candidate = self.candidates.add_host(socket.addr);
            let added = self.core.add_local_candidate(&candidate.line);
            added.map(|()| socket).map_err(|error| error.to_string())
        });
        match added {
            Ok(socket) => {
                self.stun.add_socket(now, socket.addr);
                self.bound.push(socket.addr);
                self.new_sockets.push(socket);
            }
            Err(reason) => {
                self.candidates
                    .forget(|known| known.kind == Kind::Host && known.base == ip);
                self.report_error(ip.to_string(), 0, String::new(), NOT_REACHED, reason);
            }
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
        for line in self.candidates.take_untold(self.transports) {
            let candidate = IceCandidate::trusted(mid.clone(), 0, line);
            self.events.push_back(Event::Candidate(candidate));
        }
        let is_asking = self.lookups > 0
            || self.stun.is_waiting()
            || self.relays.iter().any(|relay| !relay.has_answered);
        if self.gathering_policy == ContinualGatheringPolicy::GatherOnce && !is_asking {
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

    fn report_error(
        &mut self,
        address: String,
        port: u16,
        url: String,
        error_code: i32,
        error_text: String,
    ) {
        self.events
            .push_back(Event::CandidateError(IceCandidateError {
                address,
                port: port.into(),
                url,
                error_code,
                error_text,
            }));
    }

    fn set_gathering(&mut self, gathering: IceGatheringState) {
        if self.gathering != gathering {
            self.gathering = gathering;
            self.events.push_back(Event::Gathering(gathering));
        }
    }
}

fn has_room<T>(servers: &[T], url: &str) -> bool {
    let has_room = servers.len() < SERVERS_MAX;
    if !has_room {
        log::warn!("{url} is left out: {SERVERS_MAX} such servers are in use");
    }
    has_room
}
