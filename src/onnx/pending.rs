//! A runtime that is still being loaded, while others read the models that they will want it for.

use std::sync::{Arc, OnceLock};

use super::{OnnxError, Runtime};

type Place = Arc<OnceLock<Result<Runtime, String>>>;

/// A runtime that is there or will be; a clone is another handle to it.
#[derive(Debug, Clone)]
pub struct PendingRuntime(Place);

/// What [`PendingRuntime`]s wait for. Dropped without being kept, it leaves them with an error.
#[derive(Debug)]
pub struct RuntimePromise(Place);

impl PendingRuntime {
    /// One that is not there yet, and the promise of it.
    #[must_use]
    pub fn new() -> (RuntimePromise, Self) {
        let place = Place::default();
        (RuntimePromise(place.clone()), Self(place))
    }

    /// The runtime, as soon as the promise is kept or dropped. Blocks; whoever holds the promise has the time limit.
    ///
    /// # Errors
    /// It could not be loaded.
    pub fn wait(&self) -> Result<&Runtime, OnnxError> {
        let loaded = self.0.wait().as_ref();
        loaded.map_err(|cause| OnnxError::Unavailable(cause.clone()))
    }

    /// Whether it is there already.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        matches!(self.0.get(), Some(Ok(_)))
    }
}

impl From<Runtime> for PendingRuntime {
    fn from(runtime: Runtime) -> Self {
        Self(Arc::new(OnceLock::from(Ok(runtime))))
    }
}

impl RuntimePromise {
    /// Wakes all who wait.
    pub fn keep(self, loaded: Result<Runtime, String>) {
        // Nobody else can have set it, and what is set later, by the drop, counts for nothing.
        let _ = self.0.set(loaded);
    }
}

impl Drop for RuntimePromise {
    fn drop(&mut self) {
        let _ = self
            .0
            .set(Err("the loading of ONNX Runtime was given up".into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_wait_hear_why_there_is_none() {
        let (promise, pending) = PendingRuntime::new();
        let waiting: Vec<_> = [pending.clone(), pending.clone()]
            .map(|pending| {
                std::thread::spawn(move || pending.wait().map(drop).map_err(|e| e.to_string()))
            })
            .into();
        assert!(!pending.is_loaded());
        promise.keep(Err("no such file".into()));
        for thread in waiting {
            assert_eq!(thread.join().unwrap(), Err("no such file".to_owned()));
        }
        assert!(!pending.is_loaded());
    }

    #[test]
    fn a_promise_that_is_dropped_leaves_nobody_waiting() {
        let (promise, pending) = PendingRuntime::new();
        drop(promise);
        let error = pending.wait().map(drop).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the loading of ONNX Runtime was given up"
        );
    }
}
