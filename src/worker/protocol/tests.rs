//! Stories of the machine: what the server says, what time it is, what must come of it.

use proptest::prelude::*;

use super::*;
use crate::worker::slots::Slot;

/// A machine with a clock of its own, and the slots of the jobs that it handed out.
struct Story {
    protocol: Protocol,
    slots: Slots,
    now: Instant,
}

impl Story {
    fn new(capacity: u32) -> Self {
        let (slots, now) = (Slots::new(capacity), Instant::now());
        Self {
            protocol: Protocol::new("viva", "0.1.0", slots.clone(), now),
            slots,
            now,
        }
    }

    fn registered(capacity: u32) -> Self {
        let mut story = Self::new(capacity);
        story.register();
        story.outputs();
        story
    }

    fn register(&mut self) {
        self.protocol.connected(self.now);
        self.says(FromServer::Register(pb::RegisterWorkerResponse {
            worker_id: "AW_1".into(),
            ..Default::default()
        }));
    }

    fn says(&mut self, message: FromServer) {
        self.protocol.handle(
            pb::ServerMessage {
                message: Some(message),
            },
            self.now,
        );
    }

    fn passes(&mut self, time: Duration) {
        self.now += time;
        self.protocol.poll(self.now);
    }

    fn offers(&mut self, job_id: &str) {
        self.says(FromServer::Availability(pb::AvailabilityRequest {
            job: Some(job(job_id)),
            resuming: false,
        }));
    }

    fn assigns(&mut self, job_id: &str) {
        self.says(FromServer::Assignment(pb::JobAssignment {
            job: Some(job(job_id)),
            url: None,
            token: "token".into(),
        }));
    }

    fn pongs(&mut self, ping: i64) {
        self.says(FromServer::Pong(pb::WorkerPong {
            last_timestamp: ping,
            timestamp: 0,
        }));
    }

    fn accepts(&mut self, job_id: &str) {
        self.protocol.answer(job_id, accept("agent"), self.now);
    }

    /// Brings a job to life.
    fn runs(&mut self, job_id: &str) -> Slot {
        self.offers(job_id);
        self.accepts(job_id);
        self.assigns(job_id);
        let assigned = self.outputs().into_iter().find_map(|output| match output {
            Output::Assigned(assigned) => Some(assigned.slot),
            _ => None,
        });
        assigned.expect("an assignment")
    }

    fn reports(&mut self, job_id: &str, status: pb::JobStatus) -> Option<u64> {
        self.protocol.report(job_id, status, "", self.now)
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.protocol.next_output()).collect()
    }

    fn sent(&mut self) -> Vec<ToServer> {
        let sent = |output| {
            if let Output::Send(message) = output {
                Some(*message)
            } else {
                None
            }
        };
        self.outputs().into_iter().filter_map(sent).collect()
    }
}

fn job(job_id: &str) -> pb::Job {
    let room = pb::Room {
        name: format!("room-{job_id}"),
        ..Default::default()
    };
    pb::Job {
        id: job_id.to_owned(),
        room: Some(room),
        metadata: "about the job".into(),
        ..Default::default()
    }
}

fn accept(identity: &str) -> Verdict {
    Verdict::Accept {
        identity: identity.to_owned(),
        name: "Viva".into(),
        metadata: String::new(),
        attributes: Default::default(),
    }
}

fn statuses(sent: &[ToServer]) -> Vec<(&str, pb::JobStatus)> {
    sent.iter()
        .filter_map(|message| match message {
            ToServer::UpdateJob(update) => Some((update.job_id.as_str(), update.status())),
            _ => None,
        })
        .collect()
}

fn load(sent: &[ToServer]) -> Option<&pb::UpdateWorkerStatus> {
    sent.iter().rev().find_map(|message| {
        if let ToServer::UpdateWorker(update) = message {
            Some(update)
        } else {
            None
        }
    })
}

fn ping(sent: &[ToServer]) -> Option<i64> {
    sent.iter().rev().find_map(|message| {
        if let ToServer::Ping(ping) = message {
            Some(ping.timestamp)
        } else {
            None
        }
    })
}

fn answer(sent: &[ToServer]) -> Option<&pb::AvailabilityResponse> {
    sent.iter().find_map(|message| {
        if let ToServer::Availability(answer) = message {
            Some(answer)
        } else {
            None
        }
    })
}

#[test]
fn the_first_frame_registers_an_agent_that_may_speak_and_is_seen() {
    let mut story = Story::new(1);
    story.protocol.connected(story.now);
    let sent = story.sent();
    let [ToServer::Register(register)] = sent.as_slice() else {
        panic!("{sent:?}")
    };
    assert_eq!(
        (register.r#type(), register.agent_name.as_str()),
        (pb::JobType::JtRoom, "viva")
    );
    let permissions = register.allowed_permissions.clone().expect("permissions");
    assert!(permissions.can_publish && permissions.can_subscribe && permissions.can_publish_data);
    assert!(permissions.can_update_metadata && !permissions.hidden);
}

#[test]
fn a_registered_worker_says_at_once_how_loaded_it_is() {
    let mut story = Story::new(4);
    let _elsewhere = story.slots.take();
    story.register();
    let sent = story.sent();
    let load = load(&sent).expect("a load");
    assert_eq!(
        (load.status(), load.job_count, load.seq),
        (pb::WorkerStatus::WsAvailable, 1, 1)
    );
}

#[test]
fn a_server_that_does_not_answer_the_registration_is_left_after_ten_seconds() {
    let mut story = Story::new(1);
    story.protocol.connected(story.now);
    story.outputs();
    assert_eq!(story.protocol.deadline(), Some(story.now + REGISTER_LIMIT));
    story.passes(REGISTER_LIMIT - Duration::from_millis(1));
    assert!(story.outputs().is_empty());
    story.passes(Duration::from_millis(1));
    assert!(matches!(
        story.outputs().as_slice(),
        [Output::Close(CloseReason::NotRegistered)]
    ));
}

#[test]
fn a_silent_peer_is_pinged_and_then_left() {
    let mut story = Story::registered(1);
    let mut pings = 0;
    let begin = story.now;
    loop {
        let deadline = story.protocol.deadline().expect("something to wait for");
        story.passes(deadline - story.now);
        let outputs = story.outputs();
        if outputs
            .iter()
            .any(|output| matches!(output, Output::Close(CloseReason::Silent)))
        {
            break;
        }
        pings += outputs.iter().filter(|output| matches!(output, Output::Send(message) if matches!(**message, ToServer::Ping(_)))).count();
    }
    assert_eq!((pings, story.now - begin), (3, SILENCE_LIMIT));
}

#[test]
fn any_frame_shows_that_the_peer_lives() {
    let mut story = Story::registered(1);
    for _ in 0..10 {
        story.passes(SILENCE_LIMIT - Duration::from_millis(1));
        story.protocol.heard(story.now);
        assert!(
            !story
                .outputs()
                .iter()
                .any(|output| matches!(output, Output::Close(_)))
        );
    }
}

#[test]
fn a_server_that_is_going_away_is_left() {
    let mut story = Story::registered(1);
    story.says(FromServer::GoAway(pb::agent_http::GoAway {
        reason: "drain".into(),
    }));
    assert!(
        matches!(story.outputs().as_slice(), [Output::Close(CloseReason::GoAway(reason))] if reason == "drain")
    );
}

#[test]
fn an_accepted_offer_holds_a_place_and_becomes_a_job() {
    let mut story = Story::registered(1);
    story.offers("AJ_1");
    assert_eq!(story.slots.taken(), 1, "held before the desk is asked");
    let outputs = story.outputs();
    let [Output::Offer(offer)] = outputs.as_slice() else {
        panic!("{outputs:?}")
    };
    assert_eq!(
        (offer.room.as_str(), offer.metadata.as_str()),
        ("room-AJ_1", "about the job")
    );

    story.accepts("AJ_1");
    let sent = story.sent();
    let answer = answer(&sent).expect("an answer");
    assert!(answer.available);
    assert_eq!(answer.participant_identity, "agent");
    for key in ["lk.agent_name", "lk.agent.name"] {
        assert_eq!(
            answer.participant_attributes.get(key).map(String::as_str),
            Some("viva")
        );
    }

    story.assigns("AJ_1");
    let mut outputs = story.outputs();
    let Some(Output::Assigned(assigned)) = outputs.pop() else {
        panic!("{outputs:?}")
    };
    assert_eq!(
        (
            assigned.offer.job_id.as_str(),
            assigned.identity.as_str(),
            assigned.token.reveal()
        ),
        ("AJ_1", "agent", "token")
    );
    assert_eq!((story.slots.taken(), story.protocol.jobs()), (1, 1));
    drop(assigned);
    assert_eq!(story.slots.taken(), 0);
}

#[test]
fn a_declined_offer_frees_its_place() {
    let mut story = Story::registered(1);
    story.offers("AJ_1");
    story.protocol.answer(
        "AJ_1",
        Verdict::Decline {
            reason: "no".into(),
        },
        story.now,
    );
    assert_eq!(story.slots.taken(), 0);
    assert!(!answer(&story.sent()).expect("an answer").available);
}

#[test]
fn an_acceptance_without_an_identity_is_a_refusal() {
    let mut story = Story::registered(1);
    story.offers("AJ_1");
    story.protocol.answer("AJ_1", accept(""), story.now);
    assert_eq!(story.slots.taken(), 0);
    assert!(!answer(&story.sent()).expect("an answer").available);
}

#[test]
fn what_cannot_be_taken_is_declined_without_asking_the_desk() {
    let declined = |story: &mut Story| {
        let outputs = story.outputs();
        let asked = outputs
            .iter()
            .any(|output| matches!(output, Output::Offer(_)));
        let refused = outputs
            .iter()
            .any(|output| matches!(output, Output::Declined { .. }));
        !asked && refused
    };
    let mut full = Story::registered(1);
    let _slot = full.runs("AJ_1");
    full.offers("AJ_2");
    assert!(declined(&mut full), "full");

    let mut twice = Story::registered(3);
    let _slot = twice.runs("AJ_1");
    twice.offers("AJ_1");
    assert!(declined(&mut twice), "already running");
    twice.offers("AJ_2");
    twice.outputs();
    twice.offers("AJ_2");
    assert!(declined(&mut twice), "already offered");
    assert_eq!(twice.slots.taken(), 2);

    let mut draining = Story::registered(1);
    draining.protocol.drain(draining.now);
    draining.offers("AJ_1");
    assert!(declined(&mut draining), "draining");

    let mut odd = Story::registered(1);
    let publisher = pb::Job {
        r#type: pb::JobType::JtPublisher.into(),
        ..job("AJ_1")
    };
    odd.says(FromServer::Availability(pb::AvailabilityRequest {
        job: Some(publisher),
        resuming: false,
    }));
    assert!(declined(&mut odd), "not a room's job");
    odd.says(FromServer::Availability(pb::AvailabilityRequest {
        job: Some(pb::Job {
            room: None,
            ..job("AJ_1")
        }),
        resuming: false,
    }));
    assert!(declined(&mut odd), "no room");
}

#[test]
fn an_assignment_that_never_comes_frees_the_place_and_a_late_one_is_refused() {
    let mut story = Story::registered(1);
    story.offers("AJ_1");
    story.accepts("AJ_1");
    story.outputs();
    story.passes(ASSIGNMENT_LIMIT - Duration::from_millis(1));
    story.protocol.heard(story.now);
    assert_eq!(story.slots.taken(), 1);
    story.outputs();
    story.passes(Duration::from_millis(1));
    assert_eq!(story.slots.taken(), 0);
    assert!(
        story
            .outputs()
            .iter()
            .any(|output| matches!(output, Output::Lapsed { job_id } if job_id == "AJ_1"))
    );

    story.assigns("AJ_1");
    let sent = story.sent();
    assert_eq!(statuses(&sent), [("AJ_1", pb::JobStatus::JsFailed)]);
    assert_eq!((story.slots.taken(), story.protocol.jobs()), (0, 0));
}

#[test]
fn an_assignment_without_a_token_is_refused() {
    let mut story = Story::registered(1);
    story.offers("AJ_1");
    story.accepts("AJ_1");
    story.outputs();
    story.says(FromServer::Assignment(pb::JobAssignment {
        job: Some(job("AJ_1")),
        ..Default::default()
    }));
    let outputs = story.outputs();
    assert!(matches!(&outputs[0], Output::Lapsed { job_id } if job_id == "AJ_1"));
    assert_eq!((story.slots.taken(), story.protocol.jobs()), (0, 0));
}

#[test]
fn the_load_is_sent_at_intervals_and_at_once_when_a_place_changes_hands() {
    let mut story = Story::registered(2);
    story.passes(LOAD_INTERVAL - Duration::from_millis(1));
    assert!(load(&story.sent()).is_none());
    story.passes(Duration::from_millis(1));
    assert!(load(&story.sent()).is_some());
    let slot = story.runs("AJ_1");
    story.passes(Duration::ZERO);
    let sent = story.sent();
    assert_eq!(load(&sent).map(|load| load.job_count), Some(1));
    drop(slot);
    story.passes(Duration::ZERO);
    assert_eq!(
        load(&story.sent()).map(|load| (load.job_count, load.load)),
        Some((0, 0.0))
    );
    story.passes(Duration::ZERO);
    assert!(load(&story.sent()).is_none(), "no news, no message");
}

#[test]
fn the_load_is_the_busier_of_places_and_processor_and_leaves_every_free_place_open() {
    let mut story = Story::registered(10);
    let mut slots: Vec<_> = (0..9).map(|_| story.slots.take()).collect();
    story.passes(Duration::ZERO);
    let sent = story.sent();
    let nine = *load(&sent).expect("a load");
    assert_eq!(nine.status(), pb::WorkerStatus::WsAvailable);
    assert!(
        nine.load < 0.7,
        "livekit-server's target_load is 0.7: {}",
        nine.load
    );
    assert!((nine.load - 0.9 * FREE_LOAD_MAX).abs() < 1e-6);

    story.protocol.set_cpu(1.0);
    story.passes(LOAD_INTERVAL);
    assert_eq!(
        load(&story.sent()).map(|load| load.load),
        Some(FREE_LOAD_MAX)
    );

    slots.push(story.slots.take());
    story.passes(Duration::ZERO);
    let sent = story.sent();
    let full = load(&sent).expect("a load");
    assert_eq!((full.status(), full.load), (pb::WorkerStatus::WsFull, 1.0));
}

#[test]
fn a_draining_worker_is_full() {
    let mut story = Story::registered(5);
    story.protocol.drain(story.now);
    let sent = story.sent();
    let load = load(&sent).expect("a load");
    assert_eq!(
        (load.status(), load.load, load.draining),
        (pb::WorkerStatus::WsFull, 1.0, true)
    );
}

#[test]
fn a_status_is_confirmed_by_the_pong_behind_it_and_by_no_earlier_one() {
    let mut story = Story::registered(1);
    let _slot = story.runs("AJ_1");
    story.passes(PING_INTERVAL);
    let earlier = ping(&story.sent()).expect("a ping");
    let number = story
        .reports("AJ_1", pb::JobStatus::JsSuccess)
        .expect("a job");
    let sent = story.sent();
    assert_eq!(statuses(&sent), [("AJ_1", pb::JobStatus::JsSuccess)]);
    let behind = ping(&sent).expect("a ping behind it");
    assert!(behind > earlier);
    story.pongs(earlier);
    assert!(story.outputs().is_empty());
    story.pongs(behind);
    let outputs = story.outputs();
    let [Output::Confirmed(confirmed)] = outputs.as_slice() else {
        panic!("{outputs:?}")
    };
    assert_eq!(
        *confirmed,
        Confirmed {
            job_id: "AJ_1".into(),
            number,
            ended: true
        }
    );
    assert_eq!(story.protocol.jobs(), 0);
}

#[test]
fn an_end_is_final() {
    let mut story = Story::registered(1);
    let _slot = story.runs("AJ_1");
    assert!(story.reports("AJ_1", pb::JobStatus::JsSuccess).is_some());
    assert_eq!(story.reports("AJ_1", pb::JobStatus::JsFailed), None);
    assert_eq!(
        story.reports("AJ_2", pb::JobStatus::JsRunning),
        None,
        "not ours"
    );
    assert_eq!(
        statuses(&story.sent()),
        [("AJ_1", pb::JobStatus::JsSuccess)]
    );
}

#[test]
fn a_lost_connection_frees_offers_and_keeps_jobs() {
    let mut story = Story::registered(3);
    let _slot = story.runs("AJ_1");
    story.offers("AJ_2");
    story.accepts("AJ_2");
    story.offers("AJ_3");
    assert_eq!(story.slots.taken(), 3);
    story.protocol.disconnected();
    assert_eq!((story.slots.taken(), story.protocol.jobs()), (1, 1));
    let outputs = story.outputs();
    assert!(
        matches!(outputs.as_slice(), [Output::Lapsed { job_id }] if job_id == "AJ_2"),
        "{outputs:?}"
    );
    story.accepts("AJ_3");
    assert!(
        story.outputs().is_empty(),
        "the desk's answer comes to nothing"
    );
}

#[test]
fn a_new_registration_hears_of_running_jobs_and_of_ends_that_were_not_confirmed() {
    let mut story = Story::registered(3);
    let _slots = [story.runs("AJ_1"), story.runs("AJ_2"), story.runs("AJ_3")];
    let ended = story.reports("AJ_2", pb::JobStatus::JsSuccess);
    let lost = ping(&story.sent()).expect("a ping that nobody answers");
    story.protocol.disconnected();
    let failed = story.reports("AJ_3", pb::JobStatus::JsFailed);
    assert!(story.outputs().is_empty(), "nothing can be sent");

    story.register();
    let sent = story.sent();
    let migrated = sent.iter().find_map(|m| {
        if let ToServer::MigrateJob(migrate) = m {
            Some(&migrate.job_ids)
        } else {
            None
        }
    });
    assert_eq!(migrated.map(Vec::as_slice), Some(&["AJ_1".to_owned()][..]));
    let mut told = statuses(&sent);
    told.sort_by_key(|(job_id, _)| *job_id);
    use pb::JobStatus::{JsFailed, JsRunning, JsSuccess};
    assert_eq!(
        told,
        [("AJ_1", JsRunning), ("AJ_2", JsSuccess), ("AJ_3", JsFailed)]
    );
    story.pongs(lost);
    assert!(
        story.outputs().is_empty(),
        "a pong for the old connection's ping confirms nothing"
    );
    story.pongs(ping(&sent).expect("a ping"));
    let mut numbers: Vec<_> = story
        .outputs()
        .iter()
        .map(|o| {
            if let Output::Confirmed(c) = o {
                Some(c.number)
            } else {
                None
            }
        })
        .collect();
    numbers.sort();
    assert_eq!(numbers, [ended, failed]);
    assert_eq!(story.protocol.jobs(), 1);
}

#[test]
fn an_end_that_no_server_confirms_is_given_up_in_the_end() {
    let mut story = Story::registered(1);
    let slot = story.runs("AJ_1");
    drop(slot);
    story.reports("AJ_1", pb::JobStatus::JsSuccess);
    let mut registrations = 0;
    while story.protocol.jobs() > 0 {
        registrations += 1;
        assert!(registrations < 10, "never given up");
        story.protocol.disconnected();
        story.register();
    }
    assert!(
        story
            .outputs()
            .iter()
            .any(|output| matches!(output, Output::GivenUp { job_id } if job_id == "AJ_1"))
    );
    assert_eq!(registrations, 5);
}

#[test]
fn a_job_that_the_server_ends_needs_no_confirmation() {
    let mut story = Story::registered(1);
    let slot = story.runs("AJ_1");
    story.says(FromServer::Termination(pb::JobTermination {
        job_id: "AJ_1".into(),
    }));
    assert!(
        matches!(story.outputs().as_slice(), [Output::Terminated { job_id }] if job_id == "AJ_1")
    );
    assert_eq!(story.slots.taken(), 1, "the session still has to leave");
    drop(slot);
    let number = story
        .reports("AJ_1", pb::JobStatus::JsFailed)
        .expect("a job");
    let outputs = story.outputs();
    let [Output::Confirmed(confirmed)] = outputs.as_slice() else {
        panic!("{outputs:?}")
    };
    assert_eq!(
        *confirmed,
        Confirmed {
            job_id: "AJ_1".into(),
            number,
            ended: true
        }
    );
    assert_eq!(story.protocol.jobs(), 0);
}

#[test]
fn an_accepted_offer_that_the_server_ends_is_over() {
    let mut story = Story::registered(1);
    story.offers("AJ_1");
    story.accepts("AJ_1");
    story.outputs();
    story.says(FromServer::Termination(pb::JobTermination {
        job_id: "AJ_1".into(),
    }));
    assert!(matches!(
        story.outputs().as_slice(),
        [Output::Lapsed { .. }]
    ));
    assert_eq!(story.slots.taken(), 0);
}

#[test]
fn a_message_from_a_newer_server_is_no_fault() {
    let mut story = Story::registered(1);
    story
        .protocol
        .handle(pb::ServerMessage { message: None }, story.now);
    assert!(story.outputs().is_empty());
}

/// Anything that can happen to the machine.
#[derive(Debug, Clone)]
enum Step {
    Connect,
    Disconnect,
    Registered,
    Offer { job: u8, kind: i32, room: bool },
    Answer { job: u8, accept: bool },
    Assign { job: u8, token: bool },
    Terminate { job: u8 },
    Pong { ping: i64 },
    Unknown,
    Report { job: u8, status: i32 },
    DropSlot { index: usize },
    Pass { ms: u64 },
    Drain,
    Take,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let job = 0..6u8;
    let step = prop_oneof![
        1 => Just(Step::Connect),
        1 => Just(Step::Disconnect),
        2 => Just(Step::Registered),
        6 => (job.clone(), prop_oneof![4 => Just(0), 1 => -1..4], any::<bool>()).prop_map(|(job, kind, no_room)| Step::Offer { job, kind, room: !no_room || kind == 0 }),
        6 => (job.clone(), prop::bool::weighted(0.8)).prop_map(|(job, accept)| Step::Answer { job, accept }),
        6 => (job.clone(), prop::bool::weighted(0.9)).prop_map(|(job, token)| Step::Assign { job, token }),
        2 => job.clone().prop_map(|job| Step::Terminate { job }),
        3 => prop_oneof![0..200_000i64, any::<i64>()].prop_map(|ping| Step::Pong { ping }),
        1 => Just(Step::Unknown),
        4 => (job, 0..5i32).prop_map(|(job, status)| Step::Report { job, status }),
        3 => (0..8usize).prop_map(|index| Step::DropSlot { index }),
        4 => (0..12_000u64).prop_map(|ms| Step::Pass { ms }),
        1 => prop::bool::weighted(0.1).prop_map(|drain| if drain { Step::Drain } else { Step::Take }),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    #[test]
    fn no_order_of_events_panics_or_loses_a_place(steps in steps(), capacity in 0..4u32) {
        let mut story = Story::new(capacity);
        let mut held: Vec<Slot> = Vec::new();
        for step in steps {
            match step {
                Step::Connect => story.protocol.connected(story.now),
                Step::Disconnect => story.protocol.disconnected(),
                Step::Registered => story.says(FromServer::Register(pb::RegisterWorkerResponse::default())),
                Step::Offer { job: id, kind, room } => {
                    let mut job = pb::Job { r#type: kind, ..job(&format!("{id}")) };
                    if !room {
                        job.room = None;
                    }
                    story.says(FromServer::Availability(pb::AvailabilityRequest { job: Some(job), resuming: false }));
                }
                Step::Answer { job, accept: true } => story.accepts(&job.to_string()),
                Step::Answer { job, accept: false } => {
                    story.protocol.answer(&job.to_string(), Verdict::Decline { reason: String::new() }, story.now);
                }
                Step::Assign { job: id, token } => {
                    let token = if token { "t".to_owned() } else { String::new() };
                    story.says(FromServer::Assignment(pb::JobAssignment { job: Some(job(&id.to_string())), url: None, token }));
                }
                Step::Terminate { job } => story.says(FromServer::Termination(pb::JobTermination { job_id: job.to_string() })),
                Step::Pong { ping } => story.pongs(ping),
                Step::Unknown => story.protocol.handle(pb::ServerMessage::default(), story.now),
                Step::Report { job, status } => {
                    let status = pb::JobStatus::try_from(status).unwrap_or(pb::JobStatus::JsPending);
                    story.reports(&job.to_string(), status);
                }
                Step::DropSlot { index } => {
                    if index < held.len() {
                        drop(held.swap_remove(index));
                    }
                }
                Step::Pass { ms } => story.passes(Duration::from_millis(ms)),
                Step::Drain => story.protocol.drain(story.now),
                Step::Take => held.extend(story.slots.take()),
            }
            for output in story.outputs() {
                match output {
                    Output::Assigned(assigned) => held.push(assigned.slot),
                    Output::Send(message) => {
                        if let ToServer::UpdateWorker(update) = *message {
                            prop_assert!(update.load < 0.7 || update.status() == pb::WorkerStatus::WsFull);
                            prop_assert!(update.job_count <= capacity);
                        }
                    }
                    _ => {}
                }
            }
            prop_assert!(story.slots.taken() <= capacity);
            let open = story.protocol.offers.len();
            prop_assert_eq!(story.slots.taken() as usize, open + held.len(), "each taken place is an offer's or a job's");
        }
        held.clear();
        story.protocol.disconnected();
        prop_assert_eq!(story.slots.taken(), 0);
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        use prost::Message as _;
        if let Ok(message) = pb::ServerMessage::decode(bytes.as_slice()) {
            let mut story = Story::registered(1);
            story.protocol.handle(message, story.now);
            story.outputs();
            prop_assert!(story.slots.taken() <= 1);
        }
    }
}
