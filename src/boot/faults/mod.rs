//! Starts that something is wrong with, made up from a seed: each must be ready or have ended with its cause named.
//!
//! Everything happens in a scratch directory; the models of the machine are linked into it, and what is damaged is a
//! copy. The same seed and number give the same fault.

mod fault;
mod journals;
mod proof;
mod scratch;

use std::time::{Duration, Instant};

use serde::Serialize;

use super::Timeline;
use super::components::{self, Components};
use crate::config::{Config, Environment};
use crate::health::{Condition, Health};

pub use fault::{Fault, Part};
pub use scratch::Scratch;

use fault::Expected;

/// A start that is not over so long after its limit hangs: what a machine may need that is busy with something else.
const NOTICE_LIMIT: Duration = Duration::from_secs(30);

/// Of the limit of a start, for its stages. The rest is for what has to happen at their end, so that a start that is
/// late is over within its limit.
const STAGES_PERCENT: u32 = 90;

/// What became of a start.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Its number under the seed.
    pub number: u64,
    /// What was wrong.
    pub fault: Fault,
    /// Whether the speech engines were those of this machine.
    pub embedded: bool,
    /// Until it was ready or over.
    pub elapsed_ms: u64,
    /// Ready, or why not.
    pub result: Result<(), String>,
    /// What should not have been: empty if all is as promised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken_promise: Option<String>,
}

/// Start number `number` under `seed`, with `config`'s models, which is to be over at `limit`.
///
/// # Errors
/// The scratch directory can't be prepared, which says nothing about the start.
pub async fn run(
    seed: u64,
    number: u64,
    config: &Config,
    limit: Duration,
) -> std::io::Result<Outcome> {
    let mut random = fastrand::Rng::with_seed(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let fault = Fault::any(&mut random);
    let embedded = fault
        .needs_embedded()
        .unwrap_or_else(|| random.u8(0..4) == 0);
    let scratch = Scratch::prepare(fault, embedded, config, &mut random).await?;
    let started = start(&scratch, fault, limit).await;
    let broken_promise = judge(fault, &started, limit);
    Ok(Outcome {
        number,
        fault,
        embedded,
        elapsed_ms: u64::try_from(started.elapsed.as_millis()).unwrap_or(u64::MAX),
        result: match started.end {
            End::Ready { .. } => Ok(()),
            End::Ended(cause) => Err(cause),
            End::Stopped => Err("told to stop".into()),
            End::Hangs => Err("hangs".into()),
        },
        broken_promise,
    })
}

/// A start that is over.
struct Started {
    end: End,
    elapsed: Duration,
    health: Health,
}

enum End {
    /// With what contradicts that it is.
    Ready {
        contradiction: Option<String>,
    },
    Ended(String),
    Stopped,
    Hangs,
}

async fn start(scratch: &Scratch, fault: Fault, limit: Duration) -> Started {
    let begun = Instant::now();
    let timeline = Timeline::start().within(limit * STAGES_PERCENT / 100);
    let health = Health::new(timeline.clone());
    let env = Environment::default();
    let stop = async {
        match fault {
            Fault::Stopped(ms) => tokio::time::sleep(Duration::from_millis(ms.into())).await,
            _ => std::future::pending().await,
        }
    };
    let mut ready = None;
    let end = tokio::select! {
        loaded = components::load(&scratch.config, &env, &timeline, &health, None) => match loaded {
            Ok(components) => {
                ready = Some(components);
                End::Ready { contradiction: None }
            }
            Err(error) => End::Ended(error.to_string()),
        },
        () = stop => End::Stopped,
        () = tokio::time::sleep(limit + NOTICE_LIMIT) => End::Hangs,
    };
    let elapsed = begun.elapsed();
    let end = match ready {
        Some(components) => End::Ready {
            contradiction: use_and_close(components, scratch.is_embedded()).await,
        },
        None => end,
    };
    Started {
        end,
        elapsed,
        health,
    }
}

/// Tries what is said to be ready, and gives up what the next start needs.
async fn use_and_close(components: Components, embedded: bool) -> Option<String> {
    let contradiction = proof::contradiction(&components, embedded).await;
    if let Err(error) = components.journal.close().await {
        tracing::debug!("the journal of a start with a fault: {error}");
    }
    contradiction
}

/// What is not as promised.
fn judge(fault: Fault, started: &Started, limit: Duration) -> Option<String> {
    if matches!(started.end, End::Hangs) {
        return Some("it hangs".into());
    }
    if started.elapsed > limit {
        let (took, limit) = (started.elapsed.as_millis(), limit.as_millis());
        return Some(format!("it took {took} ms in place of {limit} ms at most"));
    }
    let health = &started.health;
    let is_ready = matches!(started.end, End::Ready { .. });
    if let End::Ready { contradiction } = &started.end {
        let missing = health.missing();
        if !missing.is_empty() {
            return Some(format!("it is ready without {}", missing.join(", ")));
        }
        // What is said to be damaged may turn out to be.
        let is_said = matches!(fault.expected(), Expected::DegradedOrEnds(name, _) if degraded(health).contains(&name));
        if let Some(contradiction) = contradiction.as_ref().filter(|_| !is_said) {
            return Some(format!("it said READY, and {contradiction}"));
        }
    }
    let cause = match &started.end {
        End::Ended(cause) => Some(cause.as_str()),
        _ => None,
    };
    let names = |word: &str| cause.is_some_and(|cause| cause.contains(word));
    let as_expected = match fault.expected() {
        Expected::Ready => is_ready && degraded(health).is_empty(),
        Expected::Degraded(name) => is_ready && degraded(health) == [name],
        Expected::ReadyOrEnds(word) => (is_ready && degraded(health).is_empty()) || names(word),
        Expected::Ends(word) => names(word),
        Expected::DegradedOrEnds(name, word) => {
            is_ready && degraded(health).iter().all(|d| *d == name) || names(word)
        }
        Expected::Stops => is_ready || matches!(started.end, End::Stopped),
    };
    let said = match cause {
        Some(cause) => cause.to_owned(),
        None => format!("ready, degraded: [{}]", degraded(health).join(", ")),
    };
    (!as_expected).then(|| format!("expected {:?}, and it said: {said}", fault.expected()))
}

/// The components that do less than they should.
fn degraded(health: &Health) -> Vec<&'static str> {
    let components = health.snapshot().components.into_iter();
    let degraded = components.filter(|(_, c)| matches!(c.condition, Condition::Degraded(_)));
    degraded.map(|(name, _)| name).collect()
}
