//! Takes in what the candidate and the language model say.

use super::super::event::{Ask, Event, Hearing, Outcome, Purpose, Role};
use super::super::intent::{Intent, intent};
use super::super::mind::{Mind, MindReply, MindRequest};
use super::super::pace::{
    ACKNOWLEDGEMENT_CHARS_MAX, FOLLOW_UP_CHARS_MAX, NOT_UNDERSTOOD_MAX, OVERLAP_MS, OVERLAPS_MAX,
    TURN_CHARS_MAX,
};
use super::super::sentences::sentences;
use super::super::state::{Open, Phase, Presence};
use super::Decider;

impl Decider {
    pub(super) fn heard(&mut self, text: &str, heard_by: Hearing) {
        if self.state.presence == Presence::Never {
            // Words of nobody who was introduced.
            return;
        }
        let text = clean(text);
        if !text.chars().any(char::is_alphanumeric) {
            self.not_understood();
            return;
        }
        let Some(open) = self.state.open.clone() else {
            self.turn(None, Role::Aside, text, heard_by);
            return;
        };
        let about = Some(open.question);
        match intent(&text) {
            Intent::Repeat => {
                self.turn(about, Role::RepeatRequest, text, heard_by);
                self.repeat(Ask::RepeatOnRequest);
            }
            Intent::Skip => {
                self.turn(about, Role::SkipRequest, text, heard_by);
                self.close_question(Outcome::Skipped);
            }
            Intent::Backchannel if self.is_asking() || self.is_thinking() => {
                self.turn(about, Role::Aside, text, heard_by);
            }
            other if self.not_meant_for(&open, &heard_by) => {
                let (about, role) = match (belongs_to(&open), other) {
                    (Some(before), Intent::Answer) => (Some(before), Role::Continuation),
                    _ => (about, Role::Aside),
                };
                self.turn(about, role, text, heard_by);
                if self.state.phase == Phase::Listening {
                    self.repeat_after_overlap();
                }
            }
            _ => {
                self.turn(about, Role::Answer, text, heard_by);
                self.answered();
            }
        }
    }

    pub(super) fn not_understood(&mut self) {
        let Some(open) = &self.state.open else { return };
        // While the interviewer speaks or thinks, a noise is only a noise.
        if self.state.phase != Phase::Listening || self.state.presence != Presence::Here {
            return;
        }
        let (about, unheard) = (open.question, !open.heard && open.overlaps < OVERLAPS_MAX);
        let times = open.not_understood + 1;
        self.emit(Event::TurnNotUnderstood { about: Some(about) });
        if unheard {
            self.repeat_after_overlap();
        } else if times <= NOT_UNDERSTOOD_MAX {
            self.ask_to_say_again();
        } else {
            self.close_question(Outcome::NotUnderstood);
        }
    }

    pub(super) fn mind_replied(&mut self, turn: u32, reply: &MindReply) {
        if !self.is_thinking_about(turn) {
            return;
        }
        let allowed = self.may_follow_up();
        let open_text = self.state.open.as_ref().map(|o| o.text.as_str());
        let follow_up = reply
            .follow_up
            .as_deref()
            .map(|text| whole_sentences(text, FOLLOW_UP_CHARS_MAX))
            .filter(|text| allowed && !text.is_empty() && Some(text.as_str()) != open_text);
        let moves_on = follow_up.is_none();
        let acknowledgement = whole_sentences(&reply.acknowledgement, ACKNOWLEDGEMENT_CHARS_MAX);
        self.emit(Event::MindAnswered {
            turn,
            reply: MindReply {
                acknowledgement,
                follow_up,
            },
        });
        if moves_on {
            self.close_question(Outcome::Answered);
        }
    }

    pub(super) fn mind_failed(&mut self, turn: u32, cause: String) {
        if self.is_thinking_about(turn) {
            self.emit(Event::MindFailed { turn, cause });
            self.close_question(Outcome::Answered);
        }
    }

    fn answered(&mut self) {
        if self.state.mind == Mind::Plan || self.time_is_up() {
            self.close_question(Outcome::Answered);
        } else {
            self.ask_mind();
        }
    }

    /// Asks the language model about the open question's answer as it is now.
    pub(super) fn ask_mind(&mut self) {
        let Some(open) = &self.state.open else { return };
        let request = MindRequest {
            turn: self.state.last_turn,
            section: self.state.plan.section_of(open.question).to_owned(),
            question: open.text.clone(),
            answer: open.answer.clone(),
            follow_up_allowed: self.may_follow_up(),
        };
        self.emit(Event::MindAsked { request });
    }

    fn may_follow_up(&self) -> bool {
        let Some(open) = &self.state.open else {
            return false;
        };
        let Some(question) = self.state.plan.question(open.question) else {
            return false;
        };
        let spent_ms = self.now.elapsed_ms.saturating_sub(open.asked_ms);
        let in_time = question.time_ms.is_none_or(|time_ms| spent_ms < time_ms);
        open.follow_ups < question.follow_ups_max && in_time && !self.time_is_up()
    }

    fn is_thinking_about(&self, asked: u32) -> bool {
        matches!(self.state.phase, Phase::Thinking { turn, .. } if turn == asked)
    }

    fn is_thinking(&self) -> bool {
        matches!(self.state.phase, Phase::Thinking { .. })
    }

    fn is_asking(&self) -> bool {
        self.asking_since_ms().is_some()
    }

    /// When the question that is being spoken was begun.
    fn asking_since_ms(&self) -> Option<u64> {
        let Phase::Speaking { segment } = self.state.phase else {
            return None;
        };
        let segment = self.state.segments.get(&segment)?;
        matches!(segment.purpose, Purpose::Question { .. }).then_some(segment.planned_ms)
    }

    /// Whether words can't be an answer, because too little of the question had been heard when they began.
    fn not_meant_for(&self, open: &Open, heard_by: &Hearing) -> bool {
        if open.overlaps >= OVERLAPS_MAX {
            return false;
        }
        if self.state.phase == Phase::Listening {
            return !open.heard;
        }
        let before_ms = u64::from(heard_by.speech_ms) + u64::from(heard_by.wait_ms);
        let began_ms = self.now.elapsed_ms.saturating_sub(before_ms);
        self.asking_since_ms()
            .is_some_and(|since_ms| began_ms < since_ms.saturating_add(OVERLAP_MS))
    }

    fn turn(&mut self, about: Option<u32>, role: Role, text: String, heard_by: Hearing) {
        self.emit(Event::TurnHeard {
            turn: self.state.last_turn + 1,
            about,
            role,
            text,
            heard_by,
        });
    }
}

/// The question whose answer goes on when words come too early for the open one.
fn belongs_to(open: &Open) -> Option<u32> {
    if open.follow_ups > 0 {
        return Some(open.question);
    }
    open.question.checked_sub(1).filter(|&before| before > 0)
}

/// One line of text without control characters, of a bounded length.
fn clean(text: &str) -> String {
    let visible: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(TURN_CHARS_MAX)
        .collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// As many whole sentences from the start as fit.
fn whole_sentences(text: &str, chars_max: usize) -> String {
    let mut kept = String::new();
    let mut chars = 0;
    for sentence in sentences(&clean(text)) {
        chars += sentence.chars().count() + 1;
        if chars > chars_max + 1 {
            break;
        }
        if !kept.is_empty() {
            kept.push(' ');
        }
        kept.push_str(&sentence);
    }
    kept
}
