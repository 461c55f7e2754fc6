//! Speaks and listens on LiveKit's Rust SDK over the engine of `libwebrtc/`, and times the way from one end to the other.
//!
//! `sound speak ROOM RECORDING.wav LISTENERS` and `sound listen ROOM HEARD.wav` are what `benches/sound/run` starts;
//! `VIVA_LIVEKIT_SERVER=… cargo run --release --example sound delay [SECONDS]` starts its own server and prints a table.
#![allow(
    clippy::disallowed_methods,
    reason = "a panic here ends the run, which is seen"
)]

mod clicks;
mod delay;
mod listen;
#[path = "../../tests/support/livekit_server.rs"]
mod livekit_server;
mod speak;

use std::time::Duration;

use livekit::{Room, RoomEvent, RoomOptions};
use livekit_token::{AccessToken, VideoGrants};
use tokio::sync::mpsc::UnboundedReceiver;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Whoever is waited for comes within this, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["speak", room, recording, listeners] => {
            speak::run(room, recording, listeners.parse()?).await
        }
        ["listen", room, heard] => listen::run(room, heard).await,
        ["delay"] => delay::run(60).await,
        ["delay", seconds] => delay::run(seconds.parse()?).await,
        _ => {
            Err("sound speak ROOM RECORDING LISTENERS | listen ROOM HEARD | delay [SECONDS]".into())
        }
    }
}

/// Joins a room on the server that `LIVEKIT_URL` and its key name.
async fn join(room: &str, identity: &str) -> Result<(Room, UnboundedReceiver<RoomEvent>), Failure> {
    let variable = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let (key, secret) = (
        variable("LIVEKIT_API_KEY")?,
        variable("LIVEKIT_API_SECRET")?,
    );
    enter(&variable("LIVEKIT_URL")?, &key, &secret, room, identity).await
}

async fn enter(
    url: &str,
    key: &str,
    secret: &str,
    room: &str,
    identity: &str,
) -> Result<(Room, UnboundedReceiver<RoomEvent>), Failure> {
    let token = AccessToken::with_api_key(key, secret)
        .with_identity(identity)
        .with_grants(VideoGrants {
            room_join: true,
            room: room.to_owned(),
            ..VideoGrants::default()
        })
        .to_jwt()?;
    Ok(Room::connect(url, &token, RoomOptions::default()).await?)
}
