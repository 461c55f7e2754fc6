//! The way around a network that lets no UDP through: connections to the peer's passive TCP candidates.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::State;
use super::candidates::tcp_line;
use crate::peer_connection::IceConnectionState;

/// The lead that UDP has over TCP. Sound over TCP stalls with each lost packet, so it is the way out when UDP is
/// blocked and nothing that should ever win by chance; six checks get an answer in this time.
const TCP_AFTER: Duration = Duration::from_millis(300);

/// From where TCP is tried, and since when it could be.
#[derive(Default)]
pub(super) struct TcpPaths {
    /// Since when there is a peer to connect to.
    offered: Option<Instant>,
    /// The local addresses that are connected from.
    from: Vec<IpAddr>,
}

impl TcpPaths {
    /// Notes that the peer can be connected to.
    pub fn offer(&mut self, now: Instant) {
        self.offered.get_or_insert(now);
    }

    /// Looks for another path: TCP waits for UDP again.
    pub fn restart(&mut self) {
        *self = Self::default();
    }

    pub fn forget(&mut self, gone: IpAddr) {
        self.from.retain(|ip| *ip != gone);
    }
}

impl State {
    /// When TCP is to be tried, unless there is a path by then.
    pub(super) fn tcp_due(&self) -> Option<Instant> {
        let is_settled = self.watch.is_lost()
            || matches!(
                self.ice,
                IceConnectionState::Connected
                    | IceConnectionState::Completed
                    | IceConnectionState::Closed
            );
        let is_new = |addr: &SocketAddr| !self.tcp.from.contains(&addr.ip());
        if is_settled || !self.bound.iter().any(is_new) {
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
            let line = tcp_line(ip, self.tcp.from.len());
            if let Err(error) = self.core.add_local_candidate(&line) {
                log::debug!("TCP can't be tried from {ip}: {error}");
            }
            self.tcp.from.push(ip);
        }
    }
}
