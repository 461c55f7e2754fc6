//! `viva check`: runs every stage of the start without serving, asks every server whether it is there, prints a table.
//!
//! Where a service runs with these settings already, its journal and its port are its own: it is asked about them, and
//! the rest is tried beside it.

mod running;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use owo_colors::Style;

use super::style::{column, dim, line};
use crate::boot::Timeline;
use crate::boot::components;
use crate::config::{Config, Environment, Http};
use crate::health::{Condition, Health, Need, Snapshot};
use crate::provider::Reachability;
use crate::sync::{self, Link, SchemaStanding};
use crate::telemetry;
use crate::web::operator;
use crate::worker;

/// Time for LiveKit to answer; it is a person who waits.
const LIVEKIT_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// JSON instead of a table.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args, config: &Config, env: &Environment) -> anyhow::Result<u8> {
    // The table says all that the log would.
    telemetry::init("off")?;
    let snapshot = super::block_on(beside_what_runs(config, env))??;
    let failed = snapshot
        .components
        .values()
        .any(|c| matches!(c.condition, Condition::Failed(_)));
    if args.json {
        line(serde_json::to_string_pretty(&snapshot)?);
    } else {
        print(&snapshot);
    }
    Ok(if failed { super::FAILED } else { super::DONE })
}

async fn beside_what_runs(config: &Config, env: &Environment) -> anyhow::Result<Snapshot> {
    let Some(running) = running::find(config.http.listen).await else {
        return Ok(check(config, env).await.snapshot());
    };
    // What a start needs for itself, where nobody else has it.
    let scratch = tempfile::Builder::new().prefix("viva-check-").tempdir()?;
    let own = Config {
        state_directory: scratch.path().to_owned(),
        http: Http {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            ..config.http.clone()
        },
        ..config.clone()
    };
    let health = check(&own, env).await;
    let of_the_service = |what: String| format!("{what}, of the service that runs here");
    health.set(
        "journal",
        Need::Required,
        running.journal,
        of_the_service(config.state_directory.display().to_string()),
    );
    health.set(
        "listener",
        Need::Required,
        Condition::Ok,
        of_the_service(format!("http://{}", config.http.listen)),
    );
    if running.version != env!("CARGO_PKG_VERSION") {
        let cause = format!(
            "release {} runs, this is {}",
            running.version,
            env!("CARGO_PKG_VERSION")
        );
        health.set("release", Need::Optional, Condition::Degraded(cause), "");
    }
    Ok(health.snapshot())
}

async fn check(config: &Config, env: &Environment) -> Health {
    let timeline = Timeline::start().within(Duration::from_millis(config.boot.limit_ms.into()));
    let health = Health::new(timeline.clone());
    health.set("configuration", Need::Required, Condition::Ok, "");
    match components::load(config, env, &timeline, &health, None).await {
        Ok(components) => {
            for (what, provider) in &components.engines.providers {
                let condition = match provider.probe().await {
                    Reachability::Reachable => Condition::Ok,
                    Reachability::Unauthorized => Condition::Failed(format!(
                        "{} refuses the key; put a valid one into {what}.api_key_file",
                        provider.base_url()
                    )),
                    Reachability::Unreachable(cause) => Condition::Failed(cause),
                };
                health.set(
                    server_of(what),
                    Need::Optional,
                    condition,
                    provider.base_url(),
                );
            }
            components
                .engines
                .standby
                .load(timeline.clone(), health.clone())
                .await;
        }
        // Most causes stand in their component's row; one that has none, as a missing secret, gets one.
        Err(error) => {
            if health.missing().is_empty() {
                health.set(
                    "start",
                    Need::Required,
                    Condition::Failed(error.to_string()),
                    "",
                );
            }
        }
    }
    operator::usable_key(config, env, &health);
    check_postgres(config, env, &health).await;
    let livekit = match config.livekit_key(env) {
        Err(error) => Err(error.to_string()),
        Ok(key) => worker::probe(&config.livekit.url, &key, LIVEKIT_LIMIT)
            .await
            .map_err(|e| e.to_string()),
    };
    let condition = livekit.map_or_else(Condition::Failed, |()| Condition::Ok);
    health.set("livekit", Need::Required, condition, &config.livekit.url);
    health
}

/// Looks at the database without changing anything in it; no row where there is to be no copy.
async fn check_postgres(config: &Config, env: &Environment, health: &Health) {
    let (condition, detail) = match Link::of(config, env) {
        Ok(None) => return,
        Err(error) => (Condition::Failed(error.to_string()), String::new()),
        Ok(Some(link)) => {
            let (condition, schema) = match sync::probe(&link).await {
                Ok(SchemaStanding::Ours(version)) if version == sync::SCHEMA_VERSION => {
                    (Condition::Ok, "")
                }
                Ok(SchemaStanding::Ours(_)) => (Condition::Ok, ", is migrated at the next start"),
                Ok(SchemaStanding::Empty) => (Condition::Ok, ", is made at the next start"),
                Err(error) => (Condition::Failed(error.to_string()), ""),
            };
            (condition, format!("{}{schema}", link.describe()))
        }
    };
    health.set(sync::COMPONENT, Need::Optional, condition, detail);
}

fn server_of(what: &str) -> &'static str {
    match what {
        "stt" => "stt server",
        "tts" => "tts server",
        _ => "llm server",
    }
}

fn print(snapshot: &Snapshot) {
    for (name, component) in &snapshot.components {
        let (state, style, cause) = match &component.condition {
            Condition::Ok => ("ok", Style::new().green(), None),
            Condition::Starting(cause) => ("starting", Style::new().yellow(), Some(cause)),
            Condition::Degraded(cause) => ("degraded", Style::new().yellow().bold(), Some(cause)),
            Condition::Failed(cause) => ("failed", Style::new().red().bold(), Some(cause)),
        };
        line(format_args!(
            "{}  {name:14}  {}",
            column(state, 9, style),
            dim(&component.detail)
        ));
        for part in cause.iter().flat_map(|c| c.lines()) {
            line(format_args!("{:27}{part}", ""));
        }
    }
    line("");
    for stage in &snapshot.boot {
        line(dim(format_args!(
            "  {:18} {:>5} ms  from {:>4} ms on",
            stage.name, stage.elapsed_ms, stage.started_ms
        )));
    }
}
