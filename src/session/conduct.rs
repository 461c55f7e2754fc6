//! One interview from joining the room to leaving it.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ear::Ear;
use super::figures::TurnFigures;
use crate::config::Secret;
use crate::interview::event::{EndReason, Heard, Hearing, Playout, Recorded};
use crate::interview::mind::{Mind, MindReply, MindRequest};
use crate::interview::pace::TICK_AGAIN_MS;
use crate::interview::plan::Plan;
use crate::interview::{Action, Input, InterviewId, Now, State, actions, decide};
use crate::journal::{Journal, JournalError, NewInterview};
use crate::llm::{Llm, LlmError};
use crate::room::{
    AgentState, Announcer, Author, CandidateChooser, JoinError, JoinedRoom, Line, RoomNews,
};
use crate::speech::{Stt, Tts};
use crate::voice::endpoint::EndpointSettings;
use crate::voice::listen::{EVENTS_MAX, ListenEvent};
use crate::voice::playout::playout;
use crate::voice::speaker::{self, Speaker, SpeakerEvent};
use crate::voice::turn::{Transcriber, Utterance};
use crate::voice::vad::VadEngine;

/// The first words wait this long, at most, for the candidate's client to have subscribed to our track:
/// a client that never says so is greeted all the same.
const SUBSCRIPTION_WAIT: Duration = Duration::from_secs(1);

/// A sound shorter than this (with the margins that go to STT) in which no words are found is not worth a "sorry?".
const NOISE_MS_MAX: u32 = 1_200;

/// A disk that takes nothing for this long is taken for broken: the candidate hears silence meanwhile.
const APPEND_LIMIT: Duration = Duration::from_secs(5);

/// Time for the goodbye when the journal has failed or Viva is being stopped.
const FAREWELL_LIMIT: Duration = Duration::from_secs(10);

/// What is said when nothing can be written down any more. The one sentence besides fillers that no journal holds.
const FAREWELL: &str = "I am sorry, there is a technical problem on our side, so I have to end our conversation here. \
                        What you said until now is kept. Goodbye.";

/// Names the farewell, which has no number of its own.
const FAREWELL_SEGMENT: u32 = u32::MAX;

/// What all interviews share.
pub struct Conductor {
    /// Where events are written.
    pub journal: Journal,
    /// Hears speech.
    pub vad: VadEngine,
    /// When turns begin and end.
    pub endpointing: EndpointSettings,
    /// Understands speech.
    pub stt: Arc<dyn Stt>,
    /// Speaks.
    pub tts: Arc<dyn Tts>,
    /// Acknowledges answers and asks a follow-up; without one the plan's questions are asked as they are.
    pub llm: Option<Arc<Llm>>,
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

/// Why an interview did not take place or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The room.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The journal: it can't be begun, or can't be gone on with.
    #[error("interview {interview} is not written down: {source}")]
    Journal {
        /// Which.
        interview: InterviewId,
        /// Why.
        source: JournalError,
    },
}

impl Conductor {
    /// Holds the interview. `leaving` runs before the room is left, with how the interview ended.
    ///
    /// # Errors
    /// The room can't be joined or the journal can't be written; whatever was written before stays.
    pub async fn conduct(
        self: Arc<Self>,
        engagement: Engagement,
        stop: CancellationToken,
        leaving: impl AsyncFnOnce(&EndReason),
    ) -> Result<EndReason, SessionError> {
        let id = engagement.interview.clone();
        let journal_error = |source| SessionError::Journal {
            interview: id.clone(),
            source,
        };
        let (mouth, clock) = playout();
        let begin = self.journal.begin(NewInterview {
            id: id.clone(),
            room: engagement.room.clone(),
            plan_name: engagement.plan_name.clone(),
            plan_hash: engagement.plan.hash().to_owned(),
            plan_body: engagement.plan.body().to_owned(),
            at_unix_ms: unix_ms(),
        });
        begin.await.map_err(journal_error)?;
        let chooser = CandidateChooser::new(engagement.candidate.clone());
        let room = JoinedRoom::join(
            &engagement.room,
            &engagement.url,
            engagement.token.reveal(),
            chooser,
            clock,
        )
        .await;
        let (speaker, speaking) = Speaker::start(self.tts.clone(), mouth);
        let (heard, hearing) = mpsc::channel(EVENTS_MAX);
        let mut session = Session {
            id: id.clone(),
            state: State::new(engagement.plan.clone()),
            began: Instant::now(),
            speaker,
            speaking_now: None,
            announcer: None,
            announced: AgentState::Initializing,
            transcriber: Transcriber::new(self.stt.clone()),
            heard,
            ear: None,
            candidate_track: None,
            candidate: None,
            awaiting: None,
            is_heard: false,
            in_turn: false,
            words_pending: 0,
            quiet_since: None,
            held: false,
            after_interruption: None,
            mind: None,
            texts: HashMap::new(),
            playouts: HashMap::new(),
            utterances: 0,
            figures: TurnFigures::default(),
            ticked: None,
            shared: self,
        };
        let mind = if session.shared.llm.is_some() {
            Mind::Llm
        } else {
            Mind::Plan
        };
        let opened = Input::Opened {
            interview_id: id.clone(),
            room: engagement.room.clone(),
            mind,
        };
        session.input(opened).await.map_err(journal_error)?;
        let mut room = match room {
            Ok(room) => room,
            Err(error) => {
                session
                    .input(Input::RoomGone {
                        cause: error.to_string(),
                    })
                    .await
                    .map_err(journal_error)?;
                return Err(error.into());
            }
        };
        session.announcer = Some(Announcer::start(room.participant(), room.own_track()));
        let ended = session.run(&mut room, speaking, hearing, stop).await;
        if let Ok(reason) = &ended {
            leaving(reason).await;
        }
        room.leave().await;
        ended.map_err(journal_error)
    }
}

/// What is being spoken.
struct SpeakingNow {
    segment: u32,
    interruptible: bool,
}

struct Session {
    shared: Arc<Conductor>,
    id: InterviewId,
    state: State,
    began: Instant,
    speaker: Speaker,
    speaking_now: Option<SpeakingNow>,
    announcer: Option<Announcer>,
    announced: AgentState,
    transcriber: Transcriber,
    heard: mpsc::Sender<ListenEvent>,
    ear: Option<Ear>,
    candidate_track: Option<String>,
    candidate: Option<String>,
    /// The candidate is here and is not greeted before our track reaches them, or this moment.
    awaiting: Option<(String, Instant)>,
    /// Somebody has subscribed to our track.
    is_heard: bool,
    in_turn: bool,
    /// Finished turns whose words are still being made.
    words_pending: u32,
    quiet_since: Option<Instant>,
    /// Our speech is paused because the candidate speaks.
    held: bool,
    /// What the candidate said into our speech, for when its end is known.
    after_interruption: Option<Utterance>,
    mind: Option<(u32, JoinHandle<Result<MindReply, LlmError>>)>,
    /// What is to be shown of each segment that is not over.
    texts: HashMap<u32, String>,
    playouts: HashMap<u32, Playout>,
    utterances: u32,
    figures: TurnFigures,
    /// The last look at the clock.
    ticked: Option<Instant>,
}

impl Session {
    async fn run(
        &mut self,
        room: &mut JoinedRoom,
        mut speaking: mpsc::Receiver<SpeakerEvent>,
        mut hearing: mpsc::Receiver<ListenEvent>,
        stop: CancellationToken,
    ) -> Result<EndReason, JournalError> {
        let mut stopping = false;
        loop {
            if let Some(reason) = self.state.ended() {
                return Ok(reason.clone());
            }
            self.announce_state();
            let due = self.due();
            let result = tokio::select! {
                news = room.news() => self.room_news(news).await,
                Some(event) = hearing.recv() => { self.listened(event); Ok(()) }
                utterance = self.transcriber.next() => self.understood(utterance).await,
                Some(event) = speaking.recv() => self.spoken(event).await,
                (turn, reply) = mind_reply(&mut self.mind) => self.mind_replied(turn, reply).await,
                () = tokio::time::sleep_until(due) => self.time_went_by().await,
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    self.input(Input::Fault { what: "Viva is being stopped".into() }).await
                }
            };
            if let Err(error) = result {
                self.say_farewell(&mut speaking).await;
                return Err(error);
            }
        }
    }

    /// Decides, writes down, and only then acts.
    async fn input(&mut self, input: Input) -> Result<(), JournalError> {
        let events = decide(&self.state, self.now(), input);
        if events.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        let appended = tokio::time::timeout(
            APPEND_LIMIT,
            self.shared.journal.append(&self.id, events.clone()),
        )
        .await;
        appended.unwrap_or_else(|_| {
            Err(JournalError::Failed {
                cause: format!("the disk took nothing for {} s", APPEND_LIMIT.as_secs()),
            })
        })?;
        self.figures.written(begun);
        for recorded in events {
            self.take(&recorded);
        }
        Ok(())
    }

    fn take(&mut self, recorded: &Recorded) {
        self.state.apply(recorded);
        tracing::debug!(interview_id = %self.id, seq = recorded.seq, event = ?recorded.event, "event");
        for action in actions(&self.state, &recorded.event) {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Say {
                segment,
                sentences,
                interruptible,
            } => {
                self.held = false;
                self.speaking_now = Some(SpeakingNow {
                    segment,
                    interruptible,
                });
                self.texts.insert(segment, sentences.join(" "));
                if self.speaker.say(segment, sentences).is_err() {
                    tracing::error!(interview_id = %self.id, "the speaker is gone; the interview goes on by its text");
                }
            }
            Action::Listen => self.quiet_since = Some(Instant::now()),
            Action::AskMind(request) => self.ask_mind(request),
            Action::End { reason } => {
                tracing::info!(interview_id = %self.id, ?reason, "the interview is over")
            }
        }
    }

    fn ask_mind(&mut self, request: MindRequest) {
        if let Some((_, older)) = self.mind.take() {
            older.abort();
        }
        let Some(llm) = self.shared.llm.clone() else {
            return;
        };
        self.figures.mind_asked();
        let turn = request.turn;
        #[expect(
            clippy::disallowed_methods,
            reason = "its panic is told to the session by the handle"
        )]
        let reply = tokio::spawn(async move { llm.reply(&request).await });
        self.mind = Some((turn, reply));
    }

    async fn room_news(&mut self, news: RoomNews) -> Result<(), JournalError> {
        match news {
            RoomNews::CandidateHere { identity } => {
                self.candidate = Some(identity.clone());
                self.awaiting = Some((identity, Instant::now() + SUBSCRIPTION_WAIT));
                if self.is_heard {
                    return self.greet().await;
                }
            }
            RoomNews::Heard => {
                self.is_heard = true;
                return self.greet().await;
            }
            RoomNews::CandidateGone => {
                self.awaiting = None;
                self.is_heard = false;
                self.ear = None;
                return self.input(Input::CandidateAbsent).await;
            }
            RoomNews::Voice { track, sid } => {
                // The old ear is closed first, so that a turn it was hearing is finished before the new one begins.
                self.ear = None;
                self.ear = Some(Ear::open(
                    &track,
                    &self.shared.vad,
                    self.shared.endpointing,
                    self.heard.clone(),
                ));
                self.candidate_track = Some(sid);
            }
            RoomNews::VoiceGone => {
                self.ear = None;
                self.candidate_track = None;
            }
            RoomNews::Reconnecting => {
                tracing::warn!(interview_id = %self.id, "the connection to the room broke and is being mended")
            }
            RoomNews::Reconnected => {
                tracing::info!(interview_id = %self.id, "the connection to the room is mended")
            }
            RoomNews::Gone { cause } => return self.input(Input::RoomGone { cause }).await,
        }
        Ok(())
    }

    /// The candidate is here and hears us, or has been waited for long enough.
    async fn greet(&mut self) -> Result<(), JournalError> {
        match self.awaiting.take() {
            Some((identity, _)) => self.input(Input::CandidatePresent { identity }).await,
            None => Ok(()),
        }
    }

    fn listened(&mut self, event: ListenEvent) {
        match event {
            ListenEvent::Began => {
                self.in_turn = true;
                self.transcriber.begin();
            }
            ListenEvent::Sustained => {
                if self.speaking_now.as_ref().is_some_and(|s| s.interruptible)
                    && self.speaker.pause().is_ok()
                {
                    self.held = true;
                }
            }
            ListenEvent::Paused(segment) => self.transcriber.segment(segment),
            ListenEvent::WentOn => {}
            ListenEvent::Finished { silence_ms } => {
                self.in_turn = false;
                self.quiet_since = Some(Instant::now());
                self.words_pending += 1;
                self.transcriber.finish(silence_ms);
            }
            ListenEvent::Closed => self.in_turn = false,
        }
    }

    async fn understood(&mut self, utterance: Utterance) -> Result<(), JournalError> {
        self.words_pending = self.words_pending.saturating_sub(1);
        if let Some(cause) = &utterance.failure {
            tracing::warn!(interview_id = %self.id, "speech was not understood: {cause}");
        }
        if utterance.text.is_empty() {
            if self.held {
                self.held = false;
                if self.speaker.resume().is_err() {
                    tracing::error!(interview_id = %self.id, "the speaker is gone; it can't go on");
                }
                return Ok(());
            }
            if utterance.speech_ms <= NOISE_MS_MAX && utterance.failure.is_none() {
                return Ok(());
            }
            return self.input(Input::NotUnderstood).await;
        }
        self.show_candidate(&utterance.text);
        if self.held && self.speaker.interrupt().is_ok() {
            self.after_interruption = Some(utterance);
            return Ok(());
        }
        self.answered(utterance).await
    }

    async fn answered(&mut self, utterance: Utterance) -> Result<(), JournalError> {
        self.figures.heard(utterance.speech_ended);
        let heard_by = Hearing {
            engine: utterance.engine.to_owned(),
            speech_ms: utterance.speech_ms,
            stt_ms: utterance.stt_ms,
            wait_ms: millis(utterance.speech_ended.elapsed()),
        };
        self.input(Input::Heard {
            text: utterance.text,
            heard_by,
        })
        .await
    }

    async fn spoken(&mut self, event: SpeakerEvent) -> Result<(), JournalError> {
        match event {
            SpeakerEvent::Started {
                segment,
                first_sound_ms,
                engine,
            } => {
                self.figures.first_sound(self.id.as_str(), first_sound_ms);
                self.playouts.insert(
                    segment,
                    Playout {
                        engine: engine.to_owned(),
                        first_sound_ms,
                    },
                );
                if let Some(text) = self.texts.get(&segment) {
                    self.show_interviewer(segment, text.clone(), false);
                }
                Ok(())
            }
            SpeakerEvent::Ended { segment, heard } => {
                let heard = match heard {
                    speaker::Heard::Whole => Heard::Whole,
                    speaker::Heard::Part(text) => Heard::Part { text },
                };
                self.segment_over(segment);
                let text = self.texts.remove(&segment).unwrap_or_default();
                let shown = if let Heard::Part { text } = &heard {
                    text.clone()
                } else {
                    text
                };
                self.show_interviewer(segment, shown, true);
                let playout = self.playouts.remove(&segment);
                self.input(Input::SegmentEnded {
                    segment,
                    heard,
                    playout,
                })
                .await?;
                match self.after_interruption.take() {
                    Some(utterance) => self.answered(utterance).await,
                    None => Ok(()),
                }
            }
            SpeakerEvent::Failed { segment, cause, .. } => {
                tracing::warn!(interview_id = %self.id, segment, "not spoken, shown as text: {cause}");
                self.segment_over(segment);
                self.playouts.remove(&segment);
                if let Some(text) = self.texts.remove(&segment) {
                    self.show_interviewer(segment, text, true);
                }
                self.input(Input::SegmentFailed { segment, cause }).await
            }
        }
    }

    fn segment_over(&mut self, segment: u32) {
        if self
            .speaking_now
            .as_ref()
            .is_some_and(|s| s.segment == segment)
        {
            self.speaking_now = None;
            self.held = false;
        }
    }

    async fn mind_replied(
        &mut self,
        turn: u32,
        reply: Result<MindReply, String>,
    ) -> Result<(), JournalError> {
        self.figures.mind_done();
        match reply {
            Ok(reply) => self.input(Input::MindReplied { turn, reply }).await,
            Err(cause) => {
                tracing::warn!(interview_id = %self.id, turn, "the language model gave nothing: {cause}");
                self.input(Input::MindFailed { turn, cause }).await
            }
        }
    }

    async fn time_went_by(&mut self) -> Result<(), JournalError> {
        if self
            .awaiting
            .as_ref()
            .is_some_and(|(_, until)| *until <= Instant::now())
        {
            return self.greet().await;
        }
        self.ticked = Some(Instant::now());
        let quiet = if self.in_turn || self.words_pending > 0 {
            Duration::ZERO
        } else {
            self.quiet_since.unwrap_or(self.began).elapsed()
        };
        self.input(Input::Tick {
            quiet_ms: u64::from(millis(quiet)),
        })
        .await
    }

    /// When something is due although nothing happens.
    fn due(&self) -> Instant {
        /// A look at the clock in any case.
        const IDLE_MS: u64 = 60_000;
        let elapsed_ms = u64::from(millis(self.began.elapsed()));
        let tick_ms = self
            .state
            .next_deadline_ms()
            .unwrap_or(elapsed_ms + IDLE_MS)
            .min(elapsed_ms + IDLE_MS);
        // What is overdue and changes nothing is looked at again after a while, not at once.
        let again = self
            .ticked
            .map(|at| at + Duration::from_millis(TICK_AGAIN_MS));
        let tick = (self.began + Duration::from_millis(tick_ms)).max(again.unwrap_or(self.began));
        self.awaiting
            .as_ref()
            .map_or(tick, |(_, until)| tick.min(*until))
    }

    fn now(&self) -> Now {
        Now {
            at_unix_ms: unix_ms(),
            elapsed_ms: u64::from(millis(self.began.elapsed())),
        }
    }

    fn announce_state(&mut self) {
        let state = if self.speaking_now.is_some() && !self.held {
            AgentState::Speaking
        } else if self.state.is_listening() && self.words_pending == 0 || self.held {
            AgentState::Listening
        } else if self.candidate.is_none() {
            AgentState::Initializing
        } else {
            AgentState::Thinking
        };
        if state != self.announced {
            self.announced = state;
            if let Some(announcer) = &self.announcer {
                announcer.state(state);
            }
        }
    }

    fn show_interviewer(&self, segment: u32, text: String, is_final: bool) {
        if let Some(announcer) = &self.announcer {
            announcer.line(Line {
                author: Author::Interviewer,
                segment: format!("{}-i{segment}", self.id),
                text,
                is_final,
            });
        }
    }

    fn show_candidate(&mut self, text: &str) {
        self.utterances += 1;
        let (Some(announcer), Some(identity)) = (&self.announcer, &self.candidate) else {
            return;
        };
        announcer.line(Line {
            author: Author::Candidate {
                identity: identity.clone(),
                track: self.candidate_track.clone(),
            },
            segment: format!("{}-c{}", self.id, self.utterances),
            text: text.to_owned(),
            is_final: true,
        });
    }

    /// The goodbye of a failed disk.
    async fn say_farewell(&mut self, speaking: &mut mpsc::Receiver<SpeakerEvent>) {
        if self.candidate.is_none()
            || self
                .speaker
                .say(FAREWELL_SEGMENT, vec![FAREWELL.to_owned()])
                .is_err()
        {
            return;
        }
        let mut said = pin!(tokio::time::sleep(FAREWELL_LIMIT));
        loop {
            tokio::select! {
                event = speaking.recv() => match event {
                    Some(SpeakerEvent::Ended { segment: FAREWELL_SEGMENT, .. } | SpeakerEvent::Failed { segment: FAREWELL_SEGMENT, .. }) | None => return,
                    Some(_) => {}
                },
                () = &mut said => return,
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some((_, asking)) = self.mind.take() {
            asking.abort();
        }
    }
}

/// The reply that is awaited, once it is there. Cancel-safe; waits for ever while none is.
async fn mind_reply(
    mind: &mut Option<(u32, JoinHandle<Result<MindReply, LlmError>>)>,
) -> (u32, Result<MindReply, String>) {
    let Some((turn, asking)) = mind else {
        return std::future::pending().await;
    };
    let turn = *turn;
    let reply = match asking.await {
        Ok(reply) => reply.map_err(|e| e.to_string()),
        Err(broken) => Err(format!("its client broke down: {broken}")),
    };
    *mind = None;
    (turn, reply)
}

/// The wall clock; before 1970 it is 1970.
fn unix_ms() -> u64 {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
