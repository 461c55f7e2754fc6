//! The addresses of TURN servers, as configurations write them (RFC 7065).

/// A TURN server that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RelayServer {
    pub host: String,
    pub port: u16,
    /// How it is reached; what it relays are datagrams either way.
    pub tcp: bool,
    pub username: String,
    pub password: String,
}

/// The port of STUN and TURN, where a URL names none.
const DEFAULT_PORT: u16 = 3478;

impl RelayServer {
    /// Reads a URL; none if it is not of a TURN server that can be used.
    pub fn parse(url: &str, username: &str, password: &str) -> Option<Self> {
        let rest = url.strip_prefix("turn:")?;
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let tcp = match query.strip_prefix("transport=") {
            None | Some("udp") => false,
            Some("tcp") => true,
            Some(_) => return None,
        };
        let (host, port) = split_port(address)?;
        Some(Self {
            host: host.to_owned(),
            port,
            tcp,
            username: username.to_owned(),
            password: password.to_owned(),
        })
    }
}

fn split_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => address.split_at(address.find(':').unwrap_or(address.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => digits.parse().ok()?,
        None if port.is_empty() => DEFAULT_PORT,
        None => return None,
    };
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(url: &str) -> Option<(String, u16, bool)> {
        RelayServer::parse(url, "u", "p").map(|server| (server.host, server.port, server.tcp))
    }

    #[test]
    fn host_port_and_transport_are_read() {
        let turn = |host: &str, port, tcp| Some((host.to_owned(), port, tcp));
        assert_eq!(parsed("turn:a.example"), turn("a.example", 3478, false));
        assert_eq!(
            parsed("turn:a.example:80?transport=udp"),
            turn("a.example", 80, false)
        );
        assert_eq!(
            parsed("turn:10.0.0.1:443?transport=tcp"),
            turn("10.0.0.1", 443, true)
        );
        assert_eq!(
            parsed("turn:[2001:db8::1]"),
            turn("2001:db8::1", 3478, false)
        );
        assert_eq!(parsed("turn:[::1]:5?transport=tcp"), turn("::1", 5, true));
    }

    #[test]
    fn what_is_no_usable_relay_is_left_out() {
        for url in [
            "stun:a.example",
            "turns:a.example:443",
            "turn:",
            "turn:a.example:x",
            "turn:a.example:99999",
            "turn:a?transport=sctp",
            "turn:[::1]x",
        ] {
            assert_eq!(parsed(url), None, "{url}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(turn:)?.{0,60}") {
            let _ = parsed(&text);
        }
    }
}
