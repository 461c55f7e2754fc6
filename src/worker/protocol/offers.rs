//! Offers on their way to an assignment: each holds its place until then: pure.

use std::collections::HashMap;
use std::time::Instant;

use crate::worker::job::JobOffer;
use crate::worker::slots::{Slot, Slots};

/// An offer that the desk is being asked about, or that was accepted.
#[derive(Debug)]
struct Open {
    offer: JobOffer,
    slot: Slot,
    accepted: Option<Accepted>,
}

#[derive(Debug)]
struct Accepted {
    identity: String,
    until: Instant,
}

/// The open offers; there are never more of them than free places.
#[derive(Debug)]
pub(super) struct Offers {
    slots: Slots,
    open: HashMap<String, Open>,
}

impl Offers {
    pub(super) fn new(slots: Slots) -> Self {
        Self {
            slots,
            open: HashMap::new(),
        }
    }

    /// Offers that are open.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn knows(&self, job_id: &str) -> bool {
        self.open.contains_key(job_id)
    }

    /// Holds a place for the offer; false when there is none.
    pub(super) fn hold(&mut self, offer: &JobOffer) -> bool {
        let Some(slot) = self.slots.take() else {
            return false;
        };
        self.open.insert(
            offer.job_id.clone(),
            Open {
                offer: offer.clone(),
                slot,
                accepted: None,
            },
        );
        true
    }

    /// The desk is being asked about it and has not answered.
    pub(super) fn is_unanswered(&self, job_id: &str) -> bool {
        self.open
            .get(job_id)
            .is_some_and(|open| open.accepted.is_none())
    }

    /// It was accepted; an assignment must come by `until`.
    pub(super) fn accept(&mut self, job_id: &str, identity: &str, until: Instant) {
        if let Some(open) = self.open.get_mut(job_id) {
            open.accepted = Some(Accepted {
                identity: identity.to_owned(),
                until,
            });
        }
    }

    /// Frees the place; whether it had been accepted.
    pub(super) fn release(&mut self, job_id: &str) -> bool {
        self.open
            .remove(job_id)
            .is_some_and(|open| open.accepted.is_some())
    }

    /// It was assigned: the offer, the identity it was accepted with, and its place. An offer that was
    /// never accepted stays as it is.
    pub(super) fn claim(&mut self, job_id: &str) -> Option<(JobOffer, String, Slot)> {
        if self.is_unanswered(job_id) {
            return None;
        }
        let open = self.open.remove(job_id)?;
        Some((open.offer, open.accepted?.identity, open.slot))
    }

    /// Frees the places of accepted offers whose time is up, and names them.
    pub(super) fn lapse(&mut self, now: Instant) -> Vec<String> {
        self.release_accepted(|accepted| accepted.until <= now)
    }

    /// The connection is gone: frees all places and names the accepted offers.
    pub(super) fn disconnected(&mut self) -> Vec<String> {
        let lapsed = self.release_accepted(|_| true);
        self.open.clear();
        lapsed
    }

    /// When the next accepted offer lapses.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open
            .values()
            .filter_map(|open| Some(open.accepted.as_ref()?.until))
            .min()
    }

    fn release_accepted(&mut self, due: impl Fn(&Accepted) -> bool) -> Vec<String> {
        self.open
            .extract_if(|_, open| open.accepted.as_ref().is_some_and(&due))
            .map(|(job_id, _)| job_id)
            .collect()
    }
}
