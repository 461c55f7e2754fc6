//! What the examples about the media engine share: a server, a way into its rooms, and what this process holds and has used.

#[path = "../../tests/support/livekit_server.rs"]
pub mod livekit_server;
pub mod process;

use livekit::{Room, RoomEvent, RoomOptions};
use livekit_token::{AccessToken, VideoGrants};
use tokio::sync::mpsc::UnboundedReceiver;

use livekit_server::LiveKitServer;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The server that LiveKit's own variables name, so that others can be measured on the same one; else a new one.
pub fn server() -> Result<LiveKitServer, Failure> {
    match std::env::var("LIVEKIT_URL") {
        Ok(url) => {
            let (key, secret) = (
                std::env::var("LIVEKIT_API_KEY")?,
                std::env::var("LIVEKIT_API_SECRET")?,
            );
            Ok(LiveKitServer::running(&url, &key, &secret)?)
        }
        Err(_) => Ok(LiveKitServer::start()),
    }
}

/// Joins a room with one peer connection, or with two.
pub async fn join(
    server: &LiveKitServer,
    room: &str,
    identity: &str,
    single: bool,
) -> Result<(Room, UnboundedReceiver<RoomEvent>), Failure> {
    let token = AccessToken::with_api_key(&server.key, &server.secret)
        .with_identity(identity)
        .with_grants(VideoGrants {
            room_join: true,
            room: room.to_owned(),
            ..VideoGrants::default()
        })
        .to_jwt()?;
    let mut options = RoomOptions::default();
    options.single_peer_connection = single;
    Ok(Room::connect(&server.url, &token, options).await?)
}
