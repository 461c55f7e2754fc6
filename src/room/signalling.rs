//! Makes LiveKit's client let go of the others when we leave, by news on the signalling connection that the server does not send.
//!
//! In `livekit` 0.10.0 a remote participant and its publications hold each other, and with them the session and its queues:
//! 95 kB for each room that is left while somebody still publishes. Only the news that a track is not published any more
//! parts them. To one who leaves first, or is sent out, no such news comes, so it is made up here: for what was unsubscribed from, and
//! for everything before the server's word that we are to go.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use livekit::prelude::{ConnectionState, Room};
use livekit_net::{Header, TransportError, WsClient, WsConnectResult, WsConnection};
use livekit_protocol::leave_request::Action;
use livekit_protocol::signal_request::Message as Request;
use livekit_protocol::signal_response::Message as Response;
use livekit_protocol::{
    LeaveRequest, ParticipantInfo, ParticipantUpdate, SignalRequest, SignalResponse,
    UpdateSubscription,
};
use prost::Message;
use tokio::sync::mpsc;

/// News that may wait for the client to read them; one for each track that is unsubscribed from at once.
const NEWS_MAX: usize = 256;

/// Time for the client to let go of the others. It takes it a millisecond; what it keeps otherwise is memory.
const LETTING_GO_LIMIT: Duration = Duration::from_millis(500);

/// Has LiveKit's client connect through here from now on, in this process.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Some(inner) = livekit_net::ws_client() {
            livekit_net::set_ws_client(Arc::new(Client { inner }));
        }
    });
}

/// Unsubscribes from everything in a room that is to be left, and waits until the client has let go of it, within a limit.
/// Does nothing unless this is [installed](install).
pub async fn let_go(room: &Room) {
    if !livekit_net::has_ws_client() || room.connection_state() != ConnectionState::Connected {
        return;
    }
    let mut events = room.subscribe();
    for participant in room.remote_participants().into_values() {
        for publication in participant.track_publications().into_values() {
            publication.set_subscribed(false);
        }
    }
    let letting_go = async { while holds_anything(room) && events.recv().await.is_some() {} };
    if tokio::time::timeout(LETTING_GO_LIMIT, letting_go)
        .await
        .is_err()
    {
        tracing::debug!("the client has not let go of the room's tracks; their memory stays");
    }
}

fn holds_anything(room: &Room) -> bool {
    let participants = room.remote_participants();
    participants
        .values()
        .any(|participant| !participant.track_publications().is_empty())
}

/// Connects as the client would, and adds the news.
struct Client {
    inner: Arc<dyn WsClient>,
}

#[async_trait]
impl WsClient for Client {
    async fn connect(
        &self,
        url: String,
        headers: Vec<Header>,
        timeout_ms: u64,
    ) -> Result<WsConnectResult, TransportError> {
        let connected = self.inner.connect(url, headers, timeout_ms).await?;
        Ok(WsConnectResult {
            connection: Arc::new(Connection::new(connected.connection)),
        })
    }
}

struct Connection {
    inner: Arc<dyn WsConnection>,
    published: Mutex<Published>,
    news: mpsc::Sender<Vec<u8>>,
    unread: tokio::sync::Mutex<mpsc::Receiver<Vec<u8>>>,
}

impl Connection {
    fn new(inner: Arc<dyn WsConnection>) -> Self {
        let (news, unread) = mpsc::channel(NEWS_MAX);
        Self {
            inner,
            published: Mutex::default(),
            news,
            unread: tokio::sync::Mutex::new(unread),
        }
    }

    fn published(&self) -> std::sync::MutexGuard<'_, Published> {
        self.published
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What the client is to read next, after the server sent this.
    fn received(&self, frame: Vec<u8>) -> Vec<u8> {
        match self.published().heard(&frame) {
            // Full of other news there is no room for the server's, which counts: it goes without ours then.
            Some(update) => match self.news.try_send(frame) {
                Ok(()) => update,
                Err(error) => error.into_inner(),
            },
            None => frame,
        }
    }
}

#[async_trait]
impl WsConnection for Connection {
    async fn send(&self, frame: Vec<u8>) -> Result<(), TransportError> {
        let unsubscription = unsubscription(&frame);
        self.inner.send(frame).await?;
        if let Some(update) = unsubscription.and_then(|gone| self.published().without(&gone)) {
            // Nobody waits for this longer than `let_go` does.
            let _ = self.news.try_send(update);
        }
        Ok(())
    }

    async fn recv(&self) -> Result<Option<Vec<u8>>, TransportError> {
        let mut unread = self.unread.lock().await;
        tokio::select! {
            biased;
            Some(frame) = unread.recv() => Ok(Some(frame)),
            frame = self.inner.recv() => Ok(frame?.map(|frame| self.received(frame))),
        }
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// Who publishes something, by LiveKit's id of them, as far as the server has told.
#[derive(Default)]
struct Published(HashMap<String, ParticipantInfo>);

impl Published {
    /// Takes note of what the server says, and gives what the client is to be told before it, if anything.
    fn heard(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        // What can't be read is the client's to complain about.
        match SignalResponse::decode(frame).ok()?.message? {
            Response::Join(join) => self.note(join.other_participants),
            Response::Update(update) => self.note(update.participants),
            Response::Leave(leave) if is_final(&leave) => {
                let everybody = self.0.drain().map(|(_, info)| unpublished(info)).collect();
                return update(everybody);
            }
            _ => {}
        }
        None
    }

    fn note(&mut self, participants: Vec<ParticipantInfo>) {
        for participant in participants {
            if participant.tracks.is_empty() {
                self.0.remove(&participant.sid);
            } else {
                self.0.insert(participant.sid.clone(), participant);
            }
        }
    }

    /// The news that these tracks are not published any more.
    fn without(&mut self, gone: &UpdateSubscription) -> Option<Vec<u8>> {
        let mut changed = Vec::new();
        for of_one in &gone.participant_tracks {
            if let Some(info) = self.0.get_mut(&of_one.participant_sid) {
                let is_left = |sid: &String| !of_one.track_sids.contains(sid);
                info.tracks.retain(|track| is_left(&track.sid));
                changed.push(info.clone());
            }
        }
        update(changed)
    }
}

/// Whether the server lets nobody come back with this.
fn is_final(leave: &LeaveRequest) -> bool {
    leave.action() == Action::Disconnect
}

fn unsubscription(frame: &[u8]) -> Option<UpdateSubscription> {
    match SignalRequest::decode(frame).ok()?.message? {
        Request::Subscription(update) if !update.subscribe => Some(update),
        _ => None,
    }
}

fn unpublished(mut participant: ParticipantInfo) -> ParticipantInfo {
    participant.tracks.clear();
    participant
}

fn update(participants: Vec<ParticipantInfo>) -> Option<Vec<u8>> {
    if participants.is_empty() {
        return None;
    }
    let update = Response::Update(ParticipantUpdate { participants });
    let response = SignalResponse {
        message: Some(update),
    };
    Some(response.encode_to_vec())
}

#[cfg(test)]
#[path = "signalling/tests.rs"]
mod tests;
