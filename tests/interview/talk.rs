//! Lets a test of the interview read as a dialogue. Time is made up; nothing is spoken, stored or awaited.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::VecDeque;
use std::sync::Arc;

use viva::interview::event::{EndReason, Heard, Hearing, Playout};
use viva::interview::mind::{Mind, MindReply, MindRequest};
use viva::interview::plan::Plan;
use viva::interview::{Action, Event, Input, InterviewId, Now, Recorded, State, actions, decide};

pub const PLAN: &str = r#"
title = "Small"
interviewer = "Ada"
time_minutes = 10

[[sections]]
title = "memory"

[[sections.questions]]
text = "What is a stack? And what is a heap?"

[[sections]]
title = "threads"

[[sections.questions]]
text = "What does a mutex protect?"
follow_ups_max = 2
"#;

/// What a segment takes to be spoken, in these tests.
const SEGMENT_MS: u64 = 3_000;
const QUIET_FOR_EVER_MS: u64 = u64::MAX;

pub struct Talk {
    pub state: State,
    pub events: Vec<Recorded>,
    pub clock_ms: u64,
    gone_ms: u64,
    plan: Arc<Plan>,
    orders: VecDeque<Action>,
    saying: Option<(u32, String)>,
    request: Option<MindRequest>,
}

impl Talk {
    /// An opened interview without a language model, the candidate not there yet.
    pub fn by_plan() -> Self {
        Self::open(PLAN, Mind::Plan)
    }

    /// The same with a language model.
    pub fn with_mind() -> Self {
        Self::open(PLAN, Mind::Llm)
    }

    pub fn open(plan: &str, mind: Mind) -> Self {
        let plan = Arc::new(Plan::parse(plan, "test").unwrap());
        let mut talk = Self {
            state: State::new(plan.clone()),
            events: Vec::new(),
            clock_ms: 0,
            gone_ms: 0,
            plan,
            orders: VecDeque::new(),
            saying: None,
            request: None,
        };
        talk.input(Input::Opened {
            interview_id: InterviewId::new("t-1").unwrap(),
            room: "interview-t-1".into(),
            mind,
        });
        talk
    }

    /// Brings the talk to where the first question was heard.
    pub fn up_to_the_first_question(mut self) -> Self {
        self.candidate_comes();
        self.says("AI interviewer").says("What is a stack?");
        self
    }

    pub fn input(&mut self, input: Input) -> &mut Self {
        let now = Now {
            at_unix_ms: 1_800_000_000_000 + self.gone_ms + self.clock_ms,
            elapsed_ms: self.clock_ms,
        };
        for recorded in decide(&self.state, now, input) {
            let payload = recorded.event.to_payload().unwrap();
            assert_eq!(Event::from_payload(&payload).unwrap(), recorded.event);
            self.state.apply(&recorded);
            self.orders.extend(actions(&self.state, &recorded.event));
            self.events.push(recorded);
        }
        let mut replayed = State::new(self.plan.clone());
        self.events.iter().for_each(|e| replayed.apply(e));
        assert_eq!(replayed, self.state, "a replay gives the same state");
        self
    }

    pub fn candidate_comes(&mut self) -> &mut Self {
        self.input(Input::CandidatePresent {
            identity: "grace".into(),
        })
    }

    /// The process is killed and another one takes the interview up, `gap_ms` later, with the candidate still there.
    pub fn is_killed_and_resumed(&mut self, gap_ms: u64) -> &mut Self {
        self.is_killed(gap_ms);
        self.candidate_comes()
    }

    /// The same, before the room is joined.
    pub fn is_killed(&mut self, gap_ms: u64) -> &mut Self {
        self.saying = None;
        self.orders.clear();
        let mut replayed = State::new(self.plan.clone());
        self.events.iter().for_each(|e| replayed.apply(e));
        self.state = replayed;
        self.gone_ms += gap_ms;
        self.clock_ms = self.state.now_ms();
        self.input(Input::Resumed)
    }

    pub fn candidate_goes(&mut self) -> &mut Self {
        self.input(Input::CandidateAbsent)
    }

    /// The interviewer begins to say something with these words in it.
    pub fn begins(&mut self, words: &str) -> &mut Self {
        match self.orders.pop_front() {
            Some(Action::Say {
                segment, sentences, ..
            }) => {
                let text = sentences.join(" ");
                assert!(
                    text.contains(words),
                    "expected {words:?}, was said {text:?}"
                );
                self.saying = Some((segment, text));
            }
            other => panic!("expected to hear {words:?}, got {other:?}"),
        }
        self
    }

    /// The interviewer says something with these words in it, to the end.
    pub fn says(&mut self, words: &str) -> &mut Self {
        self.begins(words).is_heard()
    }

    pub fn is_heard(&mut self) -> &mut Self {
        self.clock_ms += SEGMENT_MS;
        self.segment_ends(Heard::Whole)
    }

    pub fn is_cut_after(&mut self, words: usize) -> &mut Self {
        let text = self
            .saying
            .as_ref()
            .expect("something is being said")
            .1
            .clone();
        let text = text.split(' ').take(words).collect::<Vec<_>>().join(" ");
        self.segment_ends(Heard::Part { text })
    }

    /// Every voice fails; the text is on the page.
    pub fn can_not_be_spoken(&mut self) -> &mut Self {
        let (segment, _) = self.saying.take().expect("something is being said");
        let cause = "no voice".into();
        self.input(Input::SegmentFailed { segment, cause });
        self.drop_listens();
        self
    }

    fn segment_ends(&mut self, heard: Heard) -> &mut Self {
        let (segment, _) = self.saying.take().expect("something is being said");
        self.input(Input::SegmentEnded {
            segment,
            heard,
            playout: Some(Playout {
                engine: "test-tts".into(),
                first_sound_ms: 120,
            }),
        });
        self.drop_listens();
        self
    }

    /// The number of the segment that is being said.
    pub fn segment(&self) -> u32 {
        self.saying.as_ref().expect("something is being said").0
    }

    fn drop_listens(&mut self) {
        self.orders.retain(|order| *order != Action::Listen);
    }

    /// The candidate speaks for two seconds, from now on.
    pub fn candidate(&mut self, words: &str) -> &mut Self {
        self.candidate_for(words, 2_000)
    }

    pub fn candidate_for(&mut self, words: &str, speech_ms: u32) -> &mut Self {
        let wait_ms = 500;
        self.clock_ms += u64::from(speech_ms + wait_ms);
        self.input(Input::Heard {
            text: words.into(),
            heard_by: Hearing {
                engine: "test-stt".into(),
                speech_ms,
                stt_ms: 200,
                wait_ms,
            },
        })
    }

    pub fn candidate_mumbles(&mut self) -> &mut Self {
        self.clock_ms += 1_000;
        self.input(Input::NotUnderstood)
    }

    /// Nobody speaks for a time; ticks come when they are due.
    pub fn silence_s(&mut self, seconds: u64) -> &mut Self {
        self.passes(seconds * 1000, QUIET_FOR_EVER_MS)
    }

    /// The candidate speaks for a time without coming to an end.
    pub fn candidate_talks_on_s(&mut self, seconds: u64) -> &mut Self {
        self.passes(seconds * 1000, 0)
    }

    fn passes(&mut self, ms: u64, quiet_ms: u64) -> &mut Self {
        let end_ms = self.clock_ms + ms;
        while let Some(due_ms) = self.state.next_deadline_ms()
            && self.clock_ms < end_ms
        {
            let next_ms = if due_ms > self.clock_ms {
                due_ms
            } else {
                self.clock_ms + viva::interview::pace::TICK_AGAIN_MS
            };
            self.clock_ms = next_ms.min(end_ms);
            self.input(Input::Tick { quiet_ms });
            self.drop_listens();
        }
        self.clock_ms = end_ms;
        self
    }

    /// The language model is asked; its request can be looked at with [`Talk::asked`].
    pub fn asks_the_mind(&mut self) -> &mut Self {
        match self.orders.pop_front() {
            Some(Action::AskMind(request)) => self.request = Some(request),
            other => panic!("expected a question to the mind, got {other:?}"),
        }
        self
    }

    pub fn asked(&self) -> &MindRequest {
        self.request.as_ref().expect("the mind was asked")
    }

    pub fn mind(&mut self, acknowledgement: &str, follow_up: Option<&str>) -> &mut Self {
        let turn = self.asked().turn;
        self.mind_on(turn, acknowledgement, follow_up)
    }

    pub fn mind_on(
        &mut self,
        turn: u32,
        acknowledgement: &str,
        follow_up: Option<&str>,
    ) -> &mut Self {
        self.clock_ms += 700;
        self.input(Input::MindReplied {
            turn,
            reply: MindReply {
                acknowledgement: acknowledgement.into(),
                follow_up: follow_up.map(Into::into),
            },
        })
    }

    /// Nothing more was ordered.
    pub fn says_nothing(&mut self) -> &mut Self {
        assert_eq!(self.orders, [], "nothing more was expected");
        self
    }

    pub fn ends(&mut self, reason: EndReason) -> &mut Self {
        let end = Action::End {
            reason: reason.clone(),
        };
        assert_eq!(self.orders.pop_front(), Some(end));
        assert_eq!(self.state.ended(), Some(&reason));
        self.says_nothing()
    }

    pub fn kinds(&self) -> Vec<&'static str> {
        self.events.iter().map(|e| e.event.kind()).collect()
    }
}
