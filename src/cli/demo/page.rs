//! The page on which a person talks to the interviewer, for as long as the demonstration stays.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::livekit::LiveKitServer;

const TALK: &str = include_str!("../../../web/talk.html");

/// LiveKit's own browser client under the directory that npm installs into.
const CLIENT: &str = "livekit-client/dist/livekit-client.umd.js";

/// Serves the page on a free port of the loopback and returns its link, with the token in the fragment.
pub async fn serve(modules: &Path, livekit: &LiveKitServer, token: &str) -> anyhow::Result<String> {
    let client = modules.join(CLIENT);
    anyhow::ensure!(
        client.exists(),
        "{} is missing; `make web` fetches LiveKit's browser client with npm",
        client.display()
    );
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .context("cannot listen on the loopback")?;
    let address = listener.local_addr()?;
    let app = Router::new()
        .route("/", get(async || Html(TALK)))
        .route("/livekit-client.umd.js", get(script))
        .with_state(Arc::new(client));
    crate::spawn::supervised("page", async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!("the page is gone: {error}");
        }
    });
    Ok(format!(
        "http://{address}/#url={}&token={token}",
        livekit.url
    ))
}

async fn script(State(client): State<Arc<PathBuf>>) -> Response {
    match tokio::task::spawn_blocking(move || std::fs::read(client.as_path())).await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, "text/javascript")], text).into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
