//! A desk that writes down what it is told and answers as the test says.
#![allow(dead_code, reason = "no test needs all of it")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on says so"
)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use viva::config::{LiveKitKey, Secret};
use viva::worker::{Assignment, JobDesk, JobOffer, Verdict, Worker, WorkerOptions, WorkerStatus};

/// For anything that a test waits for.
pub const LIMIT: Duration = Duration::from_secs(30);
/// More events than any test makes.
const EVENTS_MAX: usize = 1000;

/// What the desk was told.
#[derive(Debug)]
pub enum Event {
    Offer(JobOffer),
    Assigned(Box<Assignment>),
    Lapsed(String),
    Terminated(String),
}

type Judge = Box<dyn Fn(&JobOffer) -> Verdict + Send + Sync>;

struct Desk {
    judge: Judge,
    events: mpsc::Sender<Event>,
}

impl JobDesk for Desk {
    fn offer(&self, offer: &JobOffer) -> Verdict {
        self.tell(Event::Offer(offer.clone()));
        (self.judge)(offer)
    }
    fn assigned(&self, assignment: Assignment) {
        self.tell(Event::Assigned(Box::new(assignment)));
    }
    fn lapsed(&self, job_id: &str) {
        self.tell(Event::Lapsed(job_id.to_owned()));
    }
    fn terminated(&self, job_id: &str) {
        self.tell(Event::Terminated(job_id.to_owned()));
    }
}

impl Desk {
    fn tell(&self, event: Event) {
        // A test that has ended hears no more.
        let _ = self.events.try_send(event);
    }
}

/// A running worker, its desk's events and its status.
pub struct Running {
    pub events: mpsc::Receiver<Event>,
    pub status: tokio::sync::watch::Receiver<WorkerStatus>,
    pub stop: CancellationToken,
    pub task: JoinHandle<()>,
}

impl Running {
    pub fn start(
        options: WorkerOptions,
        judge: impl Fn(&JobOffer) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let worker = Worker::new(
            options,
            Arc::new(Desk {
                judge: Box::new(judge),
                events: sender,
            }),
        )
        .expect("a good URL");
        let (status, stop) = (worker.status(), CancellationToken::new());
        let task = tokio::spawn(worker.run(stop.clone()));
        Self {
            events,
            status,
            stop,
            task,
        }
    }

    pub async fn event(&mut self) -> Event {
        within("an event at the desk", self.events.recv())
            .await
            .expect("a living worker")
    }

    pub async fn offer(&mut self) -> JobOffer {
        match self.event().await {
            Event::Offer(offer) => offer,
            other => panic!("an offer was due, not {other:?}"),
        }
    }

    pub async fn assignment(&mut self) -> Assignment {
        match self.event().await {
            Event::Assigned(assignment) => *assignment,
            other => panic!("an assignment was due, not {other:?}"),
        }
    }

    pub async fn status_when(
        &mut self,
        what: &str,
        reached: impl FnMut(&WorkerStatus) -> bool,
    ) -> WorkerStatus {
        within(what, self.status.wait_for(reached))
            .await
            .expect("a living worker")
            .clone()
    }

    pub async fn registered(&mut self) -> WorkerStatus {
        self.status_when("a registration", WorkerStatus::is_registered)
            .await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub async fn within<F: IntoFuture>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {LIMIT:?} in vain for {what}"),
    }
}

pub fn options(url: &str, key: &str, secret: &str, capacity: u32) -> WorkerOptions {
    let key = LiveKitKey {
        key: key.to_owned(),
        secret: Secret::new(secret),
    };
    WorkerOptions {
        url: url.to_owned(),
        key,
        agent_name: "viva".into(),
        version: "0.1.0".into(),
        capacity,
    }
}

/// Accepts every offer as `agent-ROOM`.
pub fn accept(offer: &JobOffer) -> Verdict {
    Verdict::Accept {
        identity: format!("agent-{}", offer.room),
        name: "Viva".into(),
        metadata: "about me".into(),
        attributes: HashMap::from([("flavour".to_owned(), "plain".to_owned())]),
    }
}

pub fn decline(_: &JobOffer) -> Verdict {
    Verdict::Decline {
        reason: "not today".into(),
    }
}
