//! The `[webhook]` section: who is told that an interview is over.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

use super::secrets::{Secret, credential, read_secret};
use super::{Config, ConfigError, Environment};

/// The credential that holds the secret.
const CREDENTIAL: &str = "webhook-secret";

/// The receiver of what is told; without a `url` nobody is.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhook {
    /// Whether to tell the receiver that `url` names.
    pub enable: bool,
    /// Where the message is posted, `https://` or `http://`.
    pub url: Option<String>,
    /// A file with the secret that signs it, `whsec_…` or any text of 24 bytes or more; else
    /// `$CREDENTIALS_DIRECTORY/webhook-secret`.
    pub secret_file: Option<PathBuf>,
    /// Time for one try.
    pub timeout_ms: u32,
}

impl Default for Webhook {
    fn default() -> Self {
        Self {
            enable: true,
            url: None,
            secret_file: None,
            timeout_ms: 10_000,
        }
    }
}

impl Webhook {
    /// The receiver's address, where one is to be told.
    pub fn used_url(&self) -> Option<&str> {
        self.url.as_deref().filter(|_| self.enable)
    }

    /// The key that is wrong, and what would be right.
    pub(super) fn mistake(&self) -> Option<(&'static str, String)> {
        if let Some(text) = &self.url {
            let good = Url::parse(text).is_ok_and(|url| {
                matches!(url.scheme(), "http" | "https")
                    && url.has_host()
                    && url.username().is_empty()
                    && url.password().is_none()
            });
            if !good {
                let message = "must be an http:// or https:// URL without a user and a password";
                return Some(("webhook.url", message.into()));
            }
        }
        let good = (100..=60_000).contains(&self.timeout_ms);
        (!good).then(|| ("webhook.timeout_ms", "must be between 100 and 60000".into()))
    }
}

impl Config {
    /// What signs the messages to the webhook.
    ///
    /// # Errors
    /// There is none, or its file can't be read.
    pub fn webhook_secret(&self, env: &Environment) -> Result<Secret, ConfigError> {
        const WHAT: &str = "the webhook's secret";
        let file = self.webhook.secret_file.clone();
        let Some(path) = file.or_else(|| credential(env, CREDENTIAL)) else {
            return Err(ConfigError::SecretMissing {
                what: WHAT,
                hint: "set webhook.secret_file or pass the systemd credential `webhook-secret`"
                    .into(),
            });
        };
        Ok(Secret::new(read_secret(WHAT, &path)?.trim()))
    }
}
