//! An OpenAI-compatible server over HTTP: how it is reached, asked again, set aside, and how its failures are named.
//!
//! Speech to text, text to speech and the language model each have a [`Provider`], on the same server or on three.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::header::AUTHORIZATION;
use reqwest::{Client, RequestBuilder, Response, Url};

use crate::config::Secret;
use crate::health::metrics;

mod api;
pub mod breaker;
mod error;
mod probe;
mod retry;
mod tls;

pub(crate) use api::{ApiClient, Expect, name_api_error};
pub use breaker::{Breaker, BreakerState};
pub use error::ProviderError;
pub(crate) use error::cause_of;
pub use probe::Reachability;
pub(crate) use retry::{Limit, retrying};

/// The server that is meant where no `base_url` is set.
pub const DEFAULT_BASE_URL: &str = "https://api.openai.com/v1";

/// Limit of name resolution, TCP and TLS together: a server on the same continent needs a tenth of it, and a
/// connection that is not there by then is better tried anew or taken from the next engine.
const CONNECT: Duration = Duration::from_secs(2);
/// Sent data that nobody acknowledges for this long means a dead connection, for example a kept-alive one that a
/// firewall has forgotten; the request is then made again on a new one.
const UNACKNOWLEDGED: Duration = Duration::from_secs(3);
/// Idle connections are kept for the length of a long answer; servers that close earlier are noticed.
const IDLE: Duration = Duration::from_secs(300);
/// TCP keep-alive keeps firewalls from forgetting an idle connection.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Of an answer with an error status, this much is read for its code.
const ERROR_BODY_BYTES_MAX: usize = 16 * 1024;

/// One server: its root, its key and its connections. A clone shares all three.
#[derive(Clone)]
pub struct Provider {
    inner: Arc<Inner>,
}

struct Inner {
    base_url: String,
    bearer: Option<HeaderValue>,
    http: Client,
}

/// Why a provider can't be used at all, whatever its server does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// `base_url` is not an `http` or `https` URL without credentials, query and fragment.
    #[error("{base_url} is no usable base_url: {reason}")]
    BaseUrl {
        /// What was given, without credentials.
        base_url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The key holds something that no HTTP header can.
    #[error(
        "the API key for {base_url} holds characters that an HTTP header can't; put the plain key into its file"
    )]
    Key {
        /// The server's root.
        base_url: String,
    },
    /// The HTTP client could not be made.
    #[error("cannot set up the HTTP client for {base_url}: {reason}")]
    Client {
        /// The server's root.
        base_url: String,
        /// What it said.
        reason: String,
    },
}

/// Whether `base_url` can be a provider's; connects to nothing.
///
/// # Errors
/// It can't; the message says why, without what must not be shown.
pub fn check_base_url(base_url: &str) -> Result<(), SetupError> {
    parse(base_url).map(drop)
}

/// A client for the server at `base_url`, which is for the error alone: no redirects, no proxies, every wait limited but
/// that for the answer.
pub(crate) fn http_client(base_url: &str) -> Result<Client, SetupError> {
    let failed = |reason: String| SetupError::Client {
        base_url: base_url.to_owned(),
        reason,
    };
    Client::builder()
        .tls_backend_preconfigured(tls::config().map_err(failed)?)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .connect_timeout(CONNECT)
        .tcp_user_timeout(UNACKNOWLEDGED)
        .tcp_keepalive(KEEP_ALIVE)
        .pool_idle_timeout(IDLE)
        .user_agent(concat!("viva/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|e| failed(e.to_string()))
}

impl Provider {
    /// A provider at `base_url` (else [`DEFAULT_BASE_URL`]); connects to nothing and reads nothing yet.
    ///
    /// # Errors
    /// The URL or the key can't be used, or the HTTP client can't be made.
    pub fn new(base_url: Option<&str>, key: Option<&Secret>) -> Result<Self, SetupError> {
        let url = parse(base_url.unwrap_or(DEFAULT_BASE_URL))?;
        let base_url = url.as_str().trim_end_matches('/').to_owned();
        let bearer = key.map(|key| bearer(key, &base_url)).transpose()?;
        let http = http_client(&base_url)?;
        Ok(Self {
            inner: Arc::new(Inner {
                base_url,
                bearer,
                http,
            }),
        })
    }

    /// The server's root, without a slash at its end.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.inner.base_url
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.inner.base_url)
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.inner.bearer {
            Some(bearer) => request.header(AUTHORIZATION, bearer.clone()),
            None => request,
        }
    }

    /// Posts JSON and returns the response once its head says success; its body has not been read.
    pub(crate) async fn post_json<B: serde::Serialize + Sync>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<Response, ProviderError> {
        let request = self.authorized(self.inner.http.post(self.url(path)).json(body));
        self.successful(request.send().await).await
    }

    /// The response, or the name of what is wrong with it.
    async fn successful(
        &self,
        sent: Result<Response, reqwest::Error>,
    ) -> Result<Response, ProviderError> {
        let is_ok = sent.as_ref().is_ok_and(|r| r.status().is_success());
        metrics::provider_request(self.base_url(), is_ok);
        let mut response = sent.map_err(|e| self.broken(e))?;
        if response.status().is_success() {
            return Ok(response);
        }
        // An error's body is a help, not a need: what can't be read of it is left out.
        let body = self
            .body(&mut response, ERROR_BODY_BYTES_MAX)
            .await
            .unwrap_or_default();
        Err(ProviderError::of_status(
            self.base_url(),
            response.status(),
            response.headers(),
            &body,
        ))
    }

    /// The whole body, which must not be longer than `bytes_max`.
    async fn body(
        &self,
        response: &mut Response,
        bytes_max: usize,
    ) -> Result<Vec<u8>, ProviderError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.broken(e))? {
            if body.len() + chunk.len() > bytes_max {
                return Err(self.garbled(format!("more than {bytes_max} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// An answer that is not what was asked for.
    pub(crate) fn garbled(&self, reason: impl Into<String>) -> ProviderError {
        ProviderError::Garbled {
            base_url: self.base_url().to_owned(),
            reason: reason.into(),
        }
    }

    /// A connection that could not be made or broke.
    pub(crate) fn broken(&self, error: reqwest::Error) -> ProviderError {
        ProviderError::of_connection(self.base_url(), error)
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider")
            .field("base_url", &self.inner.base_url)
            .field("has_key", &self.inner.bearer.is_some())
            .finish_non_exhaustive()
    }
}

fn bearer(key: &Secret, base_url: &str) -> Result<HeaderValue, SetupError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", key.reveal())).map_err(|_| {
        SetupError::Key {
            base_url: base_url.to_owned(),
        }
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn parse(base_url: &str) -> Result<Url, SetupError> {
    let refuse = |shown: &str, reason: &str| {
        Err(SetupError::BaseUrl {
            base_url: shown.to_owned(),
            reason: reason.to_owned(),
        })
    };
    let Ok(mut url) = Url::parse(base_url) else {
        // What does not parse might still hold a password, so it is not shown.
        return refuse(
            "the base_url",
            "it is not a URL; write it like https://speech.example.org/v1",
        );
    };
    if !url.username().is_empty() || url.password().is_some() {
        // Can't fail on a URL that has credentials; if it did, nothing is shown.
        let cleared = url.set_username("").is_ok() && url.set_password(None).is_ok();
        let shown = if cleared {
            url.as_str()
        } else {
            "the base_url"
        };
        return refuse(
            shown,
            "it holds a user name or password; put the key into its file",
        );
    }
    if !matches!(url.scheme(), "http" | "https") {
        return refuse(url.as_str(), "it must start with http:// or https://");
    }
    if url.query().is_some() || url.fragment().is_some() {
        url.set_query(None);
        url.set_fragment(None);
        return refuse(url.as_str(), "it must have no query and no fragment");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_at_the_end_makes_no_difference() {
        for url in ["http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1/"] {
            let provider = Provider::new(Some(url), None).unwrap();
            assert_eq!(provider.url("/models"), "http://127.0.0.1:9/v1/models");
        }
    }

    #[test]
    fn a_url_that_would_leak_or_not_work_is_refused_without_being_shown() {
        for url in [
            "http://user:hunter2@host/v1",
            "ftp://host/v1",
            "http://host/v1?key=hunter2",
            "http://host/v1#hunter2",
            "hunter2",
        ] {
            let error = Provider::new(Some(url), None).unwrap_err();
            assert!(matches!(error, SetupError::BaseUrl { .. }), "{url}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn neither_provider_nor_error_shows_the_key() {
        let provider =
            Provider::new(Some("http://host/v1"), Some(&Secret::new("hunter2"))).unwrap();
        assert!(!format!("{provider:?}").contains("hunter2"));
        let error =
            Provider::new(Some("http://host/v1"), Some(&Secret::new("hunter2\n"))).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}
