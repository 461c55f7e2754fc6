//! Signs messages as Standard Webhooks has it: HMAC-SHA256 over id, time and body, so that a receiver knows who sent
//! it, that nothing was changed, and that it is not an old one played again.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::config::Secret;

/// As Standard Webhooks recommends; a shorter secret could be guessed from one message.
pub const SECRET_BYTES_MIN: usize = 24;
/// Before a secret that is written in base64.
const PREFIX: &str = "whsec_";

/// Why a secret can't sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It could be guessed.
    #[error(
        "it has {bytes} bytes; {SECRET_BYTES_MIN} is the least, make one with `openssl rand -base64 32`"
    )]
    Short {
        /// How many it has.
        bytes: usize,
    },
    /// What follows `whsec_` is not base64.
    #[error("what follows `whsec_` is not base64")]
    NotBase64,
}

/// Signs.
pub(super) struct Signer {
    keyed: Hmac<Sha256>,
}

/// What goes into the headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signed {
    /// Seconds since 1970.
    pub(super) timestamp: String,
    pub(super) signature: String,
}

impl Signer {
    pub(super) fn new(secret: &Secret) -> Result<Self, SecretError> {
        let key = match secret.reveal().strip_prefix(PREFIX) {
            Some(encoded) => STANDARD
                .decode(encoded)
                .map_err(|_| SecretError::NotBase64)?,
            None => secret.reveal().as_bytes().to_vec(),
        };
        if key.len() < SECRET_BYTES_MIN {
            return Err(SecretError::Short { bytes: key.len() });
        }
        // HMAC takes a key of any length.
        let keyed = Hmac::new_from_slice(&key).map_err(|_| SecretError::Short { bytes: 0 })?;
        Ok(Self { keyed })
    }

    /// Signs for this moment.
    pub(super) fn sign(&self, id: &str, body: &str) -> Signed {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        self.sign_at(id, body, now.map_or(0, |t| t.as_secs()))
    }

    fn sign_at(&self, id: &str, body: &str, unix_s: u64) -> Signed {
        let timestamp = unix_s.to_string();
        let mut mac = self.keyed.clone();
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        Signed {
            timestamp,
            signature: format!("v1,{signature}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_standard_is_signed_as_it_says() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let body = r#"{"test": 2432232314}"#;
        let signed = Signer::new(&secret).unwrap().sign_at(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            body,
            1_614_265_330,
        );
        assert_eq!(
            signed.signature,
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn a_secret_that_could_be_guessed_is_refused_without_showing_it() {
        let error = |text: &str| Signer::new(&Secret::new(text)).map(drop).unwrap_err();
        assert_eq!(error("hunter2"), SecretError::Short { bytes: 7 });
        assert_eq!(error("whsec_MfKQ"), SecretError::Short { bytes: 3 });
        assert_eq!(error("whsec_!"), SecretError::NotBase64);
        assert!(!error("hunter2").to_string().contains("hunter2"));
    }
}
