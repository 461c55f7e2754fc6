//! Why there is no registration with LiveKit, in words that tell an operator what to do.

use std::time::Duration;

/// What went wrong with a connection. It is shown in the status and never ends the worker.
///
/// No variant holds a token, a secret or a server's response body: LiveKit repeats the token that it
/// refuses in the body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkerError {
    /// The server is there and does not take our key.
    #[error(
        "LiveKit at {url} refuses the API key {key}: check that livekit.key_file holds a key and secret of that server, \
         and that both clocks agree within a minute"
    )]
    Unauthorized {
        /// The agent endpoint.
        url: String,
        /// The public half of the key.
        key: String,
    },
    /// Nothing answers there.
    #[error(
        "cannot reach LiveKit at {url}: {cause}; check livekit.url, that the server is running, and the network between"
    )]
    Unreachable {
        /// The agent endpoint.
        url: String,
        /// What the system says.
        cause: String,
    },
    /// The TLS handshake failed.
    #[error(
        "no trusted connection to LiveKit at {url}: {cause}; put the server's certificate authority into the system's \
         store, or name it in SSL_CERT_FILE"
    )]
    Untrusted {
        /// The agent endpoint.
        url: String,
        /// What the TLS library says.
        cause: String,
    },
    /// Something answers, and it is not an agent endpoint.
    #[error(
        "{url} answers with HTTP status {status} and opens no agent connection: check that livekit.url is the LiveKit \
         server itself, with the path under which a proxy has it"
    )]
    Refused {
        /// The agent endpoint.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The server did not do in time what it must do.
    #[error(
        "LiveKit at {url} did not {what} within {limit_ms} ms; check its load and the network between"
    )]
    Silent {
        /// The agent endpoint.
        url: String,
        /// What it should have done.
        what: &'static str,
        /// The limit.
        limit_ms: u64,
    },
    /// An open connection ended.
    #[error("the connection to LiveKit at {url} ended: {cause}; it will be opened again")]
    Lost {
        /// The agent endpoint.
        url: String,
        /// The close frame's reason, or what the system says.
        cause: String,
    },
    /// The peer sent what LiveKit would not send.
    #[error(
        "{url} sent something that is not LiveKit's agent protocol: {cause}; check that nothing rewrites the connection"
    )]
    Garbled {
        /// The agent endpoint.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
    /// No token can be signed with the key.
    #[error("{0}")]
    Token(String),
}

impl WorkerError {
    pub(super) fn silent(url: &str, what: &'static str, limit: Duration) -> Self {
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        Self::Silent {
            url: url.to_owned(),
            what,
            limit_ms,
        }
    }
}
