//! The start: stages with deadlines, run side by side, and the timeline that they leave.

pub mod addresses;
pub mod components;
pub mod engines;
pub mod faults;
pub mod plans;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;

/// One finished stage of the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// Its name.
    pub name: &'static str,
    /// When it began, in ms since the timeline's start.
    pub started_ms: u64,
    /// How long it took, in ms.
    pub elapsed_ms: u64,
    /// Empty, or why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// When each stage began and ended, and which are still awaited; cheap to clone.
#[derive(Debug, Clone)]
pub struct Timeline {
    zero: Instant,
    /// No stage of the start may be at work for longer than until then.
    deadline: Option<Instant>,
    stages: Arc<Mutex<Vec<Stage>>>,
    awaited: Arc<watch::Sender<Vec<&'static str>>>,
}

/// Why a stage did not give what it should.
#[derive(Debug, thiserror::Error)]
pub enum StageError<E> {
    /// It failed by itself.
    #[error(transparent)]
    Failed(E),
    /// It was still at work at its deadline.
    #[error("still not done after {0} ms; the disk or the machine may be too slow or stuck")]
    Late(u128),
    /// Its code panicked.
    #[error("broke down: {0}")]
    Panicked(String),
}

impl Timeline {
    /// A timeline that begins now.
    pub fn start() -> Self {
        Self {
            zero: Instant::now(),
            deadline: None,
            stages: Arc::default(),
            awaited: Arc::new(watch::Sender::new(Vec::new())),
        }
    }

    /// The same timeline, whose stages are over at `limit` after its start, whatever their own limits are.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        let deadline = Some(self.zero + limit);
        Self { deadline, ..self }
    }

    /// The stages that are at work, in the order in which they began; now and from now on.
    #[must_use]
    pub fn awaited(&self) -> watch::Receiver<Vec<&'static str>> {
        self.awaited.subscribe()
    }

    /// The stages so far, in the order in which they ended.
    pub fn stages(&self) -> Vec<Stage> {
        self.stages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Milliseconds since the start.
    pub fn elapsed_ms(&self) -> u64 {
        as_ms(self.zero.elapsed())
    }

    /// What a stage that begins now has of its own `limit`: less where the limit of the whole start is nearer.
    #[must_use]
    pub fn limit_of(&self, limit: Duration) -> Duration {
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        self.deadline.map_or(limit, |d| limit.min(left(d)))
    }

    /// Runs blocking work on a thread of its own and waits for it until `limit`.
    ///
    /// # Errors
    /// The work failed, panicked, or is late; late work is left to end by itself, its result is dropped.
    pub async fn blocking<T, E>(
        &self,
        name: &'static str,
        limit: Duration,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<T, StageError<E>>
    where
        T: Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        let started = Instant::now();
        let limit = self.limit_of(limit);
        self.awaited.send_modify(|awaited| awaited.push(name));
        let task = tokio::task::spawn_blocking(work);
        let result = match tokio::time::timeout(limit, task).await {
            Err(_) => Err(StageError::Late(limit.as_millis())),
            Ok(Err(panic)) => Err(StageError::Panicked(panic.to_string())),
            Ok(Ok(Err(error))) => Err(StageError::Failed(error)),
            Ok(Ok(Ok(value))) => Ok(value),
        };
        self.record(
            name,
            started,
            result.as_ref().err().map(ToString::to_string),
        );
        result
    }

    /// Notes a stage that began at `started` and ends now.
    pub fn record(&self, name: &'static str, started: Instant, failure: Option<String>) {
        let stage = Stage {
            name,
            started_ms: as_ms(started.saturating_duration_since(self.zero)),
            elapsed_ms: as_ms(started.elapsed()),
            failure,
        };
        match &stage.failure {
            None => tracing::info!(
                stage = name,
                elapsed_ms = stage.elapsed_ms,
                "{name} is ready"
            ),
            Some(cause) => tracing::warn!(
                stage = name,
                elapsed_ms = stage.elapsed_ms,
                "{name} is not ready: {cause}"
            ),
        }
        self.stages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(stage);
        self.awaited
            .send_modify(|awaited| awaited.retain(|other| *other != name));
    }
}

fn as_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stage_that_is_late_is_named_with_its_limit() {
        let timeline = Timeline::start();
        let (release, held) = std::sync::mpsc::sync_channel::<()>(1);
        let limit = Duration::from_millis(20);
        let late = timeline
            .blocking("disk", limit, move || {
                held.recv().map_err(|e| e.to_string())
            })
            .await;
        assert_eq!(
            late.map_err(|e| e.to_string()),
            Err(
                "still not done after 20 ms; the disk or the machine may be too slow or stuck"
                    .into()
            )
        );
        drop(release);
        let stages = timeline.stages();
        assert_eq!(stages[0].name, "disk");
        let failure = stages[0].failure.as_deref().unwrap_or_default();
        assert!(
            failure.starts_with("still not done after 20 ms"),
            "{failure}"
        );
    }

    #[tokio::test]
    async fn what_is_awaited_is_known_while_it_is_and_no_longer() {
        let timeline = Timeline::start();
        let mut awaited = timeline.awaited();
        let (release, held) = std::sync::mpsc::sync_channel::<()>(1);
        let stage = timeline.blocking("disk", Duration::from_secs(5), move || {
            held.recv().map_err(|e| e.to_string())
        });
        let look = async {
            let during = awaited.wait_for(|names| !names.is_empty()).await;
            let during = during.map(|names| names.clone()).unwrap_or_default();
            release.send(()).unwrap_or_default();
            during
        };
        let (done, during) = tokio::join!(stage, look);
        assert!(done.is_ok());
        assert_eq!(during, ["disk"]);
        assert!(timeline.awaited().borrow().is_empty());
    }

    #[tokio::test]
    async fn the_whole_start_has_a_limit_that_is_no_stage_s_own() {
        let timeline = Timeline::start().within(Duration::ZERO);
        let (release, held) = std::sync::mpsc::sync_channel::<()>(1);
        let late = timeline
            .blocking("disk", Duration::from_secs(60), move || {
                held.recv().map_err(|e| e.to_string())
            })
            .await;
        drop(release);
        assert!(matches!(late, Err(StageError::Late(0))));
    }

    #[tokio::test]
    async fn a_stage_that_panics_is_a_failure_of_that_stage_alone() {
        let timeline = Timeline::start();
        let broken = timeline
            .blocking("model", Duration::from_secs(5), || -> Result<(), String> {
                panic!("bad file")
            })
            .await;
        assert!(matches!(broken, Err(StageError::Panicked(_))));
        let fine = timeline
            .blocking("plans", Duration::from_secs(5), || Ok::<_, String>(7))
            .await;
        assert!(matches!(fine, Ok(7)));
    }
}
