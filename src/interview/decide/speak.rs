//! Chooses what is said.

use super::super::event::{Ask, EndReason, Event, Purpose};
use super::super::pace::OVERLAPS_MAX;
use super::super::phrases;
use super::super::sentences::sentences;
use super::super::state::Presence;
use super::Decider;

impl Decider {
    pub(super) fn greet(&mut self) {
        let text = phrases::greeting(&self.state.plan);
        // Not interruptible: it says that an AI speaks.
        self.say(Purpose::Greeting, text, false);
    }

    /// Asks the plan's next question, or says goodbye when there is none or no time for it.
    pub(super) fn ask_next(&mut self) {
        let number = self.state.asked + 1;
        let Some(question) = self.state.plan.question(number) else {
            self.say_goodbye(EndReason::Completed);
            return;
        };
        if self.time_is_up() {
            self.say_goodbye(EndReason::TimeUp);
            return;
        }
        let text = question.text.clone();
        let mut all = self.lead();
        let section = self.state.plan.section_of(number);
        if number > 1 && section != self.state.plan.section_of(number - 1) {
            all.extend(sentences(&phrases::topic(section)));
        }
        self.ask(number, Ask::First, text, all);
    }

    /// The open question once more, or the follow-up to it that has not been asked yet.
    pub(super) fn take_up_the_question(&mut self) {
        let Some(open) = &self.state.open else { return };
        let question = open.question;
        match open.follow_up.clone() {
            Some(text) => {
                let lead = self.lead();
                self.ask(question, Ask::FollowUp, text, lead);
            }
            // An answer that had begun died with the process: no word of it was written down.
            None if self.state.resumed => self.repeat(Ask::RepeatOnResume),
            None => self.repeat(Ask::RepeatOnReturn),
        }
    }

    pub(super) fn repeat_after_overlap(&mut self) {
        let again = self
            .state
            .open
            .as_ref()
            .is_some_and(|o| o.overlaps < OVERLAPS_MAX);
        if again {
            self.repeat(Ask::RepeatAfterOverlap);
        }
    }

    pub(super) fn repeat(&mut self, ask: Ask) {
        if self.state.presence != Presence::Here {
            return;
        }
        let Some(open) = &self.state.open else { return };
        let (number, text) = (open.question, open.text.clone());
        let lead = phrases::ask_lead(ask).map(sentences).unwrap_or_default();
        self.ask(number, ask, text, lead);
    }

    pub(super) fn prompt(&mut self) {
        let Some(open) = &self.state.open else { return };
        let purpose = Purpose::Prompt {
            question: open.question,
        };
        self.say(purpose, phrases::prompt(self.state.last_turn), true);
    }

    pub(super) fn ask_to_say_again(&mut self) {
        let Some(open) = &self.state.open else { return };
        let purpose = Purpose::SayAgain {
            question: open.question,
        };
        let text = phrases::say_again(open.not_understood);
        self.say(purpose, text, true);
    }

    pub(super) fn say_goodbye(&mut self, reason: EndReason) {
        let mut all = self.lead();
        all.extend(phrases::goodbye(&self.state.plan, &reason));
        self.say(Purpose::Goodbye { reason }, all, false);
    }

    fn ask(&mut self, question: u32, ask: Ask, text: String, mut all: Vec<String>) {
        all.extend(sentences(&text));
        let purpose = Purpose::Question {
            question,
            ask,
            text,
        };
        self.say(purpose, all, true);
    }

    fn say(&mut self, purpose: Purpose, sentences: Vec<String>, interruptible: bool) {
        self.emit(Event::SegmentPlanned {
            segment: self.state.last_segment + 1,
            purpose,
            sentences,
            interruptible,
        });
    }

    /// What is still to be said about the last answer, and to somebody who is back.
    fn lead(&self) -> Vec<String> {
        let state = &self.state;
        let mut all = Vec::new();
        if state.resumed && state.greeted {
            all.extend(sentences(phrases::GONE));
        } else if state.returned && state.greeted {
            all.push("Welcome back.".to_owned());
        }
        let about_the_answer = state.acknowledgement.clone().or_else(|| {
            state
                .outcome
                .and_then(|o| phrases::lead(o, state.last_turn))
        });
        if let Some(text) = about_the_answer {
            all.extend(sentences(&text));
        }
        all
    }
}
