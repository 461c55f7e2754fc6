//! What is told beyond this machine: the copy in Postgres and the webhook. That either can't be had stops nothing.

use tokio_util::sync::CancellationToken;

use crate::config::{Config, Environment, LiveKitKey};
use crate::health::{Condition, Health, Need};
use crate::interview::InterviewId;
use crate::journal::{InterviewRow, Journal};
use crate::session::{Desk, IDENTITY};
use crate::sync::{self, Appliance, Arbiter, Copier, Link, Successor};
use crate::webhook::{self, Webhook};
use crate::worker::Slots;
use crate::worker::presence::Rooms;

/// What Postgres is used for.
pub(super) struct Shared {
    pub(super) copier: Copier,
    /// Missing where LiveKit can't be asked.
    pub(super) arbiter: Option<Arbiter>,
}

/// The copy in Postgres, and who decides about interviews, if there is to be one. It connects to nothing yet.
pub(super) fn shared(
    config: &Config,
    env: &Environment,
    key: &LiveKitKey,
    journal: &Journal,
    health: &Health,
) -> Option<Shared> {
    match Link::of(config, env) {
        Ok(link) => {
            let link = link?;
            let directory = config.state_directory.clone();
            let mine = Appliance::of(&directory, &key.key);
            let arbiter = match Rooms::of(&config.livekit.url, key.clone(), IDENTITY) {
                Ok(rooms) => Some(Arbiter::new(link.clone(), mine.clone(), rooms)),
                Err(error) => {
                    tracing::error!("no interview is taken over from another appliance: {error}");
                    None
                }
            };
            let copier = Copier::new(link, journal.clone(), directory, mine, health.clone());
            Some(Shared { copier, arbiter })
        }
        Err(error) => {
            tracing::error!("interviews are not copied to PostgreSQL: {error}");
            let condition = Condition::Failed(error.to_string());
            health.set(sync::COMPONENT, Need::Optional, condition, "");
            None
        }
    }
}

/// Goes on with interviews at this process's desk.
#[derive(Clone)]
pub(super) struct Here {
    pub(super) desk: Desk,
    pub(super) slots: Slots,
    pub(super) draining: CancellationToken,
}

impl std::fmt::Debug for Here {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Here").finish_non_exhaustive()
    }
}

impl Successor for Here {
    fn has_room(&self) -> bool {
        let is_free = self.slots.taken() < self.slots.capacity();
        is_free && !self.draining.is_cancelled() && self.desk.is_open()
    }

    fn take_up(&self, live: Vec<InterviewRow>) {
        self.desk.take_up(live, &self.slots, false);
    }

    fn superseded(&self, id: &InterviewId, by: &str) {
        self.desk.superseded(id, by);
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
