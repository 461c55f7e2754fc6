//! Which local addresses become host candidates.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use parking_lot::Mutex;

use super::allowed::{Leave, leave_for};
use super::bridges::{CLASS_NET, is_inward};

/// Interfaces beyond this many (containers, bridges) are left out: each costs a socket and a
/// candidate pair per remote candidate.
const ADDRESSES_MAX: usize = 8;

/// The addresses of this machine, in order of preference.
#[derive(Debug, Default)]
pub(crate) struct LocalAddresses(Vec<IpAddr>);

/// What the system said last, and when: all connections of the process look at the same list.
static KNOWN: Mutex<Option<(Instant, Arc<LocalAddresses>)>> = Mutex::new(None);

impl LocalAddresses {
    /// The addresses as they were at most `age` before `now`.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn known(now: Instant, age: Duration) -> Result<Arc<Self>, String> {
        let mut known = KNOWN.lock();
        if let Some((at, addresses)) = &*known
            && now.saturating_duration_since(*at) < age
        {
            return Ok(Arc::clone(addresses));
        }
        let addresses = Arc::new(Self::enumerate()?);
        *known = Some((now, Arc::clone(&addresses)));
        Ok(addresses)
    }

    fn enumerate() -> Result<Self, String> {
        let interfaces = getifaddrs().map_err(|error| error.to_string())?;
        let outward = interfaces
            .filter(is_up)
            .filter_map(|entry| Some((usable(&entry)?, entry.interface_name)))
            .filter(|(ip, name)| match leave_for(name) {
                Leave::Named => true,
                // A loopback address is no use to anyone but a peer on this machine, and tells others about it.
                Leave::Unsaid => !ip.is_loopback() && !is_inward(Path::new(CLASS_NET), name),
                Leave::Refused => false,
            })
            .map(|(ip, _)| ip);
        Ok(Self::from_interfaces(outward.collect()))
    }

    /// Whether a socket on this address still has an interface. Loopback is not listed, and never goes.
    pub fn is_there(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.0.contains(&ip)
    }

    fn from_interfaces(interfaces: Vec<IpAddr>) -> Self {
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in interfaces {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        // Servers are mostly reached over IPv4, and each pair is checked in this order.
        addresses.sort_by_key(IpAddr::is_ipv6);
        Self(addresses)
    }

    /// Those that candidates are made of.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> {
        self.0.iter().copied().take(ADDRESSES_MAX)
    }

    /// The same, and the loopback address of the family of each of `remotes` that is a loopback address; also if there is
    /// nothing else.
    pub fn with_loopback_for(&self, remotes: impl IntoIterator<Item = IpAddr>) -> Vec<IpAddr> {
        let mut addresses: Vec<IpAddr> = self.iter().collect();
        for remote in remotes.into_iter().filter(IpAddr::is_loopback) {
            let own: IpAddr = match remote {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            if !addresses.contains(&own) {
                addresses.push(own);
            }
        }
        if addresses.is_empty() {
            addresses.push(Ipv4Addr::LOCALHOST.into());
        }
        addresses
    }
}

/// An interface whose cable is out keeps its addresses, but is not running.
fn is_up(entry: &InterfaceAddress) -> bool {
    let flags = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    entry.flags.contains(flags)
}

/// The address of an interface, if candidates can be made of it: link-local ones need a scope, which these can't carry.
fn usable(entry: &InterfaceAddress) -> Option<IpAddr> {
    let address = entry.address.as_ref()?;
    if let Some(v4) = address.as_sockaddr_in() {
        let ip = v4.ip();
        return (!ip.is_link_local() && !ip.is_unspecified()).then_some(ip.into());
    }
    let ip = address.as_sockaddr_in6()?.ip();
    (!ip.is_unicast_link_local() && !ip.is_unspecified()).then_some(ip.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|a| a.parse().unwrap()).collect()
    }

    #[test]
    fn the_addresses_of_ipv4_come_first_and_each_once() {
        let found =
            LocalAddresses::from_interfaces(addresses(&["2001:db8::1", "10.0.0.1", "10.0.0.1"]));
        assert_eq!(
            found.iter().collect::<Vec<_>>(),
            addresses(&["10.0.0.1", "2001:db8::1"])
        );
    }

    #[test]
    fn loopback_and_link_local_addresses_of_this_machine_are_not_told() {
        for ip in LocalAddresses::enumerate().unwrap().iter() {
            let is_link_local = match ip {
                IpAddr::V4(v4) => v4.is_link_local(),
                IpAddr::V6(v6) => v6.is_unicast_link_local(),
            };
            assert!(!ip.is_loopback() && !is_link_local, "{ip}");
        }
    }

    #[test]
    fn what_is_known_is_not_asked_again_while_it_is_fresh() {
        let now = Instant::now();
        let known = LocalAddresses::known(now, Duration::ZERO).unwrap();
        let again = LocalAddresses::known(now, Duration::from_secs(3600)).unwrap();
        assert_eq!(known.0, again.0);
    }

    #[test]
    fn a_peer_on_loopback_is_met_there() {
        let found = LocalAddresses::from_interfaces(addresses(&["10.0.0.1"]))
            .with_loopback_for(addresses(&["127.0.0.1", "192.0.2.1"]));
        assert_eq!(found, addresses(&["10.0.0.1", "127.0.0.1"]));
    }

    #[test]
    fn a_machine_without_network_still_has_loopback() {
        let found = LocalAddresses::default().with_loopback_for([]);
        assert_eq!(found, addresses(&["127.0.0.1"]));
    }

    #[test]
    fn interfaces_without_end_are_cut_off() {
        let many: Vec<IpAddr> = (0..50).map(|n| Ipv4Addr::new(10, 0, n, 1).into()).collect();
        let found = LocalAddresses::from_interfaces(many.clone());
        assert_eq!(found.iter().count(), ADDRESSES_MAX);
        assert!(found.is_there(many[49]), "though nothing is bound there");
    }
}
