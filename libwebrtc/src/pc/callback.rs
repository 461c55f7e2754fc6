//! A slot for a user's callback.

use std::panic::{AssertUnwindSafe, catch_unwind};

use parking_lot::Mutex;

/// Holds a callback that may be replaced at any time, even by itself while it runs.
pub(crate) struct Callback<F> {
    slot: Mutex<Slot<F>>,
}

struct Slot<F> {
    callback: Option<F>,
    /// Counts replacements, so that a callback that runs is not put back over its successor.
    version: u64,
}

impl<F> Default for Callback<F> {
    fn default() -> Self {
        Self {
            slot: Mutex::new(Slot {
                callback: None,
                version: 0,
            }),
        }
    }
}

impl<F> Callback<F> {
    /// Replaces the callback.
    pub fn set(&self, callback: Option<F>) {
        let _former = {
            let mut slot = self.slot.lock();
            slot.version += 1;
            std::mem::replace(&mut slot.callback, callback)
        };
        // The former one is dropped here, after the lock: what it captured may call back.
    }

    /// Whether there is one; false while it runs.
    pub fn is_set(&self) -> bool {
        self.slot.lock().callback.is_some()
    }

    /// Runs the callback, if any, without a lock. A panic in it is logged and goes no further.
    /// Only the driver calls, so that no two calls overlap.
    pub fn call(&self, run: impl FnOnce(&mut F)) {
        let (mut callback, version) = {
            let mut slot = self.slot.lock();
            let Some(callback) = slot.callback.take() else {
                return;
            };
            (callback, slot.version)
        };
        if catch_unwind(AssertUnwindSafe(|| run(&mut callback))).is_err() {
            log::error!("a peer connection's callback panicked");
        }
        let mut slot = self.slot.lock();
        if slot.version == version {
            slot.callback = Some(callback);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    type Counter = Box<dyn FnMut() + Send + Sync>;

    #[test]
    fn a_callback_may_replace_itself_while_it_runs() {
        let callback = Arc::new(Callback::<Counter>::default());
        let calls = Arc::new(AtomicU32::new(0));
        let (inner, inner_calls) = (Arc::clone(&callback), Arc::clone(&calls));
        callback.set(Some(Box::new(move || {
            inner_calls.fetch_add(1, Ordering::Relaxed);
            inner.set(None);
        })));
        callback.call(|f| f());
        callback.call(|f| f());
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        assert!(!callback.is_set());
    }

    #[test]
    fn a_panicking_callback_is_called_again() {
        let callback = Callback::<Counter>::default();
        let calls = Arc::new(AtomicU32::new(0));
        let inner_calls = Arc::clone(&calls);
        callback.set(Some(Box::new(move || {
            inner_calls.fetch_add(1, Ordering::Relaxed);
            panic!("a fault of the user");
        })));
        callback.call(|f| f());
        callback.call(|f| f());
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }
}
