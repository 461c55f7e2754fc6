#![allow(clippy::unwrap_used, clippy::panic)] // That is how a test fails.
#![allow(clippy::disallowed_methods, reason = "a test's queues end with it")]

use livekit_protocol::{JoinResponse, ParticipantTracks, SpeakersChanged, TrackInfo};
use tokio::sync::Mutex as AsyncMutex;

use super::*;

/// A server that says what it is given, and keeps what it is told.
struct Server {
    says: AsyncMutex<mpsc::UnboundedReceiver<Vec<u8>>>,
    told: mpsc::UnboundedSender<Vec<u8>>,
}

#[async_trait]
impl WsConnection for Server {
    async fn send(&self, frame: Vec<u8>) -> Result<(), TransportError> {
        self.told.send(frame).map_err(|_| TransportError::Closed)
    }

    async fn recv(&self) -> Result<Option<Vec<u8>>, TransportError> {
        Ok(self.says.lock().await.recv().await)
    }

    async fn close(&self) {}
}

struct Talk {
    connection: Connection,
    server_says: mpsc::UnboundedSender<Vec<u8>>,
    server_told: mpsc::UnboundedReceiver<Vec<u8>>,
}

impl Talk {
    fn begin() -> Self {
        let ((server_says, says), (told, server_told)) =
            (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let server = Server {
            says: AsyncMutex::new(says),
            told,
        };
        Self {
            connection: Connection::new(Arc::new(server)),
            server_says,
            server_told,
        }
    }

    fn says(&self, message: Response) -> Vec<u8> {
        let frame = SignalResponse {
            message: Some(message),
        };
        let frame = frame.encode_to_vec();
        self.server_says.send(frame.clone()).unwrap();
        frame
    }

    async fn read(&self) -> Vec<u8> {
        self.connection.recv().await.unwrap().unwrap()
    }

    async fn read_update(&self) -> Vec<ParticipantInfo> {
        match SignalResponse::decode(self.read().await.as_slice()) {
            Ok(SignalResponse {
                message: Some(Response::Update(update)),
            }) => update.participants,
            other => panic!("no update but {other:?}"),
        }
    }

    /// Ada with two tracks is there before us.
    async fn joined(&self) {
        let join = Response::Join(JoinResponse {
            other_participants: vec![ada(&["TR_1", "TR_2"])],
            ..JoinResponse::default()
        });
        let frame = self.says(join);
        assert_eq!(self.read().await, frame);
    }
}

fn ada(tracks: &[&str]) -> ParticipantInfo {
    let track = |sid: &&str| TrackInfo {
        sid: (*sid).to_owned(),
        ..TrackInfo::default()
    };
    ParticipantInfo {
        sid: "PA_ada".to_owned(),
        identity: "ada".to_owned(),
        name: "Ada".to_owned(),
        tracks: tracks.iter().map(track).collect(),
        ..ParticipantInfo::default()
    }
}

fn subscription(subscribe: bool, track: &str) -> Vec<u8> {
    let update = UpdateSubscription {
        subscribe,
        participant_tracks: vec![ParticipantTracks {
            participant_sid: "PA_ada".to_owned(),
            track_sids: vec![track.to_owned()],
        }],
        ..UpdateSubscription::default()
    };
    SignalRequest {
        message: Some(Request::Subscription(update)),
    }
    .encode_to_vec()
}

fn leave(action: Action) -> Response {
    Response::Leave(LeaveRequest {
        action: action.into(),
        ..LeaveRequest::default()
    })
}

#[tokio::test]
async fn who_is_sent_out_is_told_first_that_the_others_publish_nothing() {
    let talk = Talk::begin();
    talk.joined().await;
    let leave = talk.says(leave(Action::Disconnect));
    assert_eq!(talk.read_update().await, [ada(&[])]);
    assert_eq!(talk.read().await, leave);
}

#[tokio::test]
async fn who_is_to_connect_anew_is_told_nothing_of_the_kind() {
    let talk = Talk::begin();
    talk.joined().await;
    for action in [Action::Resume, Action::Reconnect] {
        let leave = talk.says(leave(action));
        assert_eq!(talk.read().await, leave);
    }
}

#[tokio::test]
async fn what_is_unsubscribed_from_is_not_published_any_more() {
    let mut talk = Talk::begin();
    talk.joined().await;
    for (track, left) in [("TR_1", &["TR_2"][..]), ("TR_2", &[])] {
        let request = subscription(false, track);
        talk.connection.send(request.clone()).await.unwrap();
        assert_eq!(talk.server_told.recv().await, Some(request));
        assert_eq!(talk.read_update().await, [ada(left)]);
    }
}

#[tokio::test]
async fn what_the_client_waits_for_already_is_interrupted_by_the_news() {
    let talk = Talk::begin();
    talk.joined().await;
    let (news, sent) = tokio::join!(
        talk.read_update(),
        talk.connection.send(subscription(false, "TR_1"))
    );
    sent.unwrap();
    assert_eq!(news, [ada(&["TR_2"])]);
}

#[tokio::test]
async fn everything_else_passes_as_it_is() {
    let mut talk = Talk::begin();
    talk.joined().await;
    let speakers = talk.says(Response::SpeakersChanged(SpeakersChanged::default()));
    assert_eq!(talk.read().await, speakers);
    talk.server_says.send(b"no message".to_vec()).unwrap();
    assert_eq!(talk.read().await, b"no message");
    for request in [subscription(true, "TR_1"), b"no message either".to_vec()] {
        talk.connection.send(request.clone()).await.unwrap();
        assert_eq!(talk.server_told.recv().await, Some(request));
    }
    let ada_left = talk.says(Response::Update(ParticipantUpdate {
        participants: vec![ada(&[])],
    }));
    assert_eq!(talk.read().await, ada_left);
    // Nobody publishes anything now, so there is nothing to add.
    let leave = talk.says(leave(Action::Disconnect));
    assert_eq!(talk.read().await, leave);
}
