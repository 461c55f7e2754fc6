//! TLS to TURN servers: the system's authorities decide whom to trust, as for everything else in this process.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

/// Shakes hands with `host`, whose certificate has to name it.
pub(super) async fn connect(host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| io::Error::other(format!("{host} is no name that a certificate can have")))?;
    let connector = TlsConnector::from(config().await.map_err(io::Error::other)?);
    connector.connect(name, stream).await.map_err(explained)
}

/// Reads the authorities anew for each connection, of which there are few: one that is added later is found without a
/// restart. `SSL_CERT_FILE` and `SSL_CERT_DIR` stand in for the system's own.
async fn config() -> Result<Arc<ClientConfig>, String> {
    let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs)
        .await
        .map_err(|error| format!("the system's authorities can't be read: {error}"))?;
    let mut roots = RootCertStore::empty();
    // Single certificates that can't be parsed are common in system stores and no reason to stop.
    let (usable, _unusable) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        let cause = found.errors.first().map(ToString::to_string);
        return Err(format!(
            "this system trusts no authority ({}); install ca-certificates or set SSL_CERT_FILE",
            cause.unwrap_or_else(|| "none found".to_owned())
        ));
    }
    // The provider is named, since the process may have no default, or another one.
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Says what to do about a certificate that is not accepted.
fn explained(error: io::Error) -> io::Error {
    let about_certificate = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .is_some_and(|inner| matches!(inner, rustls::Error::InvalidCertificate(_)));
    if !about_certificate {
        return error;
    }
    io::Error::other(format!(
        "{error}; the certificate has to name the server as its URL does, and its authority has to be in the system's \
         store or in SSL_CERT_FILE"
    ))
}
