//! The operator's page: how the service is, and the word to take no more interviews.
//!
//! Whoever reaches the port may look, as at `/healthz`. What changes something asks for the operator's key, in a header that
//! no other site's page can make a browser send.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Environment, Secret};
use crate::health::control::{self, Held};
use crate::health::{Condition, Health, Need};
use crate::models::Sha256;

const PAGE: &str = include_str!("../../web/operator.html");
const STYLE: &str = include_str!("../../web/operator.css");
const SCRIPT: &str = include_str!("../../web/operator.js");

/// Nothing but its own script and style, nothing that is sent anywhere else, and no other page around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
    form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// What the page shows and does.
pub struct Operator {
    /// Who may drain; nobody where there is none.
    pub key: Option<Secret>,
    /// How many interviews are on.
    pub held: watch::Receiver<Held>,
    /// Cancelled when no more are to be taken.
    pub drain: CancellationToken,
}

/// The operator's key, where there is one that can be used; one that can't is noted in `health` and no reason not to serve.
pub fn usable_key(config: &Config, env: &Environment, health: &Health) -> Option<Secret> {
    config.operator_key(env).unwrap_or_else(|error| {
        tracing::warn!("nobody can drain over HTTP: {error}");
        let condition = Condition::Degraded(error.to_string());
        health.set("operator", Need::Optional, condition, "drain over HTTP");
        None
    })
}

/// How the service is held, as the API tells it.
#[derive(Debug, Serialize)]
struct Service {
    #[serde(flatten)]
    held: Held,
    /// Whether there is a key with which it can be drained from here.
    has_key: bool,
}

/// The page and its API: `GET /`, `GET /api/service`, `POST /api/drain`.
pub fn routes(operator: Operator) -> Router {
    let text = |kind: &'static str, text: &'static str| {
        get(move || async move {
            let headers = [
                (CONTENT_TYPE, kind),
                (CONTENT_SECURITY_POLICY, POLICY),
                (X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (REFERRER_POLICY, "no-referrer"),
                // Another release brings another page.
                (CACHE_CONTROL, "no-cache"),
            ];
            (headers, text)
        })
    };
    Router::new()
        .route("/", text("text/html; charset=utf-8", PAGE))
        .route("/operator.css", text("text/css; charset=utf-8", STYLE))
        .route(
            "/operator.js",
            text("text/javascript; charset=utf-8", SCRIPT),
        )
        .route("/api/service", get(service))
        .route("/api/drain", post(drain))
        .with_state(Arc::new(operator))
}

impl Operator {
    fn service(&self) -> impl IntoResponse + use<> {
        let service = Service {
            held: *self.held.borrow(),
            has_key: self.key.is_some(),
        };
        ([(CACHE_CONTROL, "no-store")], Json(service))
    }

    /// The answer to a request that does not come from the operator.
    fn refusal(&self, headers: &HeaderMap) -> Option<Response> {
        let Some(key) = &self.key else {
            let advice = "this service has no operator's key that can be used: set http.operator_key_file, or pass the systemd credential `operator-key`; \
                where one is set, /healthz says what is wrong with it. `viva drain` on the machine needs none\n";
            return Some((StatusCode::FORBIDDEN, advice).into_response());
        };
        let given = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        // Of hashes, the time of a comparison tells nothing of a key that can't be guessed.
        let hash = |key: &str| Sha256::of(key.as_bytes());
        if given.is_some_and(|given| hash(given.trim()) == hash(key.reveal())) {
            return None;
        }
        let refusal = (
            StatusCode::UNAUTHORIZED,
            [(WWW_AUTHENTICATE, "Bearer")],
            "the operator's key is missing or another one\n",
        );
        Some(refusal.into_response())
    }
}

async fn service(State(operator): State<Arc<Operator>>) -> impl IntoResponse {
    operator.service()
}

async fn drain(State(operator): State<Arc<Operator>>, headers: HeaderMap) -> Response {
    if let Some(refusal) = operator.refusal(&headers) {
        return refusal;
    }
    let mut held = operator.held.clone();
    if !control::begin_to_drain("over HTTP", &mut held, &operator.drain).await {
        return (StatusCode::SERVICE_UNAVAILABLE, "the service is ending\n").into_response();
    }
    (StatusCode::ACCEPTED, operator.service()).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;

    const KEY: &str = "a-key-of-twenty-four-ch";

    struct Stage {
        routes: Router,
        drain: CancellationToken,
        held: watch::Sender<Held>,
    }

    fn stage(key: Option<&str>) -> Stage {
        let (held, watched) = watch::channel(Held::default());
        let drain = CancellationToken::new();
        let operator = Operator {
            key: key.map(Secret::new),
            held: watched,
            drain: drain.clone(),
        };
        Stage {
            routes: routes(operator),
            drain,
            held,
        }
    }

    impl Stage {
        async fn ask(&self, method: &str, path: &str, bearer: Option<&str>) -> Response {
            let mut request = Request::builder().method(method).uri(path);
            if let Some(bearer) = bearer {
                request = request.header(AUTHORIZATION, bearer);
            }
            let request = request.body(Body::empty()).unwrap();
            self.routes.clone().oneshot(request).await.unwrap()
        }
    }

    #[tokio::test]
    async fn who_has_not_the_key_drains_nothing() {
        let stage = stage(Some(KEY));
        for bearer in [
            None,
            Some(""),
            Some("Bearer "),
            Some("Bearer a-key-of-twenty-four-cH"),
            Some("Basic a-key-of-twenty-four-ch"),
            Some(KEY),
        ] {
            let answer = stage.ask("POST", "/api/drain", bearer).await;
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{bearer:?}");
        }
        let right = format!("Bearer {KEY}");
        let looked = stage.ask("GET", "/api/drain", Some(&right)).await;
        assert_eq!(looked.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert!(!stage.drain.is_cancelled());
    }

    #[tokio::test]
    async fn without_a_key_nobody_drains_over_http() {
        let stage = stage(None);
        for bearer in [None, Some("Bearer "), Some("Bearer x")] {
            let answer = stage.ask("POST", "/api/drain", bearer).await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        }
        assert!(!stage.drain.is_cancelled());
    }

    #[tokio::test]
    async fn who_has_the_key_drains_and_is_told_of_a_service_that_drains() {
        let stage = stage(Some(KEY));
        let held = stage.held.clone();
        let begun = stage.drain.clone();
        crate::spawn::supervised("service", async move {
            begun.cancelled().await;
            held.send_modify(|held| {
                held.interviews = 2;
                held.draining = true;
            });
        });
        let answer = stage
            .ask("POST", "/api/drain", Some(&format!("Bearer {KEY}")))
            .await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        let body = axum::body::to_bytes(answer.into_body(), 1024)
            .await
            .unwrap();
        let told: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            told,
            serde_json::json!({"interviews": 2, "draining": true, "drained": false, "has_key": true})
        );
    }

    #[tokio::test]
    async fn the_page_may_load_and_reach_nothing_but_its_own() {
        let stage = stage(None);
        for path in ["/", "/operator.css", "/operator.js"] {
            let answer = stage.ask("GET", path, None).await;
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            let policy = answer.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'"), "{policy}");
        }
        // What the policy would refuse is not in it.
        assert!(!PAGE.contains("<style") && !PAGE.contains("style=") && !PAGE.contains("onclick"));
    }
}
