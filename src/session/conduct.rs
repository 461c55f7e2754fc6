//! The life of one interview in this process: written down and joined side by side, held, joined again when the room is
//! lost, and left.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::live::{Faculties, Parting, Session, Stops};
use super::pulse::{Doing, Pulse};
use super::venue::LiveKitVenue;
use crate::backoff::Backoff;
use crate::clock::unix_ms;
use crate::config::{LiveKitKey, Secret};
use crate::interview::event::EndReason;
use crate::interview::mind::Mind;
use crate::interview::plan::{Plan, PlanError};
use crate::interview::{Input, InterviewId, State};
use crate::journal::{InterviewRow, Journal, JournalError, NewInterview, REPLACED_CAUSE, TakenUp};
use crate::llm::Llm;
use crate::room::{Announcer, CandidateChooser, JoinError, JoinedRoom};
use crate::spawn::supervised;
use crate::speech::{Stt, Tts};
use crate::sync::{Arbiter, Leased};
use crate::telemetry::traces::Traces;
use crate::voice::endpoint::EndpointSettings;
use crate::voice::playout::{Playout, playout};
use crate::voice::vad::VadEngine;
use crate::worker::token::{self, AgentIdentity, TokenError};

/// A room that was lost is tried again for this long: longer than a server takes to restart and a cut that a person waits
/// out, shorter than LiveKit keeps an empty room whose departure time-out is set as `docs/operations.md` says.
pub(super) const REJOIN_LIMIT: Duration = Duration::from_secs(180);

/// Before a room that could not be joined is tried again.
const REJOIN_FIRST: Duration = Duration::from_millis(250);

/// At most: somebody waits there.
pub(super) const REJOIN_MAX: Duration = Duration::from_secs(5);

/// An appliance that was thrown out of the room and has the lease comes back so often; then something else uses our
/// identity, which no lease can help against.
const COMEBACKS_MAX: u32 = 3;

/// An interview that was taken up and is still held after this long did not kill its process.
const STOOD_AFTER: Duration = Duration::from_secs(30);

/// An interview that was taken up so often, and did not stand once, is not tried again: it kills its process, and other
/// interviews with it.
const ATTEMPTS_MAX: u32 = 3;

/// What all interviews share.
pub struct Conductor {
    /// Where events are written.
    pub journal: Journal,
    /// Hears speech.
    pub vad: VadEngine,
    /// When the turns of the interviews to come begin and end.
    pub endpointing: Mutex<EndpointSettings>,
    /// Understands speech.
    pub stt: Arc<dyn Stt>,
    /// Speaks.
    pub tts: Arc<dyn Tts>,
    /// Acknowledges answers and asks a follow-up; without one the plan's questions are asked as they are.
    pub llm: Option<Arc<Llm>>,
    /// Where turns are told, for a collector.
    pub traces: Option<Traces>,
    /// The server that rooms are joined on without an assignment of its own.
    pub livekit_url: String,
    /// Signs what lets us in there.
    pub livekit_key: LiveKitKey,
    /// Who we are in a room.
    pub agent: AgentIdentity,
    /// Who may conduct an interview, where other appliances could.
    pub arbiter: Option<Arbiter>,
}

/// An interview to be held.
#[derive(Debug, Clone)]
pub struct Engagement {
    /// Which.
    pub interview: InterviewId,
    /// The room's name.
    pub room: String,
    /// LiveKit.
    pub url: String,
    /// What lets us in.
    pub token: Secret,
    /// What is asked.
    pub plan: Arc<Plan>,
    /// The plan's name.
    pub plan_name: String,
    /// The candidate's identity, where the job names it.
    pub candidate: Option<String>,
}

/// How this process's part of an interview came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The interview is over.
    Ended(EndReason),
    /// Another process holds it now, or will when it starts.
    HandedOver,
}

/// Why an interview did not take place or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The room.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// What lets us into the room.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The journal: it can't be begun, or can't be gone on with.
    #[error("interview {interview} is not written down: {source}")]
    Journal {
        /// Which.
        interview: InterviewId,
        /// Why.
        source: JournalError,
    },
    /// It took its process with it again and again.
    #[error(
        "interview {interview} is set aside: its process ended {ATTEMPTS_MAX} times soon after it was taken up; \
         what was said is kept, `viva report {interview}` shows it"
    )]
    SetAside {
        /// Which.
        interview: InterviewId,
    },
    /// The plan as the journal has it.
    #[error("the plan of interview {interview} can't be read any more: {source}")]
    Plan {
        /// Which.
        interview: InterviewId,
        /// Why.
        source: PlanError,
    },
}

/// A way into the room.
#[derive(Clone)]
struct Door {
    room: String,
    url: String,
    token: Secret,
    candidate: Option<String>,
}

impl Conductor {
    /// Holds a new interview, or goes on with it if the journal has it already. `leaving` runs before the room is left.
    ///
    /// # Errors
    /// The room can't be joined or the journal can't be written; whatever was written before stays.
    pub(super) async fn conduct(
        self: Arc<Self>,
        engagement: Engagement,
        stops: Stops,
        pulse: Pulse,
        leaving: impl AsyncFnOnce(&Outcome),
    ) -> Result<Outcome, SessionError> {
        let id = engagement.interview.clone();
        let (room, candidate) = (engagement.room.clone(), engagement.candidate.clone());
        let door = Door {
            room: room.clone(),
            url: engagement.url.clone(),
            token: engagement.token.clone(),
            candidate: candidate.clone(),
        };
        // Neither waits for the other: what is said waits for both. The journal comes first, so that it has what stands still
        // or breaks down at the door.
        let (begun, joined) = tokio::join!(self.begin(engagement, pulse.clone()), self.join(door));
        let mut session = match begun {
            Ok(session) => session,
            Err(error) => {
                if let Ok((entered, ..)) = joined {
                    pulse.note(Doing::Leaves);
                    entered.leave().await;
                }
                return Err(error);
            }
        };
        match joined {
            Ok(place) => self.hold(id, session, place, stops, leaving).await,
            // LiveKit gives the job to nobody else, and what keeps us out may pass: its token may be too old by now, the
            // server may be restarting.
            Err(error) => {
                tracing::warn!(interview_id = %id, "{error}");
                let door = self.minted_door(room, candidate)?;
                match self
                    .rejoin(&id, &mut session, door, error.clone(), &stops, false)
                    .await?
                {
                    Ok(place) => self.hold(id, session, place, stops, leaving).await,
                    Err(Outcome::HandedOver) => {
                        pulse.note(Doing::Tells);
                        leaving(&Outcome::HandedOver).await;
                        Ok(Outcome::HandedOver)
                    }
                    // Nobody was interviewed: the job has failed.
                    Err(Outcome::Ended(_)) => Err(error.into()),
                }
            }
        }
    }

    /// Goes on with an interview that a process before this one held. `leaving` runs before the room is left.
    ///
    /// # Errors
    /// The journal can't give or take it. A room that can't be joined again ends the interview.
    pub(super) async fn resume(
        self: Arc<Self>,
        id: InterviewId,
        stops: Stops,
        pulse: Pulse,
        leaving: impl AsyncFnOnce(&Outcome),
    ) -> Result<Outcome, SessionError> {
        let (mut session, interview) = self.take_up(&id, &pulse).await?;
        // Who was there before is the candidate, also when the job named nobody.
        let candidate = interview.candidate.or_else(|| session.candidate());
        let door = self.minted_door(interview.room, candidate)?;
        pulse.note(Doing::Joins);
        let place = match self.join(door.clone()).await {
            Ok(place) => place,
            Err(error) => match self
                .rejoin(&id, &mut session, door, error, &stops, false)
                .await?
            {
                Ok(place) => place,
                Err(outcome) => {
                    pulse.note(Doing::Tells);
                    leaving(&outcome).await;
                    return Ok(outcome);
                }
            },
        };
        self.hold(id, session, place, stops, leaving).await
    }

    async fn hold(
        &self,
        id: InterviewId,
        mut session: Session<Journal>,
        place: (JoinedRoom, Playout),
        mut stops: Stops,
        leaving: impl AsyncFnOnce(&Outcome),
    ) -> Result<Outcome, SessionError> {
        let (mut room, mut mouth) = place;
        // What holds when it begins holds to its end.
        let endpointing = *self
            .endpointing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let holder: Option<Arc<str>> = self.arbiter.as_ref().map(|arbiter| arbiter.tag().into());
        let mut comebacks = 0;
        loop {
            let announcer = Announcer::start(room.participant(), room.own_track(), holder.clone());
            let mut venue = LiveKitVenue {
                room,
                vad: self.vad.clone(),
                endpointing,
                ear: None,
            };
            let parting = session.stay(&mut venue, announcer, mouth, &stops).await;
            let LiveKitVenue { room: left, .. } = venue;
            session.note(Doing::Tells);
            let door = self.minted_door(left.name(), left.candidate())?;
            let cause = match parting.map_err(|source| journal_error(&id, source)) {
                Ok(Parting::Ended(reason)) => {
                    let outcome = Outcome::Ended(reason);
                    leaving(&outcome).await;
                    session.note(Doing::Leaves);
                    left.leave().await;
                    return Ok(outcome);
                }
                Ok(Parting::HandedOver) => {
                    session.note(Doing::Writes);
                    stood_by(&self.journal, &id).await;
                    session.note(Doing::Tells);
                    // Whoever joins under our identity takes our place without a moment in which nobody is there.
                    leaving(&Outcome::HandedOver).await;
                    left.abandon();
                    return Ok(Outcome::HandedOver);
                }
                Ok(Parting::Replaced) => {
                    comebacks += 1;
                    session.note(Doing::LooksForOthers);
                    if comebacks > COMEBACKS_MAX || !self.is_leased_here(&id).await {
                        session.note(Doing::Tells);
                        leaving(&Outcome::HandedOver).await;
                        session.note(Doing::Leaves);
                        left.leave().await;
                        return Ok(Outcome::HandedOver);
                    }
                    "somebody else took our place in it, and the lease is ours".to_owned()
                }
                Ok(Parting::Lost { cause }) => cause,
                Ok(Parting::StoodStill { cause }) => {
                    // LiveKit has ended the job or is about to, since nobody was there. Whether anybody waits in the room,
                    // and whose the interview is, decides.
                    stops.dismissed = CancellationToken::new();
                    cause
                }
                Err(error) => {
                    session.note(Doing::Leaves);
                    left.leave().await;
                    return Err(error);
                }
            };
            tracing::warn!(interview_id = %id, "the room is left and joined again: {cause}");
            supervised("leave a lost room", left.leave());
            let lost = JoinError::Refused {
                room: door.room.clone(),
                cause,
            };
            match self
                .rejoin(&id, &mut session, door, lost, &stops, true)
                .await?
            {
                Ok((joined, mouthpiece)) => (room, mouth) = (joined, mouthpiece),
                Err(outcome) => {
                    session.note(Doing::Tells);
                    leaving(&outcome).await;
                    return Ok(outcome);
                }
            }
        }
    }

    /// Whether Postgres says that the interview is ours, to one that was thrown out of its room. If it is another
    /// appliance's, it is set aside here.
    async fn is_leased_here(&self, id: &InterviewId) -> bool {
        let Some(arbiter) = &self.arbiter else {
            return false;
        };
        match arbiter.leased(id).await {
            Ok(Leased::Here) => true,
            Ok(Leased::Elsewhere(appliance)) => {
                self.give_up(id, &appliance).await;
                false
            }
            Ok(Leased::Nowhere) => false,
            Err(error) => {
                tracing::warn!(interview_id = %id, "somebody else took our place in the room and keeps it: {error}");
                false
            }
        }
    }

    /// Sets an interview of before aside if another appliance conducts it by now. Waits for whoever can say so.
    pub(super) async fn is_elsewhere(&self, id: &InterviewId, room: &str) -> bool {
        let Some(arbiter) = &self.arbiter else {
            return false;
        };
        match arbiter.holder(id, room).await {
            Some(appliance) => {
                self.give_up(id, &appliance).await;
                true
            }
            None => false,
        }
    }

    /// Writes that another appliance goes on with it: no process here takes it up any more.
    pub(super) async fn give_up(&self, id: &InterviewId, appliance: &str) {
        tracing::warn!(interview_id = %id, "the interview is conducted by {appliance} now");
        let written = self.journal.set_aside(id, unix_ms(), REPLACED_CAUSE.into());
        match written.await {
            Ok(())
            | Err(JournalError::AlreadyEnded { .. } | JournalError::UnknownInterview { .. }) => {}
            Err(error) => tracing::error!(interview_id = %id, "it is not set aside here: {error}"),
        }
    }

    /// The first words of an interview's journal.
    async fn begin(
        &self,
        engagement: Engagement,
        pulse: Pulse,
    ) -> Result<Session<Journal>, SessionError> {
        let id = engagement.interview;
        let new = NewInterview {
            id: id.clone(),
            room: engagement.room.clone(),
            plan_name: engagement.plan_name,
            plan_hash: engagement.plan.hash().to_owned(),
            plan_body: engagement.plan.body().to_owned(),
            candidate: engagement.candidate,
            at_unix_ms: unix_ms(),
        };
        match self.journal.begin(new).await {
            Ok(()) => {}
            // LiveKit made a room or a job of the name of an interview that is live.
            Err(JournalError::AlreadyBegun { .. }) => {
                let (session, _) = self.take_up(&id, &pulse).await?;
                return Ok(session);
            }
            Err(source) => return Err(journal_error(&id, source)),
        }
        let mut session = self.session(&id, State::new(engagement.plan), pulse);
        let written = session.input(self.opened(&id, engagement.room)).await;
        written.map_err(|source| journal_error(&id, source))?;
        Ok(session)
    }

    /// The interview as its journal has it, with the attempt written down.
    async fn take_up(
        &self,
        id: &InterviewId,
        pulse: &Pulse,
    ) -> Result<(Session<Journal>, InterviewRow), SessionError> {
        pulse.note(Doing::Reads);
        let taken_up = self.journal.take_up(id).await;
        let TakenUp {
            interview,
            plan_body,
            snapshot,
            mut events,
            attempts,
        } = taken_up.map_err(|source| journal_error(id, source))?;
        tracing::info!(interview_id = %id, term = interview.term, attempts, events = events.len(), "taken up");
        if attempts > ATTEMPTS_MAX {
            let cause =
                format!("its process ended {ATTEMPTS_MAX} times soon after it was taken up");
            let written = self.journal.set_aside(id, unix_ms(), cause).await;
            written.map_err(|source| journal_error(id, source))?;
            return Err(SessionError::SetAside {
                interview: id.clone(),
            });
        }
        let plan =
            Plan::parse(&plan_body, &interview.plan_name).map_err(|source| SessionError::Plan {
                interview: id.clone(),
                source,
            })?;
        let plan = Arc::new(plan);
        let kept = snapshot.map(|kept| State::from_snapshot(plan.clone(), &kept.state));
        let mut state = match kept {
            Some(Ok(state)) => state,
            None => State::new(plan),
            Some(Err(error)) => {
                tracing::warn!(interview_id = %id, "its snapshot can't be used, all events are replayed: {error}");
                let history = self.journal.history(id).await;
                events = history.map_err(|source| journal_error(id, source))?;
                State::new(plan)
            }
        };
        for recorded in &events {
            state.apply(recorded);
        }
        let mut session = self.session(id, state, pulse.clone());
        // Its process may have ended between its beginning and its first event; if not, this changes nothing.
        let opened = self.opened(id, interview.room.clone());
        for input in [opened, Input::Resumed] {
            let written = session.input(input).await;
            written.map_err(|source| journal_error(id, source))?;
        }
        let (journal, stood) = (self.journal.clone(), id.clone());
        supervised("stood", async move {
            tokio::time::sleep(STOOD_AFTER).await;
            stood_by(&journal, &stood).await;
        });
        Ok((session, interview))
    }

    fn opened(&self, id: &InterviewId, room: String) -> Input {
        Input::Opened {
            interview_id: id.clone(),
            room,
            mind: if self.llm.is_some() {
                Mind::Llm
            } else {
                Mind::Plan
            },
        }
    }

    fn session(&self, id: &InterviewId, state: State, pulse: Pulse) -> Session<Journal> {
        let faculties = Faculties {
            stt: self.stt.clone(),
            tts: self.tts.clone(),
            llm: self.llm.clone(),
            traces: self.traces.clone(),
        };
        let session =
            Session::new(self.journal.clone(), faculties, id.clone(), state).watched(pulse);
        match self.arbiter {
            Some(_) => session.contested(),
            None => session,
        }
    }

    fn minted_door(&self, room: String, candidate: Option<String>) -> Result<Door, TokenError> {
        Ok(Door {
            token: token::join(&self.livekit_key, &room, &self.agent)?,
            url: self.livekit_url.clone(),
            room,
            candidate,
        })
    }

    async fn join(&self, door: Door) -> Result<(JoinedRoom, Playout), JoinError> {
        let (mouth, clock) = playout();
        let chooser = CandidateChooser::new(door.candidate);
        let room =
            JoinedRoom::join(&door.room, &door.url, door.token.reveal(), chooser, clock).await?;
        Ok((room, mouth))
    }

    /// Joins a lost room again, for as long as somebody may be waiting there; else what that means for the interview.
    /// Where others could conduct it, they are looked for before each try. A room that `was_held` is resumed in.
    async fn rejoin(
        &self,
        id: &InterviewId,
        session: &mut Session<Journal>,
        door: Door,
        mut last: JoinError,
        stops: &Stops,
        was_held: bool,
    ) -> Result<Result<(JoinedRoom, Playout), Outcome>, SessionError> {
        let until = Instant::now() + REJOIN_LIMIT;
        let mut backoff = Backoff::new(REJOIN_FIRST, REJOIN_MAX);
        let mut is_written = !was_held;
        while Instant::now() < until {
            session.note(Doing::Pauses);
            tokio::select! {
                () = tokio::time::sleep(backoff.next_wait()) => {}
                () = stops.hand_over.cancelled() => return Ok(Err(Outcome::HandedOver)),
                () = stops.superseded.cancelled() => return Ok(Err(Outcome::HandedOver)),
                () = stops.dismissed.cancelled() => break,
            }
            session.note(Doing::LooksForOthers);
            tokio::select! {
                elsewhere = self.is_elsewhere(id, &door.room) => if elsewhere {
                    return Ok(Err(Outcome::HandedOver));
                },
                () = tokio::time::sleep_until(until) => break,
                () = stops.hand_over.cancelled() => return Ok(Err(Outcome::HandedOver)),
            }
            if !is_written {
                let written = session.input(Input::Resumed).await;
                written.map_err(|source| journal_error(id, source))?;
                is_written = true;
            }
            session.note(Doing::Joins);
            match self.join(door.clone()).await {
                Ok(place) => return Ok(Ok(place)),
                Err(error) => {
                    tracing::warn!(interview_id = %id, "{error}");
                    last = error;
                }
            }
        }
        let cause = last.to_string();
        let gone = session.input(Input::RoomGone { cause }).await;
        gone.map_err(|source| journal_error(id, source))?;
        match session.ended() {
            Some(reason) => Ok(Err(Outcome::Ended(reason.clone()))),
            None => Err(last.into()),
        }
    }
}

/// Its process did not die of it.
async fn stood_by(journal: &Journal, id: &InterviewId) {
    match journal.stood(id).await {
        // Deleted meanwhile, or the process ends: nothing is counted any more.
        Ok(()) | Err(JournalError::UnknownInterview { .. } | JournalError::Closed) => {}
        Err(error) => tracing::warn!(interview_id = %id, "its attempts are still counted: {error}"),
    }
}

fn journal_error(interview: &InterviewId, source: JournalError) -> SessionError {
    SessionError::Journal {
        interview: interview.clone(),
        source,
    }
}
