//! The front desk: which jobs are interviews that can be held now, and which interviews are being held.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::conduct::{Conductor, Engagement, Outcome};
use super::live::{HAND_OVER_LIMIT, Stops};
use super::metadata::JobMetadata;
use super::ward::{Failure, Ward};
use crate::health::vitals::{Heart, Sign};
use crate::health::{Health, metrics};
use crate::interview::InterviewId;
use crate::interview::plan::Plan;
use crate::journal::InterviewRow;
use crate::sync::{Elsewhere, Holding};
use crate::voice::endpoint::EndpointSettings;
use crate::worker::{Assignment, JobDesk, JobOffer, Slots, StatusError, Verdict};

/// Time for running interviews to come to where another process can go on: their own limit, and a disk's hesitation.
pub const STOP_LIMIT: Duration = HAND_OVER_LIMIT.saturating_add(Duration::from_secs(1));

/// An interview whose session broke down is taken up again so often; then the next start of the service tries, unless the
/// journal has set it aside.
const BREAKDOWNS_MAX: u32 = 2;

/// A job that is called ended this soon may be very much alive: when the first try to connect is repeated with the same
/// token, LiveKit ends the job of the try that was given up (livekit/livekit#4887).
const JOINING: Duration = Duration::from_secs(15);

/// The identity under which Viva is in a room; the same each time, so that LiveKit replaces a ghost of itself.
pub const IDENTITY: &str = "viva";

/// The name that others in the room see.
pub const NAME: &str = "Viva";

/// Takes jobs and holds interviews; cheap to clone.
#[derive(Clone)]
pub struct Desk(Arc<Inner>);

/// What new interviews are held by; it may change while the service runs.
#[derive(Debug)]
pub struct Terms {
    /// What can be asked, by name.
    pub plans: BTreeMap<String, Arc<Plan>>,
    /// The plan of jobs that name none.
    pub default_plan: String,
    /// Rooms whose names begin with it are interviews.
    pub room_prefix: String,
    /// When the candidate has spoken and has finished.
    pub endpointing: EndpointSettings,
}

struct Inner {
    conductor: Arc<Conductor>,
    terms: Mutex<Arc<Terms>>,
    health: Health,
    hand_over: CancellationToken,
    elsewhere: Elsewhere,
    held: Mutex<HashMap<InterviewId, Held>>,
    sessions: TaskTracker,
    ward: Ward,
}

struct Held {
    job: Option<String>,
    since: Instant,
    dismissed: CancellationToken,
    superseded: CancellationToken,
}

impl Desk {
    /// A desk with no interview at it.
    pub fn new(
        conductor: Conductor,
        terms: Terms,
        health: Health,
        hand_over: CancellationToken,
        elsewhere: Elsewhere,
    ) -> Self {
        Self(Arc::new(Inner {
            conductor: Arc::new(conductor),
            terms: Mutex::new(Arc::new(terms)),
            health,
            hand_over,
            elsewhere,
            held: Mutex::default(),
            sessions: TaskTracker::new(),
            ward: Ward::default(),
        }))
    }

    /// Goes on with these interviews from the journal. Each takes one of `slots`. Those that another appliance may
    /// conduct by now are asked about first.
    pub fn take_up(&self, live: Vec<InterviewRow>, slots: &Slots, asks_first: bool) {
        for row in live {
            let Some(stops) = self.0.keep(&row.id, None) else {
                continue;
            };
            let (inner, slot) = (self.0.clone(), slots.take_beyond());
            let about = about(&row.id, &row.room, None);
            let going_on = async move {
                let (id, stopped) = (row.id, stops.hand_over.clone());
                let is_elsewhere =
                    async { asks_first && inner.conductor.is_elsewhere(&id, &row.room).await };
                let goes_on = tokio::select! {
                    elsewhere = is_elsewhere => !elsewhere,
                    () = stopped.cancelled() => false,
                };
                if goes_on {
                    inner.resume(id, row.room, stops).await;
                } else {
                    inner.held().remove(&id);
                }
                drop(slot);
            };
            self.0.sessions.spawn(going_on.instrument(about));
        }
    }

    /// Another appliance conducts this one: it ends here without a word.
    pub fn superseded(&self, id: &InterviewId, by: &str) {
        if let Some(held) = self.0.held().get(id) {
            // Its session asks and gives it up.
            held.superseded.cancel();
            return;
        }
        let (conductor, id, by) = (self.0.conductor.clone(), id.clone(), by.to_owned());
        let about = tracing::error_span!("interview", interview_id = %id);
        let giving_up = async move { conductor.give_up(&id, &by).await };
        self.0.sessions.spawn(giving_up.instrument(about));
    }

    /// Whether an interview could be begun now.
    pub fn is_open(&self) -> bool {
        !self.0.hand_over.is_cancelled() && self.0.health.missing().is_empty()
    }

    /// Other terms for the interviews to come; those that are on go on by theirs.
    pub fn renew(&self, terms: Terms) {
        let endpointing = &self.0.conductor.endpointing;
        *endpointing.lock().unwrap_or_else(PoisonError::into_inner) = terms.endpointing;
        *self.0.terms.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(terms);
    }

    /// Whether sessions stand still while the runtime moves on: such a one is named and ended alone. It is not well when that
    /// can't be done any more.
    pub fn sign(&self, runtime: &Heart) -> Sign {
        self.0.ward.sign(runtime)
    }

    /// A line for each interview that is on, without a wait: empty while the desk is at work itself.
    pub fn overview(&self) -> Vec<String> {
        let Ok(held) = self.0.held.try_lock() else {
            return Vec::new();
        };
        let line = |(id, held): (&InterviewId, &Held)| {
            let s = held.since.elapsed().as_secs();
            let job = held.job.as_deref().unwrap_or("none, it was taken up");
            format!("interview {id}, job {job}, for {s} s")
        };
        held.iter().map(line).collect()
    }

    /// Waits until every interview is where another process can go on with it, at most [`STOP_LIMIT`].
    pub async fn close(&self) {
        let sessions = &self.0.sessions;
        sessions.close();
        if tokio::time::timeout(STOP_LIMIT, sessions.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                "{} interviews are cut off: they did not come to a sentence's end within {} s",
                sessions.len(),
                STOP_LIMIT.as_secs()
            );
        }
    }
}

impl Inner {
    fn held(&self) -> MutexGuard<'_, HashMap<InterviewId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn terms(&self) -> Arc<Terms> {
        let terms = self.terms.lock().unwrap_or_else(PoisonError::into_inner);
        terms.clone()
    }

    /// What an offer is about, or why it is declined.
    fn consider(
        &self,
        room: &str,
        metadata: &str,
    ) -> Result<(InterviewId, String, Arc<Plan>, Option<String>), String> {
        let terms = self.terms();
        let Some(id) = room.strip_prefix(&terms.room_prefix) else {
            return Err(format!(
                "{room} is no interview: its name does not begin with {}",
                terms.room_prefix
            ));
        };
        let id = InterviewId::new(id).map_err(|e| format!("{room} is no interview: {e}"))?;
        let metadata = JobMetadata::parse(metadata)?;
        let name = metadata.plan.unwrap_or_else(|| terms.default_plan.clone());
        let Some(plan) = terms.plans.get(&name) else {
            let known: Vec<_> = terms.plans.keys().map(String::as_str).collect();
            return Err(format!(
                "there is no plan {name:?}; known are: {}",
                known.join(", ")
            ));
        };
        if self.held().contains_key(&id) {
            return Err(format!("interview {id} is being held already"));
        }
        match self.elsewhere.holding(&id) {
            Some(Holding::Conducted(appliance)) => {
                return Err(format!("interview {id} is held by {appliance}"));
            }
            Some(Holding::Abandoned(appliance)) => {
                return Err(format!(
                    "interview {id} is about to be taken over from {appliance}"
                ));
            }
            None => {}
        }
        if self.hand_over.is_cancelled() {
            return Err("Viva is being stopped".into());
        }
        let missing = self.health.missing();
        if !missing.is_empty() {
            return Err(format!("not ready: {}", missing.join("; ")));
        }
        Ok((id, name, plan.clone(), metadata.candidate))
    }

    /// Notes that the interview is held here; nothing if it is already.
    fn keep(&self, id: &InterviewId, job: Option<String>) -> Option<Stops> {
        let stops = Stops {
            hand_over: self.hand_over.clone(),
            dismissed: CancellationToken::new(),
            superseded: CancellationToken::new(),
        };
        let mut held = self.held();
        if held.contains_key(id) {
            return None;
        }
        held.insert(
            id.clone(),
            Held {
                job,
                since: Instant::now(),
                dismissed: stops.dismissed.clone(),
                superseded: stops.superseded.clone(),
            },
        );
        Some(stops)
    }

    async fn hold(self: Arc<Self>, engagement: Engagement, assignment: Assignment, stops: Stops) {
        let (id, room) = (engagement.interview.clone(), engagement.room.clone());
        metrics::interview_started();
        let status = Arc::new(assignment.status);
        report(&id, status.running().await);
        let (conductor, told) = (self.conductor.clone(), stops.clone());
        let (job, interview) = (status.clone(), id.clone());
        let conducting = self.ward.run(&id, &room, |pulse| {
            conductor.conduct(engagement, told, pulse, async move |_: &Outcome| {
                report(&interview, job.succeeded().await)
            })
        });
        match conducting.await {
            Ok(outcome) => {
                count(&outcome);
                tracing::info!(interview_id = %id, ?outcome, "left the room");
            }
            Err(Failure::Session(error)) => {
                metrics::interview_ended("failed");
                tracing::error!(interview_id = %id, "{error}");
                report(&id, status.failed(&error.to_string()).await);
            }
            Err(Failure::Breakdown(cause)) => {
                tracing::error!(interview_id = %id, "the session broke down and is taken up again: {cause}");
                self.clone().resume(id.clone(), room, stops).await;
                report(&id, status.succeeded().await);
            }
        }
        self.held().remove(&id);
        // The place is free from here on.
        drop(assignment.slot);
    }

    /// Goes on with an interview from its journal, again if that breaks down.
    async fn resume(self: Arc<Self>, id: InterviewId, room: String, stops: Stops) {
        for _ in 0..BREAKDOWNS_MAX {
            if !self.ward.has_room_for_another_try() {
                tracing::error!(interview_id = %id, "it is left to the next start: too few threads are free");
                break;
            }
            let (conductor, told) = (self.conductor.clone(), stops.clone());
            let resuming = self.ward.run(&id, &room, |pulse| {
                conductor.resume(id.clone(), told, pulse, async |_: &Outcome| ())
            });
            match resuming.await {
                Ok(outcome) => {
                    count(&outcome);
                    tracing::info!(interview_id = %id, ?outcome, "left the room");
                    break;
                }
                Err(Failure::Session(error)) => {
                    tracing::error!(interview_id = %id, "{error}");
                    break;
                }
                Err(Failure::Breakdown(cause)) => {
                    tracing::error!(interview_id = %id, "the session broke down again: {cause}");
                }
            }
        }
        self.held().remove(&id);
    }
}

/// What the lines of the log are about that are written in this interview's tasks. At the highest level, so that it is there whatever
/// level the lines have.
fn about(id: &InterviewId, room: &str, job_id: Option<&str>) -> tracing::Span {
    tracing::error_span!("interview", interview_id = %id, room, job_id)
}

/// One that another process goes on with has not ended.
fn count(outcome: &Outcome) {
    if let Outcome::Ended(reason) = outcome {
        metrics::interview_ended(reason.name());
    }
}

/// The interview does not depend on whether LiveKit knows how it goes.
fn report(id: &InterviewId, told: Result<(), StatusError>) {
    if let Err(error) = told {
        tracing::warn!(interview_id = %id, "{error}");
    }
}

impl JobDesk for Desk {
    fn offer(&self, offer: &JobOffer) -> Verdict {
        match self.0.consider(&offer.room, &offer.metadata) {
            Ok((id, plan, ..)) => {
                metrics::job_answered(true);
                tracing::info!(interview_id = %id, room = offer.room, job_id = offer.job_id, plan, "the job is accepted");
                Verdict::Accept {
                    identity: IDENTITY.into(),
                    name: NAME.into(),
                    metadata: String::new(),
                    attributes: HashMap::new(),
                }
            }
            Err(reason) => {
                metrics::job_answered(false);
                tracing::info!(
                    room = offer.room,
                    job_id = offer.job_id,
                    "the job is declined: {reason}"
                );
                Verdict::Decline { reason }
            }
        }
    }

    fn assigned(&self, assignment: Assignment) {
        let offer = &assignment.offer;
        let (interview, plan_name, plan, candidate) =
            match self.0.consider(&offer.room, &offer.metadata) {
                Ok(considered) => considered,
                Err(reason) => {
                    // Something changed between the offer and now; dropping the assignment reports the job as failed.
                    tracing::warn!(
                        room = offer.room,
                        job_id = offer.job_id,
                        "the job can't be taken up: {reason}"
                    );
                    return;
                }
            };
        let Some(stops) = self.0.keep(&interview, Some(offer.job_id.clone())) else {
            tracing::warn!(interview_id = %interview, job_id = offer.job_id, "the job can't be taken up: the interview is being held already");
            return;
        };
        let about = about(&interview, &offer.room, Some(&offer.job_id));
        let engagement = Engagement {
            interview,
            room: offer.room.clone(),
            url: assignment.url.clone(),
            token: assignment.token.clone(),
            plan,
            plan_name,
            candidate,
        };
        let holding = self.0.clone().hold(engagement, assignment, stops);
        self.0.sessions.spawn(holding.instrument(about));
    }

    fn lapsed(&self, job_id: &str) {
        tracing::info!(job_id, "the job went to another worker");
    }

    fn terminated(&self, job_id: &str) {
        if let Some(held) = self
            .0
            .held()
            .values()
            .find(|h| h.job.as_deref() == Some(job_id))
        {
            if held.since.elapsed() < JOINING {
                tracing::warn!(
                    job_id,
                    "LiveKit calls the job ended while it is being taken up; the room decides"
                );
                return;
            }
            tracing::warn!(job_id, "LiveKit ended the job");
            held.dismissed.cancel();
        }
    }
}
