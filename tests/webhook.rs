//! That an interview is over is told to a webhook until it is acknowledged: signed, from the journal, without Postgres.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail"
)]

#[path = "support/journal.rs"]
mod journal_support;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use journal_support::{ended, id, joined, new};
use sha2::Sha256;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use viva::boot::Timeline;
use viva::config::{Config, Environment};
use viva::health::{Condition, Health};
use viva::journal::{Journal, JournalReader};
use viva::webhook::Webhook;

const SECRET: &str = "a-secret-of-more-than-24-bytes";
const LIMIT: Duration = Duration::from_secs(30);
/// More messages than any test makes.
const SEEN_MAX: usize = 100;

/// How a message is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Status(u16),
    Redirect,
    /// Never.
    Silence,
}

/// A message as it came.
#[derive(Debug)]
struct Seen {
    headers: HeaderMap,
    body: Bytes,
}

#[derive(Clone)]
struct Shared {
    answer: Arc<Mutex<Answer>>,
    seen: mpsc::Sender<Seen>,
}

struct Receiver {
    url: String,
    answer: Arc<Mutex<Answer>>,
    seen: mpsc::Receiver<Seen>,
    server: JoinHandle<()>,
}

impl Receiver {
    async fn start() -> Self {
        let (sender, seen) = mpsc::channel(SEEN_MAX);
        let answer = Arc::new(Mutex::new(Answer::Status(204)));
        let shared = Shared {
            answer: answer.clone(),
            seen: sender,
        };
        let app = Router::new()
            .route("/hooks/secret-path", post(take))
            .route(
                "/elsewhere",
                post(async || StatusCode::OK).get(async || StatusCode::OK),
            )
            .with_state(shared);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://{}/hooks/secret-path",
            listener.local_addr().unwrap()
        );
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            url,
            answer,
            seen,
            server,
        }
    }

    fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    async fn next(&mut self) -> Seen {
        let next = tokio::time::timeout(LIMIT, self.seen.recv()).await;
        next.expect("a message in time").expect("a living server")
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let answer = *shared.answer.lock().unwrap();
    shared.seen.try_send(Seen { headers, body }).unwrap();
    match answer {
        Answer::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Answer::Redirect => Redirect::temporary("/elsewhere").into_response(),
        Answer::Silence => std::future::pending().await,
    }
}

struct Telling {
    health: Health,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Telling {
    fn start(directory: &Path, url: &str, journal: &Journal) -> Self {
        let secret = directory.join("webhook-secret");
        std::fs::write(&secret, SECRET).unwrap();
        let mut config = Config {
            state_directory: directory.to_owned(),
            ..Config::default()
        };
        config.webhook.url = Some(url.to_owned());
        config.webhook.secret_file = Some(secret);
        config.webhook.timeout_ms = 300;
        let health = Health::new(Timeline::start());
        let webhook = Webhook::of(
            &config,
            &Environment::default(),
            journal.clone(),
            health.clone(),
        );
        let stop = CancellationToken::new();
        let task = tokio::spawn(webhook.unwrap().unwrap().run(stop.clone()));
        Self { health, stop, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

async fn end(journal: &Journal, name: &str) {
    journal.begin(new(name)).await.unwrap();
    journal
        .append(&id(name), vec![joined(1), ended(2)])
        .await
        .unwrap();
}

async fn wait_until_told(directory: &Path) {
    let told = async {
        while !JournalReader::open(directory)
            .unwrap()
            .untold(9)
            .unwrap()
            .is_empty()
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, told)
        .await
        .expect("it is acknowledged in time");
}

/// Checks as a receiver would, with nothing but the standard in hand.
fn assert_signed(seen: &Seen) {
    let header = |name: &str| seen.headers[name].to_str().unwrap();
    let (message_id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    assert!(now - timestamp.parse::<u64>().unwrap() < 60, "it is of now");
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{message_id}.{timestamp}.").as_bytes());
    mac.update(&seen.body);
    let expected = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
    assert_eq!(header("webhook-signature"), format!("v1,{expected}"));
}

#[tokio::test]
async fn the_end_of_an_interview_is_told_once_and_signed() {
    let (mut receiver, directory) = (Receiver::start().await, tempfile::tempdir().unwrap());
    let journal = Journal::open(directory.path()).unwrap();
    let telling = Telling::start(directory.path(), &receiver.url, &journal);
    journal.begin(new("live")).await.unwrap();
    end(&journal, "a").await;
    let seen = receiver.next().await;
    assert_signed(&seen);
    let body: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(body["type"], "interview.ended");
    assert_eq!(body["data"]["interview_id"], "a");
    assert_eq!(body["data"]["end_reason"], "time_up");
    wait_until_told(directory.path()).await;
    telling.stop().await;
    // What was acknowledged is not told by the next process; what comes next is.
    let telling = Telling::start(directory.path(), &receiver.url, &journal);
    end(&journal, "b").await;
    let seen = receiver.next().await;
    assert_eq!(seen.headers["webhook-id"], "interview.ended.b");
    telling.stop().await;
}

#[tokio::test]
async fn whatever_is_no_2xx_is_told_again_with_the_same_id_and_body() {
    let (mut receiver, directory) = (Receiver::start().await, tempfile::tempdir().unwrap());
    let journal = Journal::open(directory.path()).unwrap();
    let telling = Telling::start(directory.path(), &receiver.url, &journal);
    receiver.answers(Answer::Status(500));
    end(&journal, "a").await;
    let first = receiver.next().await;
    for answer in [Answer::Redirect, Answer::Silence, Answer::Status(204)] {
        receiver.answers(answer);
        let again = receiver.next().await;
        assert_signed(&again);
        assert_eq!(again.headers["webhook-id"], first.headers["webhook-id"]);
        assert_eq!(again.body, first.body);
        if answer == Answer::Redirect {
            let untold = JournalReader::open(directory.path())
                .unwrap()
                .untold(9)
                .unwrap();
            assert_eq!(
                untold.len(),
                1,
                "a redirect is not followed and acknowledges nothing"
            );
        }
    }
    wait_until_told(directory.path()).await;
    telling.stop().await;
}

#[tokio::test]
async fn a_receiver_that_was_away_is_told_all_after_a_restart_of_ours() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    let gone = "http://127.0.0.1:9/hooks/secret-path";
    let telling = Telling::start(directory.path(), gone, &journal);
    for name in ["a", "b", "c"] {
        end(&journal, name).await;
    }
    let failed = async {
        loop {
            if let Some(Condition::Failed(cause)) = telling.health.condition("webhook") {
                return cause;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let cause = tokio::time::timeout(LIMIT, failed).await.unwrap();
    assert!(
        cause.contains("http://127.0.0.1:9 can't be reached"),
        "{cause}"
    );
    assert!(
        !cause.contains("secret-path"),
        "a path may be a secret: {cause}"
    );
    telling.stop().await;
    let mut receiver = Receiver::start().await;
    let telling = Telling::start(directory.path(), &receiver.url, &journal);
    let mut told = Vec::new();
    for _ in 0..3 {
        let seen = receiver.next().await;
        told.push(seen.headers["webhook-id"].to_str().unwrap().to_owned());
    }
    told.sort();
    assert_eq!(
        told,
        [
            "interview.ended.a",
            "interview.ended.b",
            "interview.ended.c"
        ]
    );
    wait_until_told(directory.path()).await;
    assert_eq!(telling.health.condition("webhook"), Some(Condition::Ok));
    telling.stop().await;
}

#[test]
fn without_a_usable_secret_nobody_is_told_and_that_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    let mut config = Config {
        state_directory: directory.path().to_owned(),
        ..Config::default()
    };
    config.webhook.url = Some("https://platform.example.org/hook".into());
    let health = Health::new(Timeline::start());
    let said = |config: &Config| {
        let webhook = Webhook::of(
            config,
            &Environment::default(),
            journal.clone(),
            health.clone(),
        );
        webhook.err().expect("it can't be used").to_string()
    };
    assert!(
        said(&config).contains("webhook.secret_file"),
        "{}",
        said(&config)
    );
    let secret = directory.path().join("short");
    std::fs::write(&secret, "hunter2\n").unwrap();
    config.webhook.secret_file = Some(secret);
    let short = said(&config);
    assert!(
        short.contains("24 is the least") && !short.contains("hunter2"),
        "{short}"
    );
}
