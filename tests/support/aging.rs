//! A door before LiveKit through which tokens come out old: what a worker is assigned has a token that is valid for as long
//! as the test says, and nobody in a room is given another one. Everything else passes as it is.
#![allow(dead_code, reason = "no test needs all of it")]

use std::io::{Error, ErrorKind};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use futures_util::{SinkExt, StreamExt};
use hmac::{Hmac, KeyInit, Mac};
use livekit_protocol as proto;
use prost::Message as _;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

/// LiveKit takes a token for so long after its end: the leeway of its library for clocks that differ.
pub const LEEWAY_S: i64 = 60;
/// More than the head of any request or answer here.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A running door; it ends when it is dropped.
pub struct AgingDoor {
    port: u16,
    task: JoinHandle<()>,
    cut: watch::Sender<u32>,
    assigned: Arc<Mutex<String>>,
}

/// What every connection is told.
#[derive(Clone)]
struct Aging {
    server_port: u16,
    secret: Arc<str>,
    /// Seconds from the assignment to the token's end, which may have been before it.
    lives_s: i64,
    cut: watch::Receiver<u32>,
    /// The token of the last assignment.
    assigned: Arc<Mutex<String>>,
}

impl AgingDoor {
    /// Opens a door before the server at that port, whose tokens are signed with `secret`.
    pub async fn open(server_port: u16, secret: &str, lives_s: i64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let (cut, cuts) = watch::channel(0);
        let assigned = Arc::default();
        let aging = Aging {
            server_port,
            secret: secret.into(),
            lives_s,
            cut: cuts,
            assigned: Arc::clone(&assigned),
        };
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let aging = aging.clone();
                tokio::spawn(async move {
                    let mut cut = aging.cut.clone();
                    cut.mark_unchanged();
                    tokio::select! {
                        // A connection that breaks is the business of those who hold its ends.
                        _ended = aging.carry(client) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self {
            port,
            task,
            cut,
            assigned,
        }
    }

    /// The server's address for whoever is to come through here.
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// The token that the last assignment came with.
    pub fn assigned_token(&self) -> String {
        self.assigned.lock().expect("a token").clone()
    }

    /// Cuts all connections that are open now.
    pub fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for AgingDoor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Aging {
    async fn carry(&self, mut client: TcpStream) -> Result<(), Error> {
        let mut server = TcpStream::connect(("127.0.0.1", self.server_port)).await?;
        let request = head(&mut client).await?;
        server.write_all(&request).await?;
        let answer = head(&mut server).await?;
        client.write_all(&answer).await?;
        if !answer.starts_with(b"HTTP/1.1 101") {
            tokio::io::copy_bidirectional(&mut client, &mut server).await?;
            return Ok(());
        }
        let is_worker = request.starts_with(b"GET /agent");
        let client = WebSocketStream::from_raw_socket(client, Role::Server, None).await;
        let server = WebSocketStream::from_raw_socket(server, Role::Client, None).await;
        let (mut to_client, mut from_client) = client.split();
        let (mut to_server, mut from_server) = server.split();
        let up = async {
            while let Some(Ok(message)) = from_client.next().await {
                if to_server.send(message).await.is_err() {
                    break;
                }
            }
        };
        let down = async {
            while let Some(Ok(message)) = from_server.next().await {
                let passed = match message {
                    Message::Binary(bytes) if is_worker => Some(self.aged(&bytes)),
                    Message::Binary(bytes) if is_refresh(&bytes) => None,
                    other => Some(other),
                };
                if let Some(message) = passed
                    && to_client.send(message).await.is_err()
                {
                    break;
                }
            }
        };
        tokio::select! { () = up => {}, () = down => {} }
        Ok(())
    }

    /// A message to a worker, with an assignment's token made old.
    fn aged(&self, bytes: &[u8]) -> Message {
        let mut message = proto::ServerMessage::decode(bytes).expect("a message of LiveKit");
        if let Some(proto::server_message::Message::Assignment(assignment)) = &mut message.message {
            assignment.token = with_life(&assignment.token, &self.secret, self.lives_s);
            assignment
                .token
                .clone_into(&mut self.assigned.lock().expect("a token"));
        }
        Message::Binary(message.encode_to_vec().into())
    }
}

/// Whether it gives somebody in a room a new token.
fn is_refresh(bytes: &[u8]) -> bool {
    let response = proto::SignalResponse::decode(bytes).expect("a message of LiveKit");
    matches!(
        response.message,
        Some(proto::signal_response::Message::RefreshToken(_))
    )
}

/// The same token, signed anew, with an end in so many seconds.
fn with_life(token: &str, secret: &str, lives_s: i64) -> String {
    let mut parts = token.split('.');
    let (header, claims) = (
        parts.next().expect("a header"),
        parts.next().expect("claims"),
    );
    let claims = BASE64.decode(claims).expect("base64");
    let mut claims: Value = serde_json::from_slice(&claims).expect("JSON");
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time after 1970")
        .as_secs() as i64;
    claims["exp"] = json!(now + lives_s);
    claims["nbf"] = json!(now - 3600);
    let signed = format!("{header}.{}", BASE64.encode(claims.to_string()));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key");
    mac.update(signed.as_bytes());
    format!("{signed}.{}", BASE64.encode(mac.finalize().into_bytes()))
}

/// All up to the empty line that ends a head of HTTP, and nothing behind it.
async fn head(stream: &mut TcpStream) -> Result<Vec<u8>, Error> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == HEAD_BYTES_MAX {
            return Err(Error::new(ErrorKind::InvalidData, "a head without an end"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}
