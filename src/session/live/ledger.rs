//! Where a session's events are written down: decided, on disk, and only then acted upon.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::Session;
use crate::interview::event::Recorded;
use crate::interview::{Input, InterviewId, State, actions, decide};
use crate::journal::{Journal, JournalError, Snapshot};
use crate::session::pulse::Doing;

/// A disk that takes nothing for this long is taken for broken: the candidate hears silence meanwhile.
pub(in crate::session) const APPEND_LIMIT: Duration = Duration::from_secs(5);

/// A snapshot comes after so many events, about a quarter of an hour of talk: no more than these are ever replayed.
const SNAPSHOT_EVERY: u64 = 128;

/// Where events are written down.
pub(in crate::session) trait Ledger {
    /// Returns when the events are on disk.
    fn append(
        &self,
        id: &InterviewId,
        events: Vec<Recorded>,
    ) -> impl Future<Output = Result<(), JournalError>> + Send;

    /// Keeps where the interview stands, for whoever takes it up. Nothing is lost where that fails.
    fn snapshot(&self, id: &InterviewId, state: &State);
}

impl Ledger for Journal {
    fn append(
        &self,
        id: &InterviewId,
        events: Vec<Recorded>,
    ) -> impl Future<Output = Result<(), JournalError>> + Send {
        Journal::append(self, id, events)
    }

    fn snapshot(&self, id: &InterviewId, state: &State) {
        let kept = match state.to_snapshot() {
            Ok(text) => {
                let snapshot = Snapshot {
                    seq: state.seq(),
                    state: text,
                };
                self.keep_snapshot(id, snapshot).map_err(|e| e.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = kept {
            tracing::debug!(interview_id = %id, "no snapshot is kept: {error}");
        }
    }
}

impl<L: Ledger> Session<L> {
    /// Decides, writes down, and only then acts.
    pub(in crate::session) async fn input(&mut self, input: Input) -> Result<(), JournalError> {
        for recorded in self.write(input).await? {
            for action in actions(&self.state, &recorded.event) {
                self.act(action);
            }
        }
        Ok(())
    }

    /// Decides and writes down; what follows from it is left to whoever takes the interview up.
    pub(super) async fn write(&mut self, input: Input) -> Result<Vec<Recorded>, JournalError> {
        self.comes_round();
        let events = decide(&self.state, self.now(), input);
        if events.is_empty() {
            return Ok(events);
        }
        let begun = Instant::now();
        let before = self.pulse.beat().doing();
        self.pulse.note(Doing::Writes);
        let appended =
            tokio::time::timeout(APPEND_LIMIT, self.ledger.append(&self.id, events.clone())).await;
        self.pulse.note(before);
        appended.unwrap_or_else(|_| {
            Err(JournalError::Failed {
                cause: format!("the disk took nothing for {} s", APPEND_LIMIT.as_secs()),
            })
        })?;
        self.figures.written(begun);
        let before = self.state.seq();
        for recorded in &events {
            self.state.apply(recorded);
            // Not what was said: that is in the journal, and in nobody's log.
            tracing::debug!(interview_id = %self.id, seq = recorded.seq, event = recorded.event.kind(), "event");
        }
        if before / SNAPSHOT_EVERY < self.state.seq() / SNAPSHOT_EVERY {
            self.ledger.snapshot(&self.id, &self.state);
        }
        Ok(events)
    }
}
