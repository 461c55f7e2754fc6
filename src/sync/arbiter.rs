//! Decides between two appliances that could both conduct an interview.
//!
//! Postgres decides: whoever has the lease, and nobody takes a lease that another one has. Where Postgres can't be
//! asked, LiveKit is: an interviewer in the room that shows a heartbeat keeps the interview.

use std::time::Duration;

use tokio::time::Instant;

use super::error::SyncError;
use super::leases::LEASE;
use super::link::Link;
use super::{Appliance, tenure};
use crate::backoff::Backoff;
use crate::interview::InterviewId;
use crate::room::BEAT_EVERY;
use crate::worker::presence::{Presence, Rooms, holder_of};

/// Somebody waits in silence meanwhile.
const ASK_LIMIT: Duration = Duration::from_secs(2);
/// An interviewer whose heartbeat stood still for so long is dead: its process is stopped, or LiveKit has not noticed
/// yet that it is gone.
const DEAD_AFTER: Duration = Duration::from_secs(15);
const _: () = assert!(DEAD_AFTER.as_secs() >= 3 * BEAT_EVERY.as_secs());
/// One that was not there for so long does not come back by itself: longer than a LiveKit that is being restarted and
/// the first tries to join again take.
const GONE_AFTER: Duration = Duration::from_secs(10);
/// One that shows no heartbeat at all and is still there after this is of a release that has none. LiveKit itself
/// drops one that is gone far sooner.
const GHOST_LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at a heartbeat.
const LOOK_EVERY: Duration = Duration::from_millis(2_500);
/// Before LiveKit is asked again.
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// At most.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Asks who may conduct an interview. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Arbiter {
    pub(super) link: Link,
    pub(super) mine: Appliance,
    pub(super) rooms: Rooms,
}

/// Whose lease an interview has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leased {
    /// Ours; it has just been renewed.
    Here,
    /// Another appliance's, which may be over.
    Elsewhere(String),
    /// Nobody's: Postgres does not know the interview yet, or nobody is to take it up.
    Nowhere,
}

impl Arbiter {
    /// Decides for this appliance.
    #[must_use]
    pub fn new(link: Link, mine: Appliance, rooms: Rooms) -> Self {
        Self { link, mine, rooms }
    }

    /// What our heartbeats begin with.
    #[must_use]
    pub fn tag(&self) -> String {
        self.mine.tag()
    }

    /// Whether nobody can have taken anything over since the process before this one renewed its leases: those that
    /// it conducted can be gone on with at once. Blocks for the time of a small file.
    #[must_use]
    pub fn tenure_holds(&self, state_directory: &std::path::Path) -> bool {
        tenure::holds(state_directory)
    }

    /// Whose lease it is, by Postgres. Ours is renewed.
    ///
    /// # Errors
    /// Postgres does not answer in time.
    pub async fn leased(&self, id: &InterviewId) -> Result<Leased, SyncError> {
        let asking = async {
            let mut connection = self.link.acquire().await?;
            let asking = self.ask(&mut connection, id);
            let done = tokio::time::timeout(ASK_LIMIT, asking).await;
            self.link.settle(connection, done)
        };
        match tokio::time::timeout(ASK_LIMIT, asking).await {
            Ok(answered) => answered,
            Err(_) => Err(self.link.silent()),
        }
    }

    async fn ask(
        &self,
        connection: &mut sqlx::PgConnection,
        id: &InterviewId,
    ) -> Result<Leased, sqlx::Error> {
        let renewed = sqlx::query!(
            "UPDATE leases SET expires_at = now() + make_interval(secs => $3)
             WHERE interview_id = $1 AND appliance = $2",
            id.as_str(),
            &self.mine.name as &str,
            LEASE.as_secs_f64()
        )
        .execute(&mut *connection)
        .await?;
        if renewed.rows_affected() > 0 {
            return Ok(Leased::Here);
        }
        let holder = sqlx::query_scalar!(
            "SELECT appliance FROM leases WHERE interview_id = $1",
            id.as_str()
        )
        .fetch_optional(connection)
        .await?;
        Ok(holder.map_or(Leased::Nowhere, Leased::Elsewhere))
    }

    /// Which other appliance conducts an interview that was conducted here and is to be gone on with; nothing where it
    /// is ours. Takes as long as neither Postgres nor LiveKit can be asked; with neither, nobody could go on either.
    pub async fn holder(&self, id: &InterviewId, room: &str) -> Option<String> {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX);
        let mut watch = Watch::default();
        loop {
            match self.leased(id).await {
                Ok(Leased::Here | Leased::Nowhere) => return None,
                Ok(Leased::Elsewhere(appliance)) => return Some(appliance),
                Err(error) => {
                    tracing::debug!(interview_id = %id, "LiveKit is asked instead: {error}")
                }
            }
            match self.rooms.interviewer(room).await {
                // It is ours, as long as nobody else is there.
                Ok(Presence::Absent) => return None,
                Ok(presence) => {
                    if self.is_own(&presence) {
                        return None;
                    }
                    match watch.look(presence, Instant::now()) {
                        Sign::Dead => return None,
                        Sign::Alive => {
                            return Some("another appliance, which is in the room".into());
                        }
                        Sign::Unsure => tokio::time::sleep(LOOK_EVERY).await,
                    }
                }
                Err(error) => {
                    tracing::warn!(interview_id = %id, "nobody can say whether another appliance conducts it: {error}");
                    tokio::time::sleep(backoff.next_wait()).await;
                }
            }
        }
    }

    /// Whether the interviewer in a room is, or was, a process of this appliance.
    pub(super) fn is_own(&self, presence: &Presence) -> bool {
        matches!(presence, Presence::Present { beat: Some(beat) } if holder_of(beat) == self.mine.tag())
    }
}

/// What several looks at an interviewer say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// It conducts the interview.
    Alive,
    /// Nobody does.
    Dead,
    /// It takes another look to say so.
    Unsure,
}

/// What was seen of an interviewer until now.
#[derive(Debug, Default)]
pub(super) struct Watch {
    seen: Option<(Presence, Instant)>,
}

impl Watch {
    /// Takes another look in.
    pub(super) fn look(&mut self, presence: Presence, now: Instant) -> Sign {
        match &self.seen {
            Some((before, since)) if *before == presence => {
                let for_long = |limit| now.duration_since(*since) >= limit;
                match presence {
                    Presence::Absent if for_long(GONE_AFTER) => Sign::Dead,
                    Presence::Present { beat: Some(_) } if for_long(DEAD_AFTER) => Sign::Dead,
                    Presence::Present { beat: None } if for_long(GHOST_LIMIT) => Sign::Alive,
                    _ => Sign::Unsure,
                }
            }
            seen => {
                let is_alive = seen.is_some() && presence != Presence::Absent;
                self.seen = Some((presence, now));
                if is_alive { Sign::Alive } else { Sign::Unsure }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(beat: &str) -> Presence {
        Presence::Present {
            beat: Some(beat.into()),
        }
    }

    #[test]
    fn an_interviewer_whose_heartbeat_changes_is_alive_and_one_whose_heartbeat_stands_still_is_dead()
     {
        let (mut watch, begin) = (Watch::default(), Instant::now());
        let at = |s| begin + Duration::from_secs(s);
        assert_eq!(watch.look(seen("a.1"), at(0)), Sign::Unsure);
        assert_eq!(watch.look(seen("a.1"), at(4)), Sign::Unsure);
        assert_eq!(watch.look(seen("a.2"), at(5)), Sign::Alive);
        assert_eq!(watch.look(seen("a.2"), at(19)), Sign::Unsure);
        assert_eq!(watch.look(seen("a.2"), at(20)), Sign::Dead);
    }

    #[test]
    fn an_interviewer_who_does_not_come_back_is_dead_and_one_who_does_is_alive() {
        let (mut watch, begin) = (Watch::default(), Instant::now());
        let at = |s| begin + Duration::from_secs(s);
        assert_eq!(watch.look(Presence::Absent, at(0)), Sign::Unsure);
        assert_eq!(watch.look(Presence::Absent, at(9)), Sign::Unsure);
        assert_eq!(watch.look(Presence::Absent, at(10)), Sign::Dead);
        assert_eq!(watch.look(seen("b.1"), at(11)), Sign::Alive);
        assert_eq!(watch.look(Presence::Absent, at(12)), Sign::Unsure);
    }

    #[test]
    fn one_without_a_heartbeat_is_alive_when_livekit_keeps_it() {
        let (mut watch, begin) = (Watch::default(), Instant::now());
        let silent = || Presence::Present { beat: None };
        assert_eq!(watch.look(silent(), begin), Sign::Unsure);
        assert_eq!(watch.look(silent(), begin + DEAD_AFTER), Sign::Unsure);
        assert_eq!(watch.look(silent(), begin + GHOST_LIMIT), Sign::Alive);
    }
}
