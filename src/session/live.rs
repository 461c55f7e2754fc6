//! One interview while it is held: what happens goes to the state machine, its events to the journal, and only then is
//! anything done about them.

mod acts;
mod hears;
mod ledger;
mod news;
mod parts;
mod shows;
mod speaks;
mod time;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::figures::TurnFigures;
use super::pulse::{Doing, Pulse, ROUND};
use super::venue::Venue;
use crate::clock::since_boot;
use crate::interview::event::{EndReason, Playout};
use crate::interview::mind::MindReply;
use crate::interview::{Input, InterviewId, State};
use crate::journal::JournalError;
use crate::llm::{Llm, LlmError};
use crate::room::{AgentState, Announcer};
use crate::speech::{Stt, Tts};
use crate::telemetry::traces::Traces;
use crate::voice::listen::{EVENTS_MAX, ListenEvent};
use crate::voice::playout::Playout as Mouthpiece;
use crate::voice::speaker::{Speaker, SpeakerEvent};
use crate::voice::turn::{Transcriber, Utterance};

use acts::mind_reply;
pub(super) use ledger::{APPEND_LIMIT, Ledger};
pub(super) use parts::{FAREWELL_LIMIT, HAND_OVER_LIMIT};

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
    /// The speaker's sign of life, and how often it was looked at in vain.
    speaker_seen: (u64, u32),
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
    /// For whoever looks whether this stands still.
    pulse: Pulse,
    /// The last round of the loop.
    rounded: Instant,
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
            rounded: Instant::now(),
            ticked: None,
            looked: None,
            pulse: Pulse::default(),
        }
    }

    /// Notes there what it is doing.
    pub(super) fn watched(mut self, pulse: Pulse) -> Self {
        self.pulse = pulse;
        self
    }

    /// Others may take the interview over when this process stands still.
    pub(super) fn contested(mut self) -> Self {
        self.looked = Some(since_boot());
        self
    }

    /// What is done for it now, outside of its own loop.
    pub(super) fn note(&self, doing: Doing) {
        self.pulse.note(doing);
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
            speaker_seen: (0, 0),
        });
        let parting = self.hold(venue, &mut speaking, stops).await;
        venue.stop_listening();
        if parting.is_err() {
            self.pulse.note(Doing::SaysFarewell);
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
        let mut round = tokio::time::interval(ROUND);
        round.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What went by while the room was joined went by in waits of ours.
        self.looked = self.looked.map(|_| since_boot());
        self.rounded = Instant::now();
        loop {
            self.comes_round();
            if let Some(reason) = self.state.ended() {
                return Ok(Parting::Ended(reason.clone()));
            }
            self.announce_state();
            let due = self.due();
            self.pulse.note(Doing::Waits);
            let woken = tokio::select! {
                news = venue.news() => Woken::News(news),
                Some(event) = self.hearing.recv() => Woken::Heard(event),
                utterance = self.transcriber.next() => Woken::Understood(utterance),
                Some(event) = speaking.recv() => Woken::Spoke(event),
                (turn, reply) = mind_reply(&mut self.mind) => Woken::Thought(turn, reply),
                _ = round.tick() => Woken::Round,
                () = tokio::time::sleep_until(due) => Woken::Due,
                () = stops.hand_over.cancelled() => Woken::HandOver,
                () = stops.superseded.cancelled() => Woken::Superseded,
                () = stops.dismissed.cancelled(), if !dismissed => Woken::Dismissed,
            };
            // Before anything is done about it: what comes first after a pause may be that LiveKit ended the job because
            // nobody was there.
            if let Some(cause) = self.stood_still() {
                return Ok(Parting::StoodStill { cause });
            }
            match woken {
                Woken::News(news) => {
                    self.pulse.note(Doing::TakesNews);
                    if let Some(parting) = self.room_news(news, venue).await? {
                        return Ok(parting);
                    }
                }
                Woken::Heard(event) => {
                    self.pulse.note(Doing::Hears);
                    self.listened(event);
                }
                Woken::Understood(utterance) => {
                    self.pulse.note(Doing::Understands);
                    self.understood(utterance).await?;
                }
                Woken::Spoke(event) => {
                    self.pulse.note(Doing::Speaks);
                    self.spoken(event).await?;
                }
                Woken::Thought(turn, reply) => {
                    self.pulse.note(Doing::Thinks);
                    self.mind_replied(turn, reply).await?;
                }
                Woken::Round => {
                    if let Some(cause) = self.speaker_stands_still() {
                        return Ok(Parting::Lost { cause });
                    }
                }
                Woken::Due => {
                    self.pulse.note(Doing::Ticks);
                    if let Some(cause) = self.is_beyond_mending() {
                        return Ok(Parting::Lost { cause });
                    }
                    self.time_went_by().await?;
                }
                Woken::HandOver => {
                    self.pulse.note(Doing::HandsOver);
                    self.hand_over(speaking).await?;
                    return Ok(Parting::HandedOver);
                }
                Woken::Superseded => return Ok(Parting::Replaced),
                Woken::Dismissed => {
                    dismissed = true;
                    let what = "LiveKit ended the job".into();
                    self.input(Input::Fault { what }).await?;
                }
            }
        }
    }
}

/// What a session that waits is woken by.
enum Woken<N> {
    News(N),
    Heard(ListenEvent),
    Understood(Utterance),
    Spoke(SpeakerEvent),
    Thought(u32, Result<MindReply, String>),
    Round,
    Due,
    HandOver,
    Superseded,
    Dismissed,
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
