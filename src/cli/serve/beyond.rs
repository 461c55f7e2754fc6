//! What is told beyond this machine: the copy in Postgres and the webhook. That either can't be had stops nothing.

use crate::config::{Config, Environment};
use crate::health::{Condition, Health, Need};
use crate::journal::Journal;
use crate::sync::{self, Copier, Link};
use crate::webhook::{self, Webhook};

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

/// Who is told that interviews are over, if somebody is.
pub(super) fn webhook(
    config: &Config,
    env: &Environment,
    journal: &Journal,
    health: &Health,
) -> Option<Webhook> {
    Webhook::of(config, env, journal.clone(), health.clone()).unwrap_or_else(|error| {
        tracing::error!("nobody is told that an interview is over: {error}");
        let condition = Condition::Failed(error.to_string());
        health.set(webhook::COMPONENT, Need::Optional, condition, "");
        None
    })
}
