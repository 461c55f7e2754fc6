//! Tells a platform that an interview is over: a signed message, again and again until it is acknowledged.
//!
//! The outbox is the journal itself: an interview that is over and not marked as told. So nothing is forgotten by a
//! restart, and nothing is needed but the journal. A message may arrive twice; its `webhook-id` is the same then.

mod message;
mod sign;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode, Url};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::config::{Config, ConfigError, Environment};
use crate::health::{Condition, Health, Need, metrics};
use crate::interview::InterviewId;
use crate::journal::{InterviewRow, Journal, JournalError, JournalReader};
use crate::provider;
use message::Message;
use sign::Signer;

pub use sign::SECRET_BYTES_MIN;

/// Its line in the health table.
pub const COMPONENT: &str = "webhook";
/// Before the second try of a message.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// The longest wait between two tries of one message. What is acknowledged makes the others due at once.
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// Events of all interviews wake this task; so many of them are looked at together.
const GATHER: Duration = Duration::from_millis(250);
/// Messages that are looked at, at most, the oldest first; others wait in the journal.
const WAITING_MAX: usize = 1_000;

/// The task that tells.
pub struct Webhook {
    url: Url,
    /// What of the URL may be shown: its path may be a secret.
    at: String,
    signer: Signer,
    http: Client,
    limit: Duration,
    journal: Journal,
    directory: PathBuf,
    health: Health,
    tries: HashMap<InterviewId, Tries>,
}

/// How often a message was tried in vain, and when it is tried again.
#[derive(Debug)]
struct Tries {
    next: Instant,
    backoff: Backoff,
}

/// Why nobody can be told at all.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The secret is missing or can't be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The secret can't sign.
    #[error("the webhook's secret can't be used: {0}")]
    Secret(#[from] sign::SecretError),
    /// The HTTP client could not be made.
    #[error(transparent)]
    Client(#[from] provider::SetupError),
    /// The address is none.
    #[error("webhook.url can't be used: {0}")]
    Address(String),
}

/// Why a message was not acknowledged.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the webhook at {at} can't be reached: {cause}")]
    Unreachable { at: String, cause: String },
    #[error(
        "the webhook at {at} answers {status}; only 2xx acknowledges, and redirects are not followed"
    )]
    Status { at: String, status: StatusCode },
    #[error("the message can't be made: {0}")]
    Message(String),
}

impl Webhook {
    /// The webhook of the settings, if there is one; connects to nothing.
    ///
    /// # Errors
    /// The secret is missing or unusable, or the HTTP client can't be made.
    pub fn of(
        config: &Config,
        env: &Environment,
        journal: Journal,
        health: Health,
    ) -> Result<Option<Self>, WebhookError> {
        let Some(url) = config.webhook.used_url() else {
            return Ok(None);
        };
        let url: Url = url
            .parse()
            .map_err(|e| WebhookError::Address(format!("{e}")))?;
        let at = url.origin().ascii_serialization();
        let signer = Signer::new(&config.webhook_secret(env)?)?;
        health.set(COMPONENT, Need::Optional, Condition::Ok, &at);
        let http = provider::http_client(&at)?;
        Ok(Some(Self {
            url,
            at,
            signer,
            http,
            limit: Duration::from_millis(config.webhook.timeout_ms.into()),
            journal,
            directory: config.state_directory.clone(),
            health,
            tries: HashMap::new(),
        }))
    }

    /// Tells until `stop` or until the journal is closed.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = self.tell_all() => {}
            () = stop.cancelled() => {}
        }
    }

    async fn tell_all(&mut self) {
        let mut committed = self.journal.subscribe();
        loop {
            committed.borrow_and_update();
            let due = match untold(&self.directory).await {
                Ok(waiting) => self.tell_due(waiting).await,
                Err(error) => Err(error),
            };
            let next = match due {
                Ok(next) => next,
                Err(JournalError::Closed) => return,
                Err(error) => {
                    tracing::warn!("the webhook is not told for now: {error}");
                    Some(Instant::now() + BACKOFF_MAX)
                }
            };
            if !await_more(&mut committed, next).await {
                return;
            }
            tokio::time::sleep(GATHER).await;
        }
    }

    /// One after the other, so that a receiver is never flooded; tells when the next one is due, if one waits.
    async fn tell_due(
        &mut self,
        waiting: Vec<InterviewRow>,
    ) -> Result<Option<Instant>, JournalError> {
        self.tries
            .retain(|id, _| waiting.iter().any(|row| row.id == *id));
        for row in waiting {
            let waits = self.tries.get(&row.id);
            if waits.is_some_and(|tries| tries.next > Instant::now()) {
                continue;
            }
            match self.post(&row).await {
                Ok(()) => {
                    self.journal.told(&row.id).await?;
                    // It is there again: the others need not wait for their time.
                    self.tries.clear();
                    self.health.change(COMPONENT, Condition::Ok);
                }
                Err(refusal) => self.put_off(&row.id, &refusal),
            }
            metrics::webhook_delivery(!self.tries.contains_key(&row.id));
        }
        Ok(self.tries.values().map(|tries| tries.next).min())
    }

    fn put_off(&mut self, id: &InterviewId, refusal: &Refusal) {
        let tries = self.tries.entry(id.clone()).or_insert_with(|| {
            tracing::warn!(interview_id = %id, "the end of the interview is told again later: {refusal}");
            Tries {
                next: Instant::now(),
                backoff: Backoff::new(BACKOFF_FIRST, BACKOFF_MAX),
            }
        });
        tries.next = Instant::now() + tries.backoff.next_wait();
        let condition = Condition::Failed(refusal.to_string());
        self.health.change(COMPONENT, condition);
    }

    async fn post(&self, row: &InterviewRow) -> Result<(), Refusal> {
        let message = Message::of(row).map_err(|e| Refusal::Message(e.to_string()))?;
        let signed = self.signer.sign(&message.id, &message.body);
        let request = self
            .http
            .post(self.url.clone())
            .timeout(self.limit)
            .header("content-type", "application/json")
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", signed.timestamp)
            .header("webhook-signature", signed.signature)
            .body(message.body);
        let at = self.at.clone();
        match request.send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(Refusal::Status {
                at,
                status: answer.status(),
            }),
            Err(error) => Err(Refusal::Unreachable {
                at,
                cause: provider::cause_of(error),
            }),
        }
    }
}

/// Until something was committed or one is due; nothing comes any more where this is false.
async fn await_more(committed: &mut watch::Receiver<u64>, next: Option<Instant>) -> bool {
    let due = async {
        match next {
            Some(next) => tokio::time::sleep_until(next.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        changed = committed.changed() => changed.is_ok(),
        () = due => true,
    }
}

async fn untold(directory: &Path) -> Result<Vec<InterviewRow>, JournalError> {
    let directory = directory.to_owned();
    let reading =
        tokio::task::spawn_blocking(move || JournalReader::open(&directory)?.untold(WAITING_MAX));
    reading.await.map_err(|panic| JournalError::Failed {
        cause: format!("a reader broke down: {panic}"),
    })?
}
