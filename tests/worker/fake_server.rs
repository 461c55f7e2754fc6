//! The worker against a server that does what LiveKit would not. No real LiveKit server takes part.

use crate::desk::{Event, Running, accept, decline, options, within};
use futures_util::{SinkExt, StreamExt};
use livekit_protocol as pb;
use livekit_token::TokenVerifier;
use pb::server_message::Message as FromServer;
use pb::worker_message::Message as ToServer;
use proptest::prelude::*;
use prost::Message as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use viva::worker::{Phase, StatusError, WorkerError, WorkerStatus};

const KEY: &str = "APIfake";
const SECRET: &str = "a-secret-of-more-than-thirty-two-bytes";

struct FakeServer {
    listener: TcpListener,
    url: String,
}

impl FakeServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("ws://{}", listener.local_addr().expect("its address"));
        Self { listener, url }
    }

    fn worker(&self, capacity: u32) -> Running {
        Running::start(options(&self.url, KEY, SECRET, capacity), accept)
    }

    /// The next connection, its path and its token checked.
    async fn connection(&self) -> Connection {
        let (stream, _) = within("a connection", self.listener.accept())
            .await
            .expect("a connection");
        let check = |request: &Request, response: Response| {
            assert_eq!(request.uri().path(), "/agent");
            let header = request
                .headers()
                .get("authorization")
                .and_then(|header| header.to_str().ok())
                .expect("a token");
            let token = header.strip_prefix("Bearer ").expect("a bearer token");
            let claims = TokenVerifier::with_api_key(KEY, SECRET)
                .verify(token)
                .expect("a fresh token");
            assert!(claims.video.agent && !claims.video.room_join);
            Ok(response)
        };
        let socket = tokio_tungstenite::accept_hdr_async(stream, check)
            .await
            .expect("an upgrade");
        Connection { socket }
    }

    /// The next connection, registered.
    async fn registered(&self) -> Connection {
        let mut connection = self.connection().await;
        let first = connection.read().await;
        assert!(
            matches!(first, ToServer::Register(_)),
            "the first frame must register, not {first:?}"
        );
        connection.register().await;
        connection
    }
}

struct Connection {
    socket: WebSocketStream<TcpStream>,
}

impl Connection {
    async fn read(&mut self) -> ToServer {
        loop {
            let frame = within("a message", self.socket.next())
                .await
                .expect("an open connection")
                .expect("a frame");
            if let Message::Binary(bytes) = frame {
                return pb::WorkerMessage::decode(bytes)
                    .expect("a worker's message")
                    .message
                    .expect("a known message");
            }
        }
    }

    /// The next message of a kind; load reports and pings come at any time.
    async fn read_until<T>(&mut self, kind: impl Fn(ToServer) -> Option<T>) -> T {
        loop {
            if let Some(found) = kind(self.read().await) {
                return found;
            }
        }
    }

    async fn answer_to_offer(&mut self) -> pb::AvailabilityResponse {
        self.read_until(|message| {
            if let ToServer::Availability(answer) = message {
                Some(answer)
            } else {
                None
            }
        })
        .await
    }

    async fn update_of(&mut self, job_id: &str) -> pb::JobStatus {
        let status = |message| match message {
            ToServer::UpdateJob(update) if update.job_id == job_id => Some(update.status()),
            _ => None,
        };
        self.read_until(status).await
    }

    /// Answers pings until the worker closes or the test drops this.
    async fn answer_pings(mut self) {
        while let Some(Ok(frame)) = self.socket.next().await {
            let Message::Binary(bytes) = frame else {
                continue;
            };
            let message = pb::WorkerMessage::decode(bytes)
                .expect("a worker's message")
                .message;
            if let Some(ToServer::Ping(ping)) = message {
                self.say(FromServer::Pong(pb::WorkerPong {
                    last_timestamp: ping.timestamp,
                    timestamp: 1,
                }))
                .await;
            }
        }
    }

    async fn say(&mut self, message: FromServer) {
        self.send(Message::binary(
            pb::ServerMessage {
                message: Some(message),
            }
            .encode_to_vec(),
        ))
        .await;
    }

    async fn send(&mut self, frame: Message) {
        self.socket.send(frame).await.expect("an open connection");
    }

    async fn register(&mut self) {
        let server_info = Some(pb::ServerInfo {
            version: "fake".into(),
            ..Default::default()
        });
        self.say(FromServer::Register(pb::RegisterWorkerResponse {
            worker_id: "AW_fake".into(),
            server_info,
            ..Default::default()
        }))
        .await;
    }

    async fn offer(&mut self, job_id: &str) {
        self.say(FromServer::Availability(pb::AvailabilityRequest {
            job: Some(job(job_id)),
            resuming: false,
        }))
        .await;
    }

    async fn assign(&mut self, job_id: &str) {
        let url = Some("wss://elsewhere.example.org".to_owned());
        self.say(FromServer::Assignment(pb::JobAssignment {
            job: Some(job(job_id)),
            url,
            token: "token".into(),
        }))
        .await;
    }

    /// Brings a job to life.
    async fn run(&mut self, worker: &mut Running, job_id: &str) -> viva::worker::Assignment {
        self.offer(job_id).await;
        assert!(self.answer_to_offer().await.available);
        self.assign(job_id).await;
        assert_eq!(worker.offer().await.job_id, job_id);
        worker.assignment().await
    }
}

fn job(job_id: &str) -> pb::Job {
    let room = pb::Room {
        name: "interview-1".into(),
        sid: "RM_1".into(),
        ..Default::default()
    };
    pb::Job {
        id: job_id.into(),
        room: Some(room),
        metadata: "m".into(),
        ..Default::default()
    }
}

fn failed(status: &WorkerStatus) -> bool {
    status.last_error().is_some()
}

/// Nothing but time limits can end what the test waits for: the clock jumps to them.
async fn fails_by_time(worker: &mut Running) -> WorkerError {
    tokio::time::pause();
    let status = worker.status_when("a failure", failed).await;
    tokio::time::resume();
    status.last_error().expect("an error").clone()
}

#[tokio::test]
async fn a_server_that_never_upgrades_is_left() {
    let server = FakeServer::start().await;
    let mut worker = server.worker(1);
    let _silent = within("a connection", server.listener.accept()).await;
    let error = fails_by_time(&mut worker).await;
    assert!(
        matches!(
            error,
            WorkerError::Silent {
                what: "open a connection",
                limit_ms: 10_000,
                ..
            }
        ),
        "{error}"
    );
    let _next = server.registered().await;
    worker.registered().await;
}

#[tokio::test]
async fn a_server_that_never_answers_the_registration_is_left() {
    let server = FakeServer::start().await;
    let mut worker = server.worker(1);
    let mut silent = server.connection().await;
    assert!(matches!(silent.read().await, ToServer::Register(_)));
    let error = fails_by_time(&mut worker).await;
    assert!(
        matches!(
            error,
            WorkerError::Silent {
                what: "answer the registration",
                limit_ms: 10_000,
                ..
            }
        ),
        "{error}"
    );
    let _next = server.registered().await;
    worker.registered().await;
}

#[tokio::test]
async fn a_server_that_falls_silent_is_left() {
    let server = FakeServer::start().await;
    let mut worker = server.worker(1);
    let _silent = server.registered().await;
    worker.registered().await;
    let error = fails_by_time(&mut worker).await;
    assert!(
        matches!(
            error,
            WorkerError::Silent {
                what: "send anything",
                ..
            }
        ),
        "{error}"
    );
    let _next = server.registered().await;
    worker.registered().await;
}

#[tokio::test]
async fn garbage_ends_the_connection_and_a_new_one_registers() {
    let server = FakeServer::start().await;
    let mut worker = server.worker(1);
    for garbage in [
        Message::binary(vec![0xff; 40]),
        Message::text("{\"register\":{}}"),
        Message::binary(vec![0; 2 * 1024 * 1024]),
    ] {
        let mut connection = server.registered().await;
        worker.registered().await;
        connection.send(garbage).await;
        let status = worker.status_when("a failure", failed).await;
        assert!(
            matches!(status.last_error(), Some(WorkerError::Garbled { .. })),
            "{status:?}"
        );
    }
    let _good = server.registered().await;
    worker.registered().await;
}

#[tokio::test]
async fn an_assigned_job_is_reported_and_ended_by_the_server() {
    let server = FakeServer::start().await;
    let mut worker = server.worker(1);
    let mut connection = server.registered().await;
    let job = connection.run(&mut worker, "AJ_1").await;
    assert_eq!(
        (
            job.offer.room.as_str(),
            job.offer.room_sid.as_str(),
            job.offer.metadata.as_str()
        ),
        ("interview-1", "RM_1", "m")
    );
    assert_eq!(
        (job.url.as_str(), job.token.reveal(), job.identity.as_str()),
        ("wss://elsewhere.example.org", "token", "agent-interview-1")
    );
    assert!(
        !format!("{job:?}").contains("\"token\""),
        "a token is not shown"
    );

    let (running, status) = tokio::join!(job.status.running(), async {
        let status = connection.update_of("AJ_1").await;
        let ping = connection
            .read_until(|message| {
                if let ToServer::Ping(ping) = message {
                    Some(ping.timestamp)
                } else {
                    None
                }
            })
            .await;
        connection
            .say(FromServer::Pong(pb::WorkerPong {
                last_timestamp: ping,
                timestamp: 0,
            }))
            .await;
        status
    });
    running.expect("a confirmation");
    assert_eq!(status, pb::JobStatus::JsRunning);

    connection
        .say(FromServer::Termination(pb::JobTermination {
            job_id: "AJ_1".into(),
        }))
        .await;
    assert!(matches!(worker.event().await, Event::Terminated(job_id) if job_id == "AJ_1"));
    assert_eq!(
        worker.status.borrow().taken,
        1,
        "until the session has left"
    );
    drop(job);
    worker
        .status_when("an idle worker", |status| {
            (status.active_jobs, status.taken) == (0, 0)
        })
        .await;
}

#[tokio::test]
async fn a_ping_of_the_server_is_answered_at_once() {
    let server = FakeServer::start().await;
    let _worker = server.worker(1);
    let mut connection = server.registered().await;
    connection.send(Message::Ping("are you there".into())).await;
    within("a pong", async {
        while !matches!(connection.socket.next().await, Some(Ok(Message::Pong(bytes))) if bytes == "are you there") {}
    })
    .await;
}

#[tokio::test]
async fn a_declined_offer_is_answered_at_once_and_frees_its_place() {
    let server = FakeServer::start().await;
    let mut worker = Running::start(options(&server.url, KEY, SECRET, 1), decline);
    let mut connection = server.registered().await;
    connection.offer("AJ_1").await;
    assert!(!connection.answer_to_offer().await.available);
    worker
        .status_when("a free place", |status| status.taken == 0)
        .await;
}

#[tokio::test]
async fn a_connection_lost_between_offer_and_assignment_frees_the_place() {
    let server = FakeServer::start().await;
    let mut worker = server.worker(1);
    for close in [true, false] {
        let mut connection = server.registered().await;
        connection.offer("AJ_1").await;
        assert!(connection.answer_to_offer().await.available);
        worker.offer().await;
        if close {
            connection.socket.close(None).await.expect("a close frame");
        }
        drop(connection);
        assert!(matches!(worker.event().await, Event::Lapsed(job_id) if job_id == "AJ_1"));
        let status = worker.status_when("a failure", failed).await;
        assert_eq!(status.taken, 0);
        assert!(
            matches!(status.last_error(), Some(WorkerError::Lost { .. })),
            "{status:?}"
        );
    }
    let _good = server.registered().await;
    worker.registered().await;
}

#[tokio::test]
async fn an_end_reported_without_a_connection_arrives_with_the_next() {
    let server = FakeServer::start().await;
    let mut worker = server.worker(2);
    let mut connection = server.registered().await;
    let ended = connection.run(&mut worker, "AJ_1").await;
    let _going_on = connection.run(&mut worker, "AJ_2").await;
    drop(connection);
    worker.status_when("a lost connection", failed).await;
    let (succeeded, ()) = tokio::join!(ended.status.succeeded(), async {
        let mut next = server.registered().await;
        let migrated = next
            .read_until(|message| {
                if let ToServer::MigrateJob(migrate) = message {
                    Some(migrate.job_ids)
                } else {
                    None
                }
            })
            .await;
        assert_eq!(migrated, ["AJ_2"]);
        let mut told = [("AJ_1", None), ("AJ_2", None)];
        while told.iter().any(|(_, status)| status.is_none()) {
            let update = next
                .read_until(|message| {
                    if let ToServer::UpdateJob(update) = message {
                        Some(update)
                    } else {
                        None
                    }
                })
                .await;
            for (job_id, status) in &mut told {
                if update.job_id == *job_id {
                    *status = Some(update.status());
                }
            }
        }
        assert_eq!(
            told,
            [
                ("AJ_1", Some(pb::JobStatus::JsSuccess)),
                ("AJ_2", Some(pb::JobStatus::JsRunning))
            ]
        );
        let ping = next
            .read_until(|message| {
                if let ToServer::Ping(ping) = message {
                    Some(ping.timestamp)
                } else {
                    None
                }
            })
            .await;
        next.say(FromServer::Pong(pb::WorkerPong {
            last_timestamp: ping,
            timestamp: 0,
        }))
        .await;
        worker
            .status_when("one job", |status| status.active_jobs == 1)
            .await;
    });
    succeeded.expect("a confirmation by the next connection");
}

#[tokio::test]
async fn a_status_that_nobody_confirms_has_a_limit() {
    let server = FakeServer::start().await;
    let mut worker = server.worker(1);
    let mut connection = server.registered().await;
    let job = connection.run(&mut worker, "AJ_1").await;
    tokio::time::pause();
    let error = job.status.succeeded().await.expect_err("no confirmation");
    tokio::time::resume();
    assert!(
        matches!(error, StatusError::Unconfirmed { limit_ms: 3000, .. }),
        "{error}"
    );
    drop(worker);
    assert!(matches!(
        job.status.succeeded().await,
        Err(StatusError::Ended { .. })
    ));
}

#[tokio::test]
async fn a_status_without_a_worker_says_so() {
    let server = FakeServer::start().await;
    let mut worker = server.worker(1);
    let mut connection = server.registered().await;
    let job = connection.run(&mut worker, "AJ_1").await;
    worker.task.abort();
    within("the end of the worker", &mut worker.task)
        .await
        .expect_err("it was aborted");
    assert!(matches!(
        job.status.succeeded().await,
        Err(StatusError::Stopped { .. })
    ));
}

#[tokio::test]
async fn a_session_that_vanishes_is_reported_as_failed() {
    let server = FakeServer::start().await;
    let mut worker = server.worker(1);
    let mut connection = server.registered().await;
    drop(connection.run(&mut worker, "AJ_1").await);
    assert_eq!(connection.update_of("AJ_1").await, pb::JobStatus::JsFailed);
    connection.offer("AJ_2").await;
    assert!(
        connection.answer_to_offer().await.available,
        "the place is free again"
    );
}

#[tokio::test]
async fn a_full_worker_declines_without_asking() {
    let server = FakeServer::start().await;
    let mut worker = server.worker(1);
    let mut connection = server.registered().await;
    let job = connection.run(&mut worker, "AJ_1").await;
    let full = connection
        .read_until(|message| {
            if let ToServer::UpdateWorker(update) = message {
                Some(update)
            } else {
                None
            }
        })
        .await;
    assert_eq!(
        (full.status(), full.job_count),
        (pb::WorkerStatus::WsFull, 1)
    );
    connection.offer("AJ_2").await;
    assert!(!connection.answer_to_offer().await.available);
    drop(job);
    let free = connection
        .read_until(|message| {
            if let ToServer::UpdateWorker(update) = message {
                Some(update)
            } else {
                None
            }
        })
        .await;
    assert_eq!(
        (free.status(), free.job_count),
        (pb::WorkerStatus::WsAvailable, 0)
    );
    assert!(worker.events.try_recv().is_err(), "the desk was not asked");
}

#[tokio::test]
async fn an_idle_worker_stops_at_once_and_says_goodbye() {
    let server = FakeServer::start().await;
    let mut worker = server.worker(1);
    let mut connection = server.registered().await;
    worker.registered().await;
    worker.stop.cancel();
    within("a close frame", async {
        while !matches!(
            connection.socket.next().await,
            Some(Ok(Message::Close(Some(_)))) | None
        ) {}
    })
    .await;
    within("the end of the worker", &mut worker.task)
        .await
        .expect("no panic");
    assert_eq!(worker.status.borrow().phase, Phase::Stopped);
}

#[tokio::test]
async fn a_worker_without_a_server_stops_at_once() {
    let server = FakeServer::start().await;
    let url = server.url.clone();
    drop(server);
    let mut worker = Running::start(options(&url, KEY, SECRET, 1), accept);
    let status = worker
        .status_when("a second try", |status| {
            matches!(status.phase, Phase::Connecting { attempt: 2.., .. })
        })
        .await;
    assert!(
        matches!(status.last_error(), Some(WorkerError::Unreachable { .. })),
        "{status:?}"
    );
    worker.stop.cancel();
    within("the end of the worker", &mut worker.task)
        .await
        .expect("no panic");
}

#[tokio::test]
async fn a_stopping_worker_waits_for_the_last_confirmation() {
    let server = FakeServer::start().await;
    let mut worker = server.worker(1);
    let mut connection = server.registered().await;
    let job = connection.run(&mut worker, "AJ_1").await;
    worker.stop.cancel();
    worker
        .status_when("draining", |status| status.phase == Phase::Draining)
        .await;
    drop(job);
    assert_eq!(connection.update_of("AJ_1").await, pb::JobStatus::JsFailed);
    assert!(!worker.task.is_finished(), "the end is not confirmed yet");
    let pings = tokio::spawn(async move {
        let ping = connection
            .read_until(|message| {
                if let ToServer::Ping(ping) = message {
                    Some(ping.timestamp)
                } else {
                    None
                }
            })
            .await;
        connection
            .say(FromServer::Pong(pb::WorkerPong {
                last_timestamp: ping,
                timestamp: 0,
            }))
            .await;
        connection.answer_pings().await;
    });
    within("the end of the worker", &mut worker.task)
        .await
        .expect("no panic");
    within("the end of the connection", pings)
        .await
        .expect("no panic");
    assert_eq!(worker.status.borrow().active_jobs, 0);
}

#[tokio::test]
async fn tls_to_a_server_without_it_is_named() {
    let server = FakeServer::start().await;
    let mut worker = Running::start(
        options(&server.url.replace("ws:", "wss:"), KEY, SECRET, 1),
        accept,
    );
    let (mut stream, _) = within("a connection", server.listener.accept())
        .await
        .expect("a connection");
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n")
        .await
        .expect("an open connection");
    let status = worker.status_when("a failure", failed).await;
    assert!(
        matches!(status.last_error(), Some(WorkerError::Untrusted { .. })),
        "{status:?}"
    );
}

#[test]
fn an_address_that_cannot_be_livekits_is_refused_before_anything_starts() {
    struct NoDesk;
    impl viva::worker::JobDesk for NoDesk {
        fn offer(&self, offer: &viva::worker::JobOffer) -> viva::worker::Verdict {
            decline(offer)
        }
        fn assigned(&self, _: viva::worker::Assignment) {}
        fn lapsed(&self, _: &str) {}
        fn terminated(&self, _: &str) {}
    }
    let error = viva::worker::Worker::new(
        options("ftp://host", KEY, SECRET, 1),
        std::sync::Arc::new(NoDesk),
    )
    .err()
    .expect("an error");
    assert!(error.to_string().contains("livekit.url"), "{error}");
}

fn frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let valid = prop_oneof![
        (0..3u8).prop_map(|n| FromServer::Availability(pb::AvailabilityRequest {
            job: Some(job(&n.to_string())),
            resuming: false
        })),
        (0..3u8).prop_map(|n| FromServer::Assignment(pb::JobAssignment {
            job: Some(job(&n.to_string())),
            url: None,
            token: "t".into()
        })),
        (0..3u8).prop_map(|n| FromServer::Termination(pb::JobTermination {
            job_id: n.to_string()
        })),
        any::<i64>().prop_map(|n| FromServer::Pong(pb::WorkerPong {
            last_timestamp: n,
            timestamp: 0
        })),
    ]
    .prop_map(|message| {
        pb::ServerMessage {
            message: Some(message),
        }
        .encode_to_vec()
    });
    let mangled = (valid.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(
        |(mut bytes, index, byte)| {
            let index = index.index(bytes.len());
            bytes[index] = byte;
            bytes
        },
    );
    let noise = prop::collection::vec(any::<u8>(), 0..60);
    prop::collection::vec(prop_oneof![6 => valid, 1 => mangled, 1 => noise], 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_a_server_sends_the_worker_lives_and_every_place_comes_back(frames in frames()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let server = FakeServer::start().await;
            let mut worker = server.worker(2);
            let mut connection = server.registered().await;
            for frame in frames {
                // The worker may have hung up on the garbage before this.
                if connection.socket.send(Message::binary(frame)).await.is_err() {
                    break;
                }
            }
            drop(connection);
            worker.status_when("a lost connection", failed).await;
            worker.events.close();
            while worker.events.try_recv().is_ok() {}
            worker.status_when("free places", |status| status.taken == 0).await;
            let mut next = server.registered().await;
            worker.registered().await;
            next.offer("AJ_good").await;
            assert!(next.answer_to_offer().await.available);
        });
    }
}
