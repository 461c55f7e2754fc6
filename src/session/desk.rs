//! The front desk: which jobs are interviews that can be held now, and which interviews are being held.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::conduct::{Conductor, Engagement};
use crate::health::Health;
use crate::interview::InterviewId;
use crate::interview::event::EndReason;
use crate::interview::plan::Plan;
use crate::spawn::panic_text;
use crate::worker::{Assignment, JobDesk, JobOffer, StatusError, Verdict};

/// Time for running interviews to say goodbye when Viva is stopped.
pub const STOP_LIMIT: Duration = Duration::from_secs(12);

/// A job that is called ended this soon may be very much alive: when the first try to connect is repeated with the same
/// token, LiveKit ends the job of the try that was given up (livekit/livekit#4887).
const JOINING: Duration = Duration::from_secs(15);

/// The identity under which Viva is in a room; the same each time, so that LiveKit replaces a ghost of itself.
const IDENTITY: &str = "viva";

/// What a job's metadata may say: a JSON object with these keys, or the plan's name alone.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct JobMetadata {
    plan: Option<String>,
    candidate: Option<String>,
}

impl JobMetadata {
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::default());
        }
        if text.starts_with('{') {
            return serde_json::from_str(text).map_err(|e| {
                format!("the job's metadata is not what it should be ({e}); it may be {{\"plan\": \"NAME\", \"candidate\": \"IDENTITY\"}}")
            });
        }
        Ok(Self {
            plan: Some(text.to_owned()),
            candidate: None,
        })
    }
}

/// Takes jobs and holds interviews; cheap to clone.
#[derive(Clone)]
pub struct Desk(Arc<Inner>);

struct Inner {
    conductor: Arc<Conductor>,
    plans: BTreeMap<String, Arc<Plan>>,
    default_plan: String,
    room_prefix: String,
    health: Health,
    stop: CancellationToken,
    held: Mutex<HashMap<InterviewId, Held>>,
    sessions: TaskTracker,
}

struct Held {
    job: String,
    since: Instant,
    stop: CancellationToken,
}

impl Desk {
    /// A desk with no interview at it.
    pub fn new(
        conductor: Conductor,
        plans: BTreeMap<String, Arc<Plan>>,
        interviews: &crate::config::Interviews,
        health: Health,
        stop: CancellationToken,
    ) -> Self {
        Self(Arc::new(Inner {
            conductor: Arc::new(conductor),
            plans,
            default_plan: interviews.default_plan.clone(),
            room_prefix: interviews.room_prefix.clone(),
            health,
            stop,
            held: Mutex::default(),
            sessions: TaskTracker::new(),
        }))
    }

    /// Waits until every interview has said goodbye, at most [`STOP_LIMIT`].
    pub async fn close(&self) {
        let sessions = &self.0.sessions;
        sessions.close();
        if tokio::time::timeout(STOP_LIMIT, sessions.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                "{} interviews did not end within {} s and are cut off",
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

    /// What an offer is about, or why it is declined.
    fn consider(
        &self,
        room: &str,
        metadata: &str,
    ) -> Result<(InterviewId, String, Arc<Plan>, Option<String>), String> {
        let Some(id) = room.strip_prefix(&self.room_prefix) else {
            return Err(format!(
                "{room} is no interview: its name does not begin with {}",
                self.room_prefix
            ));
        };
        let id = InterviewId::new(id).map_err(|e| format!("{room} is no interview: {e}"))?;
        let metadata = JobMetadata::parse(metadata)?;
        let name = metadata.plan.unwrap_or_else(|| self.default_plan.clone());
        let Some(plan) = self.plans.get(&name) else {
            let known: Vec<_> = self.plans.keys().map(String::as_str).collect();
            return Err(format!(
                "there is no plan {name:?}; known are: {}",
                known.join(", ")
            ));
        };
        if self.held().contains_key(&id) {
            return Err(format!("interview {id} is being held already"));
        }
        if self.stop.is_cancelled() {
            return Err("Viva is being stopped".into());
        }
        let missing = self.health.missing();
        if !missing.is_empty() {
            return Err(format!("not ready: {}", missing.join("; ")));
        }
        Ok((id, name, plan.clone(), metadata.candidate))
    }

    async fn hold(
        self: Arc<Self>,
        engagement: Engagement,
        assignment: Assignment,
        stop: CancellationToken,
    ) {
        let id = engagement.interview.clone();
        let status = assignment.status;
        report(&id, status.running().await);
        let conducting = self
            .conductor
            .clone()
            .conduct(engagement, stop, async |_: &EndReason| {
                report(&id, status.succeeded().await)
            });
        let failure = match AssertUnwindSafe(conducting).catch_unwind().await {
            Ok(Ok(reason)) => {
                tracing::info!(interview_id = %id, ?reason, "left the room");
                None
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(panic) => Some(format!(
                "the session broke down: {}",
                panic_text(panic.as_ref())
            )),
        };
        if let Some(cause) = failure {
            tracing::error!(interview_id = %id, "{cause}");
            report(&id, status.failed(&cause).await);
        }
        self.held().remove(&id);
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
                tracing::info!(interview_id = %id, room = offer.room, job_id = offer.job_id, plan, "the job is accepted");
                Verdict::Accept {
                    identity: IDENTITY.into(),
                    name: "Viva".into(),
                    metadata: String::new(),
                    attributes: HashMap::new(),
                }
            }
            Err(reason) => {
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
        let stop = self.0.stop.child_token();
        let held = Held {
            job: offer.job_id.clone(),
            since: Instant::now(),
            stop: stop.clone(),
        };
        self.0.held().insert(interview.clone(), held);
        let engagement = Engagement {
            interview,
            room: offer.room.clone(),
            url: assignment.url.clone(),
            token: assignment.token.clone(),
            plan,
            plan_name,
            candidate,
        };
        self.0
            .sessions
            .spawn(self.0.clone().hold(engagement, assignment, stop));
    }

    fn lapsed(&self, job_id: &str) {
        tracing::info!(job_id, "the job went to another worker");
    }

    fn terminated(&self, job_id: &str) {
        if let Some(held) = self.0.held().values().find(|h| h.job == job_id) {
            if held.since.elapsed() < JOINING {
                tracing::warn!(
                    job_id,
                    "LiveKit calls the job ended while it is being taken up; the room decides"
                );
                return;
            }
            tracing::warn!(job_id, "LiveKit ended the job");
            held.stop.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_names_a_plan_in_json_or_by_itself() {
        assert_eq!(JobMetadata::parse(""), Ok(JobMetadata::default()));
        assert_eq!(
            JobMetadata::parse(" rust-senior "),
            Ok(JobMetadata {
                plan: Some("rust-senior".into()),
                candidate: None
            })
        );
        let both = JobMetadata {
            plan: Some("a".into()),
            candidate: Some("ada".into()),
        };
        assert_eq!(
            JobMetadata::parse(r#"{"plan":"a","candidate":"ada"}"#),
            Ok(both)
        );
    }

    #[test]
    fn metadata_with_an_unknown_key_is_named() {
        let error = JobMetadata::parse(r#"{"paln":"a"}"#).unwrap_err();
        assert!(
            error.contains("paln") && error.contains("\"plan\""),
            "{error}"
        );
    }
}
