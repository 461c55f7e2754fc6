//! SIGHUP: settings and plans are read again, and what can change applies to the interviews to come.

use std::time::Duration;

use crate::boot::plans::{self, Plans, PlansError};
use crate::cli::Source;
use crate::config::{Config, ConfigError};
use crate::health::systemd::{Manager, Told};
use crate::health::{Condition, Health};
use crate::session::{Desk, Terms};
use crate::telemetry;
use crate::voice::endpoint::EndpointSettings;

/// Settings that a running service takes over; any other waits for a restart, and that is said.
pub const RELOADABLE: [&str; 7] = [
    "interviews.default_plan",
    "interviews.plans_directory",
    "interviews.room_prefix",
    "log.filter",
    "voice.pause_ms",
    "voice.speech_threshold",
    "voice.turn_end_ms",
];

/// Time to read a file of settings and a directory of plans; a disk that takes longer keeps us as we are.
const LIMIT: Duration = Duration::from_secs(5);

/// What a reload needs.
pub(super) struct Reloader {
    pub(super) source: Source,
    /// What the process started with: a change to it waits for a restart until it is taken back.
    pub(super) config: Config,
    pub(super) desk: Desk,
    pub(super) health: Health,
    pub(super) manager: Manager,
    pub(super) filter: telemetry::Filter,
}

/// Why everything stays as it was.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Plans(#[from] PlansError),
    #[error(transparent)]
    Filter(#[from] telemetry::TelemetryError),
    #[error("the files could not be read: {0}")]
    Read(String),
}

impl Reloader {
    /// Reads everything again. What is broken keeps the old, and the log and `/healthz` say so.
    pub(super) async fn reload(&mut self) {
        self.manager.tell(Told::Reloading);
        match self.read_and_apply().await {
            Ok(waiting) => {
                let condition = if waiting.is_empty() {
                    tracing::info!(
                        "settings and plans are read again; new interviews are held by them"
                    );
                    Condition::Ok
                } else {
                    let waiting = waiting.join(", ");
                    tracing::warn!("read again; these changes wait for a restart: {waiting}");
                    Condition::Degraded(format!("these changes wait for a restart: {waiting}"))
                };
                self.health.change("configuration", condition);
            }
            Err(error) => {
                tracing::error!("nothing is taken over, the old settings and plans hold: {error}");
                let condition = Condition::Degraded(format!("the old ones hold: {error}"));
                self.health.change("configuration", condition);
            }
        }
        self.manager.tell(Told::Ready);
    }

    /// The changed settings that wait for a restart.
    async fn read_and_apply(&mut self) -> Result<Vec<String>, ReloadError> {
        let source = self.source.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let config = source.load()?;
            let plans = plans::load(
                config.interviews.plans_directory.as_deref(),
                &config.interviews.default_plan,
            )?;
            Ok::<_, ReloadError>((config, plans))
        });
        let read = tokio::time::timeout(LIMIT, reading).await;
        let (config, plans) = read
            .map_err(|_| ReloadError::Read(format!("not within {} s", LIMIT.as_secs())))?
            .map_err(|panic| ReloadError::Read(panic.to_string()))??;
        self.filter.change(&config.log.filter)?;
        plans::note(&self.health, &plans);
        self.desk.renew(terms(&config, plans));
        Ok(waiting(&self.config, &config))
    }
}

/// What new interviews are held by.
pub(super) fn terms(config: &Config, plans: Plans) -> Terms {
    Terms {
        plans: plans.usable,
        default_plan: config.interviews.default_plan.clone(),
        room_prefix: config.interviews.room_prefix.clone(),
        endpointing: EndpointSettings {
            speech_threshold: config.voice.speech_threshold,
            pause_ms: config.voice.pause_ms,
            turn_end_ms: config.voice.turn_end_ms,
        },
    }
}

/// The settings that differ and that a running service can't change.
fn waiting(before: &Config, after: &Config) -> Vec<String> {
    let (before, after) = (flat(before), flat(after));
    let differ = after
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(*value))
        .chain(before.iter().filter(|(key, _)| !after.contains_key(*key)));
    differ
        .map(|(key, _)| key.clone())
        .filter(|key| !RELOADABLE.contains(&key.as_str()))
        .collect()
}

/// Each setting by its dotted name.
fn flat(config: &Config) -> std::collections::BTreeMap<String, toml::Value> {
    fn walk(
        prefix: &str,
        table: toml::Table,
        flat: &mut std::collections::BTreeMap<String, toml::Value>,
    ) {
        for (key, value) in table {
            let name = format!("{prefix}{key}");
            match value {
                toml::Value::Table(inner) => walk(&format!("{name}."), inner, flat),
                value => {
                    flat.insert(name, value);
                }
            }
        }
    }
    let mut found = std::collections::BTreeMap::new();
    // Settings were TOML before they were settings.
    walk(
        "",
        toml::Table::try_from(config).unwrap_or_default(),
        &mut found,
    );
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_that_needs_a_restart_waits_for_one() {
        let before = Config::default();
        let mut after = before.clone();
        after.voice.pause_ms += 1;
        after.interviews.default_plan = "other".into();
        after.interviews.plans_directory = Some("plans".into());
        assert_eq!(waiting(&before, &after), Vec::<String>::new());
        after.interviews.capacity += 1;
        after.stt.base_url = Some("http://127.0.0.1/v1".into());
        assert_eq!(
            waiting(&before, &after),
            ["interviews.capacity", "stt.base_url"]
        );
        // A setting that is taken away is a change as well.
        assert_eq!(
            waiting(&after, &before),
            ["interviews.capacity", "stt.base_url"]
        );
    }

    #[test]
    fn every_reloadable_setting_exists() {
        let mut config = Config::default();
        config.interviews.plans_directory = Some("plans".into());
        let known = flat(&config);
        for key in RELOADABLE {
            assert!(known.contains_key(key), "{key}");
        }
    }
}
