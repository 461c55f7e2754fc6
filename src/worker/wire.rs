//! One open connection: LiveKit's messages in WebSocket frames, each wait with its limit.

use std::future::Future;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use livekit_protocol as pb;
use prost::Message as _;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::error::WorkerError;

/// Longest wait for the peer to take what we send.
const SEND_LIMIT: Duration = Duration::from_secs(5);
/// For the closing handshake, which is a courtesy.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);

/// What came.
pub(super) enum Heard {
    Message(Box<pb::ServerMessage>),
    /// A ping or a pong of the WebSocket itself. The library answers them; they show that the peer lives.
    SignOfLife,
}

pub(super) struct Wire {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    url: String,
}

impl Wire {
    pub(super) fn new(socket: WebSocketStream<MaybeTlsStream<TcpStream>>, url: &str) -> Self {
        Self {
            socket,
            url: url.to_owned(),
        }
    }

    /// Waits for the next frame, without a limit of its own: silence is the protocol's matter. May be
    /// cut off at any point.
    pub(super) async fn next(&mut self) -> Result<Heard, WorkerError> {
        match self.socket.next().await {
            Some(Ok(Message::Binary(bytes))) => match pb::ServerMessage::decode(bytes) {
                Ok(message) => Ok(Heard::Message(Box::new(message))),
                Err(e) => Err(self.garbled(e.to_string())),
            },
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
                Ok(Heard::SignOfLife)
            }
            Some(Ok(Message::Text(_))) => {
                Err(self.garbled("a text frame, where only binary ones are spoken".into()))
            }
            Some(Ok(Message::Close(Some(frame)))) => {
                // Debug formatting keeps the peer's control characters out of the log.
                Err(self.lost(format!(
                    "closed by the server, code {}, {:?}",
                    frame.code,
                    frame.reason.as_str()
                )))
            }
            Some(Ok(Message::Close(None))) => Err(self.lost("closed by the server".into())),
            // The library counts a connection that broke off among the violations of the protocol.
            Some(Err(e @ WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => {
                Err(self.lost(e.to_string()))
            }
            Some(Err(e @ (WsError::Protocol(_) | WsError::Capacity(_) | WsError::Utf8(_)))) => {
                Err(self.garbled(e.to_string()))
            }
            Some(Err(e)) => Err(self.lost(e.to_string())),
            None => Err(self.lost("it ended without a word".into())),
        }
    }

    /// Puts a message in line; [`Wire::flush`] sends it off.
    pub(super) async fn feed(
        &mut self,
        message: pb::worker_message::Message,
    ) -> Result<(), WorkerError> {
        let bytes = pb::WorkerMessage {
            message: Some(message),
        }
        .encode_to_vec();
        let fed = in_time(self.socket.feed(Message::binary(bytes))).await;
        self.sent(fed)
    }

    /// Sends off what is in line.
    pub(super) async fn flush(&mut self) -> Result<(), WorkerError> {
        let flushed = in_time(self.socket.flush()).await;
        self.sent(flushed)
    }

    /// Says goodbye. Whether the peer hears it changes nothing any more.
    pub(super) async fn close(mut self) {
        let goodbye = CloseFrame {
            code: CloseCode::Normal,
            reason: "the worker stops".into(),
        };
        let _ = tokio::time::timeout(CLOSE_LIMIT, self.socket.close(Some(goodbye))).await;
    }

    fn sent(&self, result: Option<Result<(), WsError>>) -> Result<(), WorkerError> {
        match result {
            Some(sent) => sent.map_err(|e| self.lost(e.to_string())),
            None => Err(WorkerError::silent(&self.url, "take a message", SEND_LIMIT)),
        }
    }

    fn lost(&self, cause: String) -> WorkerError {
        WorkerError::Lost {
            url: self.url.clone(),
            cause,
        }
    }

    fn garbled(&self, cause: String) -> WorkerError {
        WorkerError::Garbled {
            url: self.url.clone(),
            cause,
        }
    }
}

async fn in_time(
    sending: impl Future<Output = Result<(), WsError>>,
) -> Option<Result<(), WsError>> {
    tokio::time::timeout(SEND_LIMIT, sending).await.ok()
}
