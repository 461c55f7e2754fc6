//! The worker against a real LiveKit server.

use crate::desk::{Event, Running, accept, decline, options, within};
use crate::livekit_server::LiveKitServer;
use livekit_token::{TokenVerifier, VideoGrants};
use tokio::sync::mpsc::error::TryRecvError;
use viva::config::{LiveKitKey, Secret};
use viva::worker::{Phase, WorkerError, WorkerOptions, token};

const NAMED: &str = r#"[{"agentName":"viva","metadata":"plan=rust"}]"#;

fn options_for(server: &LiveKitServer, capacity: u32) -> WorkerOptions {
    options(&server.url, &server.key, &server.secret, capacity)
}

#[tokio::test]
async fn a_room_leads_to_an_offer_an_assignment_and_a_confirmed_end() {
    let server = LiveKitServer::start();
    let mut worker = Running::start(options_for(&server, 2), accept);
    let status = worker.registered().await;
    let Phase::Registered {
        worker_id,
        server_version,
        ..
    } = &status.phase
    else {
        panic!("{status:?}")
    };
    assert!(worker_id.starts_with("AW_"), "{worker_id}");
    assert_eq!(server_version, "1.13.5");

    server.create_room("interview-1", NAMED);
    let offer = worker.offer().await;
    assert_eq!(
        (
            offer.room.as_str(),
            offer.metadata.as_str(),
            offer.participant.as_deref()
        ),
        ("interview-1", "plan=rust", None)
    );
    assert!(
        offer.room_sid.starts_with("RM_")
            && offer.job_id.starts_with("AJ_")
            && offer.dispatch_id.starts_with("AD_"),
        "{offer:?}"
    );

    let job = worker.assignment().await;
    assert_eq!(
        (&job.offer, job.identity.as_str(), &job.url),
        (&offer, "agent-interview-1", &server.url)
    );
    let claims = TokenVerifier::with_api_key(&server.key, &server.secret)
        .verify(job.token.reveal())
        .expect("a token of this server");
    assert_eq!(
        (
            claims.sub.as_str(),
            claims.name.as_str(),
            claims.metadata.as_str()
        ),
        ("agent-interview-1", "Viva", "about me")
    );
    assert_eq!(claims.kind, "agent");
    for (key, value) in [
        ("lk.agent_name", "viva"),
        ("lk.agent.name", "viva"),
        ("flavour", "plain"),
    ] {
        assert_eq!(
            claims.attributes.get(key).map(String::as_str),
            Some(value),
            "{key}"
        );
    }
    assert_eq!(
        claims.video,
        VideoGrants {
            room_join: true,
            agent: true,
            room: "interview-1".into(),
            can_publish: Some(true),
            can_subscribe: Some(true),
            can_publish_data: Some(true),
            can_update_own_metadata: Some(true),
            hidden: false,
            ..VideoGrants::default()
        }
    );
    let mut tokens = vec![job.token.reveal().to_owned()];

    worker
        .status_when("one job", |status| {
            (status.active_jobs, status.taken) == (1, 1)
        })
        .await;
    job.status.running().await.expect("a confirmed start");
    job.status.succeeded().await.expect("a confirmed end");
    assert!(
        job.status.failed("too late").await.is_err(),
        "an end is an end"
    );
    drop(job);
    worker
        .status_when("an idle worker", |status| {
            (status.active_jobs, status.taken) == (0, 0)
        })
        .await;
    assert!(
        server.log().contains("job ended"),
        "the server has recorded the end"
    );

    // A token of our own opens the same door.
    let key = LiveKitKey {
        key: server.key.clone(),
        secret: Secret::new(server.secret.clone()),
    };
    let agent = token::AgentIdentity {
        identity: "agent-interview-1".into(),
        ..Default::default()
    };
    tokens.push(
        token::join(&key, "interview-1", &agent)
            .expect("a token")
            .reveal()
            .to_owned(),
    );
    for token in tokens {
        assert_eq!(
            server.get_status(&format!("/rtc/validate?access_token={token}")),
            200
        );
    }
    assert_eq!(server.get_status("/rtc/validate?access_token=x.y.z"), 401);
}

#[tokio::test]
async fn a_worker_without_a_name_is_offered_every_room() {
    let server = LiveKitServer::start();
    let mut worker = Running::start(
        WorkerOptions {
            agent_name: String::new(),
            ..options_for(&server, 1)
        },
        accept,
    );
    worker.registered().await;
    server.create_room("any-room", "[]");
    assert_eq!(worker.offer().await.room, "any-room");
    assert_eq!(worker.assignment().await.offer.room, "any-room");
}

#[tokio::test]
async fn a_declined_offer_leaves_the_place_free_and_goes_to_another_worker() {
    let server = LiveKitServer::start();
    let mut unwilling = Running::start(options_for(&server, 1), decline);
    unwilling.registered().await;
    server.create_room("interview-1", NAMED);
    assert_eq!(unwilling.offer().await.room, "interview-1");
    unwilling
        .status_when("a free place", |status| status.taken == 0)
        .await;

    let mut willing = Running::start(options_for(&server, 1), accept);
    willing.registered().await;
    // The server draws lots: until it asks the unwilling one first, nothing is shown.
    let mut jobs = Vec::new();
    for room in 2.. {
        server.create_room(&format!("interview-{room}"), NAMED);
        willing.offer().await;
        let job = willing.assignment().await;
        let asked = matches!(unwilling.events.try_recv(), Ok(Event::Offer(offer)) if offer.room == job.offer.room);
        job.status.succeeded().await.expect("a confirmed end");
        jobs.push(job.offer.room.clone());
        drop(job);
        willing
            .status_when("a free place", |status| status.taken == 0)
            .await;
        if asked {
            break;
        }
        assert!(
            room < 40,
            "in {room} rooms the server never asked the unwilling worker"
        );
    }
}

#[tokio::test]
async fn every_place_is_filled_and_not_one_more() {
    let server = LiveKitServer::start();
    let mut worker = Running::start(options_for(&server, 4), accept);
    worker.registered().await;
    let mut jobs = Vec::new();
    for n in 1..=4 {
        server.create_room(&format!("interview-{n}"), NAMED);
        worker.offer().await;
        jobs.push(worker.assignment().await);
    }
    assert_eq!(
        worker
            .status_when("a full worker", |status| status.taken == 4)
            .await
            .load,
        1.0
    );
    server.create_room("interview-5", NAMED);
    // The last room's fate is known when the server has tried to place it.
    within("the server to give up", async {
        while !server.log().contains("failed to send job request") {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(
        matches!(worker.events.try_recv(), Err(TryRecvError::Empty)),
        "no fifth offer"
    );

    drop(jobs.pop());
    worker
        .status_when("a free place", |status| status.taken == 3)
        .await;
    // The news of the free place is on its way before the next request: same connection, in order.
    let probe = jobs.pop().expect("a running job");
    probe.status.running().await.expect("a round trip");
    server.create_room("interview-6", NAMED);
    assert_eq!(worker.offer().await.room, "interview-6");
}

#[tokio::test]
async fn a_wrong_key_is_named_as_such_and_the_worker_goes_on_trying() {
    let server = LiveKitServer::start();
    let mut worker = Running::start(
        options(
            &server.url,
            &server.key,
            "another-secret-of-more-than-thirty-two-bytes",
            1,
        ),
        accept,
    );
    let refused = worker
        .status_when("a refusal", |status| status.last_error().is_some())
        .await;
    assert!(
        matches!(refused.last_error(), Some(WorkerError::Unauthorized { .. })),
        "{refused:?}"
    );
    let text = refused
        .last_error()
        .map(ToString::to_string)
        .unwrap_or_default();
    assert!(
        text.contains("livekit.key_file")
            && !text.contains("another-secret")
            && !text.contains("eyJ"),
        "{text}"
    );
    worker
        .status_when("a third try", |status| {
            matches!(status.phase, Phase::Connecting { attempt: 3.., .. })
        })
        .await;
}

#[tokio::test]
async fn an_unknown_path_is_no_wrong_key() {
    let server = LiveKitServer::start();
    let mut worker = Running::start(
        options(
            &format!("{}/elsewhere", server.url),
            &server.key,
            &server.secret,
            1,
        ),
        accept,
    );
    let refused = worker
        .status_when("a refusal", |status| status.last_error().is_some())
        .await;
    assert!(
        matches!(
            refused.last_error(),
            Some(WorkerError::Refused { status: 404, .. })
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn after_the_death_of_the_server_the_worker_registers_again_and_keeps_its_job() {
    let mut server = LiveKitServer::start();
    let mut worker = Running::start(options_for(&server, 2), accept);
    worker.registered().await;
    server.create_room("interview-1", NAMED);
    worker.offer().await;
    let job = worker.assignment().await;

    server.kill();
    let lost = worker
        .status_when("a lost server", |status| !status.is_registered())
        .await;
    assert_eq!((lost.active_jobs, lost.taken), (1, 1), "the job goes on");
    let unreachable = |status: &viva::worker::WorkerStatus| {
        matches!(status.last_error(), Some(WorkerError::Unreachable { .. }))
    };
    worker
        .status_when("an unreachable server", unreachable)
        .await;

    server.start_again();
    worker.registered().await;
    job.status
        .succeeded()
        .await
        .expect("the new server takes the end of a job that it never knew");
    drop(job);
    server.create_room("interview-2", NAMED);
    assert_eq!(worker.offer().await.room, "interview-2");
}

#[tokio::test]
async fn a_deleted_dispatch_ends_the_job() {
    let server = LiveKitServer::start();
    let mut worker = Running::start(options_for(&server, 1), accept);
    worker.registered().await;
    server.create_room("interview-1", NAMED);
    let offer = worker.offer().await;
    let job = worker.assignment().await;
    job.status.running().await.expect("a confirmed start");

    let grants = VideoGrants {
        room_admin: true,
        room: "interview-1".into(),
        ..VideoGrants::default()
    };
    let json = format!(
        r#"{{"room":"interview-1","dispatchId":"{}"}}"#,
        offer.dispatch_id
    );
    server.api("AgentDispatchService/DeleteDispatch", &json, grants);
    assert!(matches!(worker.event().await, Event::Terminated(job_id) if job_id == offer.job_id));
    job.status
        .succeeded()
        .await
        .expect("an end that LiveKit has made needs no confirmation");
    drop(job);
    worker
        .status_when("an idle worker", |status| {
            (status.active_jobs, status.taken) == (0, 0)
        })
        .await;
}

#[tokio::test]
async fn a_draining_worker_takes_no_more_and_ends_with_its_last_job() {
    let server = LiveKitServer::start();
    let mut draining = Running::start(options_for(&server, 2), accept);
    draining.registered().await;
    server.create_room("interview-1", NAMED);
    draining.offer().await;
    let job = draining.assignment().await;

    draining.stop.cancel();
    draining
        .status_when("draining", |status| status.phase == Phase::Draining)
        .await;
    job.status
        .running()
        .await
        .expect("a round trip, so that the server knows");
    let mut other = Running::start(options_for(&server, 2), accept);
    other.registered().await;
    for n in 2..=3 {
        server.create_room(&format!("interview-{n}"), NAMED);
        assert_eq!(other.offer().await.room, format!("interview-{n}"));
        assert!(matches!(other.event().await, Event::Assigned(_)));
    }
    assert!(!draining.task.is_finished());

    job.status.succeeded().await.expect("a confirmed end");
    drop(job);
    within("the end of the worker", &mut draining.task)
        .await
        .expect("no panic");
    assert_eq!(draining.status.borrow().phase, Phase::Stopped);
    assert!(
        matches!(draining.events.try_recv(), Err(TryRecvError::Disconnected)),
        "nothing was offered any more"
    );
}
