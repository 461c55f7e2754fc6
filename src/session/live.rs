//! One interview while it is held: what happens goes to the state machine, its events to the journal, and only then is
//! anything done about them.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::figures::TurnFigures;
use super::venue::Venue;
use crate::clock::{since_boot, unix_ms};
use crate::interview::event::{EndReason, Heard, Hearing, Playout, Recorded};
use crate::interview::mind::{MindReply, MindRequest};
use crate::interview::pace::TICK_AGAIN_MS;
use crate::interview::{Action, Input, InterviewId, Now, State, actions, decide};
use crate::journal::{Journal, JournalError, Snapshot};
use crate::llm::{Llm, LlmError};
use crate::room::{AgentState, Announcer, Author, Line, RoomNews};
use crate::speech::{Stt, Tts};
use crate::sync::LEASE;
use crate::telemetry::traces::Traces;
use crate::voice::listen::{EVENTS_MAX, ListenEvent};
use crate::voice::playout::Playout as Mouthpiece;
use crate::voice::speaker::{self, Speaker, SpeakerEvent};
use crate::voice::turn::{Transcriber, Utterance};

/// The first words wait this long, at most, for the candidate's client to have subscribed to our track:
/// a client that never says so is greeted all the same.
const SUBSCRIPTION_WAIT: Duration = Duration::from_secs(1);

/// A sound shorter than this (with the margins that go to STT) in which no words are found is not worth a "sorry?".
const NOISE_MS_MAX: u32 = 1_200;

/// A disk that takes nothing for this long is taken for broken: the candidate hears silence meanwhile.
const APPEND_LIMIT: Duration = Duration::from_secs(5);

/// Time for the goodbye when the journal has failed.
const FAREWELL_LIMIT: Duration = Duration::from_secs(10);

/// Time for the sentence that is being spoken, and for words that are being understood, before another process goes on:
/// neither a deployment nor a reboot waits for an interview.
pub(super) const HAND_OVER_LIMIT: Duration = Duration::from_secs(2);

/// A connection that is being mended for longer than this is given up, and the room joined anew.
const MENDING_LIMIT: Duration = Duration::from_secs(30);

// Until then LiveKit's client comes back by itself, and it asks nobody whether the interview is still ours.
const _: () = assert!(MENDING_LIMIT.as_secs() < LEASE.as_secs());

/// Speech into a connection that was broken for so long is begun again: more than a word of it was lost.
const UNHEARD_AFTER: Duration = Duration::from_secs(1);

/// How often the clock is looked at, to know when this process was stopped or the machine slept.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A process that stood still for so long may not conduct the interview any more, since its lease may be over.
const STOOD_STILL: Duration = Duration::from_secs(30);
const _: () = assert!(STOOD_STILL.as_secs() + 2 * LOOK_EVERY.as_secs() <= LEASE.as_secs());

/// A snapshot comes after so many events, about a quarter of an hour of talk: no more than these are ever replayed.
const SNAPSHOT_EVERY: u64 = 128;

/// What is said when nothing can be written down any more. The one sentence besides fillers that no journal holds.
const FAREWELL: &str = "I am sorry, there is a technical problem on our side, so I have to end our conversation here. \
                        What you said until now is kept. Goodbye.";

/// Names the farewell, which has no number of its own.
const FAREWELL_SEGMENT: u32 = u32::MAX;

/// Where events are written down.
pub(super) trait Ledger {
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

/// What a session hears, speaks and thinks with.
#[derive(Clone)]
pub(super) struct Faculties {
    pub(super) stt: Arc<dyn Stt>,
    pub(super) tts: Arc<dyn Tts>,
    pub(super) llm: Option<Arc<Llm>>,
    pub(super) traces: Option<Traces>,
}

/// How a session is told to stop.
#[derive(Debug, Clone, Default)]
pub struct Stops {
    /// This process ends: another one goes on with the interview.
    pub hand_over: CancellationToken,
    /// Nobody is to go on with it: it ends with a goodbye.
    pub dismissed: CancellationToken,
    /// Another appliance conducts it: it ends here without a word.
    pub superseded: CancellationToken,
}

/// How a stay in the room came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Parting {
    /// The interview is over.
    Ended(EndReason),
    /// The connection is lost; the room may be joined again.
    Lost { cause: String },
    /// Another process holds the interview, or says so.
    Replaced,
    /// This process stood still, and another one may hold the interview by now.
    StoodStill { cause: String },
    /// Another process is to go on with it.
    HandedOver,
}

/// What is being spoken.
struct SpeakingNow {
    segment: u32,
    interruptible: bool,
}

/// What is only true while the room is joined.
struct Stay {
    speaker: Speaker,
    speaking_now: Option<SpeakingNow>,
    announcer: Announcer,
    announced: AgentState,
    candidate_track: Option<String>,
    /// The candidate is here and is not greeted before our track reaches them, or this moment.
    awaiting: Option<(String, Instant)>,
    /// Somebody has subscribed to our track.
    is_heard: bool,
    /// Our speech is paused because the candidate speaks.
    held: bool,
    /// What the candidate said into our speech, for when its end is known.
    after_interruption: Option<Utterance>,
    /// What is to be shown of each segment that is not over.
    texts: HashMap<u32, String>,
    playouts: HashMap<u32, Playout>,
    /// The connection broke then and is being mended.
    broken_since: Option<Instant>,
}

/// An interview that is held by this process.
pub(super) struct Session<L> {
    ledger: L,
    faculties: Faculties,
    id: InterviewId,
    state: State,
    began: Instant,
    /// The session's clock when this process began to hold the interview.
    base_ms: u64,
    transcriber: Transcriber,
    heard: mpsc::Sender<ListenEvent>,
    hearing: mpsc::Receiver<ListenEvent>,
    stay: Option<Stay>,
    candidate: Option<String>,
    in_turn: bool,
    /// Finished turns whose words are still being made.
    words_pending: u32,
    quiet_since: Option<Instant>,
    mind: Option<(u32, JoinHandle<Result<MindReply, LlmError>>)>,
    utterances: u32,
    figures: TurnFigures,
    /// The last tick.
    ticked: Option<Instant>,
    /// The last look at the clock that goes on while this process is stopped, where others may take the interview over.
    looked: Option<Duration>,
}

impl<L: Ledger> Session<L> {
    /// An interview in this state, which is as the journal has it.
    pub(super) fn new(ledger: L, faculties: Faculties, id: InterviewId, state: State) -> Self {
        let (heard, hearing) = mpsc::channel(EVENTS_MAX);
        Self {
            ledger,
            began: Instant::now(),
            base_ms: state.now_ms(),
            state,
            transcriber: Transcriber::new(faculties.stt.clone()),
            figures: TurnFigures::new(faculties.traces.as_ref().map(|t| t.interview(id.as_str()))),
            faculties,
            id,
            heard,
            hearing,
            stay: None,
            candidate: None,
            in_turn: false,
            words_pending: 0,
            quiet_since: None,
            mind: None,
            utterances: 0,
            ticked: None,
            looked: None,
        }
    }

    /// Others may take the interview over when this process stands still.
    pub(super) fn contested(mut self) -> Self {
        self.looked = Some(since_boot());
        self
    }

    /// The candidate's identity, once they were here.
    pub(super) fn candidate(&self) -> Option<String> {
        self.state.candidate().map(str::to_owned)
    }

    /// Why the interview is over, if it is.
    pub(super) fn ended(&self) -> Option<&EndReason> {
        self.state.ended()
    }

    /// Holds the interview in the room until it ends or the room has to be left.
    ///
    /// # Errors
    /// The journal takes nothing any more; the candidate has been told goodbye.
    pub(super) async fn stay<V: Venue>(
        &mut self,
        venue: &mut V,
        announcer: Announcer,
        mouth: Mouthpiece,
        stops: &Stops,
    ) -> Result<Parting, JournalError> {
        let (speaker, mut speaking) = Speaker::start(self.faculties.tts.clone(), mouth);
        self.stay = Some(Stay {
            speaker,
            speaking_now: None,
            announcer,
            announced: AgentState::Initializing,
            candidate_track: None,
            awaiting: None,
            is_heard: false,
            held: false,
            after_interruption: None,
            texts: HashMap::new(),
            playouts: HashMap::new(),
            broken_since: None,
        });
        let parting = self.hold(venue, &mut speaking, stops).await;
        venue.stop_listening();
        if parting.is_err() {
            self.say_farewell(&mut speaking).await;
        }
        self.stay = None;
        parting
    }

    async fn hold<V: Venue>(
        &mut self,
        venue: &mut V,
        speaking: &mut mpsc::Receiver<SpeakerEvent>,
        stops: &Stops,
    ) -> Result<Parting, JournalError> {
        let mut dismissed = false;
        // What went by while the room was joined went by in waits of ours.
        self.looked = self.looked.map(|_| since_boot());
        loop {
            if let Some(cause) = self.stood_still() {
                return Ok(Parting::StoodStill { cause });
            }
            if let Some(reason) = self.state.ended() {
                return Ok(Parting::Ended(reason.clone()));
            }
            self.announce_state();
            let due = self.due();
            tokio::select! {
                news = venue.news() => {
                    if let Some(parting) = self.room_news(news, venue).await? {
                        return Ok(parting);
                    }
                }
                Some(event) = self.hearing.recv() => self.listened(event),
                utterance = self.transcriber.next() => self.understood(utterance).await?,
                Some(event) = speaking.recv() => self.spoken(event).await?,
                (turn, reply) = mind_reply(&mut self.mind) => self.mind_replied(turn, reply).await?,
                () = tokio::time::sleep_until(due) => {
                    if let Some(cause) = self.is_beyond_mending() {
                        return Ok(Parting::Lost { cause });
                    }
                    self.time_went_by().await?;
                }
                () = stops.hand_over.cancelled() => {
                    self.hand_over(speaking).await?;
                    return Ok(Parting::HandedOver);
                }
                () = stops.superseded.cancelled() => return Ok(Parting::Replaced),
                () = stops.dismissed.cancelled(), if !dismissed => {
                    dismissed = true;
                    self.input(Input::Fault { what: "LiveKit ended the job".into() }).await?;
                }
            }
        }
    }

    /// Decides, writes down, and only then acts.
    pub(super) async fn input(&mut self, input: Input) -> Result<(), JournalError> {
        for recorded in self.write(input).await? {
            for action in actions(&self.state, &recorded.event) {
                self.act(action);
            }
        }
        Ok(())
    }

    /// Decides and writes down; what follows from it is left to whoever takes the interview up.
    async fn write(&mut self, input: Input) -> Result<Vec<Recorded>, JournalError> {
        let events = decide(&self.state, self.now(), input);
        if events.is_empty() {
            return Ok(events);
        }
        let begun = Instant::now();
        let appended =
            tokio::time::timeout(APPEND_LIMIT, self.ledger.append(&self.id, events.clone())).await;
        appended.unwrap_or_else(|_| {
            Err(JournalError::Failed {
                cause: format!("the disk took nothing for {} s", APPEND_LIMIT.as_secs()),
            })
        })?;
        self.figures.written(begun);
        let before = self.state.seq();
        for recorded in &events {
            self.state.apply(recorded);
            tracing::debug!(interview_id = %self.id, seq = recorded.seq, event = ?recorded.event, "event");
        }
        if before / SNAPSHOT_EVERY < self.state.seq() / SNAPSHOT_EVERY {
            self.ledger.snapshot(&self.id, &self.state);
        }
        Ok(events)
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Say {
                segment,
                sentences,
                interruptible,
            } => {
                let Some(stay) = &mut self.stay else { return };
                stay.held = false;
                stay.speaking_now = Some(SpeakingNow {
                    segment,
                    interruptible,
                });
                stay.texts.insert(segment, sentences.join(" "));
                if stay.speaker.say(segment, sentences).is_err() {
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
        let Some(llm) = self.faculties.llm.clone() else {
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

    async fn room_news<V: Venue>(
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
    async fn greet(&mut self) -> Result<(), JournalError> {
        let awaited = self.stay.as_mut().and_then(|stay| stay.awaiting.take());
        match awaited {
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
                if let Some(stay) = &mut self.stay
                    && stay.speaking_now.as_ref().is_some_and(|s| s.interruptible)
                    && stay.speaker.pause().is_ok()
                {
                    stay.held = true;
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
        let held = self.stay.as_ref().is_some_and(|stay| stay.held);
        if utterance.text.is_empty() {
            if held {
                self.speak_on();
                return Ok(());
            }
            if utterance.speech_ms <= NOISE_MS_MAX && utterance.failure.is_none() {
                return Ok(());
            }
            return self.input(Input::NotUnderstood).await;
        }
        self.show_candidate(&utterance.text);
        if let Some(stay) = &mut self.stay
            && held
            && stay.speaker.interrupt().is_ok()
        {
            stay.after_interruption = Some(utterance);
            return Ok(());
        }
        self.answered(utterance).await
    }

    /// What made us pause had no words in it.
    fn speak_on(&mut self) {
        if let Some(stay) = &mut self.stay {
            stay.held = false;
            if stay.speaker.resume().is_err() {
                tracing::error!(interview_id = %self.id, "the speaker is gone; it can't go on");
            }
        }
    }

    async fn answered(&mut self, utterance: Utterance) -> Result<(), JournalError> {
        let heard = self.heard(utterance);
        self.input(heard).await
    }

    fn heard(&mut self, utterance: Utterance) -> Input {
        self.figures.heard(utterance.speech_ended);
        Input::Heard {
            text: utterance.text,
            heard_by: Hearing {
                engine: utterance.engine.to_owned(),
                speech_ms: utterance.speech_ms,
                stt_ms: utterance.stt_ms,
                wait_ms: millis(utterance.speech_ended.elapsed()),
            },
        }
    }

    async fn spoken(&mut self, event: SpeakerEvent) -> Result<(), JournalError> {
        match event {
            SpeakerEvent::Started {
                segment,
                first_sound_ms,
                engine,
            } => {
                self.began_to_speak(segment, first_sound_ms, engine);
                Ok(())
            }
            SpeakerEvent::Ended { segment, heard } => {
                let heard = match heard {
                    speaker::Heard::Whole => Heard::Whole,
                    speaker::Heard::Part(text) => Heard::Part { text },
                };
                let (text, playout) = self.segment_over(segment);
                let shown = if let Heard::Part { text } = &heard {
                    text.clone()
                } else {
                    text.unwrap_or_default()
                };
                self.show_interviewer(segment, shown, true);
                self.input(Input::SegmentEnded {
                    segment,
                    heard,
                    playout,
                })
                .await?;
                let interrupted_by = self.stay.as_mut().and_then(|s| s.after_interruption.take());
                match interrupted_by {
                    Some(utterance) => self.answered(utterance).await,
                    None => Ok(()),
                }
            }
            SpeakerEvent::Failed { segment, cause, .. } => {
                tracing::warn!(interview_id = %self.id, segment, "not spoken, shown as text: {cause}");
                let (text, _) = self.segment_over(segment);
                if let Some(text) = text {
                    self.show_interviewer(segment, text, true);
                }
                self.input(Input::SegmentFailed { segment, cause }).await
            }
        }
    }

    fn began_to_speak(&mut self, segment: u32, first_sound_ms: u32, engine: &str) {
        self.figures.first_sound(self.id.as_str(), first_sound_ms);
        let Some(stay) = &mut self.stay else { return };
        stay.playouts.insert(
            segment,
            Playout {
                engine: engine.to_owned(),
                first_sound_ms,
            },
        );
        if let Some(text) = stay.texts.get(&segment).cloned() {
            self.show_interviewer(segment, text, false);
        }
    }

    /// The segment's text and how it was spoken, as far as they are known.
    fn segment_over(&mut self, segment: u32) -> (Option<String>, Option<Playout>) {
        let Some(stay) = &mut self.stay else {
            return (None, None);
        };
        let now = &stay.speaking_now;
        if now.as_ref().is_some_and(|s| s.segment == segment) {
            stay.speaking_now = None;
            stay.held = false;
        }
        (stay.texts.remove(&segment), stay.playouts.remove(&segment))
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
        let awaiting = self.stay.as_ref().and_then(|stay| stay.awaiting.as_ref());
        if awaiting.is_some_and(|(_, until)| *until <= Instant::now()) {
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

    /// How long this process stood still, where that was too long. The loop comes by here every few seconds otherwise.
    fn stood_still(&mut self) -> Option<String> {
        let gap = since_boot().saturating_sub(self.looked?);
        self.looked = Some(since_boot());
        (gap >= STOOD_STILL).then(|| format!("this process stood still for {} s", gap.as_secs()))
    }

    fn is_beyond_mending(&self) -> Option<String> {
        let since = self.stay.as_ref()?.broken_since?;
        (since.elapsed() >= MENDING_LIMIT).then(|| {
            format!(
                "the connection to the room was not mended within {} s",
                MENDING_LIMIT.as_secs()
            )
        })
    }

    /// When something is due although nothing happens.
    fn due(&self) -> Instant {
        /// A look at the clock in any case.
        const IDLE_MS: u64 = 60_000;
        let now_ms = self.now_ms();
        let due_ms = self.state.next_deadline_ms().unwrap_or(u64::MAX);
        let wait_ms = due_ms.saturating_sub(now_ms).min(IDLE_MS);
        // What is overdue and changes nothing is looked at again after a while, not at once.
        let again = self
            .ticked
            .map(|at| at + Duration::from_millis(TICK_AGAIN_MS));
        let tick = Instant::now() + Duration::from_millis(wait_ms);
        let tick = tick.max(again.unwrap_or(tick));
        let stay = self.stay.as_ref();
        let awaited = stay.and_then(|s| s.awaiting.as_ref().map(|(_, until)| *until));
        let broken = stay.and_then(|s| s.broken_since.map(|since| since + MENDING_LIMIT));
        let look = self.looked.map(|_| Instant::now() + LOOK_EVERY);
        [awaited, broken, look]
            .into_iter()
            .flatten()
            .fold(tick, Instant::min)
    }

    /// The session's clock: it stood still while no process held the interview.
    fn now_ms(&self) -> u64 {
        self.base_ms + u64::from(millis(self.began.elapsed()))
    }

    fn now(&self) -> Now {
        Now {
            at_unix_ms: unix_ms(),
            elapsed_ms: self.now_ms(),
        }
    }

    fn announce_state(&mut self) {
        let Some(stay) = &mut self.stay else { return };
        let state = if stay.speaking_now.is_some() && !stay.held {
            AgentState::Speaking
        } else if self.state.is_listening() && self.words_pending == 0 || stay.held {
            AgentState::Listening
        } else if self.candidate.is_none() {
            AgentState::Initializing
        } else {
            AgentState::Thinking
        };
        if state != stay.announced {
            stay.announced = state;
            stay.announcer.state(state);
        }
    }

    fn show_interviewer(&self, segment: u32, text: String, is_final: bool) {
        if let Some(stay) = &self.stay {
            stay.announcer.line(Line {
                author: Author::Interviewer,
                segment: format!("{}-i{segment}", self.id),
                text,
                is_final,
            });
        }
    }

    fn show_candidate(&mut self, text: &str) {
        self.utterances += 1;
        let (Some(stay), Some(identity)) = (&self.stay, &self.candidate) else {
            return;
        };
        stay.announcer.line(Line {
            author: Author::Candidate {
                identity: identity.clone(),
                track: stay.candidate_track.clone(),
            },
            // Another process that goes on counts from 1 again: the event's number keeps the names apart.
            segment: format!("{}-c{}-{}", self.id, self.state.seq(), self.utterances),
            text: text.to_owned(),
            is_final: true,
        });
    }

    /// Ends the sentence and writes down what was said until now, so that another process goes on from there.
    async fn hand_over(
        &mut self,
        speaking: &mut mpsc::Receiver<SpeakerEvent>,
    ) -> Result<(), JournalError> {
        let limit = Instant::now() + HAND_OVER_LIMIT;
        if let Some(stay) = &self.stay
            && stay.speaker.finish_sentence().is_err()
        {
            return Ok(());
        }
        while let Ok(event) = self.hearing.try_recv() {
            self.heard_at_last(event);
        }
        loop {
            let speaks = self.stay.as_ref().is_some_and(|s| s.speaking_now.is_some());
            if !speaks && !self.in_turn && self.words_pending == 0 {
                return Ok(());
            }
            tokio::select! {
                Some(event) = self.hearing.recv() => self.heard_at_last(event),
                event = speaking.recv() => match event {
                    Some(SpeakerEvent::Ended { segment, .. } | SpeakerEvent::Failed { segment, .. }) => {
                        self.segment_over(segment);
                    }
                    Some(SpeakerEvent::Started { .. }) => {}
                    None => return Ok(()),
                },
                utterance = self.transcriber.next() => {
                    self.words_pending = self.words_pending.saturating_sub(1);
                    if !utterance.text.is_empty() {
                        let heard = self.heard(utterance);
                        self.write(heard).await?;
                    }
                }
                () = tokio::time::sleep_until(limit) => return Ok(()),
            }
        }
    }

    /// Words still count; nobody is made to pause any more.
    fn heard_at_last(&mut self, event: ListenEvent) {
        if !matches!(event, ListenEvent::Sustained) {
            self.listened(event);
        }
    }

    /// The goodbye of a failed disk.
    async fn say_farewell(&mut self, speaking: &mut mpsc::Receiver<SpeakerEvent>) {
        let Some(stay) = &self.stay else { return };
        let sentences = vec![FAREWELL.to_owned()];
        if self.candidate.is_none() || stay.speaker.say(FAREWELL_SEGMENT, sentences).is_err() {
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

impl<L> Drop for Session<L> {
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

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
