//! What is told beyond this machine: the copy in Postgres. That it can't be had stops nothing.

use crate::config::{Config, Environment};
use crate::health::{Condition, Health, Need};
use crate::journal::Journal;
use crate::sync::{self, Copier, Link};

/// The copy in Postgres, if there is to be one. It connects to nothing yet.
pub(super) fn copier(
    config: &Config,
    env: &Environment,
    journal: &Journal,
    health: &Health,
) -> Option<Copier> {
    match Link::of(config, env) {
        Ok(link) => {
            let directory = config.state_directory.clone();
            link.map(|link| Copier::new(link, journal.clone(), directory, health.clone()))
        }
        Err(error) => {
            tracing::error!("interviews are not copied to PostgreSQL: {error}");
            let condition = Condition::Failed(error.to_string());
            health.set(sync::COMPONENT, Need::Optional, condition, "");
            None
        }
    }
}
