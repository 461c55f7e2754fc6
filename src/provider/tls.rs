//! TLS to providers: ring and the system's CA certificates, set up here so that no process-wide default matters.
//!
//! Reading the system's certificates takes 10 to 35 ms, which a start has no time for. So they are read at the first
//! handshake, or before it by [`read_roots`]; everything else is ready at once.

use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Kept once read: the certificates do not change while the process runs.
static SYSTEM: OnceLock<Arc<WebPkiServerVerifier>> = OnceLock::new();

/// A configuration that trusts whom the system trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` override).
pub(super) fn config() -> Result<ClientConfig, String> {
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        // The verifier is webpki's own; only the moment at which its roots are read is ours.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(SystemRoots))
        .with_no_client_auth())
}

/// Reads the system's certificates if that has not been done; blocks for some ten milliseconds.
pub(super) fn read_roots() -> Result<&'static Arc<WebPkiServerVerifier>, String> {
    if let Some(verifier) = SYSTEM.get() {
        return Ok(verifier);
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Single certificates that can't be parsed are common in system stores and no reason to stop.
    let (usable, _unusable) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        let reason = found.errors.first().map(ToString::to_string);
        return Err(format!(
            "this system has no usable CA certificates ({}); install them or set SSL_CERT_FILE",
            reason.unwrap_or_else(|| "none found".into())
        ));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|e| e.to_string())?;
    Ok(SYSTEM.get_or_init(|| verifier))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Verifies as webpki does, against the system's certificates.
#[derive(Debug)]
struct SystemRoots;

fn verifier() -> Result<&'static Arc<WebPkiServerVerifier>, Error> {
    read_roots().map_err(Error::General)
}

impl ServerCertVerifier for SystemRoots {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        verifier()?.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verifier()?.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verifier()?.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
