//! An OpenAI-compatible provider that misbehaves on demand.
#![allow(
    clippy::disallowed_methods,
    reason = "a panic here ends the run, which is seen"
)]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode, header};
use axum::serve::ListenerExt;
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The key that tests use; it must not be found in anything that is shown.
pub const KEY: &str = "sk-hunter2-is-the-key";
/// What the provider hears in any sound.
pub const WORDS: &str = "I would look at the plan first.";
/// What it replies to any answer.
pub const REPLY: &str = r#"{"decision":"follow_up","acknowledgement":"The plan comes first.","follow_up":"What do you look for in it?"}"#;
/// The sound that it makes of any text: half a second in which every sample is its own number.
pub const SOUND_SAMPLES: usize = 12_000;

const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What happens to one request.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// The right answer.
    Right,
    /// The right answer in single bytes and odd pieces.
    Crumbs,
    /// The right answer after this long.
    Slow(Duration),
    /// An error status whose body repeats the key and the request.
    Status(u16),
    /// 429 with `Retry-After` in seconds.
    Limited(&'static str),
    /// 200 with this body and content type.
    Body(&'static str, &'static [u8]),
    /// The request is taken and nothing comes back.
    Silent,
    /// The head and a quarter of the right answer, then nothing.
    Stalls,
    /// The head and a quarter of the right answer, then the connection is closed.
    Cut,
    /// A body without an end.
    Endless,
    /// A redirect to another path of this server, where the answer would be right.
    Redirect,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Path on the server.
    pub path: String,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// A provider on a port of its own; stops when dropped.
pub struct FakeProvider {
    base_url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    script: Mutex<VecDeque<Behaviour>>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    abandoned: Notify,
}

/// Tells when the body that holds it is dropped.
struct Abandoned(Arc<Shared>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.abandoned.notify_one();
    }
}

impl FakeProvider {
    /// Answers the requests in this order; the last behaviour stays.
    pub async fn start(script: impl IntoIterator<Item = Behaviour>) -> Self {
        let shared = Arc::new(Shared::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let counted = Arc::clone(&shared);
        let listener = listener.tap_io(move |_| {
            counted.connections.fetch_add(1, Ordering::SeqCst);
        });
        let app = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let provider = Self {
            base_url,
            shared,
            server,
        };
        provider.behave(script);
        provider
    }

    /// Replaces what is left of the script.
    pub fn behave(&self, script: impl IntoIterator<Item = Behaviour>) {
        *self.shared.script.lock().unwrap() = script.into_iter().collect();
    }

    /// The root that a client is set to.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Waits until the client has left a response of [`Behaviour::Stalls`].
    pub async fn abandoned(&self) {
        self.shared.abandoned.notified().await;
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }
}

impl Drop for FakeProvider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The samples that [`Behaviour::Right`] speaks.
pub fn sound() -> Vec<i16> {
    (0..SOUND_SAMPLES as i16).collect()
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let authorization = head
        .headers
        .get(header::AUTHORIZATION)
        .map(|v| v.to_str().unwrap().to_owned());
    let body = to_bytes(body, BODY_BYTES_MAX).await.unwrap();
    shared.seen.lock().unwrap().push(Seen {
        path: path.clone(),
        authorization: authorization.clone(),
        body: body.clone(),
    });
    let behaviour = {
        let mut script = shared.script.lock().unwrap();
        if script.len() > 1 {
            script.pop_front()
        } else {
            script.front().cloned()
        }
    };
    let (kind, right) = right_answer(&path);
    let ok = |body: Body| response(StatusCode::OK, kind, body);
    let quarter = right.slice(..right.len() / 4);
    match behaviour.unwrap_or(Behaviour::Right) {
        Behaviour::Right => ok(Body::from(right)),
        Behaviour::Crumbs => {
            let crumbs: Vec<Bytes> = (0..)
                .scan(0, |at, n| {
                    let end = (*at + [1, 7, 64, 1001][n % 4]).min(right.len());
                    let crumb = right.slice(*at..end);
                    *at = end;
                    (!crumb.is_empty()).then_some(crumb)
                })
                .collect();
            ok(Body::from_stream(stream::iter(crumbs).then(
                |crumb| async {
                    tokio::task::yield_now().await; // each in a frame of its own
                    Ok::<_, Infallible>(crumb)
                },
            )))
        }
        Behaviour::Slow(wait) => {
            tokio::time::sleep(wait).await;
            ok(Body::from(right))
        }
        Behaviour::Status(status) => {
            let told = json!({"error": {
                "message": format!("{authorization:?} said {}", String::from_utf8_lossy(&body)),
                "code": authorization,
            }});
            response(
                StatusCode::from_u16(status).unwrap(),
                "application/json",
                Body::from(told.to_string()),
            )
        }
        Behaviour::Limited(retry_after) => {
            let mut limited = response(
                StatusCode::TOO_MANY_REQUESTS,
                "application/json",
                Body::from("{}"),
            );
            limited
                .headers_mut()
                .insert(header::RETRY_AFTER, retry_after.parse().unwrap());
            limited
        }
        Behaviour::Body(kind, body) => response(StatusCode::OK, kind, Body::from(body)),
        Behaviour::Silent => std::future::pending().await,
        Behaviour::Stalls => {
            let abandoned = Abandoned(shared);
            let nothing = stream::poll_fn(move |_| {
                let _held = &abandoned;
                Poll::Pending
            });
            ok(Body::from_stream(
                stream::iter([Ok::<_, Infallible>(quarter)]).chain(nothing),
            ))
        }
        Behaviour::Cut => {
            let cut = stream::once(async {
                // Lets the first part leave the process before the connection goes.
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(io::Error::other("cut"))
            });
            ok(Body::from_stream(stream::iter([Ok(quarter)]).chain(cut)))
        }
        Behaviour::Endless => {
            let piece = Bytes::from_static(&[b' '; 4096]);
            // Sound that is no text: silence with a click.
            let noise = Bytes::from_static(&[0; 4096]);
            let piece = if kind == "audio/pcm" { noise } else { piece };
            ok(Body::from_stream(
                stream::repeat(piece).map(Ok::<_, Infallible>),
            ))
        }
        Behaviour::Redirect => {
            let mut redirect = response(StatusCode::SEE_OTHER, kind, Body::empty());
            redirect.headers_mut().insert(
                header::LOCATION,
                format!("/elsewhere{path}").parse().unwrap(),
            );
            redirect
        }
    }
}

fn response(status: StatusCode, kind: &str, body: Body) -> Response<Body> {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, kind)
        .body(body)
        .unwrap()
}

fn right_answer(path: &str) -> (&'static str, Bytes) {
    let json = |value: serde_json::Value| ("application/json", Bytes::from(value.to_string()));
    match path.rsplit('/').next().unwrap_or_default() {
        "transcriptions" => json(json!({"text": WORDS})),
        "completions" => json(json!({
            "id": "c", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": REPLY}}],
        })),
        "speech" => (
            "audio/pcm",
            sound().iter().flat_map(|s| s.to_le_bytes()).collect(),
        ),
        "models" => json(json!({"object": "list", "data": []})),
        _ => ("text/plain", Bytes::new()),
    }
}
