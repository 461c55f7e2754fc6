//! What the service manager is told: READY, STATUS, STOPPING and the watchdog's keep-alive.
//!
//! A thread of its own does the telling: a manager that does not read would block whoever writes, and that must not be
//! the runtime that conducts interviews.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use sd_notify::NotifyState;

/// Messages that may wait for a manager that is slow to read; a further one is dropped.
const QUEUE_MAX: usize = 32;

/// Something that the manager is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Everything that an interview needs is there.
    Ready,
    /// The settings and plans are being read again; [`Ready`](Self::Ready) follows in any case.
    Reloading,
    /// What goes on may take this much longer.
    ExtendTimeout(Duration),
    /// A line for people.
    Status(String),
    /// No more interviews are taken.
    Stopping,
    /// Still alive.
    Watchdog,
}

/// The way to the service manager; cheap to clone. Where there is none, telling it does nothing.
#[derive(Debug, Clone)]
pub struct Manager {
    queue: Option<SyncSender<Told>>,
}

impl Manager {
    /// Finds the manager that started this process, if one did.
    #[must_use]
    pub fn find() -> Self {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Self { queue: None };
        }
        let (queue, messages) = sync_channel(QUEUE_MAX);
        let thread = std::thread::Builder::new()
            .name("notify".into())
            .spawn(move || tell_all(&messages));
        match thread {
            Ok(_) => Self { queue: Some(queue) },
            Err(error) => {
                tracing::warn!(
                    "the service manager will not be told anything: no thread for it: {error}"
                );
                Self { queue: None }
            }
        }
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.queue.is_some()
    }

    /// Tells it, without waiting.
    pub fn tell(&self, told: Told) {
        if let Some(queue) = &self.queue
            && queue.try_send(told).is_err()
        {
            tracing::debug!("the service manager does not read what it is told");
        }
    }
}

fn tell_all(messages: &Receiver<Told>) {
    while let Ok(told) = messages.recv() {
        let sent = match &told {
            Told::Ready => sd_notify::notify(&[NotifyState::Ready]),
            // The manager takes a READY for this reload's by the time that stands here.
            Told::Reloading => NotifyState::monotonic_usec_now()
                .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now])),
            Told::ExtendTimeout(time) => {
                let us = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
                sd_notify::notify(&[NotifyState::ExtendTimeoutUsec(us)])
            }
            Told::Status(line) => sd_notify::notify(&[NotifyState::Status(line)]),
            Told::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
            Told::Watchdog => sd_notify::notify(&[NotifyState::Watchdog]),
        };
        // Nobody listens any more: the service goes on, and the log says why the manager knows nothing.
        if let Err(error) = sent {
            tracing::warn!("the service manager could not be told {told:?}: {error}");
            return;
        }
    }
}
