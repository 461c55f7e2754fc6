//! What time alone brings about.

use super::super::event::{Ask, EndReason, Event, Heard, Outcome};
use super::super::pace::{
    CANDIDATE_AWAITED_MS, CANDIDATE_GONE_MS, MIND_MS_MAX, OVERLAPS_MAX, SILENCE_MOVE_ON_MS,
    SILENCE_PROMPT_MS, SILENCE_REPEAT_MS, TIME_OVERRUN_MS_MAX, TIME_UP_QUIET_MS,
};
use super::super::state::{Open, Phase, Presence, State};
use super::Decider;

/// What comes next if nothing is said, and after how much silence.
enum Silence {
    Prompt,
    RepeatUnheard,
    Repeat,
    MoveOn,
}

impl Silence {
    fn next(open: &Open) -> (Self, u64) {
        if open.silence_repeated {
            (Self::MoveOn, SILENCE_MOVE_ON_MS)
        } else if !open.heard && open.overlaps < OVERLAPS_MAX {
            (Self::RepeatUnheard, SILENCE_PROMPT_MS)
        } else if open.prompted {
            (Self::Repeat, SILENCE_REPEAT_MS)
        } else {
            (Self::Prompt, SILENCE_PROMPT_MS)
        }
    }
}

impl State {
    /// When the next [`Input::Tick`](super::Input::Tick) is due, in milliseconds of the session; nothing
    /// before the interview is opened and after it has ended. If that time has passed already, the candidate
    /// is speaking: tick again after [`TICK_AGAIN_MS`](super::super::pace::TICK_AGAIN_MS).
    pub fn next_deadline_ms(&self) -> Option<u64> {
        let opened_ms = self.opened_ms?;
        if self.ended.is_some() {
            return None;
        }
        let presence = match self.presence {
            Presence::Never => Some(opened_ms.saturating_add(CANDIDATE_AWAITED_MS)),
            Presence::Away { since_ms } => Some(since_ms.saturating_add(CANDIDATE_GONE_MS)),
            Presence::Here => None,
        };
        let phase = match self.phase {
            Phase::Idle => None,
            Phase::Speaking { segment } => self.segments.get(&segment).map(|s| s.lost_ms),
            Phase::Thinking { since_ms, .. } => Some(since_ms.saturating_add(MIND_MS_MAX)),
            Phase::Listening if self.presence == Presence::Here => self.silence_deadline_ms(),
            Phase::Listening => None,
        };
        let overrun = self.overrun_ms().filter(|_| self.closing.is_none());
        [presence, phase, overrun].into_iter().flatten().min()
    }

    fn silence_deadline_ms(&self) -> Option<u64> {
        let open = self.open.as_ref()?;
        let (_, after_ms) = Silence::next(open);
        let silent_ms = open.quiet_since_ms.saturating_add(after_ms);
        let grace_ms = open.quiet_since_ms.saturating_add(TIME_UP_QUIET_MS);
        let time_up_ms = self.time_up_ms()?.max(grace_ms);
        Some(silent_ms.min(time_up_ms))
    }

    fn time_up_ms(&self) -> Option<u64> {
        Some(self.started_ms?.saturating_add(self.plan.time_ms()))
    }

    fn overrun_ms(&self) -> Option<u64> {
        Some(self.time_up_ms()?.saturating_add(TIME_OVERRUN_MS_MAX))
    }
}

impl Decider {
    pub(super) fn time_is_up(&self) -> bool {
        self.state
            .time_up_ms()
            .is_some_and(|end_ms| self.now.elapsed_ms >= end_ms)
    }

    pub(super) fn tick(&mut self, quiet_ms: u64) {
        let now_ms = self.now.elapsed_ms;
        let past = |deadline_ms: u64| now_ms >= deadline_ms;
        match self.state.presence {
            Presence::Never => {
                if let Some(opened_ms) = self.state.opened_ms
                    && past(opened_ms.saturating_add(CANDIDATE_AWAITED_MS))
                {
                    self.close(EndReason::CandidateNeverCame);
                    return;
                }
            }
            Presence::Away { since_ms } if past(since_ms.saturating_add(CANDIDATE_GONE_MS)) => {
                match self.state.closing.clone() {
                    Some(reason) => self.emit(Event::Ended { reason }),
                    None => self.close(EndReason::CandidateGone),
                }
                return;
            }
            Presence::Away { .. } | Presence::Here => {}
        }
        if self.state.closing.is_none() && self.state.overrun_ms().is_some_and(past) {
            self.close(EndReason::TimeUp);
            return;
        }
        match self.state.phase {
            Phase::Speaking { segment } => {
                if self
                    .state
                    .segments
                    .get(&segment)
                    .is_none_or(|s| past(s.lost_ms))
                {
                    self.segment_over(segment, Heard::Unknown, None);
                }
            }
            Phase::Thinking { turn, since_ms } if past(since_ms.saturating_add(MIND_MS_MAX)) => {
                self.mind_failed(turn, format!("no reply within {MIND_MS_MAX} ms"));
            }
            Phase::Listening if self.state.presence == Presence::Here => self.silence(quiet_ms),
            Phase::Thinking { .. } | Phase::Listening | Phase::Idle => {}
        }
    }

    fn silence(&mut self, quiet_ms: u64) {
        let Some(open) = &self.state.open else { return };
        let since_ms = self.now.elapsed_ms.saturating_sub(open.quiet_since_ms);
        let silent_ms = since_ms.min(quiet_ms);
        let (next, after_ms) = Silence::next(open);
        if self.time_is_up() && silent_ms >= TIME_UP_QUIET_MS {
            self.close(EndReason::TimeUp);
        } else if silent_ms >= after_ms {
            match next {
                Silence::Prompt => self.prompt(),
                Silence::RepeatUnheard => self.repeat_after_overlap(),
                Silence::Repeat => self.repeat(Ask::RepeatAfterSilence),
                Silence::MoveOn => self.close_question(Outcome::Silent),
            }
        }
    }
}
