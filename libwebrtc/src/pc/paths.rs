//! Watches over the path in use: whether its local address is still there, and whether the peer still answers.
//!
//! The core notices by itself that nothing comes any more. It does not notice that its address is gone while there is
//! another way to the peer, nor that the peer hears nothing while it goes on sending. In both cases the path is given up
//! here: it has failed, nothing is sent over it, and an ICE restart looks for another.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::State;
use crate::net::{LocalAddresses, route_to};
use crate::peer_connection::{IceConnectionState, IceGatheringState, PeerConnectionState};
use crate::peer_connection_factory::{ContinualGatheringPolicy, IceTransportsType};

/// Between two looks at this machine's addresses, by all connections of the process together.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// An address that is away for so long is gone: one that is renewed, or a plug that is pushed in again, is back sooner.
const GONE_AFTER: Duration = Duration::from_secs(1);
/// Consent to send expires so long after the peer's last answer to a check (RFC 7675, section 5.1).
const CONSENT_LIMIT: Duration = Duration::from_secs(30);

/// What is known of the path in use and of the addresses below it.
#[derive(Debug, Default)]
pub(super) struct PathWatch {
    next_look: Option<Instant>,
    /// Since when addresses are missing that there are sockets on.
    away: HashMap<IpAddr, Instant>,
    /// When the peer answered last, once there is a path.
    consent: Option<Instant>,
    /// The path was given up; that is undone by a restart alone.
    is_lost: bool,
}

impl PathWatch {
    pub fn begin(&mut self, now: Instant) {
        self.next_look.get_or_insert(now + LOOK_EVERY);
    }

    pub fn restart(&mut self, now: Instant) {
        *self = Self::default();
        self.begin(now);
    }

    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    pub fn next_look(&self) -> Option<Instant> {
        self.next_look
    }

    /// Notes that there is a path, which is an answer of the peer's too.
    pub fn found(&mut self, now: Instant) {
        self.consent.get_or_insert(now);
    }

    /// Notes an answer to a check.
    pub fn answered(&mut self, now: Instant) {
        if let Some(consent) = &mut self.consent {
            *consent = now;
        }
    }

    fn has_consent(&self, now: Instant) -> bool {
        self.consent
            .is_none_or(|last| now.saturating_duration_since(last) < CONSENT_LIMIT)
    }

    /// Notes which of one's `own` addresses are there, and says which are gone.
    fn missing(
        &mut self,
        now: Instant,
        own: &[IpAddr],
        is_there: impl Fn(IpAddr) -> bool,
    ) -> Vec<IpAddr> {
        self.away.retain(|ip, _| own.contains(ip) && !is_there(*ip));
        for &ip in own {
            if !is_there(ip) {
                self.away.entry(ip).or_insert(now);
            }
        }
        let mut gone: Vec<IpAddr> = self
            .away
            .iter()
            .filter(|(_, since)| now.saturating_duration_since(**since) >= GONE_AFTER)
            .map(|(ip, _)| *ip)
            .collect();
        gone.sort();
        gone
    }
}

impl State {
    /// Looks at consent and at this machine's addresses, if it is time.
    pub(super) fn watch_path(&mut self, now: Instant) {
        if self.watch.next_look.is_none_or(|due| now < due) {
            return;
        }
        self.watch.next_look = Some(now + LOOK_EVERY);
        if self.has_path() && !self.watch.has_consent(now) {
            let limit = CONSENT_LIMIT.as_secs();
            self.lose_path(&format!(
                "the peer has answered no check for {limit} s, so it may not be sent to"
            ));
        }
        match LocalAddresses::known(now, LOOK_EVERY / 2) {
            Ok(present) => self.note_addresses(now, &present),
            Err(error) => log::debug!("the local addresses can't be watched: {error}"),
        }
    }

    fn note_addresses(&mut self, now: Instant, present: &LocalAddresses) {
        let own = self.own_addresses();
        for gone in self.watch.missing(now, &own, |ip| present.is_there(ip)) {
            if self.has_path() && self.path_base() == Some(gone) {
                // Without another way there is nothing to be gained, and the address may come back.
                if !self.leads_elsewhere(gone, present) {
                    continue;
                }
                self.lose_path(&format!("its local address {gone} is gone"));
            }
            log::info!("the local address {gone} is gone");
            self.forget_address(gone);
        }
        // While there is no path, new addresses join the search for one.
        let is_searching = self.ice == IceConnectionState::Checking
            && self.gathering == IceGatheringState::Gathering
            && self.gathering_policy == ContinualGatheringPolicy::GatherContinually
            && self.transports != IceTransportsType::Relay;
        let is_new = |ip: IpAddr| self.bound.iter().all(|addr| addr.ip() != ip);
        if is_searching && present.iter().any(is_new) {
            self.gather(now, []);
            self.report_candidates();
        }
    }

    /// Forgets what is on addresses that are not there, without waiting for them.
    pub(super) fn forget_absent(&mut self, now: Instant) {
        let Ok(present) = LocalAddresses::known(now, Duration::ZERO) else {
            return;
        };
        for ip in self.own_addresses() {
            if !present.is_there(ip) {
                self.forget_address(ip);
            }
        }
    }

    /// The addresses that there are sockets on, or that TURN servers are reached from.
    fn own_addresses(&self) -> Vec<IpAddr> {
        let sockets = self.bound.iter().map(|addr| addr.ip());
        let mut own: Vec<IpAddr> = sockets
            .chain(self.candidates.iter().map(|candidate| candidate.base))
            .collect();
        own.sort();
        own.dedup();
        own
    }

    fn has_path(&self) -> bool {
        matches!(
            self.ice,
            IceConnectionState::Connected
                | IceConnectionState::Completed
                | IceConnectionState::Disconnected
        )
    }

    /// The address of this machine that the path in use begins at.
    fn path_base(&mut self) -> Option<IpAddr> {
        let local = self.core.selected().ok()??.local;
        let relayed = self
            .candidates
            .iter()
            .find(|candidate| candidate.address == local);
        Some(relayed.map_or(local.ip(), |candidate| candidate.base))
    }

    /// Whether the system would send to the peer from another address than this one.
    fn leads_elsewhere(&mut self, gone: IpAddr, present: &LocalAddresses) -> bool {
        let Ok(Some(path)) = self.core.selected() else {
            return false;
        };
        route_to(path.remote).is_some_and(|from| from != gone && present.is_there(from))
    }

    fn lose_path(&mut self, reason: &str) {
        log::warn!("the path to the peer is given up: {reason}");
        self.watch.is_lost = true;
        self.set_ice(IceConnectionState::Disconnected);
        self.set_connection(PeerConnectionState::Disconnected);
        self.set_ice(IceConnectionState::Failed);
        self.set_connection(PeerConnectionState::Failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_gone_when_it_stays_away() {
        let (now, own) = (Instant::now(), [ip("10.0.0.1"), ip("10.0.0.2")]);
        let mut watch = PathWatch::default();
        let first_only = |there: IpAddr| there == own[0];
        assert!(watch.missing(now, &own, first_only).is_empty());
        assert_eq!(
            watch.missing(now + GONE_AFTER, &own, first_only),
            [ip("10.0.0.2")]
        );
    }

    #[test]
    fn an_address_that_comes_back_in_time_was_never_gone() {
        let (now, own) = (Instant::now(), [ip("10.0.0.1")]);
        let mut watch = PathWatch::default();
        watch.missing(now, &own, |_| false);
        let half = GONE_AFTER / 2;
        assert!(watch.missing(now + half, &own, |_| true).is_empty());
        assert!(watch.missing(now + GONE_AFTER, &own, |_| false).is_empty());
    }

    #[test]
    fn consent_lasts_thirty_seconds_from_the_last_answer() {
        let now = Instant::now();
        let mut watch = PathWatch::default();
        assert!(watch.has_consent(now + CONSENT_LIMIT), "nothing to lose");
        watch.found(now);
        watch.answered(now + CONSENT_LIMIT / 2);
        assert!(watch.has_consent(now + CONSENT_LIMIT));
        assert!(!watch.has_consent(now + CONSENT_LIMIT / 2 + CONSENT_LIMIT));
        watch.restart(now);
        assert!(watch.has_consent(now + CONSENT_LIMIT * 2));
    }
}
