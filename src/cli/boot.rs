//! `viva boot`: runs the start's stages without serving, as often as asked, with faults if asked, and shows where the
//! time went.

use std::collections::BTreeMap;
use std::time::Duration;

use owo_colors::Style;
use serde::Serialize;

use super::style::{column, dim, line, styled};
use crate::boot::components;
use crate::boot::faults::{self, Outcome};
use crate::boot::{Stage, Timeline};
use crate::config::{Config, Environment};
use crate::health::Health;
use crate::telemetry;

/// Characters of the longest bar.
const BAR_WIDTH: u64 = 40;
/// Starts in one call; more are a script's.
const STARTS_MAX: u64 = 100_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// JSON instead of a table: one object, or one line for each start with --faults.
    #[arg(long)]
    json: bool,
    /// How often. Within one process ONNX Runtime is loaded by the first start alone.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=STARTS_MAX))]
    repeat: u64,
    /// Start with faults that are made up from this number: damaged, missing and slow models, a locked journal and so
    /// on, each in a scratch directory.
    #[arg(long, value_name = "SEED")]
    faults: Option<u64>,
    /// When a start with a fault is to be over: ready, or ended with its cause named.
    #[arg(long, default_value_t = 1000, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=600_000))]
    limit_ms: u64,
}

/// One start without a fault.
#[derive(Debug, Serialize)]
struct Start {
    elapsed_ms: u64,
    /// Ready, or why not.
    result: Result<(), String>,
    stages: Vec<Stage>,
}

pub(super) fn run(args: &Args, config: &Config, env: &Environment) -> anyhow::Result<u8> {
    // What is shown says all that the log would.
    telemetry::init("off")?;
    let all_well = match args.faults {
        Some(seed) => super::block_on(with_faults(args, seed, config))??,
        None => super::block_on(without_faults(args, config, env))??,
    };
    Ok(if all_well { super::DONE } else { super::FAILED })
}

async fn without_faults(args: &Args, config: &Config, env: &Environment) -> anyhow::Result<bool> {
    let mut starts = Vec::new();
    for _ in 0..args.repeat {
        starts.push(start(config, env).await);
    }
    let all_well = starts.iter().all(|start| start.result.is_ok());
    if args.json {
        line(serde_json::to_string_pretty(&starts)?);
        return Ok(all_well);
    }
    if let [.., last] = &starts[..] {
        show(last);
    }
    if starts.len() > 1 {
        let times = starts.iter().filter(|s| s.result.is_ok());
        summarize(times.map(|s| s.elapsed_ms).collect(), starts.len());
    }
    Ok(all_well)
}

async fn start(config: &Config, env: &Environment) -> Start {
    let limit = Duration::from_millis(config.boot.limit_ms.into());
    let timeline = Timeline::start().within(limit);
    let health = Health::new(timeline.clone());
    let loaded = components::load(config, env, &timeline, &health, None).await;
    let elapsed_ms = timeline.elapsed_ms();
    let result = match loaded {
        Ok(components) => components.journal.close().await.map_err(|e| e.to_string()),
        Err(error) => Err(error.to_string()),
    };
    Start {
        elapsed_ms,
        result,
        stages: timeline.stages(),
    }
}

fn show(start: &Start) {
    let scale = start.elapsed_ms.max(1);
    let width = |ms: u64| (ms * BAR_WIDTH).div_ceil(scale);
    let mut stages = start.stages.clone();
    stages.sort_by_key(|stage| (stage.started_ms, stage.elapsed_ms));
    for stage in &stages {
        let before = (stage.started_ms * BAR_WIDTH / scale).min(BAR_WIDTH - 1);
        let bar = width(stage.elapsed_ms).clamp(1, BAR_WIDTH - before);
        let style = if stage.failure.is_some() {
            Style::new().red()
        } else {
            Style::new().green()
        };
        let (before, bar) = (" ".repeat(before as usize), "█".repeat(bar as usize));
        let after = " ".repeat((BAR_WIDTH as usize) - before.len() - bar.chars().count());
        line(format_args!(
            "{:14} {before}{}{after} {:>6} ms",
            stage.name,
            styled(bar, style),
            stage.elapsed_ms
        ));
        for part in stage.failure.iter().flat_map(|failure| failure.lines()) {
            line(format_args!("{:14} {}", "", dim(part)));
        }
    }
    let (word, style) = match &start.result {
        Ok(()) => ("ready", Style::new().green().bold()),
        Err(_) => ("not ready", Style::new().red().bold()),
    };
    line(format_args!(
        "{} {:>width$} ms",
        column(word, 14, style),
        start.elapsed_ms,
        width = BAR_WIDTH as usize + 7
    ));
    if let Err(cause) = &start.result {
        line(cause);
    }
}

fn summarize(mut times: Vec<u64>, of: usize) {
    times.sort_unstable();
    let at = |percent: usize| {
        let index = (times.len() * percent).div_ceil(100).saturating_sub(1);
        times.get(index).copied().unwrap_or_default()
    };
    line(format_args!(
        "{} of {of} ready; median {} ms, 95 % {} ms, worst {} ms",
        times.len(),
        at(50),
        at(95),
        at(100)
    ));
}

async fn with_faults(args: &Args, seed: u64, config: &Config) -> anyhow::Result<bool> {
    let limit = Duration::from_millis(args.limit_ms);
    let mut all = Tally::default();
    let mut by_kind: BTreeMap<String, Tally> = BTreeMap::new();
    for number in 0..args.repeat {
        let outcome = faults::run(seed, number, config, limit).await?;
        all.count(&outcome);
        by_kind
            .entry(outcome.fault.kind())
            .or_default()
            .count(&outcome);
        if args.json {
            line(serde_json::to_string(&outcome)?);
        } else {
            show_outcome(&outcome);
        }
    }
    if !args.json {
        show_tallies(&all, &by_kind);
        line(format_args!(
            "{} ready, {} ended with their cause named, {} not as promised; the longest took {} ms of {} ms",
            all.ready, all.ended, all.broken, all.longest_ms, args.limit_ms
        ));
    }
    Ok(all.broken == 0)
}

/// What became of several starts.
#[derive(Debug, Default)]
struct Tally {
    ready: u64,
    ended: u64,
    broken: u64,
    longest_ms: u64,
}

impl Tally {
    fn count(&mut self, outcome: &Outcome) {
        match (&outcome.broken_promise, &outcome.result) {
            (Some(_), _) => self.broken += 1,
            (None, Ok(())) => self.ready += 1,
            (None, Err(_)) => self.ended += 1,
        }
        self.longest_ms = self.longest_ms.max(outcome.elapsed_ms);
    }
}

fn show_tallies(all: &Tally, by_kind: &BTreeMap<String, Tally>) {
    let row = |name: &str, tally: &Tally| {
        line(format_args!(
            "{name:24} {:>7} {:>7} {:>7} {:>8} ms",
            tally.ready, tally.ended, tally.broken, tally.longest_ms
        ));
    };
    line(dim(format_args!(
        "{:24} {:>7} {:>7} {:>7} {:>11}",
        "fault", "ready", "ended", "broken", "longest"
    )));
    for (name, tally) in by_kind {
        row(name, tally);
    }
    row("all", all);
}

fn show_outcome(outcome: &Outcome) {
    let (word, style) = match (&outcome.broken_promise, &outcome.result) {
        (Some(_), _) => ("BROKEN", Style::new().red().bold()),
        (None, Ok(())) => ("ready", Style::new().green()),
        (None, Err(_)) => ("ended", Style::new().yellow()),
    };
    line(format_args!(
        "{:>6}  {} {:>5} ms  {:?}, {} engines",
        outcome.number,
        column(word, 7, style),
        outcome.elapsed_ms,
        outcome.fault,
        if outcome.embedded {
            "embedded"
        } else {
            "remote"
        }
    ));
    let cause = outcome.result.as_ref().err();
    for text in outcome.broken_promise.iter().chain(cause) {
        line(format_args!(
            "{:25}{}",
            "",
            dim(text.lines().next().unwrap_or_default())
        ));
    }
}
