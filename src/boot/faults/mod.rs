//! Starts that something is wrong with, made up from a seed: each must be ready or have ended with its cause named.
//!
//! Everything happens in a scratch directory; the models of the machine are linked into it, and what is damaged is a
//! copy. The same seed and number give the same fault.

mod scratch;

use std::time::{Duration, Instant};

use serde::Serialize;

use super::Timeline;
use super::components::{self, Components};
use crate::config::{Config, Environment};
use crate::health::{Condition, Health};

pub use scratch::Scratch;

/// A start that is not over so long after its limit hangs: what a machine may need that is busy with something else.
const NOTICE_LIMIT: Duration = Duration::from_secs(30);

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Nothing.
    None,
    /// A byte of a model file is another.
    ModelCorrupt(Part),
    /// A model file ends too early.
    ModelTruncated(Part),
    /// A model file is not there.
    ModelMissing(Part),
    /// A model file is a directory.
    ModelIsDirectory(Part),
    /// A model file comes slowly, in so many milliseconds.
    ModelSlow(Part, u16),
    /// A model file never comes.
    ModelStuck(Part),
    /// The journal's first page is noise.
    JournalDamaged,
    /// The journal is another program's database.
    JournalForeign,
    /// Another process writes the journal.
    JournalTaken,
    /// Another program holds SQLite's own lock.
    JournalLocked,
    /// The state directory is a file.
    StateIsFile,
    /// The default plan is no plan.
    PlanBroken,
    /// The directory of plans is not there.
    PlansMissing,
    /// A plan comes slowly, in so many milliseconds.
    PlanSlow(u16),
    /// A plan never comes.
    PlanStuck,
    /// Another program listens on the port.
    PortTaken,
    /// The file with a provider's key is not there.
    KeyMissing,
    /// The file with a provider's key is empty.
    KeyEmpty,
    /// A provider's address is none.
    BadAddress,
    /// No provider is there.
    ProvidersDown,
    /// The providers accept and say nothing.
    ProvidersSilent,
    /// There is no `espeak-ng`.
    NoEspeak,
    /// Told to stop after so many milliseconds.
    Stopped(u16),
}

/// A model file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Silero; without it loudness tells speech.
    Vad,
    /// Smart Turn; without it silence tells the end of a turn.
    Turn,
    /// Moonshine's encoder.
    Stt,
    /// Piper's settings.
    Tts,
}

/// What a fault must lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Ready, as if nothing were.
    Ready,
    /// Ready, with this component degraded.
    Degraded(&'static str),
    /// The end, whose cause has this in it.
    Ends(&'static str),
    /// Ready, or stopped before that.
    Stops,
}

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

impl Fault {
    /// Any fault; about one in eight is none.
    pub fn any(random: &mut fastrand::Rng) -> Self {
        let ms = random.u16(1..400);
        match random.u8(0..32) {
            0..=3 => Self::None,
            4..=5 => Self::ModelCorrupt(Part::any(random)),
            6..=7 => Self::ModelTruncated(Part::any(random)),
            8..=9 => Self::ModelMissing(Part::any(random)),
            10 => Self::ModelIsDirectory(Part::any(random)),
            11..=12 => Self::ModelSlow(Part::any(random), ms),
            13 => Self::ModelStuck(Part::any(random)),
            14 => Self::JournalDamaged,
            15 => Self::JournalForeign,
            16 => Self::JournalTaken,
            17 => Self::JournalLocked,
            18 => Self::StateIsFile,
            19 => Self::PlanBroken,
            20 => Self::PlansMissing,
            21 => Self::PlanSlow(ms),
            22 => Self::PlanStuck,
            23 => Self::PortTaken,
            24 => Self::KeyMissing,
            25 => Self::KeyEmpty,
            26 => Self::BadAddress,
            27 => Self::ProvidersDown,
            28 => Self::ProvidersSilent,
            29 => Self::NoEspeak,
            _ => Self::Stopped(ms),
        }
    }

    /// Whether it is one of the remote or of the embedded engines; else either may be used.
    fn needs_embedded(self) -> Option<bool> {
        match self {
            Self::KeyMissing
            | Self::KeyEmpty
            | Self::BadAddress
            | Self::ProvidersDown
            | Self::ProvidersSilent => Some(false),
            Self::NoEspeak => Some(true),
            Self::ModelCorrupt(part)
            | Self::ModelTruncated(part)
            | Self::ModelMissing(part)
            | Self::ModelIsDirectory(part)
            | Self::ModelSlow(part, _)
            | Self::ModelStuck(part) => match part {
                Part::Vad | Part::Turn => None,
                Part::Stt | Part::Tts => Some(true),
            },
            _ => None,
        }
    }

    fn expected(self) -> Expected {
        match self {
            Self::None | Self::ProvidersDown | Self::ProvidersSilent => Expected::Ready,
            Self::ModelSlow(..) | Self::PlanSlow(_) => Expected::Ready,
            Self::ModelCorrupt(part) | Self::ModelTruncated(part) => part.without("sha256"),
            Self::ModelMissing(part) | Self::ModelIsDirectory(part) => part.without("models/fetch"),
            Self::ModelStuck(part) => part.without("still not done"),
            Self::JournalDamaged | Self::JournalForeign => Expected::Ends("journal.sqlite3"),
            Self::JournalTaken => Expected::Ends("another process"),
            Self::JournalLocked => Expected::Ends("the journal"),
            Self::StateIsFile => Expected::Ends("state"),
            Self::PlanBroken => Expected::Ends("demo.toml"),
            Self::PlansMissing => Expected::Ends("plans_directory"),
            Self::PlanStuck => Expected::Ends("the plans"),
            Self::PortTaken => Expected::Ends("http.listen"),
            Self::KeyMissing | Self::KeyEmpty => Expected::Ends("stt-key"),
            Self::BadAddress => Expected::Ends("base_url"),
            Self::NoEspeak => Expected::Ends("espeak-ng"),
            Self::Stopped(_) => Expected::Stops,
        }
    }
}

impl Part {
    fn any(random: &mut fastrand::Rng) -> Self {
        match random.u8(0..4) {
            0 => Self::Vad,
            1 => Self::Turn,
            2 => Self::Stt,
            _ => Self::Tts,
        }
    }

    /// What its absence leads to, with `cause` in the message where that is the end.
    fn without(self, cause: &'static str) -> Expected {
        match self {
            Self::Vad => Expected::Degraded("vad"),
            Self::Turn => Expected::Degraded("turn"),
            Self::Stt | Self::Tts => Expected::Ends(cause),
        }
    }
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
    let embedded = fault.needs_embedded().unwrap_or_else(|| random.bool());
    let scratch = Scratch::prepare(fault, embedded, config, &mut random)?;
    let started = Instant::now();
    let (result, health) = start(&scratch, fault, limit).await;
    let elapsed = started.elapsed();
    let broken_promise = judge(fault, &result, &health);
    Ok(Outcome {
        number,
        fault,
        embedded,
        elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        result: match result {
            Started::Ready => Ok(()),
            Started::Ended(cause) => Err(cause),
            Started::Stopped => Err("told to stop".into()),
            Started::Hangs => Err("hangs".into()),
        },
        broken_promise,
    })
}

enum Started {
    Ready,
    Ended(String),
    Stopped,
    Hangs,
}

async fn start(scratch: &Scratch, fault: Fault, limit: Duration) -> (Started, Health) {
    let timeline = Timeline::start().within(limit);
    let health = Health::new(timeline.clone());
    let env = Environment::default();
    let stop = async {
        match fault {
            Fault::Stopped(ms) => tokio::time::sleep(Duration::from_millis(ms.into())).await,
            _ => std::future::pending().await,
        }
    };
    let started = tokio::select! {
        loaded = components::load(&scratch.config, &env, &timeline, &health, None) => match loaded {
            Ok(components) => {
                end(components).await;
                Started::Ready
            }
            Err(error) => Started::Ended(error.to_string()),
        },
        () = stop => Started::Stopped,
        () = tokio::time::sleep(limit + NOTICE_LIMIT) => Started::Hangs,
    };
    (started, health)
}

/// Gives up what the next start needs.
async fn end(components: Components) {
    if let Err(error) = components.journal.close().await {
        tracing::debug!("the journal of a start with a fault: {error}");
    }
}

/// What is not as promised.
fn judge(fault: Fault, started: &Started, health: &Health) -> Option<String> {
    let cause = match started {
        Started::Hangs => return Some("it hangs".into()),
        Started::Stopped => None,
        Started::Ready => None,
        Started::Ended(cause) => Some(cause.as_str()),
    };
    // A machine that is busy with other things may be too slow for the limit; then that is the cause, and is named.
    let is_late = cause.is_some_and(|cause| cause.contains("still not done"));
    let is_ready = matches!(started, Started::Ready);
    if is_ready && !health.missing().is_empty() {
        return Some(format!(
            "it is ready without {}",
            health.missing().join(", ")
        ));
    }
    let as_expected = match fault.expected() {
        Expected::Ready => is_ready || is_late,
        Expected::Degraded(name) => {
            let is_degraded = matches!(health.condition(name), Some(Condition::Degraded(_)));
            (is_ready && is_degraded) || is_late
        }
        Expected::Ends(word) => cause.is_some_and(|cause| cause.contains(word)) || is_late,
        Expected::Stops => is_ready || is_late || matches!(started, Started::Stopped),
    };
    let said = cause.unwrap_or("ready");
    (!as_expected).then(|| format!("expected {:?}, and it said: {said}", fault.expected()))
}
