//! Sends batches and acts on what came of each parcel.

use std::time::Instant;

use super::Copier;
use super::copy::{Parcel, Receipt, deliver};
use super::error::SyncError;
use super::judge::Reason;
use super::outbox::{After, EVENTS_MAX, Errand, Load, Origin};
use crate::interview::InterviewId;
use crate::journal::{JournalError, Place};

impl Copier {
    /// Works off the errands, at most until then; the rest is read anew.
    pub(super) async fn send_all(&mut self, until: Instant) -> Result<(), SyncError> {
        while !self.errands.is_empty() {
            let mut errands = std::mem::take(&mut self.errands);
            let events_max = self.events_max;
            let (errands, loaded) = self
                .read(move |outbox| {
                    let loaded = outbox.next_batch(&mut errands, events_max)?;
                    Ok((errands, loaded))
                })
                .await?;
            self.errands = errands;
            for (id, error) in loaded.damaged {
                self.hold_back(&id, error.to_string()).await?;
            }
            if loaded.loads.is_empty() {
                continue;
            }
            self.send(loaded.loads).await?;
            self.events_max = (self.events_max * 2).min(EVENTS_MAX);
            if Instant::now() >= until {
                // What is left is in the outbox, unless it is a repair.
                self.errands
                    .retain(|errand| errand.origin != Origin::Outbox);
                break;
            }
        }
        Ok(())
    }

    /// One batch; where it holds something that can't be stored, each interview by itself.
    async fn send(&mut self, loads: Vec<Load>) -> Result<(), SyncError> {
        match self.deliver(&loads).await {
            Ok(receipts) => self.settle(loads, receipts).await,
            Err(SyncError::Data { .. }) if loads.len() > 1 => {
                for load in loads {
                    let alone = vec![load];
                    match self.deliver(&alone).await {
                        Ok(receipts) => self.settle(alone, receipts).await?,
                        Err(SyncError::Data { cause }) => self.refused(&alone, &cause).await?,
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            }
            Err(SyncError::Data { cause }) => self.refused(&loads, &cause).await,
            Err(error) => Err(error),
        }
    }

    async fn deliver(&self, loads: &[Load]) -> Result<Vec<Receipt>, SyncError> {
        let parcels: Vec<&Parcel> = loads.iter().map(|load| &load.parcel).collect();
        let mut connection = self.link.acquire().await?;
        let work = deliver(&mut connection, &self.mine, &parcels);
        let done = tokio::time::timeout(self.link.work_limit(), work).await;
        self.link.settle(connection, done)
    }

    async fn refused(&mut self, loads: &[Load], cause: &str) -> Result<(), SyncError> {
        for load in loads {
            let cause = format!("PostgreSQL refuses what was sent: {cause}");
            self.hold_back(&load.errand.id, cause).await?;
        }
        Ok(())
    }

    async fn settle(&mut self, loads: Vec<Load>, receipts: Vec<Receipt>) -> Result<(), SyncError> {
        let mut places = Vec::new();
        for (load, receipt) in loads.into_iter().zip(receipts) {
            let taken = match receipt {
                Receipt::Taken(taken) | Receipt::Quarantined { taken, .. } => taken,
                _ => 0,
            };
            if let Some(last) = taken
                .checked_sub(1)
                .and_then(|at| load.parcel.events.get(at))
            {
                self.status.copied(taken as u64);
                self.outbox.introduced(&load.errand.id);
                places.push(Place {
                    id: load.errand.id.clone(),
                    term: last.term,
                    seq: last.seq,
                });
            }
            self.follow_up(load, receipt).await?;
        }
        self.acknowledge(places).await
    }

    /// What has to be done about a parcel besides its acknowledgement.
    async fn follow_up(&mut self, load: Load, receipt: Receipt) -> Result<(), SyncError> {
        let Load {
            errand,
            parcel,
            more,
        } = load;
        match receipt {
            Receipt::Taken(taken) => {
                let rest = taken < parcel.events.len();
                if let Some(last) = taken.checked_sub(1).and_then(|at| parcel.events.get(at))
                    && (more || rest)
                {
                    let after = After::Place(last.term, last.seq);
                    self.errands.push_front(Errand { after, ..errand });
                }
            }
            Receipt::Behind(events) if errand.after != After::Number(events) => {
                self.send_again(errand.id, events, Origin::Repair);
            }
            Receipt::Unchained if errand.origin != Origin::Anew => {
                self.send_again(errand.id, 0, Origin::Anew);
            }
            Receipt::Behind(_) | Receipt::Unchained => {
                let seq = parcel.events.first().map_or(0, |event| event.seq);
                let cause = format!(
                    "its event {seq} does not follow the one before it; `viva journal check` names the damage"
                );
                self.hold_back(&errand.id, cause).await?;
            }
            Receipt::Quarantined { taken, reason } => {
                let refused = &parcel.events[taken.min(parcel.events.len())..];
                self.status.quarantined(refused.len() as u64);
                let seq = refused.first().map_or(0, |event| event.seq);
                self.hold_back(&errand.id, contradiction(seq, reason))
                    .await?;
            }
            Receipt::Unknown => {
                self.outbox.not_introduced(&errand.id);
                self.send_again(errand.id, 0, Origin::Repair);
            }
            Receipt::Deleted => {
                tracing::warn!(interview_id = %errand.id, "the interview was deleted elsewhere and is deleted here");
                self.journal.delete(vec![errand.id]).await?;
            }
        }
        Ok(())
    }

    fn send_again(&mut self, id: InterviewId, events: u64, origin: Origin) {
        let after = After::Number(events);
        self.errands.push_front(Errand { id, after, origin });
    }

    async fn acknowledge(&self, places: Vec<Place>) -> Result<(), SyncError> {
        match self.journal.acknowledge_all(places.clone()).await {
            // One of them was deleted meanwhile.
            Err(JournalError::NeverWritten { .. }) => {
                for place in places {
                    match self.journal.acknowledge_all(vec![place]).await {
                        Ok(()) | Err(JournalError::NeverWritten { .. }) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Ok(())
            }
            acknowledged => Ok(acknowledged?),
        }
    }

    /// Until it is tried once more, in an hour or at the next start.
    async fn hold_back(&mut self, id: &InterviewId, cause: String) -> Result<(), SyncError> {
        tracing::error!(interview_id = %id, "the interview is not copied any more: {cause}");
        self.errands.retain(|errand| errand.id != *id);
        match self.journal.hold_back(id, Some(cause)).await {
            Ok(()) | Err(JournalError::UnknownInterview { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn contradiction(seq: u64, reason: Reason) -> String {
    let what = match reason {
        Reason::LowerTerm => "the interview was taken over by another appliance before it",
        Reason::OtherEvent | Reason::AfterAnother => "PostgreSQL has another event of this number",
    };
    format!(
        "{what}: event {seq} and those behind it are in quarantine there, and the interview goes on without them"
    )
}
