//! What is to be sent next: the outbox of the journal, live interviews first, cut into batches of a bounded size.

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::copy::Parcel;
use crate::interview::InterviewId;
use crate::journal::{JournalError, JournalReader, StoredEvent, Unsent};

/// Events of one transaction, at most: enough that the round trips do not matter, few enough that it is over soon.
pub(super) const EVENTS_MAX: usize = 1_000;
/// Their size, at most, an event more.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Where the next event of an interview is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// Behind the event of this term and number.
    Place(u64, u64),
    /// Behind the event of this number, whatever its term: slower.
    Number(u64),
}

/// An interview of which something is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Errand {
    pub(super) id: InterviewId,
    pub(super) after: After,
    pub(super) origin: Origin,
}

/// Why something is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It is in the outbox.
    Outbox,
    /// Postgres lacks what it had acknowledged.
    Repair,
    /// From the first event on, because what comes later does not fit to what is there.
    Anew,
}

impl From<Unsent> for Errand {
    fn from(unsent: Unsent) -> Self {
        let (term, seq) = unsent.acknowledged;
        Self {
            id: unsent.id,
            after: After::Place(term, seq),
            origin: Origin::Outbox,
        }
    }
}

/// A parcel and what it was made for.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) errand: Errand,
    pub(super) parcel: Parcel,
    /// There are more events behind it.
    pub(super) more: bool,
}

/// A batch.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) loads: Vec<Load>,
    pub(super) damaged: Vec<(InterviewId, JournalError)>,
}

/// Reads the journal; blocks for the time of its queries.
#[derive(Debug)]
pub(super) struct Outbox {
    directory: PathBuf,
    /// Locked by nobody; it makes this one shareable, which a connection of SQLite's is not.
    reader: Mutex<Option<JournalReader>>,
    /// Interviews that Postgres is known to have, so that their plan is not sent again.
    introduced: HashSet<InterviewId>,
}

/// Known interviews that are remembered; beyond, plans are sent again, which costs a little.
const INTRODUCED_MAX: usize = 100_000;

impl Outbox {
    pub(super) fn of(directory: PathBuf) -> Self {
        Self {
            directory,
            reader: Mutex::new(None),
            introduced: HashSet::new(),
        }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn reader(&mut self) -> Result<&JournalReader, JournalError> {
        let kept = self
            .reader
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let reader = match kept.take() {
            Some(reader) => reader,
            None => JournalReader::open(&self.directory)?,
        };
        Ok(kept.insert(reader))
    }

    /// Nothing is known of what is there.
    pub(super) fn forget(&mut self) {
        self.introduced.clear();
    }

    pub(super) fn introduced(&mut self, id: &InterviewId) {
        if self.introduced.len() >= INTRODUCED_MAX {
            self.introduced.clear();
        }
        self.introduced.insert(id.clone());
    }

    pub(super) fn not_introduced(&mut self, id: &InterviewId) {
        self.introduced.remove(id);
    }

    /// Takes errands from the front until the batch is full; those that have nothing to send are dropped. One that is
    /// damaged in the journal is set beside, with the damage.
    pub(super) fn next_batch(
        &mut self,
        errands: &mut VecDeque<Errand>,
        events_max: usize,
    ) -> Result<Loaded, JournalError> {
        let mut loaded = Loaded::default();
        let (mut events, mut bytes) = (0, 0);
        let mut in_batch = HashSet::new();
        while events < events_max && bytes < BYTES_MAX {
            let Some(errand) = errands.pop_front() else {
                break;
            };
            if in_batch.contains(&errand.id) {
                errands.push_front(errand);
                break;
            }
            let room = events_max - events;
            let id = errand.id.clone();
            let load = match self.load(errand, room, BYTES_MAX - bytes) {
                Ok(Some(load)) => load,
                Ok(None) => continue,
                Err(error @ (JournalError::Damaged { .. } | JournalError::UnknownPlan { .. })) => {
                    loaded.damaged.push((id, error));
                    continue;
                }
                Err(error) => return Err(error),
            };
            events += load.parcel.events.len();
            bytes += load.parcel.events.iter().map(size).sum::<usize>();
            in_batch.insert(id);
            loaded.loads.push(load);
        }
        Ok(loaded)
    }

    fn load(
        &mut self,
        errand: Errand,
        events_max: usize,
        bytes_max: usize,
    ) -> Result<Option<Load>, JournalError> {
        let is_new = !self.introduced.contains(&errand.id);
        let reader = self.reader()?;
        let Some(interview) = reader.head(&errand.id)? else {
            // It was deleted meanwhile.
            return Ok(None);
        };
        let mut events = match errand.after {
            After::Place(term, seq) => reader.events_after(&errand.id, (term, seq), events_max)?,
            After::Number(seq) => reader.events_from(&errand.id, seq, events_max)?,
        };
        if events.is_empty() {
            return Ok(None);
        }
        let mut more = events.len() == events_max;
        let mut bytes = 0;
        let fitting = events.iter().take_while(|event| {
            let is_first = bytes == 0;
            bytes += size(event);
            is_first || bytes <= bytes_max
        });
        let fitting = fitting.count();
        if fitting < events.len() {
            events.truncate(fitting);
            more = true;
        }
        let plan_body = match is_new {
            true => Some(reader.plan(&interview.plan_hash)?),
            false => None,
        };
        let parcel = Parcel {
            interview,
            plan_body,
            events,
        };
        Ok(Some(Load {
            errand,
            parcel,
            more,
        }))
    }
}

fn size(event: &StoredEvent) -> usize {
    event.payload.len() + 128
}
