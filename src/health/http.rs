//! The local HTTP listener: `/healthz` tells everything, `/readyz` whether an interview can be held, `/metrics` the
//! figures.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Health;

/// Makes the answer to `/metrics`.
pub type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

/// The format in which they are told.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves until `stop` is cancelled.
///
/// # Errors
/// The listener broke; a refused connection of one client is not an error.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    metrics: Metrics,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let app = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(health)
        .route(
            "/metrics",
            get(async move || ([(CONTENT_TYPE, OPEN_METRICS)], metrics())),
        );
    axum::serve(listener, app)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

/// Alive is whoever can answer this; the table in it says how well.
async fn healthz(State(health): State<Health>) -> Response {
    Json(health.snapshot()).into_response()
}

async fn readyz(State(health): State<Health>) -> Response {
    let missing = health.missing();
    if missing.is_empty() {
        return (StatusCode::OK, "ready\n").into_response();
    }
    (
        StatusCode::SERVICE_UNAVAILABLE,
        format!("not ready\n{}\n", missing.join("\n")),
    )
        .into_response()
}
