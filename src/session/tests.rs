//! A session in simulated time: a made-up room, engines and journal; the state machine, the turns and the playout are real.

mod kills;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::live::{Faculties, Ledger, Parting, Session, Stops};
use super::venue::Venue;
use crate::interview::event::{EndReason, Event, Heard, Recorded};
use crate::interview::mind::Mind;
use crate::interview::plan::Plan;
use crate::interview::{Input, InterviewId, State};
use crate::journal::JournalError;
use crate::room::{AgentState, Announcement, Announcer, RoomNews};
use crate::speech::{SpeechStream, Stt, SttError, SttUtterance, Transcript, Tts};
use crate::voice::listen::{ListenEvent, Segment};
use crate::voice::playout::playout;

const PLAN: &str = "title = \"T\"\ntime_minutes = 5\n[[sections]]\ntitle = \"S\"\n\
    [[sections.questions]]\ntext = \"What is a stack?\"\n[[sections.questions]]\ntext = \"What is a heap? Where does it grow?\"\n";

/// What a word takes to be spoken.
const WORD_MS: u64 = 100;
/// What words take to be understood.
const STT_MS: u64 = 300;
/// Simulated time for anything that a test waits for.
const LIMIT: Duration = Duration::from_secs(600);

/// A disk that keeps events in memory, until it breaks.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Written>>);

#[derive(Default)]
struct Written {
    events: Vec<Recorded>,
    full_at: Option<usize>,
}

impl Paper {
    fn full_at(events: usize) -> Self {
        let paper = Self::default();
        paper.0.lock().unwrap().full_at = Some(events);
        paper
    }

    fn events(&self) -> Vec<Recorded> {
        self.0.lock().unwrap().events.clone()
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.events().iter().map(|e| e.event.kind()).collect()
    }

    /// The words of each segment, in their order.
    fn said(&self) -> Vec<String> {
        let events = self.events();
        let planned = events.iter().filter_map(|e| match &e.event {
            Event::SegmentPlanned { sentences, .. } => Some(sentences.join(" ")),
            _ => None,
        });
        planned.collect()
    }

    fn heard(&self, segment: u32) -> Option<Heard> {
        self.events().iter().find_map(|e| match &e.event {
            Event::SegmentHeard {
                segment: number,
                heard,
                ..
            } if *number == segment => Some(heard.clone()),
            _ => None,
        })
    }
}

impl Ledger for Paper {
    async fn append(&self, _: &InterviewId, events: Vec<Recorded>) -> Result<(), JournalError> {
        let mut written = self.0.lock().unwrap();
        if written
            .full_at
            .is_some_and(|full| written.events.len() + events.len() > full)
        {
            return Err(JournalError::Failed {
                cause: "the disk is full".into(),
            });
        }
        written.events.extend(events);
        Ok(())
    }

    fn snapshot(&self, _: &InterviewId, _: &State) {}
}

/// Speaks each word in the same time.
struct Metronome;

impl Tts for Metronome {
    fn name(&self) -> &'static str {
        "metronome"
    }

    fn speak(&self, text: &str) -> SpeechStream {
        let (sender, stream) = SpeechStream::channel("metronome");
        let words = text.split_whitespace().count();
        crate::spawn::supervised("metronome", async move {
            for _ in 0..words {
                let sound = vec![7; WORD_MS as usize * 24];
                if sender.send(sound).await.is_err() {
                    return;
                }
            }
        });
        stream
    }
}

/// Understands the words that the test has put there, one text for each segment.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<VecDeque<String>>>);

impl Stt for Script {
    fn name(&self) -> &'static str {
        "script"
    }

    fn begin(&self) -> Box<dyn SttUtterance> {
        Box::new(Line(self.0.lock().unwrap().pop_front().unwrap_or_default()))
    }
}

struct Line(String);

impl SttUtterance for Line {
    fn push(&mut self, _: &[i16]) -> Result<(), SttError> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Transcript, SttError>> {
        async move {
            tokio::time::sleep(Duration::from_millis(STT_MS)).await;
            Ok(Transcript {
                text: self.0,
                engine: "script",
                audio_ms: 1_000,
                elapsed_ms: STT_MS as u32,
            })
        }
        .boxed()
    }
}

/// A room of which the test tells the news.
struct Stage {
    news: mpsc::Receiver<RoomNews<()>>,
    /// What the ear that is open says goes here.
    ear: Arc<Mutex<Option<mpsc::Sender<ListenEvent>>>>,
}

impl Venue for Stage {
    type Voice = ();

    async fn news(&mut self) -> RoomNews<()> {
        match self.news.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }

    fn listen(&mut self, (): &(), events: mpsc::Sender<ListenEvent>) {
        *self.ear.lock().unwrap() = Some(events);
    }

    fn stop_listening(&mut self) {
        *self.ear.lock().unwrap() = None;
    }
}

/// The test's side of a stay.
struct Test {
    paper: Paper,
    script: Script,
    news: mpsc::Sender<RoomNews<()>>,
    ear: Arc<Mutex<Option<mpsc::Sender<ListenEvent>>>>,
    stops: Stops,
    announced: mpsc::Receiver<Announcement>,
    staying: tokio::task::JoinHandle<(Session<Paper>, Result<Parting, JournalError>)>,
    began: Instant,
}

fn new_session(paper: &Paper, script: &Script) -> Session<Paper> {
    let plan = Arc::new(Plan::parse(PLAN, "test").unwrap());
    session(paper, script, State::new(plan))
}

fn session(paper: &Paper, script: &Script, state: State) -> Session<Paper> {
    let faculties = Faculties {
        stt: Arc::new(script.clone()),
        tts: Arc::new(Metronome),
        llm: None,
        traces: None,
    };
    let id = InterviewId::new("s-1").unwrap();
    Session::new(paper.clone(), faculties, id, state)
}

impl Test {
    async fn start(paper: Paper) -> Self {
        let script = Script::default();
        let mut session = new_session(&paper, &script);
        let opened = Input::Opened {
            interview_id: InterviewId::new("s-1").unwrap(),
            room: "interview-s-1".into(),
            mind: Mind::Plan,
        };
        session.input(opened).await.unwrap();
        Self::stay(paper, script, session)
    }

    /// The session joins a room.
    fn stay(paper: Paper, script: Script, mut session: Session<Paper>) -> Self {
        let (mouth, mut clock) = playout();
        crate::spawn::supervised("audio clock", async move {
            let mut beat = tokio::time::interval(Duration::from_millis(10));
            let mut out = [0; 240];
            loop {
                beat.tick().await;
                clock.fill(&mut out);
            }
        });
        let (news, inbox) = mpsc::channel(16);
        let ear = Arc::default();
        let mut stage = Stage {
            news: inbox,
            ear: Arc::clone(&ear),
        };
        let stops = Stops::default();
        let (announcer, announced) = Announcer::channel();
        let told = stops.clone();
        #[expect(clippy::disallowed_methods, reason = "its end is awaited")]
        let staying = tokio::spawn(async move {
            let parting = session.stay(&mut stage, announcer, mouth, &told).await;
            (session, parting)
        });
        Self {
            paper,
            script,
            news,
            ear,
            stops,
            announced,
            staying,
            began: Instant::now(),
        }
    }

    async fn tell(&self, news: RoomNews<()>) {
        self.news.send(news).await.unwrap();
    }

    async fn candidate_comes(&self) {
        self.tell(RoomNews::CandidateHere {
            identity: "grace".into(),
        })
        .await;
        self.tell(RoomNews::Voice {
            voice: (),
            sid: "TR_1".into(),
        })
        .await;
        self.tell(RoomNews::Heard).await;
    }

    /// Waits until the journal says so.
    async fn until(&self, what: &str, reached: impl Fn(&Paper) -> bool) {
        let waiting = async {
            while !reached(&self.paper) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(LIMIT, waiting).await.is_err() {
            panic!("{what} did not come: {:#?}", self.paper.events());
        }
    }

    async fn until_said(&self, words: &str) {
        let what = format!("{words:?}");
        self.until(&what, |p| p.said().iter().any(|s| s.contains(words)))
            .await;
    }

    /// Waits until the last segment was heard.
    async fn until_heard(&self, words: &str) {
        self.until_said(words).await;
        self.until("its end", |p| p.kinds().last() == Some(&"segment_heard"))
            .await;
    }

    async fn hears(&self, event: ListenEvent) {
        let ear = self.ear.lock().unwrap().clone();
        ear.expect("an open ear").send(event).await.unwrap();
    }

    /// The candidate speaks for a second and then is silent.
    async fn candidate_says(&self, words: &str) {
        self.script.0.lock().unwrap().push_back(words.to_owned());
        self.hears(ListenEvent::Began).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.hears(paused()).await;
        tokio::time::sleep(Duration::from_millis(350)).await;
        self.hears(ListenEvent::Finished { silence_ms: 550 }).await;
    }

    async fn parts(
        self,
    ) -> (
        Paper,
        Session<Paper>,
        Result<Parting, JournalError>,
        Vec<Announcement>,
    ) {
        let parted = tokio::time::timeout(LIMIT, self.staying).await;
        let (session, parting) = parted.expect("it ends").expect("no panic");
        let mut announced = self.announced;
        let shown = std::iter::from_fn(|| announced.try_recv().ok()).collect();
        (self.paper, session, parting, shown)
    }
}

fn paused() -> ListenEvent {
    ListenEvent::Paused(Segment {
        index: 0,
        pcm: vec![0; 16_000],
    })
}

#[tokio::test(start_paused = true)]
async fn an_interview_is_held_from_the_greeting_to_the_goodbye() {
    let test = Test::start(Paper::default()).await;
    test.candidate_comes().await;
    test.until_heard("What is a stack?").await;
    test.candidate_says("It holds frames.").await;
    test.until_heard("What is a heap?").await;
    test.candidate_says("Memory that is asked for.").await;
    let (paper, _, parting, shown) = test.parts().await;
    assert_eq!(parting.unwrap(), Parting::Ended(EndReason::Completed));
    assert!(paper.said().last().unwrap().contains("Goodbye"));
    for state in [
        AgentState::Speaking,
        AgentState::Listening,
        AgentState::Thinking,
    ] {
        assert!(shown.contains(&Announcement::State(state)), "{state:?}");
    }
    let words = shown
        .iter()
        .filter(
            |a| matches!(a, Announcement::Line(l) if l.text == "It holds frames." && l.is_final),
        )
        .count();
    assert_eq!(words, 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_before_the_candidate_hears_it_or_a_second_went_by() {
    let test = Test::start(Paper::default()).await;
    test.tell(RoomNews::CandidateHere {
        identity: "grace".into(),
    })
    .await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(test.paper.said(), Vec::<String>::new());
    test.until_said("Hello").await;
    let waited_ms = test.began.elapsed().as_millis();
    assert!((1_000..1_100).contains(&waited_ms), "{waited_ms} ms");
}

#[tokio::test(start_paused = true)]
async fn words_into_a_question_end_it_where_it_was_heard() {
    let test = Test::start(Paper::default()).await;
    test.candidate_comes().await;
    test.until_heard("What is a stack?").await;
    test.candidate_says("It holds frames.").await;
    test.until_said("What is a heap?").await;
    // "Thank you. What is a heap?" takes 0.6 s, the rest 0.5 s more.
    tokio::time::sleep(Duration::from_millis(700)).await;
    test.script
        .0
        .lock()
        .unwrap()
        .push_back("Memory that is asked for.".into());
    test.hears(ListenEvent::Began).await;
    test.hears(ListenEvent::Sustained).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    test.hears(paused()).await;
    test.hears(ListenEvent::Finished { silence_ms: 550 }).await;
    let (paper, _, parting, _) = test.parts().await;
    assert_eq!(parting.unwrap(), Parting::Ended(EndReason::Completed));
    let Some(Heard::Part { text }) = paper.heard(3) else {
        panic!("not cut off: {:?}", paper.heard(3));
    };
    assert!(
        text.contains("What is a heap?") && !text.ends_with("grow?"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_cough_into_a_question_makes_it_pause_and_go_on() {
    let test = Test::start(Paper::default()).await;
    test.candidate_comes().await;
    test.until_said("What is a stack?").await;
    let said = Instant::now();
    test.hears(ListenEvent::Began).await;
    test.hears(ListenEvent::Sustained).await;
    test.hears(paused()).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(test.paper.heard(2), None, "it waits");
    test.hears(ListenEvent::Finished { silence_ms: 550 }).await;
    test.until("the question's end", |p| p.heard(2).is_some())
        .await;
    assert_eq!(test.paper.heard(2), Some(Heard::Whole));
    assert!(said.elapsed() > Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_takes_nothing_ends_it_with_a_goodbye_that_no_journal_holds() {
    let test = Test::start(Paper::full_at(3)).await;
    test.candidate_comes().await;
    let began = Instant::now();
    let (paper, _, parting, _) = test.parts().await;
    assert!(matches!(parting, Err(JournalError::Failed { .. })));
    assert_eq!(paper.events().len(), 3);
    // The greeting was heard, and then the goodbye: it was spoken, not only decided.
    let took = began.elapsed();
    assert!(took > Duration::from_secs(5), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_stops_ends_its_sentence_and_the_next_one_asks_again() {
    let test = Test::start(Paper::default()).await;
    test.candidate_comes().await;
    test.until_heard("What is a stack?").await;
    test.candidate_says("It holds frames.").await;
    test.until_said("What is a heap?").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (script, stopped) = (test.script.clone(), Instant::now());
    test.stops.hand_over.cancel();
    let (paper, first, parting, _) = test.parts().await;
    assert_eq!(parting.unwrap(), Parting::HandedOver);
    let took = stopped.elapsed();
    assert!(took <= Duration::from_secs(2), "{took:?}");
    assert!(first.ended().is_none());
    drop(first);

    let mut state = State::new(Arc::new(Plan::parse(PLAN, "test").unwrap()));
    paper.events().iter().for_each(|e| state.apply(e));
    let mut second = session(&paper, &script, state);
    second.input(Input::Resumed).await.unwrap();
    let test = Test::stay(paper, script, second);
    test.candidate_comes().await;
    test.until_heard("I was gone for a moment. Let me repeat the question. What is a heap?")
        .await;
    test.candidate_says("Memory that is asked for.").await;
    let (_, _, parting, _) = test.parts().await;
    assert_eq!(parting.unwrap(), Parting::Ended(EndReason::Completed));
}

#[tokio::test(start_paused = true)]
async fn words_that_are_being_understood_are_written_down_before_another_process_goes_on() {
    let test = Test::start(Paper::default()).await;
    test.candidate_comes().await;
    test.until_heard("What is a stack?").await;
    test.candidate_says("It holds frames.").await;
    test.stops.hand_over.cancel();
    let (paper, _, parting, _) = test.parts().await;
    assert_eq!(parting.unwrap(), Parting::HandedOver);
    assert!(paper.kinds().contains(&"turn_heard"), "{:?}", paper.kinds());
}

#[tokio::test(start_paused = true)]
async fn a_lost_room_is_joined_again_and_the_question_repeated() {
    let test = Test::start(Paper::default()).await;
    test.candidate_comes().await;
    test.until_said("What is a stack?").await;
    test.tell(RoomNews::Lost {
        cause: "SignalClose".into(),
    })
    .await;
    let script = test.script.clone();
    let (paper, mut session, parting, _) = test.parts().await;
    assert!(matches!(parting, Ok(Parting::Lost { .. })), "{parting:?}");
    session.input(Input::Resumed).await.unwrap();
    let test = Test::stay(paper, script, session);
    test.candidate_comes().await;
    test.until_heard("Let me repeat the question. What is a stack?")
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_not_mended_in_time_is_lost() {
    let test = Test::start(Paper::default()).await;
    test.candidate_comes().await;
    test.until_heard("What is a stack?").await;
    test.tell(RoomNews::Reconnecting).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    test.tell(RoomNews::Reconnected).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    test.tell(RoomNews::Reconnecting).await;
    let broken = Instant::now();
    let (_, _, parting, _) = test.parts().await;
    assert!(matches!(parting, Ok(Parting::Lost { .. })), "{parting:?}");
    assert_eq!(broken.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn what_was_said_into_a_broken_connection_is_said_again() {
    let test = Test::start(Paper::default()).await;
    test.candidate_comes().await;
    test.until_heard("What is a stack?").await;
    test.candidate_says("It holds frames.").await;
    test.until_said("What is a heap?").await;
    test.tell(RoomNews::Reconnecting).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    test.tell(RoomNews::Reconnected).await;
    let twice = |p: &Paper| {
        let asked = p
            .said()
            .iter()
            .filter(|s| s.contains("What is a heap?"))
            .count();
        asked == 2
    };
    test.until("the question again", twice).await;
    test.until_heard("What is a heap?").await;
    test.candidate_says("Memory that is asked for.").await;
    let (_, _, parting, _) = test.parts().await;
    assert_eq!(parting.unwrap(), Parting::Ended(EndReason::Completed));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_mended_while_the_candidate_thinks_changes_nothing() {
    let test = Test::start(Paper::default()).await;
    test.candidate_comes().await;
    test.until_heard("What is a stack?").await;
    test.tell(RoomNews::Reconnecting).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    test.tell(RoomNews::Voice {
        voice: (),
        sid: "TR_2".into(),
    })
    .await;
    test.tell(RoomNews::Reconnected).await;
    test.candidate_says("It holds frames.").await;
    test.until_said("What is a heap?").await;
    let joined = test
        .paper
        .kinds()
        .iter()
        .filter(|k| **k == "candidate_joined")
        .count();
    assert_eq!(joined, 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_replaced_writes_nothing_more() {
    let test = Test::start(Paper::default()).await;
    test.candidate_comes().await;
    test.until_said("What is a stack?").await;
    test.tell(RoomNews::Replaced).await;
    let before = test.paper.events().len();
    let (paper, _, parting, _) = test.parts().await;
    assert_eq!(parting.unwrap(), Parting::Replaced);
    assert_eq!(paper.events().len(), before);
}

#[tokio::test(start_paused = true)]
async fn a_closed_room_ends_the_interview() {
    let test = Test::start(Paper::default()).await;
    test.candidate_comes().await;
    test.until_said("What is a stack?").await;
    test.tell(RoomNews::Gone {
        cause: "RoomDeleted".into(),
    })
    .await;
    let (_, _, parting, _) = test.parts().await;
    assert!(
        matches!(parting, Ok(Parting::Ended(EndReason::RoomGone { .. }))),
        "{parting:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_dismissed_interview_ends_with_a_goodbye() {
    let test = Test::start(Paper::default()).await;
    test.candidate_comes().await;
    test.until_heard("What is a stack?").await;
    test.stops.dismissed.cancel();
    let (paper, _, parting, _) = test.parts().await;
    assert!(
        matches!(parting, Ok(Parting::Ended(EndReason::Fault { .. }))),
        "{parting:?}"
    );
    assert!(paper.said().last().unwrap().contains("Goodbye"));
}
