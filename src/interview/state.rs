//! Where an interview stands, made from its events alone.
//!
//! [`State::apply`] holds no policy: the same events give the same state in every release.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event::{Ask, EndReason, Event, Heard, Outcome, Purpose, Recorded, Role};
use super::id::InterviewId;
use super::mind::Mind;
use super::pace::{ANSWER_CHARS_MAX, QUESTION_HEARD_PERCENT, SEGMENT_MS_MAX, SEGMENT_MS_PER_CHAR};
use super::plan::Plan;

/// Segments whose end was never reported are forgotten when there are more; a late report of them is ignored.
const UNREPORTED_SEGMENTS_MAX: usize = 16;

/// Where an interview stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    #[serde(skip, default = "Plan::unknown")]
    pub(super) plan: Arc<Plan>,
    pub(super) interview: Option<InterviewId>,
    pub(super) mind: Mind,
    pub(super) seq: u64,
    pub(super) now_ms: u64,
    /// The wall clock at the last event.
    pub(super) at_unix_ms: u64,
    pub(super) opened_ms: Option<u64>,
    pub(super) started_ms: Option<u64>,
    /// LiveKit's identity of the candidate, once they were there.
    pub(super) candidate: Option<String>,
    pub(super) presence: Presence,
    pub(super) phase: Phase,
    pub(super) greeted: bool,
    pub(super) greetings: u32,
    pub(super) last_segment: u32,
    pub(super) last_turn: u32,
    /// Planned and not yet reported over.
    pub(super) segments: BTreeMap<u32, Segment>,
    /// The number of the last question that was begun, 0 before the first.
    pub(super) asked: u32,
    pub(super) open: Option<Open>,
    /// The model's word about the last answer, not yet said.
    pub(super) acknowledgement: Option<String>,
    /// How the last question ended, not yet said.
    pub(super) outcome: Option<Outcome>,
    pub(super) returned: bool,
    /// The interview was taken up again, and the candidate does not know yet.
    pub(super) resumed: bool,
    /// The goodbye was begun, and its end died with the process that said it.
    pub(super) goodbye_lost: bool,
    pub(super) closing: Option<EndReason>,
    pub(super) ended: Option<EndReason>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Presence {
    Never,
    Here,
    Away { since_ms: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Nothing goes on: the next thing is due as soon as the candidate is here.
    Idle,
    Speaking {
        segment: u32,
    },
    Listening,
    Thinking {
        turn: u32,
        since_ms: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Segment {
    pub(super) purpose: Purpose,
    /// Words before the question itself, and words of the question.
    lead_words: usize,
    question_words: usize,
    pub(super) planned_ms: u64,
    /// When its end is not waited for any longer.
    pub(super) lost_ms: u64,
}

/// The question that is being asked or answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Open {
    pub(super) question: u32,
    /// As it was last asked.
    pub(super) text: String,
    pub(super) asked_ms: u64,
    pub(super) follow_ups: u32,
    /// Chosen by the model and not yet asked.
    pub(super) follow_up: Option<String>,
    pub(super) answer: String,
    /// Whether the candidate heard it to the end, or nearly.
    pub(super) heard: bool,
    /// Words that were not meant for it came while it was said.
    pub(super) talked_over: bool,
    pub(super) overlaps: u32,
    pub(super) quiet_since_ms: u64,
    pub(super) prompted: bool,
    pub(super) silence_repeated: bool,
    pub(super) not_understood: u32,
}

impl State {
    /// An interview of which nothing has happened yet.
    pub fn new(plan: Arc<Plan>) -> Self {
        Self {
            plan,
            interview: None,
            mind: Mind::Plan,
            seq: 0,
            now_ms: 0,
            at_unix_ms: 0,
            opened_ms: None,
            started_ms: None,
            candidate: None,
            presence: Presence::Never,
            phase: Phase::Idle,
            greeted: false,
            greetings: 0,
            last_segment: 0,
            last_turn: 0,
            segments: BTreeMap::new(),
            asked: 0,
            open: None,
            acknowledgement: None,
            outcome: None,
            returned: false,
            resumed: false,
            goodbye_lost: false,
            closing: None,
            ended: None,
        }
    }

    /// The state as text, without its plan, for [`from_snapshot`](Self::from_snapshot) of the same release.
    ///
    /// # Errors
    /// It can't be written as JSON.
    pub fn to_snapshot(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// The state that [`to_snapshot`](Self::to_snapshot) wrote. Only the events are the same in every release.
    ///
    /// # Errors
    /// The text is of another release, or no snapshot at all.
    pub fn from_snapshot(plan: Arc<Plan>, text: &str) -> serde_json::Result<Self> {
        let state: Self = serde_json::from_str(text)?;
        Ok(Self { plan, ..state })
    }

    /// The interview's name, once it is opened.
    pub fn interview_id(&self) -> Option<&InterviewId> {
        self.interview.as_ref()
    }

    /// The plan that it follows.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// LiveKit's identity of the candidate, once they were there.
    pub fn candidate(&self) -> Option<&str> {
        self.candidate.as_deref()
    }

    /// Why it is over, if it is.
    pub fn ended(&self) -> Option<&EndReason> {
        self.ended.as_ref()
    }

    /// The session's clock at the last event, in milliseconds: where a process that takes the interview up goes on.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Whether the candidate has the floor.
    pub fn is_listening(&self) -> bool {
        self.ended.is_none() && self.phase == Phase::Listening
    }

    /// The number of the last event, 0 before the first.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Takes an event in. Whatever does not fit is passed over, so that any history can be read.
    pub fn apply(&mut self, recorded: &Recorded) {
        self.seq = recorded.seq;
        self.now_ms = self.now_ms.max(recorded.elapsed_ms);
        self.at_unix_ms = recorded.at_unix_ms;
        match &recorded.event {
            Event::Opened {
                interview_id, mind, ..
            } => {
                self.interview = Some(interview_id.clone());
                self.mind = *mind;
                self.opened_ms = Some(self.now_ms);
            }
            Event::CandidateJoined { identity } => {
                self.candidate = Some(identity.clone());
                self.joined();
            }
            Event::CandidateLeft => {
                self.presence = Presence::Away {
                    since_ms: self.now_ms,
                };
            }
            Event::Resumed { .. } => self.resumed(),
            Event::SegmentPlanned {
                segment,
                purpose,
                sentences,
                ..
            } => self.planned(*segment, purpose, sentences),
            Event::SegmentHeard { segment, heard, .. } => self.segment_over(*segment, heard),
            Event::TurnHeard {
                turn,
                about,
                role,
                text,
                ..
            } => self.turn(*turn, *about, *role, text),
            Event::TurnNotUnderstood { .. } => {
                if let Some(open) = &mut self.open {
                    open.not_understood += 1;
                    open.prompted = false;
                }
            }
            Event::MindAsked { request } => {
                self.phase = Phase::Thinking {
                    turn: request.turn,
                    since_ms: self.now_ms,
                };
            }
            Event::MindAnswered { reply, .. } => {
                self.phase = Phase::Idle;
                self.acknowledgement =
                    Some(reply.acknowledgement.clone()).filter(|a| !a.is_empty());
                if let Some(open) = &mut self.open {
                    open.follow_up.clone_from(&reply.follow_up);
                }
            }
            Event::MindFailed { .. } => self.phase = Phase::Idle,
            Event::QuestionClosed { outcome, .. } => {
                self.open = None;
                self.outcome = Some(*outcome);
                self.phase = Phase::Idle;
            }
            Event::Ended { reason } => {
                self.ended = Some(reason.clone());
                self.phase = Phase::Idle;
            }
        }
    }

    fn joined(&mut self) {
        let was_away = matches!(self.presence, Presence::Away { .. });
        self.returned = was_away && !self.resumed;
        self.presence = Presence::Here;
        let interrupted = matches!(self.phase, Phase::Speaking { .. } | Phase::Listening);
        if was_away && interrupted && self.closing.is_none() {
            // Half of what was said went to an empty room: it is taken up from the start.
            self.phase = Phase::Idle;
        }
    }

    /// Who is in the room is not known until it is joined again, and what was being said is over.
    fn resumed(&mut self) {
        self.resumed = true;
        if self.presence == Presence::Here {
            self.presence = Presence::Away {
                since_ms: self.now_ms,
            };
        }
        if let Phase::Speaking { segment } = self.phase {
            self.phase = Phase::Idle;
            self.goodbye_lost = self.closing.is_some();
            let greeting = |s: &Segment| s.purpose == Purpose::Greeting;
            if self.segments.get(&segment).is_some_and(greeting) {
                // It was not the candidate who did not hear it to its end.
                self.greetings = self.greetings.saturating_sub(1);
            }
        }
    }

    fn planned(&mut self, segment: u32, purpose: &Purpose, sentences: &[String]) {
        let now_ms = self.now_ms;
        let chars: usize = sentences.iter().map(|s| s.chars().count()).sum();
        let saying_ms =
            u64::try_from(chars).map_or(u64::MAX, |c| c.saturating_mul(SEGMENT_MS_PER_CHAR));
        let all_words: usize = sentences.iter().map(|s| words(s)).sum();
        let question_words = match purpose {
            Purpose::Question { text, .. } => words(text),
            _ => 0,
        };
        self.last_segment = self.last_segment.max(segment);
        self.started_ms.get_or_insert(now_ms);
        self.segments.insert(
            segment,
            Segment {
                purpose: purpose.clone(),
                lead_words: all_words.saturating_sub(question_words),
                question_words,
                planned_ms: now_ms,
                lost_ms: now_ms
                    .saturating_add(SEGMENT_MS_MAX)
                    .saturating_add(saying_ms),
            },
        );
        while self.segments.len() > UNREPORTED_SEGMENTS_MAX {
            self.segments.pop_first();
        }
        self.phase = Phase::Speaking { segment };
        self.acknowledgement = None;
        self.outcome = None;
        self.returned = false;
        self.resumed = false;
        self.goodbye_lost = false;
        match purpose {
            Purpose::Greeting => self.greetings += 1,
            Purpose::Question {
                question,
                ask,
                text,
            } => self.asked(*question, *ask, text),
            Purpose::Prompt { .. } => {
                if let Some(open) = &mut self.open {
                    open.prompted = true;
                }
            }
            Purpose::SayAgain { .. } => {}
            Purpose::Goodbye { reason } => self.closing = Some(reason.clone()),
        }
    }

    fn asked(&mut self, question: u32, ask: Ask, text: &str) {
        if ask == Ask::First {
            self.asked = self.asked.max(question);
            self.open = Some(Open {
                question,
                text: text.to_owned(),
                asked_ms: self.now_ms,
                follow_ups: 0,
                follow_up: None,
                answer: String::new(),
                heard: false,
                talked_over: false,
                overlaps: 0,
                quiet_since_ms: self.now_ms,
                prompted: false,
                silence_repeated: false,
                not_understood: 0,
            });
            return;
        }
        let Some(open) = &mut self.open else { return };
        open.heard = false;
        open.talked_over = false;
        match ask {
            Ask::FollowUp => {
                text.clone_into(&mut open.text);
                open.follow_ups += 1;
                open.follow_up = None;
                open.overlaps = 0;
                open.prompted = false;
                open.silence_repeated = false;
                open.not_understood = 0;
            }
            Ask::RepeatAfterOverlap => open.overlaps += 1,
            Ask::RepeatAfterSilence => open.silence_repeated = true,
            Ask::First | Ask::RepeatOnRequest | Ask::RepeatOnReturn | Ask::RepeatOnResume => {}
        }
    }

    fn segment_over(&mut self, number: u32, heard: &Heard) {
        let Some(segment) = self.segments.remove(&number) else {
            return;
        };
        if self.phase != (Phase::Speaking { segment: number }) {
            return;
        }
        match &segment.purpose {
            Purpose::Greeting => {
                let all = matches!(heard, Heard::Whole | Heard::Page { .. });
                self.greeted |= all && self.presence == Presence::Here;
                self.phase = Phase::Idle;
            }
            Purpose::Goodbye { .. } => self.phase = Phase::Idle,
            Purpose::Question { .. } | Purpose::SayAgain { .. } | Purpose::Prompt { .. } => {
                self.phase = Phase::Listening;
                if let Some(open) = &mut self.open {
                    if matches!(segment.purpose, Purpose::Question { .. }) {
                        open.heard = mostly_heard(&segment, heard);
                    }
                    if !matches!(segment.purpose, Purpose::Prompt { .. }) {
                        open.quiet_since_ms = self.now_ms;
                    }
                }
            }
        }
    }

    fn turn(&mut self, turn: u32, about: Option<u32>, role: Role, text: &str) {
        self.last_turn = self.last_turn.max(turn);
        let speaking = matches!(self.phase, Phase::Speaking { .. });
        let Some(open) = &mut self.open else { return };
        open.not_understood = 0;
        open.prompted = false;
        if matches!(role, Role::Answer | Role::Continuation) && about == Some(open.question) {
            if !open.answer.is_empty() {
                open.answer.push(' ');
            }
            open.answer.push_str(text);
            keep_last(&mut open.answer, ANSWER_CHARS_MAX);
        }
        if matches!(role, Role::Continuation | Role::Aside) && speaking {
            open.talked_over = true;
        }
    }
}

fn mostly_heard(segment: &Segment, heard: &Heard) -> bool {
    match heard {
        Heard::Part { text } => {
            let heard = words(text).saturating_sub(segment.lead_words);
            heard * 100 >= segment.question_words * QUESTION_HEARD_PERCENT
        }
        Heard::Whole | Heard::Page { .. } | Heard::Unknown => true,
    }
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

fn keep_last(text: &mut String, chars_max: usize) {
    let excess = text.chars().count().saturating_sub(chars_max);
    if excess > 0 {
        *text = text.chars().skip(excess).collect();
    }
}
