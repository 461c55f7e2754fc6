//! Copies the journal to Postgres: at least once from here, exactly once in effect there.
//!
//! One task, which begins after READY and for which nothing ever waits. It sends what the journal's outbox holds, batch
//! by batch, and tries again for ever: an outage of Postgres is a backlog and a number, nothing else. What Postgres
//! has is never overwritten; what contradicts it goes into quarantine there and is held back here.

mod arbiter;
mod archive;
mod batch;
mod burials;
mod claims;
mod copy;
mod error;
mod judge;
mod leases;
mod link;
mod outbox;
mod project;
mod repair;
mod restore;
mod schema;
mod send;
mod status;
mod tenure;

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use arbiter::{Arbiter, Leased};
pub use burials::{Deletion, deletions};
pub use claims::Claimer;
pub use error::{KINDS, SyncError};
pub use leases::{Elsewhere, Holding, LEASE};
pub use link::Link;
pub use schema::{SCHEMA_VERSION, Standing as SchemaStanding};
pub use status::{Phase, Standing, SyncStatus};
pub use tenure::TENURE_FILE;

use crate::backoff::Backoff;
use crate::health::{Condition, Health, Need};
use crate::interview::InterviewId;
use crate::journal::{InterviewRow, Journal, JournalError, Unsent};
use archive::Archive;
use burials::Burials;
use outbox::{EVENTS_MAX, Errand, Outbox};

/// Its line in the health table.
pub const COMPONENT: &str = "postgres";
/// Before the second try. A database that is being restarted is found again soon.
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
/// The longest wait: an operator who has put the database right should see the backlog shrink soon.
const BACKOFF_MAX: Duration = Duration::from_secs(15);
/// A connection that lasted for so long was a good one, whether or not there was anything to send.
const STEADY: Duration = Duration::from_secs(60);
/// Events of many interviews come within this time; they share a transaction.
const GATHER: Duration = Duration::from_millis(50);
/// The outbox is read again for live interviews after so much of a backlog, or ten times what the reading took.
const OUTBOX_EVERY: Duration = Duration::from_millis(250);
/// An idle connection is looked after, so that an outage is told before there is something to send.
const IDLE_CHECK: Duration = leases::RENEW_EVERY;
/// What is held back is tried again so often: whoever mended the cause need not start Viva anew.
const HELD_BACK_AGAIN_EVERY: Duration = Duration::from_secs(3600);
/// Deletions go both ways so often.
const BURIALS_EVERY: Duration = Duration::from_secs(15);

/// The task that copies.
#[derive(Debug)]
pub struct Copier {
    link: Link,
    journal: Journal,
    outbox: Outbox,
    status: SyncStatus,
    health: Health,
    successor: Option<Arc<dyn Successor>>,
    mine: Appliance,
    archive: Archive,
    burials: Burials,
    burials_exchanged: Instant,
    elsewhere: Elsewhere,
    leases_renewed: Instant,
    held_back_again_every: Duration,
    held_back_tried: Instant,
    /// Smaller after a database was too slow for as many.
    events_max: usize,
    errands: VecDeque<Errand>,
}

impl Copier {
    /// Copies the journal in `directory` over `link`, as this appliance.
    pub fn new(
        link: Link,
        journal: Journal,
        directory: PathBuf,
        mine: Appliance,
        health: Health,
    ) -> Self {
        let archive = Archive {
            link: link.clone(),
            journal: journal.clone(),
        };
        let copier = Self {
            link,
            journal,
            outbox: Outbox::of(directory),
            status: SyncStatus::default(),
            health,
            successor: None,
            mine,
            archive,
            burials: Burials::default(),
            burials_exchanged: Instant::now(),
            elsewhere: Elsewhere::default(),
            leases_renewed: Instant::now(),
            held_back_again_every: HELD_BACK_AGAIN_EVERY,
            held_back_tried: Instant::now(),
            events_max: EVENTS_MAX,
            errands: VecDeque::new(),
        };
        copier.tell();
        copier
    }

    /// Tells this one what to go on with, and what to give up.
    #[must_use]
    pub fn succeeded_by(self, successor: Arc<dyn Successor>) -> Self {
        Self {
            successor: Some(successor),
            ..self
        }
    }

    /// Tries what is held back again so often, where an hour is too long.
    #[must_use]
    pub fn trying_held_back_every(self, held_back_again_every: Duration) -> Self {
        Self {
            held_back_again_every,
            ..self
        }
    }

    /// The interviews that other appliances conduct, now and from now on.
    #[must_use]
    pub fn elsewhere(&self) -> Elsewhere {
        self.elsewhere.clone()
    }

    /// How it stands, now and from now on.
    #[must_use]
    pub fn status(&self) -> SyncStatus {
        self.status.clone()
    }

    /// Copies until `stop` or until the journal is closed.
    pub async fn run(mut self, stop: CancellationToken) {
        let copying = async {
            if let Err(error) = self.try_held_back_again().await {
                tracing::warn!("what is held back stays so for now: {error}");
            }
            let mut backoff = Backoff::new(BACKOFF_FIRST, BACKOFF_MAX);
            let mut told = "";
            loop {
                let (copied, begun) = (self.status.now().copied, Instant::now());
                let error = match self.copy().await {
                    Ok(()) => return,
                    Err(error) => error,
                };
                if matches!(error, SyncError::Journal(JournalError::Closed)) {
                    return;
                }
                self.status.failing(&error);
                self.tell();
                // Once for each kind of failure; the metrics tell that it lasts.
                if told != error.kind() {
                    tracing::warn!("interviews are not copied for now: {error}");
                }
                told = error.kind();
                if matches!(error, SyncError::Slow { .. } | SyncError::Silent { .. }) {
                    self.events_max = (self.events_max / 2).max(1);
                }
                if self.status.now().copied > copied || begun.elapsed() > STEADY {
                    backoff.reset();
                    told = "";
                }
                tokio::time::sleep(backoff.next_wait()).await;
                // The numbers grow meanwhile.
                if let Err(error) = self.read_outbox().await {
                    tracing::warn!("the journal's outbox can't be read: {error}");
                }
            }
        };
        tokio::select! {
            () = copying => {}
            () = stop.cancelled() => {}
        }
    }

    /// Connects and copies for as long as it goes well; ends with the journal.
    async fn copy(&mut self) -> Result<(), SyncError> {
        let mut committed = self.journal.subscribe();
        self.connect().await?;
        let mut connections = self.compare_all().await?;
        if matches!(self.status.now().phase, Phase::Failing { .. }) {
            tracing::info!("PostgreSQL can be used again");
        }
        self.status.well();
        self.tell();
        loop {
            committed.borrow_and_update();
            let begun = Instant::now();
            let outbox = self.read_outbox().await?;
            let took = begun.elapsed();
            self.add_errands(outbox);
            let until = Instant::now() + OUTBOX_EVERY.max(took * 10);
            let was_idle = self.errands.is_empty();
            self.send_all(until).await?;
            if self.link.connections() != connections {
                connections = self.compare_all().await?;
            }
            if self.leases_renewed.elapsed() >= leases::RENEW_EVERY {
                self.keep_leases().await?;
                self.leases_renewed = Instant::now();
            }
            if self.held_back_tried.elapsed() >= self.held_back_again_every {
                self.try_held_back_again().await?;
            }
            if self.burials_exchanged.elapsed() >= BURIALS_EVERY {
                self.exchange_burials().await?;
                self.burials_exchanged = Instant::now();
            }
            if !was_idle || !self.errands.is_empty() {
                continue;
            }
            if !self.await_events(&mut committed).await? {
                return Ok(());
            }
        }
    }

    /// Takes nothing for granted of what is there: after a new connection it may be another server. Returns how many
    /// connections there were then.
    async fn compare_all(&mut self) -> Result<u64, SyncError> {
        self.outbox.forget();
        self.burials = Burials::default();
        // Before anything else: what was deleted elsewhere is not to be sent.
        self.exchange_burials().await?;
        let connections = self.link.connections();
        self.restore().await?;
        self.keep_leases().await?;
        self.errands = self.compare().await?.into();
        Ok(connections)
    }

    /// What goes on comes first, then repairs, then the backlog. A repair of an interview comes before what is new in
    /// it, so there is one errand for each.
    fn add_errands(&mut self, outbox: Vec<Unsent>) {
        let repairs: HashSet<InterviewId> = self.errands.iter().map(|e| e.id.clone()).collect();
        let waiting = outbox
            .into_iter()
            .filter(|unsent| unsent.held_back.is_none());
        let waiting = waiting.filter(|unsent| !repairs.contains(&unsent.id));
        let mut repairs = std::mem::take(&mut self.errands);
        self.errands = waiting.map(Errand::from).collect();
        self.errands.append(&mut repairs);
    }

    /// A new release or a repaired database may take what was refused before.
    async fn try_held_back_again(&mut self) -> Result<(), SyncError> {
        self.held_back_tried = Instant::now();
        for unsent in self.read_outbox().await? {
            if unsent.held_back.is_some() {
                self.journal.hold_back(&unsent.id, None).await?;
            }
        }
        Ok(())
    }

    /// Keeps the health table true.
    fn tell(&self) {
        let standing = self.status.now();
        let condition = match (standing.phase, standing.held_back_cause) {
            (Phase::Connecting, _) => Condition::Starting("connecting".into()),
            (Phase::Failing { cause, .. }, _) => Condition::Failed(cause),
            (Phase::Well, None) => Condition::Ok,
            (Phase::Well, Some(cause)) => Condition::Degraded(format!(
                "{} interviews are not copied; the first: {cause}",
                standing.held_back
            )),
        };
        let detail = self.link.describe();
        self.health
            .set(COMPONENT, Need::Optional, condition, detail);
    }

    /// Waits for something to send; nothing comes any more where this is false.
    async fn await_events(&self, committed: &mut watch::Receiver<u64>) -> Result<bool, SyncError> {
        match tokio::time::timeout(IDLE_CHECK, committed.changed()).await {
            Ok(Err(_)) => return Ok(false),
            Ok(Ok(())) => tokio::time::sleep(GATHER).await,
            // The pool tries the connection before it gives it out.
            Err(_) => drop(self.link.acquire().await?),
        }
        Ok(true)
    }

    /// Looks whether the database is ours to write to, and brings its schema up to date.
    async fn connect(&self) -> Result<(), SyncError> {
        use sqlx::Connection;

        let mut connection = self.link.connect().await?;
        let preparing = schema::prepare(&self.link, &mut connection);
        match tokio::time::timeout(self.link.work_limit(), preparing).await {
            Ok(prepared) => prepared?,
            Err(_) => return Err(self.link.silent()),
        }
        // It has done its work; that it can't say goodbye does not matter.
        let _ = tokio::time::timeout(GATHER, connection.close()).await;
        Ok(())
    }

    async fn read_outbox(&mut self) -> Result<Vec<Unsent>, SyncError> {
        let outbox = self.read(|outbox| outbox.reader()?.outbox()).await?;
        self.status.outbox(&outbox);
        self.tell();
        Ok(outbox)
    }

    /// Reads the journal on a thread that may block.
    async fn read<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Outbox) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, SyncError> {
        let directory = self.outbox.directory().to_owned();
        let mut outbox = std::mem::replace(&mut self.outbox, Outbox::of(directory));
        let reading = tokio::task::spawn_blocking(move || {
            let done = work(&mut outbox);
            (outbox, done)
        });
        let (outbox, done) = reading.await.map_err(|panic| JournalError::Failed {
            cause: format!("a reader broke down: {panic}"),
        })?;
        self.outbox = outbox;
        Ok(done?)
    }
}

/// Conducts interviews, for what finds out by whom they are to be conducted.
pub trait Successor: fmt::Debug + Send + Sync {
    /// Whether one more could be conducted now.
    fn has_room(&self) -> bool;

    /// These are to be gone on with, from the journal.
    fn take_up(&self, live: Vec<InterviewRow>);

    /// Another appliance conducts this one. If it is conducted here, that ends without a word.
    fn superseded(&self, id: &InterviewId, by: &str);
}

/// This appliance, as others know it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Appliance {
    /// A name that no other journal has, and that the one which is restored in its place has again.
    pub(crate) name: Arc<str>,
    /// What appliances on the same LiveKit have in common: the name of their API key.
    pub(crate) livekit: Arc<str>,
}

impl Appliance {
    /// The one whose journal is in `directory`.
    #[must_use]
    pub fn of(directory: &Path, livekit_key: &str) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self {
            name: format!("{}:{}", host.trim(), directory.display()).into(),
            livekit: livekit_key.into(),
        }
    }

    /// Tells it from others where the name is not to be shown.
    #[must_use]
    pub fn tag(&self) -> String {
        let digest = Sha256::digest(self.name.as_bytes());
        digest.iter().take(4).map(|b| format!("{b:02x}")).collect()
    }
}

/// Looks whether the copy could be kept, without changing anything: what the schema is.
///
/// # Errors
/// It could not; the message says what is to be done.
pub async fn probe(link: &Link) -> Result<SchemaStanding, SyncError> {
    let mut connection = link.connect().await?;
    let looking = schema::look(link, &mut connection);
    match tokio::time::timeout(link.work_limit(), looking).await {
        Ok(found) => found,
        Err(_) => Err(link.silent()),
    }
}
