//! The addresses of STUN and TURN servers, as configurations write them (RFC 7064 and 7065).

/// A STUN server: it tells how this machine looks from where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StunServer {
    pub host: String,
    pub port: u16,
}

/// A TURN server that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RelayServer {
    pub host: String,
    pub port: u16,
    /// How it is reached; what it relays are datagrams in any case.
    pub transport: RelayTransport,
    pub username: String,
    pub password: String,
}

/// How a TURN server is reached, the best way first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RelayTransport {
    Udp,
    Tcp,
    /// TLS over TCP, which networks let through that let nothing else through.
    Tls,
}

/// The port of STUN and TURN, where a URL names none.
const DEFAULT_PORT: u16 = 3478;
/// The port of TURN over TLS.
const DEFAULT_TLS_PORT: u16 = 5349;

impl StunServer {
    /// Reads a URL; none if it is not of a STUN server over UDP.
    pub fn parse(url: &str) -> Option<Self> {
        let (host, port) = split_port(url.strip_prefix("stun:")?, DEFAULT_PORT)?;
        Some(Self {
            host: host.to_owned(),
            port,
        })
    }

    pub fn url(&self) -> String {
        format!("stun:{}:{}", bracketed(&self.host), self.port)
    }
}

impl RelayServer {
    /// Reads a URL; none if it is not of a TURN server that can be used.
    pub fn parse(url: &str, username: &str, password: &str) -> Option<Self> {
        let (rest, tls) = match url.strip_prefix("turns:") {
            Some(rest) => (rest, true),
            None => (url.strip_prefix("turn:")?, false),
        };
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let transport = match (tls, query.strip_prefix("transport=")) {
            (false, None | Some("udp")) => RelayTransport::Udp,
            (false, Some("tcp")) => RelayTransport::Tcp,
            (true, None | Some("tcp")) => RelayTransport::Tls,
            // SCTP, and TURN over DTLS.
            (_, Some(_)) => return None,
        };
        let default_port = if tls { DEFAULT_TLS_PORT } else { DEFAULT_PORT };
        let (host, port) = split_port(address, default_port)?;
        Some(Self {
            host: host.to_owned(),
            port,
            transport,
            username: username.to_owned(),
            password: password.to_owned(),
        })
    }

    pub fn url(&self) -> String {
        let (scheme, transport) = match self.transport {
            RelayTransport::Udp => ("turn", "udp"),
            RelayTransport::Tcp => ("turn", "tcp"),
            RelayTransport::Tls => ("turns", "tcp"),
        };
        let (host, port) = (bracketed(&self.host), self.port);
        format!("{scheme}:{host}:{port}?transport={transport}")
    }
}

/// An IPv6 address is told from its port by brackets.
fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

fn split_port(address: &str, default: u16) -> Option<(&str, u16)> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => address.split_at(address.find(':').unwrap_or(address.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => digits.parse().ok()?,
        None if port.is_empty() => default,
        None => return None,
    };
    let is_host = !host.is_empty() && !host.contains(['[', ']']);
    is_host.then_some((host, port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::RelayTransport::{Tcp, Tls, Udp};
    use super::*;

    fn parsed(url: &str) -> Option<(String, u16, RelayTransport)> {
        RelayServer::parse(url, "u", "p").map(|server| (server.host, server.port, server.transport))
    }

    #[test]
    fn host_port_and_transport_are_read() {
        let turn = |host: &str, port, transport| Some((host.to_owned(), port, transport));
        assert_eq!(parsed("turn:a.example"), turn("a.example", 3478, Udp));
        assert_eq!(
            parsed("turn:a.example:80?transport=udp"),
            turn("a.example", 80, Udp)
        );
        assert_eq!(
            parsed("turn:10.0.0.1:443?transport=tcp"),
            turn("10.0.0.1", 443, Tcp)
        );
        assert_eq!(parsed("turn:[2001:db8::1]"), turn("2001:db8::1", 3478, Udp));
        assert_eq!(parsed("turn:[::1]:5?transport=tcp"), turn("::1", 5, Tcp));
        assert_eq!(parsed("turns:a.example"), turn("a.example", 5349, Tls));
        assert_eq!(
            parsed("turns:a.example:443?transport=tcp"),
            turn("a.example", 443, Tls)
        );
    }

    #[test]
    fn a_stun_server_is_read() {
        let server = |url| StunServer::parse(url).map(|server| (server.host, server.port));
        assert_eq!(
            server("stun:a.example:19302"),
            Some(("a.example".to_owned(), 19302))
        );
        assert_eq!(server("stun:[::1]"), Some(("::1".to_owned(), 3478)));
        assert_eq!(server("stuns:a.example"), None);
        assert_eq!(server("turn:a.example"), None);
    }

    #[test]
    fn a_server_is_named_as_it_was_written() {
        for url in [
            "turn:a.example:80?transport=udp",
            "turn:[::1]:5?transport=tcp",
            "turns:a.example:443?transport=tcp",
        ] {
            assert_eq!(RelayServer::parse(url, "", "").unwrap().url(), url);
        }
        assert_eq!(
            StunServer::parse("stun:[::1]").unwrap().url(),
            "stun:[::1]:3478"
        );
    }

    #[test]
    fn what_is_no_usable_relay_is_left_out() {
        for url in [
            "stun:a.example",
            "turns:a.example:443?transport=udp",
            "turn:",
            "turn:a.example:x",
            "turn:a.example:99999",
            "turn:a?transport=sctp",
            "turn:[::1]x",
            "turn:[[::1]:5",
        ] {
            assert_eq!(parsed(url), None, "{url}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in "(turns?:|stun:)?.{0,60}") {
            let _ = (parsed(&text), StunServer::parse(&text));
        }
    }
}
