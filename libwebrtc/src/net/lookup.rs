//! Where servers are, and which way leads there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::net::lookup_host;

use super::server_url::StunServer;

/// A name that is not known by then is of no use to a conversation.
const LOOKUP_LIMIT: Duration = Duration::from_secs(10);

/// Looks a STUN server up.
pub(crate) async fn look_up(server: StunServer) -> (StunServer, Result<Vec<SocketAddr>, String>) {
    let host = (server.host.as_str(), server.port);
    let found = match tokio::time::timeout(LOOKUP_LIMIT, lookup_host(host)).await {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(error)) => Err(format!("{} can't be looked up: {error}", server.host)),
        Err(_) => Err(format!(
            "{} is not looked up within {} s",
            server.host,
            LOOKUP_LIMIT.as_secs()
        )),
    };
    (server, found)
}

/// The local address that the system would send to `remote` from; none if there is no way. Nothing is sent.
pub(crate) fn route_to(remote: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match remote {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(remote).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_this_machine_begins_on_it() {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        assert_eq!(route_to(here), Some(Ipv4Addr::LOCALHOST.into()));
    }

    #[tokio::test]
    async fn a_name_that_nobody_has_is_named() {
        let server = StunServer::parse("stun:nobody.invalid").unwrap();
        let (_, found) = look_up(server).await;
        assert!(found.unwrap_err().contains("nobody.invalid"));
    }
}
