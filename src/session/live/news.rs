//! What a session makes of the room's news: who comes and goes, and what becomes of the connection.

use std::time::Duration;

use tokio::time::Instant;

use super::{Ledger, Parting, Session};
use crate::interview::Input;
use crate::journal::JournalError;
use crate::room::RoomNews;
use crate::session::venue::Venue;

/// The first words wait this long, at most, for the candidate's client to have subscribed to our track:
/// a client that never says so is greeted all the same.
const SUBSCRIPTION_WAIT: Duration = Duration::from_secs(1);

/// Speech into a connection that was broken for so long is begun again: more than a word of it was lost.
const UNHEARD_AFTER: Duration = Duration::from_secs(1);

impl<L: Ledger> Session<L> {
    pub(super) async fn room_news<V: Venue>(
        &mut self,
        news: RoomNews<V::Voice>,
        venue: &mut V,
    ) -> Result<Option<Parting>, JournalError> {
        let Some(stay) = &mut self.stay else {
            return Ok(None);
        };
        match news {
            RoomNews::CandidateHere { identity } => {
                self.candidate = Some(identity.clone());
                stay.awaiting = Some((identity, Instant::now() + SUBSCRIPTION_WAIT));
                if stay.is_heard {
                    self.greet().await?;
                }
            }
            RoomNews::Heard => {
                stay.is_heard = true;
                self.greet().await?;
            }
            RoomNews::CandidateGone => {
                stay.awaiting = None;
                stay.is_heard = false;
                venue.stop_listening();
                self.input(Input::CandidateAbsent).await?;
            }
            RoomNews::Voice { voice, sid } => {
                venue.listen(&voice, self.heard.clone());
                stay.candidate_track = Some(sid);
            }
            RoomNews::VoiceGone => {
                venue.stop_listening();
                stay.candidate_track = None;
            }
            RoomNews::Reconnecting => {
                stay.broken_since.get_or_insert_with(Instant::now);
                tracing::warn!(interview_id = %self.id, "the connection to the room broke and is being mended");
            }
            RoomNews::Reconnected => {
                let broken_for = stay.broken_since.take().map(|since| since.elapsed());
                tracing::info!(interview_id = %self.id, ?broken_for, "the connection to the room is mended");
                let was_long = broken_for.is_some_and(|time| time >= UNHEARD_AFTER);
                if was_long && stay.speaking_now.is_some() {
                    self.say_it_anew().await?;
                }
            }
            RoomNews::Lost { cause } => return Ok(Some(Parting::Lost { cause })),
            RoomNews::Replaced => return Ok(Some(Parting::Replaced)),
            RoomNews::Gone { cause } => self.input(Input::RoomGone { cause }).await?,
        }
        Ok(None)
    }

    /// What was said while the connection was broken went to an empty room.
    async fn say_it_anew(&mut self) -> Result<(), JournalError> {
        let Some(identity) = self.candidate.clone() else {
            return Ok(());
        };
        self.input(Input::CandidateAbsent).await?;
        self.input(Input::CandidatePresent { identity }).await
    }

    /// The candidate is here and hears us, or has been waited for long enough.
    pub(super) async fn greet(&mut self) -> Result<(), JournalError> {
        let awaited = self.stay.as_mut().and_then(|stay| stay.awaiting.take());
        match awaited {
            Some((identity, _)) => self.input(Input::CandidatePresent { identity }).await,
            None => Ok(()),
        }
    }
}
