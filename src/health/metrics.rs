//! What Prometheus reads at `/metrics`: what is counted where it happens, and what is looked at when it is asked for.
//!
//! Labels are names of ours and settings, never a person's, a room's or an interview's.

use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// From the 10 ms of a phrase that is at hand to the 10 s that nobody waits for.
const TURN_BUCKETS_S: [f64; 12] = [
    0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.2, 2.0, 4.0, 10.0,
];
/// From a clock that keeps time to one that a candidate hears.
const LAG_BUCKETS_S: [f64; 10] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0,
];
/// From a fast disk to one that stands still.
const COMMIT_BUCKETS_S: [f64; 10] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5,
];

type Labels = Vec<(&'static str, String)>;

/// What this process counts.
struct Counted {
    registry: Registry,
    started: Counter,
    ended: Family<Labels, Counter>,
    taken_over: Counter,
    stuck: Counter,
    threads_held: Gauge,
    jobs: Family<Labels, Counter>,
    turn_stages: Family<Labels, Histogram, fn() -> Histogram>,
    provider_requests: Family<Labels, Counter>,
    webhook_deliveries: Family<Labels, Counter>,
    commits: Histogram,
    event_loop_lag: Histogram,
    audio_lag: Histogram,
    audio_threads_hurried: Gauge,
}

static COUNTED: LazyLock<Counted> = LazyLock::new(Counted::new);

impl Counted {
    fn new() -> Self {
        let mut registry = Registry::default();
        let turn_histogram: fn() -> Histogram = || Histogram::new(TURN_BUCKETS_S);
        let counted = Self {
            started: Counter::default(),
            ended: Family::default(),
            taken_over: Counter::default(),
            stuck: Counter::default(),
            threads_held: Gauge::default(),
            jobs: Family::default(),
            turn_stages: Family::new_with_constructor(turn_histogram),
            provider_requests: Family::default(),
            webhook_deliveries: Family::default(),
            commits: Histogram::new(COMMIT_BUCKETS_S),
            event_loop_lag: Histogram::new(LAG_BUCKETS_S),
            audio_lag: Histogram::new(LAG_BUCKETS_S),
            audio_threads_hurried: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register(
            "viva_interviews_started",
            "Interviews that were begun",
            counted.started.clone(),
        );
        registry.register(
            "viva_interviews_ended",
            "Interviews that came to an end, by how",
            counted.ended.clone(),
        );
        registry.register(
            "viva_interviews_taken_over",
            "Interviews that were taken over from an appliance that is gone",
            counted.taken_over.clone(),
        );
        registry.register(
            "viva_sessions_stuck",
            "Sessions that stood still and were ended alone",
            counted.stuck.clone(),
        );
        registry.register(
            "viva_threads_held",
            "Threads of the runtime that are held by sessions which stood still and can't be ended",
            counted.threads_held.clone(),
        );
        registry.register(
            "viva_jobs",
            "Jobs that LiveKit offered, by our answer",
            counted.jobs.clone(),
        );
        registry.register(
            "viva_turn_stage_seconds",
            "Where the time of a reply goes: words (end of speech to its words), mind, journal, tts (to the first sound), turn (all)",
            counted.turn_stages.clone(),
        );
        registry.register(
            "viva_provider_requests",
            "Requests to a provider, by how they went",
            counted.provider_requests.clone(),
        );
        registry.register(
            "viva_webhook_deliveries",
            "Messages to the webhook, by how they went",
            counted.webhook_deliveries.clone(),
        );
        registry.register(
            "viva_journal_commit_seconds",
            "The last transaction of each second in which there was one",
            counted.commits.clone(),
        );
        registry.register(
            "viva_event_loop_lag_seconds",
            "How late the runtime was, ten times a second",
            counted.event_loop_lag.clone(),
        );
        registry.register(
            "viva_audio_tick_lag_seconds",
            "How late the beats of the audio clock were, the mean of each second in which it ran",
            counted.audio_lag.clone(),
        );
        registry.register(
            "viva_audio_threads_hurried",
            "Audio threads with too little time for all their interviews, which encode the voice with less effort",
            counted.audio_threads_hurried.clone(),
        );
        Self {
            registry,
            ..counted
        }
    }
}

/// An interview was begun.
pub fn interview_started() {
    COUNTED.started.inc();
}

/// An interview came to an end.
pub fn interview_ended(reason: &str) {
    let labels = vec![("reason", reason.to_owned())];
    COUNTED.ended.get_or_create(&labels).inc();
}

/// An interview of an appliance that is gone is gone on with here.
pub fn interview_taken_over() {
    COUNTED.taken_over.inc();
}

/// A session stood still.
pub fn session_stuck() {
    COUNTED.stuck.inc();
}

/// So many threads of the runtime are held by sessions that can't be ended.
pub fn threads_held(threads: usize) {
    COUNTED
        .threads_held
        .set(i64::try_from(threads).unwrap_or(i64::MAX));
}

/// LiveKit's offer was answered.
pub fn job_answered(is_accepted: bool) {
    let answer = if is_accepted { "accepted" } else { "declined" };
    let labels = vec![("answer", answer.to_owned())];
    COUNTED.jobs.get_or_create(&labels).inc();
}

/// A stage of a reply took so long: `words`, `mind`, `journal`, `tts` or `turn`.
pub fn turn_stage(stage: &'static str, took: Duration) {
    let labels = vec![("stage", stage.to_owned())];
    let histogram = COUNTED.turn_stages.get_or_create(&labels);
    histogram.observe(took.as_secs_f64());
}

/// A request to the provider at `base_url` has ended.
pub fn provider_request(base_url: &str, is_ok: bool) {
    let outcome = if is_ok { "ok" } else { "error" };
    let labels = vec![
        ("provider", base_url.to_owned()),
        ("outcome", outcome.to_owned()),
    ];
    COUNTED.provider_requests.get_or_create(&labels).inc();
}

/// A message to the webhook was acknowledged, or not.
pub fn webhook_delivery(is_ok: bool) {
    let outcome = if is_ok { "ok" } else { "error" };
    let labels = vec![("outcome", outcome.to_owned())];
    COUNTED.webhook_deliveries.get_or_create(&labels).inc();
}

/// A transaction of the journal took so long.
pub fn journal_commit(took: Duration) {
    COUNTED.commits.observe(took.as_secs_f64());
}

/// The runtime was so late.
pub fn event_loop_lag(late: Duration) {
    COUNTED.event_loop_lag.observe(late.as_secs_f64());
}

/// The audio clock was so late.
pub fn audio_lag(late: Duration) {
    COUNTED.audio_lag.observe(late.as_secs_f64());
}

/// Audio threads that have too little time, now.
pub fn audio_threads_hurried(threads: usize) {
    COUNTED
        .audio_threads_hurried
        .set(i64::try_from(threads).unwrap_or(i64::MAX));
}

/// What is looked at when it is asked for: values under names, for one answer.
#[derive(Default)]
pub struct Readings(Registry);

impl Readings {
    /// A value that goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.labelled(name, help, [(Vec::new(), value)]);
    }

    /// The same with labels.
    pub fn labelled(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels, f64)>,
    ) {
        let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).set(value);
        }
        self.0.register(name, help, family);
    }

    /// A value that only grows; `name` is without the `_total` that it gets.
    pub fn total(&mut self, name: &str, help: &str, value: f64) {
        let counter = Counter::<f64, AtomicU64>::default();
        counter.inc_by(value.max(0.0));
        self.0.register(name, help, counter);
    }
}

/// The whole answer, in the OpenMetrics format.
#[must_use]
pub fn text(readings: &Readings) -> String {
    let mut text = String::new();
    // Writing into a text can't fail.
    let _written = encode_registry(&mut text, &COUNTED.registry)
        .and_then(|()| encode_registry(&mut text, &readings.0))
        .and_then(|()| encode_eof(&mut text));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_and_what_is_looked_at_are_one_answer() {
        job_answered(true);
        turn_stage("words", Duration::from_millis(150));
        let mut readings = Readings::default();
        readings.gauge("viva_livekit_registered", "Whether", 1.0);
        readings.labelled(
            "viva_interviews",
            "Interviews",
            [(vec![("state", "held".to_owned())], 3.0)],
        );
        readings.total("process_cpu_seconds", "Seconds", 1.5);
        let text = text(&readings);
        for line in [
            "viva_jobs_total{answer=\"accepted\"}",
            "viva_turn_stage_seconds_bucket{le=\"0.2\",stage=\"words\"}",
            "viva_livekit_registered 1.0",
            "viva_interviews{state=\"held\"} 3.0",
            "process_cpu_seconds_total 1.5",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
        assert_eq!(text.matches("# EOF").count(), 1);
    }
}
