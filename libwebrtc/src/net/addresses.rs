//! Which local addresses become host candidates.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::bridges::{CLASS_NET, is_inward};
use crate::core;

/// Interfaces beyond this many (containers, bridges) are left out: each costs a socket and a
/// candidate pair per remote candidate.
const ADDRESSES_MAX: usize = 8;

/// The addresses of this machine, in order of preference.
#[derive(Debug, Default)]
pub(crate) struct LocalAddresses(Vec<IpAddr>);

impl LocalAddresses {
    /// Asks the system.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn enumerate() -> Result<Self, String> {
        let interfaces = core::interface_addresses()?;
        let outward = interfaces
            .into_iter()
            .filter(|(name, _)| !is_inward(Path::new(CLASS_NET), name))
            .map(|(_, address)| address);
        Ok(Self::from_interfaces(outward.collect()))
    }

    /// What remains usable when the system doesn't tell.
    pub fn loopback() -> Self {
        Self(vec![Ipv4Addr::LOCALHOST.into()])
    }

    fn from_interfaces(interfaces: Vec<IpAddr>) -> Self {
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in interfaces.into_iter().filter(is_routable) {
            if !addresses.contains(&address) && addresses.len() < ADDRESSES_MAX {
                addresses.push(address);
            }
        }
        // Servers are mostly reached over IPv4, and each pair is checked in this order.
        addresses.sort_by_key(IpAddr::is_ipv6);
        Self(addresses)
    }

    pub fn iter(&self) -> impl Iterator<Item = IpAddr> {
        self.0.iter().copied()
    }

    /// Adds the loopback address of the family of `remote`, if that is a loopback address, or if
    /// there is nothing else.
    pub fn with_loopback_for(mut self, remotes: impl IntoIterator<Item = IpAddr>) -> Self {
        for remote in remotes.into_iter().filter(IpAddr::is_loopback) {
            let own: IpAddr = match remote {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            if !self.0.contains(&own) {
                self.0.push(own);
            }
        }
        if self.0.is_empty() {
            self.0.push(Ipv4Addr::LOCALHOST.into());
        }
        self
    }
}

/// Loopback addresses are no use to anyone but a peer on this machine, and telling them to others
/// tells about this machine; link-local ones need a scope that candidates can't carry.
fn is_routable(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !(v4.is_loopback() || v4.is_link_local() || v4.is_unspecified()),
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|a| a.parse().unwrap()).collect()
    }

    #[test]
    fn loopback_and_link_local_addresses_are_not_told() {
        let found = LocalAddresses::from_interfaces(addresses(&[
            "127.0.0.1",
            "::1",
            "fe80::1",
            "169.254.1.1",
            "2001:db8::1",
            "10.0.0.1",
            "10.0.0.1",
        ]));
        assert_eq!(
            found.iter().collect::<Vec<_>>(),
            addresses(&["10.0.0.1", "2001:db8::1"])
        );
    }

    #[test]
    fn a_peer_on_loopback_is_met_there() {
        let found = LocalAddresses::from_interfaces(addresses(&["10.0.0.1"]))
            .with_loopback_for(addresses(&["127.0.0.1", "192.0.2.1"]));
        assert_eq!(
            found.iter().collect::<Vec<_>>(),
            addresses(&["10.0.0.1", "127.0.0.1"])
        );
    }

    #[test]
    fn a_machine_without_network_still_has_loopback() {
        let found =
            LocalAddresses::from_interfaces(addresses(&["127.0.0.1"])).with_loopback_for([]);
        assert_eq!(found.iter().collect::<Vec<_>>(), addresses(&["127.0.0.1"]));
    }

    #[test]
    fn interfaces_without_end_are_cut_off() {
        let many: Vec<IpAddr> = (0..50).map(|n| Ipv4Addr::new(10, 0, n, 1).into()).collect();
        assert_eq!(
            LocalAddresses::from_interfaces(many).iter().count(),
            ADDRESSES_MAX
        );
    }
}
