//! The ways in which a provider fails, each named with its base URL and what to do.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

/// Longest `Retry-After` that is believed: an hour. Anything above says no more than "not now".
const RETRY_AFTER_MS_MAX: u64 = 3_600_000;
/// Longest error code of a provider that is repeated in a message.
const CODE_CHARS_MAX: usize = 48;

/// Why a server did not do what it was asked. Holds no key, no request text and no response body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// 401 or 403.
    #[error(
        "{base_url} refused the API key (status {status}); put a valid key into this provider's credential"
    )]
    Unauthorized {
        /// The server's root.
        base_url: String,
        /// The HTTP status.
        status: u16,
    },
    /// 429.
    #[error(
        "{base_url} limits the rate of requests (status 429); raise the quota there or hold fewer interviews at once"
    )]
    RateLimited {
        /// The server's root.
        base_url: String,
        /// How long it asks us to wait, where it says so.
        retry_after_ms: Option<u64>,
    },
    /// 5xx, or one of 408, 409 and 425, which say the same: not now.
    #[error("{base_url} failed with status {status}; look at that server")]
    Server {
        /// The server's root.
        base_url: String,
        /// The HTTP status.
        status: u16,
    },
    /// Any other status that is not success, or a quota that is used up: asking again will not help.
    #[error(
        "{base_url} rejected the request with status {status}{}; check this provider's base_url, model and voice, and the account there",
        in_brackets(code.as_deref())
    )]
    Rejected {
        /// The server's root.
        base_url: String,
        /// The HTTP status.
        status: u16,
        /// The provider's own short name for the reason, such as `model_not_found`.
        code: Option<String>,
    },
    /// 3xx. It is never followed, so that a key goes to the configured server alone.
    #[error(
        "{base_url} redirects (status {status}), which is not followed; set base_url to where the server is"
    )]
    Redirected {
        /// The server's root.
        base_url: String,
        /// The HTTP status.
        status: u16,
    },
    /// No connection, or it broke.
    #[error(
        "cannot reach {base_url}: {reason}; check the address, the network and the certificate"
    )]
    Unreachable {
        /// The server's root.
        base_url: String,
        /// What the network said.
        reason: String,
    },
    /// No answer in time, all tries together.
    #[error(
        "{base_url} gave no {what} within {ms} ms; look at its load, or raise timeout_ms of this provider"
    )]
    Timeout {
        /// The server's root.
        base_url: String,
        /// What was waited for.
        what: &'static str,
        /// The limit.
        ms: u64,
    },
    /// An answer that is not what was asked for.
    #[error(
        "{base_url} answered with {reason}; check that base_url and model are what this provider serves"
    )]
    Garbled {
        /// The server's root.
        base_url: String,
        /// What was found instead.
        reason: String,
    },
}

fn in_brackets(code: Option<&str>) -> String {
    code.map(|c| format!(" ({c})")).unwrap_or_default()
}

impl ProviderError {
    /// Whether the same request may succeed a moment later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. }
                | Self::Server { .. }
                | Self::Unreachable { .. }
                | Self::Timeout { .. }
        )
    }

    /// How long the provider asked us to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after_ms, .. } => retry_after_ms.map(Duration::from_millis),
            _ => None,
        }
    }

    /// Names a status that is not success. Of the body only a short code is kept: the rest may repeat the request,
    /// and some servers repeat a part of the key.
    pub(super) fn of_status(
        base_url: &str,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Self {
        let base_url = base_url.to_owned();
        let code = code_in(body);
        let number = status.as_u16();
        match number {
            401 | 403 => Self::Unauthorized {
                base_url,
                status: number,
            },
            // A quota that is used up has the same status as a rate limit and is not over in a moment.
            429 if code.as_deref() != Some("insufficient_quota") => Self::RateLimited {
                base_url,
                retry_after_ms: retry_after_ms(headers),
            },
            408 | 409 | 425 | 500.. => Self::Server {
                base_url,
                status: number,
            },
            300..=399 => Self::Redirected {
                base_url,
                status: number,
            },
            _ => Self::Rejected {
                base_url,
                status: number,
                code,
            },
        }
    }

    /// Names a failure of the connection; the innermost cause says most, and none of them holds the URL.
    pub(super) fn of_connection(base_url: &str, error: reqwest::Error) -> Self {
        Self::Unreachable {
            base_url: base_url.to_owned(),
            reason: cause_of(error),
        }
    }
}

/// The innermost cause of a failed connection, without the URL.
pub(crate) fn cause_of(error: reqwest::Error) -> String {
    let error = error.without_url();
    if error.is_timeout() {
        return "no connection in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// `retry-after-ms` or `retry-after` in seconds; a date is taken as no information.
fn retry_after_ms(headers: &HeaderMap) -> Option<u64> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let ms = number("retry-after-ms").or_else(|| number("retry-after").map(|s| s * 1000.0))?;
    // A float becomes the nearest integer in range, NaN becomes 0.
    (ms >= 0.0).then_some((ms.ceil() as u64).min(RETRY_AFTER_MS_MAX))
}

/// The code in `{"error": {"code": "…", "type": "…"}}`, if it is a plain word that can't be a key.
fn code_in(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let error = body.get("error")?;
    [error.get("code"), error.get("type")]
        .into_iter()
        .flatten()
        .filter_map(serde_json::Value::as_str)
        .find(|code| {
            (1..=CODE_CHARS_MAX).contains(&code.len())
                && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        })
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(status: u16, headers: &[(&'static str, &str)], body: &str) -> ProviderError {
        let headers = headers
            .iter()
            .map(|(k, v)| (http::HeaderName::from_static(k), v.parse().unwrap()))
            .collect();
        ProviderError::of_status(
            "http://p/v1",
            StatusCode::from_u16(status).unwrap(),
            &headers,
            body.as_bytes(),
        )
    }

    #[test]
    fn each_status_has_its_name() {
        let kind = |status| match named(status, &[], "") {
            ProviderError::Unauthorized { .. } => "unauthorized",
            ProviderError::RateLimited { .. } => "limited",
            ProviderError::Server { .. } => "server",
            ProviderError::Rejected { .. } => "rejected",
            ProviderError::Redirected { .. } => "redirected",
            _ => "other",
        };
        for (status, expected) in [
            (401, "unauthorized"),
            (403, "unauthorized"),
            (429, "limited"),
            (500, "server"),
            (503, "server"),
            (408, "server"),
            (400, "rejected"),
            (404, "rejected"),
            (302, "redirected"),
            (308, "redirected"),
        ] {
            assert_eq!(kind(status), expected, "{status}");
        }
    }

    #[test]
    fn a_wait_is_read_in_seconds_and_in_milliseconds() {
        let wait = |headers: &[(&'static str, &str)]| named(429, headers, "").retry_after();
        assert_eq!(wait(&[("retry-after", "2")]), Some(Duration::from_secs(2)));
        assert_eq!(
            wait(&[("retry-after", "9"), ("retry-after-ms", "250")]),
            Some(Duration::from_millis(250))
        );
        assert_eq!(
            wait(&[("retry-after", "1e300")]),
            Some(Duration::from_millis(RETRY_AFTER_MS_MAX))
        );
        assert_eq!(
            wait(&[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")]),
            None
        );
        assert_eq!(wait(&[("retry-after", "-3")]), None);
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn a_used_up_quota_is_no_rate_limit() {
        let error = named(429, &[], r#"{"error":{"code":"insufficient_quota"}}"#);
        assert!(!error.is_transient());
        assert!(error.to_string().contains("insufficient_quota"), "{error}");
    }

    #[test]
    fn only_a_plain_word_is_kept_of_a_body() {
        let message = named(
            404,
            &[],
            r#"{"error":{"code":"model_not_found","message":"sk-secret"}}"#,
        );
        assert!(
            message.to_string().contains("(model_not_found)"),
            "{message}"
        );
        assert!(!message.to_string().contains("secret"));
        let key_as_code = named(400, &[], r#"{"error":{"code":"sk-secret-1"}}"#);
        assert!(!key_as_code.to_string().contains("secret"), "{key_as_code}");
    }
}
