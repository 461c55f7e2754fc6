//! How the interviewer behaves: from where the interview stands and what comes in, to what happens next.
//!
//! The policy may change with every release; what it decided is in the events.

mod answer;
mod clock;
mod speak;

use super::event::{EndReason, Event, Heard, Hearing, Outcome, Playout, Recorded};
use super::id::InterviewId;
use super::mind::{Mind, MindReply};
use super::pace::GREETINGS_MAX;
use super::state::{Phase, Presence, State};

/// The time of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Wall clock, milliseconds since 1970.
    pub at_unix_ms: u64,
    /// Monotonic milliseconds of the session; one that goes backwards is taken to stand still.
    pub elapsed_ms: u64,
}

/// Something that the world tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The interview begins to exist; the first input of all.
    Opened {
        /// Its name.
        interview_id: InterviewId,
        /// The LiveKit room.
        room: String,
        /// Who chooses the words between the questions.
        mind: Mind,
    },
    /// The candidate is in the room.
    CandidatePresent {
        /// LiveKit's participant identity.
        identity: String,
    },
    /// The candidate is not in the room.
    CandidateAbsent,
    /// A process has taken the interview up from its journal; the first input to it.
    Resumed,
    /// The candidate finished a turn.
    Heard {
        /// The words.
        text: String,
        /// How they were heard.
        heard_by: Hearing,
    },
    /// The candidate spoke, and STT failed or found no words.
    NotUnderstood,
    /// A segment was played to its end or cut off.
    SegmentEnded {
        /// Which.
        segment: u32,
        /// [`Heard::Whole`] or [`Heard::Part`].
        heard: Heard,
        /// How it was spoken, if any sound came.
        playout: Option<Playout>,
    },
    /// No voice could speak the segment; its text was shown on the candidate's page.
    SegmentFailed {
        /// Which.
        segment: u32,
        /// Why.
        cause: String,
    },
    /// The language model answered.
    MindReplied {
        /// The turn of the request.
        turn: u32,
        /// Its words.
        reply: MindReply,
    },
    /// The language model failed.
    MindFailed {
        /// The turn of the request.
        turn: u32,
        /// Why.
        cause: String,
    },
    /// Time went by; due at [`State::next_deadline_ms`].
    Tick {
        /// How long the candidate has been quiet: 0 while they speak or their words are in STT, large when
        /// they never spoke.
        quiet_ms: u64,
    },
    /// Something failed that no interview can go on without; the end is to be polite.
    Fault {
        /// What.
        what: String,
    },
    /// The room is closed or lost for good.
    RoomGone {
        /// What LiveKit said.
        cause: String,
    },
}

/// What happens because of an input: to be written to disk, then applied in order, then acted on. Empty when
/// the input changes nothing, as a late or a repeated one.
pub fn decide(state: &State, now: Now, input: Input) -> Vec<Recorded> {
    let mut decider = Decider {
        now: Now {
            elapsed_ms: now.elapsed_ms.max(state.now_ms),
            ..now
        },
        state: state.clone(),
        events: Vec::new(),
    };
    decider.take(input);
    decider.events
}

/// Collects events, with the state after them at hand.
struct Decider {
    state: State,
    now: Now,
    events: Vec<Recorded>,
}

impl Decider {
    fn emit(&mut self, event: Event) {
        let recorded = Recorded {
            seq: self.state.seq + 1,
            at_unix_ms: self.now.at_unix_ms,
            elapsed_ms: self.now.elapsed_ms,
            event,
        };
        self.state.apply(&recorded);
        self.events.push(recorded);
    }

    fn take(&mut self, input: Input) {
        if let Input::Opened {
            interview_id,
            room,
            mind,
        } = input
        {
            if self.state.opened_ms.is_none() {
                let plan_hash = self.state.plan.hash().to_owned();
                self.emit(Event::Opened {
                    interview_id,
                    room,
                    plan_hash,
                    mind,
                });
            }
            return;
        }
        if self.state.opened_ms.is_none() || self.state.ended.is_some() {
            return;
        }
        match input {
            Input::Opened { .. } => {}
            Input::CandidatePresent { identity } => {
                if self.state.presence != Presence::Here {
                    self.emit(Event::CandidateJoined { identity });
                }
            }
            Input::CandidateAbsent => {
                if self.state.presence == Presence::Here {
                    self.emit(Event::CandidateLeft);
                }
            }
            Input::Resumed => self.resumed(),
            Input::Heard { text, heard_by } => self.heard(&text, heard_by),
            Input::NotUnderstood => self.not_understood(),
            Input::SegmentEnded {
                segment,
                heard,
                playout,
            } => self.segment_over(segment, heard, playout),
            Input::SegmentFailed { segment, cause } => {
                self.segment_over(segment, Heard::Page { cause }, None);
            }
            Input::MindReplied { turn, reply } => self.mind_replied(turn, &reply),
            Input::MindFailed { turn, cause } => self.mind_failed(turn, cause),
            Input::Tick { quiet_ms } => self.tick(quiet_ms),
            Input::Fault { what } => self.close(EndReason::Fault { what }),
            Input::RoomGone { cause } => {
                // Who hangs up during the goodbye has heard enough of it.
                let reason = self.state.closing.clone();
                self.emit(Event::Ended {
                    reason: reason.unwrap_or(EndReason::RoomGone { cause }),
                });
            }
        }
        self.go_on();
    }

    /// Says what is due, if nothing goes on and the candidate is here.
    fn go_on(&mut self) {
        if self.state.ended.is_some() || self.state.phase != Phase::Idle {
            return;
        }
        if let Some(reason) = self.state.closing.clone() {
            if !self.state.goodbye_lost {
                self.emit(Event::Ended { reason });
            } else if self.state.presence == Presence::Here {
                self.say_goodbye(reason);
            }
            return;
        }
        if self.state.presence != Presence::Here {
            return;
        }
        if !self.state.greeted && self.state.greetings < GREETINGS_MAX {
            self.greet();
        } else if self.state.open.is_some() {
            self.take_up_the_question();
        } else {
            self.ask_next();
        }
    }

    /// What the process before had under way is lost; what it awaited is asked for again.
    fn resumed(&mut self) {
        let gap_ms = self.now.at_unix_ms.saturating_sub(self.state.at_unix_ms);
        self.emit(Event::Resumed { gap_ms });
        let unreported: Vec<u32> = self.state.segments.keys().copied().collect();
        for segment in unreported {
            self.emit(Event::SegmentHeard {
                segment,
                heard: Heard::Unknown,
                playout: None,
            });
        }
        if let Phase::Thinking { .. } = self.state.phase {
            self.ask_mind();
        }
    }

    fn segment_over(&mut self, segment: u32, heard: Heard, playout: Option<Playout>) {
        if !self.state.segments.contains_key(&segment) {
            return;
        }
        self.emit(Event::SegmentHeard {
            segment,
            heard,
            playout,
        });
        let talked_over = self
            .state
            .open
            .as_ref()
            .is_some_and(|o| o.talked_over && !o.heard);
        if talked_over && self.state.phase == Phase::Listening {
            self.repeat_after_overlap();
        }
    }

    /// Ends the interview: with a goodbye where somebody hears it.
    fn close(&mut self, reason: EndReason) {
        if self.state.closing.is_some() {
            return;
        }
        if self.state.open.is_some() {
            self.close_question(Outcome::Unfinished);
        }
        if self.state.presence == Presence::Here {
            self.say_goodbye(reason);
        } else {
            self.emit(Event::Ended { reason });
        }
    }

    /// Closes the open question; one that has an answer is answered, whatever came after it.
    fn close_question(&mut self, outcome: Outcome) {
        let Some(open) = &self.state.open else { return };
        let answered = !open.answer.is_empty() && outcome != Outcome::Skipped;
        let outcome = if answered { Outcome::Answered } else { outcome };
        let question = open.question;
        self.emit(Event::QuestionClosed { question, outcome });
    }
}
