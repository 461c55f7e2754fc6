//! The hard capacity: so many interviews at once, and not one more.

use std::sync::Arc;

use tokio::sync::watch;

/// A counter of places with an upper bound.
///
/// It is a semaphore whose count can be watched: LiveKit must hear of every change at once, so the
/// count and the news of it are one thing.
#[derive(Debug, Clone)]
pub struct Slots {
    taken: Arc<watch::Sender<u32>>,
    capacity: u32,
}

impl Slots {
    /// `capacity` places, all free.
    pub fn new(capacity: u32) -> Self {
        Self {
            taken: Arc::new(watch::Sender::new(0)),
            capacity,
        }
    }

    /// Takes a place, or `None` when all are taken.
    pub fn take(&self) -> Option<Slot> {
        let capacity = self.capacity;
        let free = self.taken.send_if_modified(|taken| {
            let free = *taken < capacity;
            *taken += u32::from(free);
            free
        });
        free.then(|| Slot {
            taken: Arc::clone(&self.taken),
        })
    }

    /// Takes a place also when all are taken: for what goes on already and can't be refused.
    pub fn take_beyond(&self) -> Slot {
        self.taken.send_modify(|taken| *taken += 1);
        Slot {
            taken: Arc::clone(&self.taken),
        }
    }

    /// Places that are taken now.
    pub fn taken(&self) -> u32 {
        *self.taken.borrow()
    }

    /// Places in all.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// The number of taken places and its changes.
    pub fn watch(&self) -> watch::Receiver<u32> {
        self.taken.subscribe()
    }
}

/// One place; dropping it frees it.
#[derive(Debug)]
#[must_use = "dropping it frees the place"]
pub struct Slot {
    taken: Arc<watch::Sender<u32>>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.taken
            .send_modify(|taken| *taken = taken.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_places_are_given_than_there_are() {
        let slots = Slots::new(2);
        let first = slots.take();
        let second = slots.take();
        assert!(first.is_some() && second.is_some());
        assert!(slots.take().is_none());
        drop(first);
        assert_eq!(slots.taken(), 1);
        assert!(slots.take().is_some());
    }

    #[test]
    fn who_can_not_be_refused_takes_a_place_that_is_not_there() {
        let slots = Slots::new(1);
        let (first, resumed) = (slots.take(), slots.take_beyond());
        assert_eq!(slots.taken(), 2);
        drop(first);
        assert!(slots.take().is_none());
        drop(resumed);
        assert!(slots.take().is_some());
    }

    #[test]
    fn a_freed_place_is_news_and_a_refused_one_is_not() {
        let slots = Slots::new(1);
        let mut news = slots.watch();
        let slot = slots.take();
        assert!(news.has_changed().unwrap());
        news.mark_unchanged();
        assert!(slots.take().is_none());
        assert!(!news.has_changed().unwrap());
        drop(slot);
        assert!(news.has_changed().unwrap());
    }
}
