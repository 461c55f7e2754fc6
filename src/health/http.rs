//! The local HTTP listener: `/healthz` tells everything, `/readyz` whether an interview can be held, `/metrics` the
//! figures; and the pages that it is given.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::Health;
use crate::spawn::supervised;

/// Makes the answer to `/metrics`.
pub type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

/// The format in which they are told.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Clients that are served at once; more wait to be accepted. A scraper and a few people need one each.
const CONNECTIONS_MAX: usize = 64;
/// For the head of a request: whoever says nothing makes room.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// For one connection in all, so that one who reads nothing is let go as well; a scraper connects anew.
const CONNECTION_LIMIT: Duration = Duration::from_secs(120);
/// For what is under way when the service stops.
const GOODBYE_LIMIT: Duration = Duration::from_secs(1);
/// After an error of the listener, most often for want of file descriptors, before the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` is cancelled, and then for a moment at most those who are there. No client can take a place for longer than its limits, and no number of them more than
/// the places that there are.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    metrics: Metrics,
    pages: Router,
    stop: CancellationToken,
) {
    let app = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(health)
        .route(
            "/metrics",
            get(async move || ([(CONTENT_TYPE, OPEN_METRICS)], metrics())),
        )
        .merge(pages);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let serving = one(stream, app.clone(), stop.clone());
                supervised("http connection", async move {
                    serving.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!("a client could not be accepted: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Whoever was accepted gets its answer; those who come now wait for the next process, where a socket unit is.
    drop(listener);
    let all = places.acquire_many(CONNECTIONS_MAX as u32);
    // One that says nothing and reads nothing is left behind.
    let _ = tokio::time::timeout(GOODBYE_LIMIT, all).await;
}

/// Serves one client. What goes wrong with it is its own affair.
async fn one(stream: TcpStream, app: Router, stop: CancellationToken) {
    let service = TowerToHyperService::new(app);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        // One request each, so that at the end a connection is either at work or has yet to say what it wants.
        .keep_alive(false);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = tokio::time::sleep(CONNECTION_LIMIT) => return,
        // No graceful shutdown: it closes those that were accepted and have not been heard yet.
        () = stop.cancelled() => match tokio::time::timeout(GOODBYE_LIMIT, connection).await {
            Ok(ended) => ended,
            Err(_) => return,
        },
    };
    if let Err(error) = ended {
        tracing::debug!("a client's connection broke: {error}");
    }
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
