//! Leaves a room, whether or not somebody waits for it to the end.

use std::sync::Arc;
use std::time::Duration;

use livekit::prelude::Room;

use super::signalling;

/// Time for a farewell to the server; a room that does not answer is left all the same.
pub const LEAVE_LIMIT: Duration = Duration::from_secs(3);

/// Leaves the room, and says whether that was over within `limit`.
///
/// It goes on by itself when it is late, and when nobody waits for it any more: a close of LiveKit's client that is
/// dropped half-way leaves its connection and its tasks behind, and us in the room.
pub async fn leave(room: Arc<Room>, limit: Duration) -> bool {
    let closing = crate::spawn::supervised("leave", async move {
        signalling::let_go(&room).await;
        if let Err(error) = room.close().await {
            tracing::debug!("the room was left without a farewell: {error}");
        }
    });
    tokio::time::timeout(limit, closing).await.is_ok()
}
