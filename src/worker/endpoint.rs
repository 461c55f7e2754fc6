//! Where the agent endpoint of a LiveKit server is.

use url::Url;

/// A LiveKit address that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("livekit.url cannot be used: {0}; give it the form wss://livekit.example.org")]
pub struct BadUrl(String);

/// Whether `text` can be a LiveKit server's address.
///
/// # Errors
/// It can't; the message says why, without showing it.
pub fn check_url(text: &str) -> Result<(), BadUrl> {
    Endpoint::parse(text).map(drop)
}

/// The two addresses that a worker needs of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The server's root as a WebSocket address, for joining rooms.
    pub root: String,
    /// The agent endpoint.
    pub agent: String,
}

impl Endpoint {
    /// Understands `ws`, `wss`, `http` and `https`, with and without a path: behind a proxy LiveKit
    /// may live under one.
    ///
    /// # Errors
    /// Not such an address, or one that carries what belongs elsewhere: a user, a query.
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        // The text itself is in no message: somebody may have put a password into it.
        let mut url = Url::parse(text.trim()).map_err(|e| BadUrl(e.to_string()))?;
        let scheme = match url.scheme() {
            "ws" | "http" => "ws",
            "wss" | "https" => "wss",
            other => return Err(BadUrl(format!("{other}:// is not a WebSocket address"))),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadUrl(
                "it contains a user or password, which belong into livekit.key_file".into(),
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(BadUrl("it contains a query or a fragment".into()));
        }
        url.set_scheme(scheme)
            .map_err(|()| BadUrl("its scheme cannot be changed".into()))?;
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        let root = url.as_str().trim_end_matches('/').to_owned();
        let agent = format!("{root}/agent");
        Ok(Self { root, agent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_servers_address_leads_to_its_agent_endpoint() {
        for (given, root) in [
            ("ws://127.0.0.1:7880", "ws://127.0.0.1:7880"),
            ("wss://lk.example.org", "wss://lk.example.org"),
            ("wss://lk.example.org/", "wss://lk.example.org"),
            ("http://lk.example.org:7880", "ws://lk.example.org:7880"),
            (
                "https://lk.example.org/livekit",
                "wss://lk.example.org/livekit",
            ),
            (
                "https://lk.example.org/livekit///",
                "wss://lk.example.org/livekit",
            ),
            (" wss://[::1]:443/a/b ", "wss://[::1]/a/b"),
        ] {
            let endpoint = Endpoint::parse(given).unwrap();
            assert_eq!(endpoint.root, root, "{given}");
            assert_eq!(endpoint.agent, format!("{root}/agent"), "{given}");
        }
    }

    #[test]
    fn what_is_no_server_address_is_refused_without_repeating_it() {
        for given in [
            "",
            "lk.example.org",
            "ftp://x",
            "ws://",
            "ws://u:hunter2@host",
            "ws://host/?token=hunter2",
        ] {
            let error = Endpoint::parse(given).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
            assert!(error.contains("livekit.url"), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_an_address_or_an_error(text in ".{0,60}") {
            if let Ok(endpoint) = Endpoint::parse(&text) {
                proptest::prop_assert!(endpoint.agent.starts_with("ws"));
                proptest::prop_assert!(endpoint.agent.ends_with("/agent"));
            }
        }
    }
}
