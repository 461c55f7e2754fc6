//! What state every component is in, for `/healthz`, `/readyz`, the service manager and `viva check`.

pub mod control;
pub mod http;
pub mod metrics;
pub mod process;
pub mod systemd;
pub(crate) mod threads;
pub mod vitals;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::boot::Timeline;

/// How a component is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", content = "cause", rename_all = "lowercase")]
pub enum Condition {
    /// Not there yet; what is awaited.
    Starting(String),
    /// Does all that it should.
    Ok,
    /// Works with less, and why.
    Degraded(String),
    /// Does not work, and why.
    Failed(String),
}

/// Whether an interview can be held without the component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// No interview is accepted while it is starting or failed.
    Required,
    /// Its failure costs quality or comfort alone.
    Optional,
}

/// One line of the health table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Component {
    /// Whether interviews need it.
    pub need: Need,
    /// How it is.
    #[serde(flatten)]
    pub condition: Condition,
    /// What it is, for a person: a version, a path, an engine's name.
    pub detail: String,
}

/// The shared table of components; cheap to clone.
#[derive(Debug, Clone)]
pub struct Health {
    table: Arc<Mutex<BTreeMap<&'static str, Component>>>,
    timeline: Timeline,
    since: Instant,
}

/// The whole state at one moment, as `/healthz` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Snapshot {
    /// Can an interview be held now?
    pub ready: bool,
    /// Seconds since the process began to start.
    pub uptime_s: u64,
    /// The program's version.
    pub version: &'static str,
    /// Each component.
    pub components: BTreeMap<&'static str, Component>,
    /// How long each stage of the start took.
    pub boot: Vec<crate::boot::Stage>,
}

impl Health {
    /// An empty table; `timeline` is shown beside it.
    pub fn new(timeline: Timeline) -> Self {
        Self {
            table: Arc::default(),
            timeline,
            since: Instant::now(),
        }
    }

    /// Sets what is known of a component, adding it if it is new.
    pub fn set(
        &self,
        name: &'static str,
        need: Need,
        condition: Condition,
        detail: impl Into<String>,
    ) {
        let component = Component {
            need,
            condition,
            detail: detail.into(),
        };
        self.table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, component);
    }

    /// Changes the condition of a component that is in the table, and nothing else of it.
    pub fn change(&self, name: &'static str, condition: Condition) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(component) = table.get_mut(name) {
            component.condition = condition;
        }
    }

    /// How a component is, if it is in the table.
    #[must_use]
    pub fn condition(&self, name: &str) -> Option<Condition> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.get(name).map(|component| component.condition.clone())
    }

    /// The components that keep interviews from being held, with their causes.
    pub fn missing(&self) -> Vec<String> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let blocking = table.iter().filter(|(_, c)| c.need == Need::Required);
        blocking
            .filter_map(|(name, c)| match &c.condition {
                Condition::Starting(cause) | Condition::Failed(cause) => {
                    Some(format!("{name}: {cause}"))
                }
                Condition::Ok | Condition::Degraded(_) => None,
            })
            .collect()
    }

    /// Everything at this moment.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            ready: self.missing().is_empty(),
            uptime_s: self.since.elapsed().as_secs(),
            version: env!("CARGO_PKG_VERSION"),
            components: self
                .table
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            boot: self.timeline.stages(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_required_components_keep_interviews_from_being_held() {
        let health = Health::new(Timeline::start());
        health.set(
            "vad",
            Need::Required,
            Condition::Degraded("energy only".into()),
            "",
        );
        health.set("llm", Need::Optional, Condition::Failed("401".into()), "");
        assert!(health.snapshot().ready);
        health.set(
            "journal",
            Need::Required,
            Condition::Failed("disk full".into()),
            "",
        );
        assert_eq!(health.missing(), ["journal: disk full"]);
        assert!(!health.snapshot().ready);
    }
}
