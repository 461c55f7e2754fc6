//! Opens the WebSocket to LiveKit's agent endpoint and says in our words why it could not.

use std::sync::Arc;
use std::time::Duration;

use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, error::UrlError};
use tokio_tungstenite::{Connector, connect_async_tls_with_config};

use super::endpoint::Endpoint;
use super::error::WorkerError;
use super::token;
use super::wire::Wire;
use crate::config::LiveKitKey;

/// For name resolution, TCP, TLS and the upgrade together.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The largest message taken. An offer carries the metadata of room and dispatch, which LiveKit
/// limits to far less.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// What may wait to be written; the messages of a worker are a few hundred bytes.
const WRITE_BYTES_MAX: usize = 1024 * 1024;

/// Opens a connection with a fresh token.
pub(super) async fn connect(endpoint: &Endpoint, key: &LiveKitKey) -> Result<Wire, WorkerError> {
    let url = &endpoint.agent;
    let bearer = token::worker(key).map_err(|e| WorkerError::Token(e.to_string()))?;
    let mut request = url
        .into_client_request()
        .map_err(|e| failed(endpoint, key, e))?;
    let mut header =
        HeaderValue::try_from(format!("Bearer {}", bearer.reveal())).map_err(|_| {
            WorkerError::Token(
                "the API key makes no valid HTTP header; check livekit.key_file".into(),
            )
        })?;
    // Keeps it out of every debug print of the request.
    header.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, header);

    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
        .max_write_buffer_size(WRITE_BYTES_MAX);
    let attempt = async {
        let connector = if url.starts_with("wss:") {
            trusted(endpoint).await?
        } else {
            Connector::Plain
        };
        connect_async_tls_with_config(request, Some(config), true, Some(connector))
            .await
            .map_err(|e| failed(endpoint, key, e))
    };
    match tokio::time::timeout(CONNECT_LIMIT, attempt).await {
        Ok(opened) => opened.map(|(socket, _)| Wire::new(socket, url)),
        Err(_) => Err(WorkerError::silent(url, "open a connection", CONNECT_LIMIT)),
    }
}

/// TLS with the system's certificates, read anew for every connection: an authority that is added
/// after a failure is found without a restart.
async fn trusted(endpoint: &Endpoint) -> Result<Connector, WorkerError> {
    let untrusted = |cause: String| WorkerError::Untrusted {
        url: endpoint.agent.clone(),
        cause,
    };
    let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs)
        .await
        .map_err(|e| untrusted(format!("the system's certificates cannot be read: {e}")))?;
    let mut roots = rustls::RootCertStore::empty();
    let (added, _unusable) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let cause = found
            .errors
            .first()
            .map_or_else(|| "there are none".to_owned(), ToString::to_string);
        return Err(untrusted(format!(
            "no certificate authority on this system: {cause}"
        )));
    }
    // The provider is named: another crate may have installed none, or another one, for the process.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| untrusted(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Connector::Rustls(Arc::new(config)))
}

/// An error of the handshake in our words. The body of an HTTP answer is dropped on purpose.
fn failed(endpoint: &Endpoint, key: &LiveKitKey, error: WsError) -> WorkerError {
    let url = endpoint.agent.clone();
    match error {
        WsError::Http(response) => match response.status().as_u16() {
            401 | 403 => WorkerError::Unauthorized {
                url,
                key: key.key.clone(),
            },
            status => WorkerError::Refused { url, status },
        },
        WsError::Tls(e) => WorkerError::Untrusted {
            url,
            cause: e.to_string(),
        },
        WsError::Io(e) if e.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
            WorkerError::Untrusted {
                url,
                cause: e.to_string(),
            }
        }
        WsError::Io(e) => WorkerError::Unreachable {
            url,
            cause: e.to_string(),
        },
        WsError::Url(UrlError::UnableToConnect(_)) => WorkerError::Unreachable {
            url,
            cause: "no address answers".into(),
        },
        WsError::Url(e) => WorkerError::Unreachable {
            url,
            cause: e.to_string(),
        },
        WsError::ConnectionClosed | WsError::AlreadyClosed => WorkerError::Unreachable {
            url,
            cause: "it hung up during the handshake".into(),
        },
        other => WorkerError::Garbled {
            url,
            cause: other.to_string(),
        },
    }
}
