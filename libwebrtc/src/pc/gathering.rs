//! Local candidates: one UDP socket per local address, and what is told of them.

use std::net::{IpAddr, SocketAddr};

use super::State;
use super::event::Event;
use crate::RtcError;
use crate::ice_candidate::{CandidateFields, IceCandidate};
use crate::net::{BoundSocket, LocalAddresses};
use crate::peer_connection::{IceCandidateError, IceGatheringState};
use crate::peer_connection_factory::{ContinualGatheringPolicy, IceTransportsType};
use crate::sdp;

/// The type preference of host candidates (RFC 8445, section 5.1.2.2).
const HOST_TYPE_PREFERENCE: u32 = 126;
/// The error code for a local address that can't be used (the W3C's value for "nothing was reached").
const NOT_REACHED: i32 = 701;

impl State {
    /// Binds a socket on each local address that has none yet; on loopback only for a peer there.
    pub(super) fn gather(&mut self, remotes: impl IntoIterator<Item = IpAddr>) {
        let found = LocalAddresses::enumerate().unwrap_or_else(|error| {
            log::warn!("the local addresses are unknown, only loopback is used: {error}");
            LocalAddresses::loopback()
        });
        for ip in found.with_loopback_for(remotes).iter() {
            if self.bound.iter().all(|addr| addr.ip() != ip) {
                self.bind(ip);
            }
        }
        if self.gathering == IceGatheringState::New {
            self.set_gathering(IceGatheringState::Gathering);
        }
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
        if self.transports == IceTransportsType::All {
            for line in &self.candidates[self.candidates_reported..] {
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
        if !fields.udp {
            log::debug!("ICE-TCP is not supported, {line:?} is left out");
            return Ok(());
        }
        if fields.address.is_some_and(|address| address.is_loopback()) {
            self.gather(fields.address);
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
