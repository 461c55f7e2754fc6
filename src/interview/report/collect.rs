//! Gathers a report from events.

use std::collections::BTreeMap;

use super::super::event::{Ask, Event, Heard, Hearing, Playout, Purpose, Recorded, Role};
use super::super::plan::Plan;
use super::{
    Delivery, Engines, Line, QuestionReport, REPORT_SCHEMA, Report, ReportError, ResponseTimes,
    SectionReport, TurnLatency, Who,
};

pub(super) fn collect(plan: &Plan, events: &[Recorded]) -> Result<Report, ReportError> {
    let Some((
        opened,
        Event::Opened {
            interview_id,
            room,
            plan_hash,
            mind,
        },
    )) = events.first().map(|first| (first, &first.event))
    else {
        return Err(ReportError::NotOpened);
    };
    if plan_hash != plan.hash() {
        return Err(ReportError::OtherPlan {
            wanted: plan_hash.clone(),
            given: plan.hash().to_owned(),
        });
    }
    let planned = |e: &&Recorded| matches!(e.event, Event::SegmentPlanned { .. });
    let start_ms = events
        .iter()
        .find(planned)
        .map_or(opened.elapsed_ms, |e| e.elapsed_ms);
    let last_ms = events.iter().map(|e| e.elapsed_ms).max().unwrap_or(0);
    let mut report = Report {
        schema: REPORT_SCHEMA,
        interview_id: interview_id.clone(),
        room: room.clone(),
        title: plan.title().to_owned(),
        interviewer: plan.interviewer().to_owned(),
        plan_hash: plan_hash.clone(),
        mind: *mind,
        candidate: None,
        opened_at_unix_ms: opened.at_unix_ms,
        duration_ms: last_ms.saturating_sub(start_ms),
        end: None,
        engines: Engines::default(),
        sections: sections(plan),
        transcript: Vec::new(),
        response: None,
    };
    let mut collector = Collector {
        start_ms,
        report: &mut report,
        segments: BTreeMap::new(),
        last_turn: None,
        asked_mind_ms: None,
        resumed: false,
    };
    for recorded in events {
        collector.take(recorded);
    }
    report.response = response_times(&report.transcript);
    report
        .transcript
        .retain(|line| !line.text.is_empty() || line.delivery == Delivery::NotUnderstood);
    // A turn is written when it is over; a reader wants it where it began.
    report.transcript.sort_by_key(|line| line.at_ms);
    Ok(report)
}

fn sections(plan: &Plan) -> Vec<SectionReport> {
    let mut sections: Vec<SectionReport> = plan
        .sections()
        .iter()
        .map(|title| SectionReport {
            title: title.clone(),
            questions: Vec::new(),
        })
        .collect();
    for (number, question) in (1..).zip(plan.questions()) {
        if let Some(section) = sections.get_mut(question.section) {
            section.questions.push(QuestionReport {
                number,
                id: question.id.clone(),
                text: question.text.clone(),
                asked_at_ms: None,
                outcome: None,
                follow_ups: Vec::new(),
            });
        }
    }
    sections
}

struct Collector<'a> {
    start_ms: u64,
    report: &'a mut Report,
    segments: BTreeMap<u32, Said>,
    /// The candidate's turn that was not answered yet.
    last_turn: Option<Turn>,
    asked_mind_ms: Option<u64>,
    /// Taken up again, and the candidate was not announced since.
    resumed: bool,
}

/// A segment of the interviewer's.
struct Said {
    line: usize,
    planned_ms: u64,
    answers: Option<Turn>,
}

#[derive(Clone, Copy)]
struct Turn {
    line: usize,
    heard_ms: u64,
}

impl Collector<'_> {
    fn take(&mut self, recorded: &Recorded) {
        let now_ms = recorded.elapsed_ms;
        match &recorded.event {
            Event::Opened { .. } => {}
            Event::CandidateJoined { identity } => {
                let text = match self.report.candidate {
                    None => Some("The candidate joined."),
                    // Who was gone was the interviewer.
                    Some(_) if self.resumed => None,
                    Some(_) => Some("The candidate came back."),
                };
                self.resumed = false;
                self.report.candidate = Some(identity.clone());
                if let Some(text) = text {
                    self.happened(now_ms, text);
                }
            }
            Event::Resumed { gap_ms } => {
                self.resumed = true;
                let tenths = gap_ms / 100;
                let text = format!(
                    "The interviewer was gone for {}.{} s.",
                    tenths / 10,
                    tenths % 10
                );
                self.happened(now_ms, &text);
            }
            Event::CandidateLeft => self.happened(now_ms, "The candidate left."),
            Event::SegmentPlanned {
                segment,
                purpose,
                sentences,
                ..
            } => self.planned(now_ms, *segment, purpose, sentences.join(" ")),
            Event::SegmentHeard {
                segment,
                heard,
                playout,
            } => self.heard(*segment, heard, playout.as_ref()),
            Event::TurnHeard {
                about,
                role,
                text,
                heard_by,
                ..
            } => {
                let turn = self.turn(now_ms, *about, text, heard_by);
                // Nobody owes an aside a reply.
                if *role != Role::Aside {
                    self.last_turn = Some(turn);
                }
            }
            Event::TurnNotUnderstood { about } => {
                self.line(
                    now_ms,
                    Who::Candidate,
                    *about,
                    String::new(),
                    Delivery::NotUnderstood,
                );
            }
            Event::MindAsked { .. } => self.asked_mind_ms = Some(now_ms),
            Event::MindAnswered { .. } | Event::MindFailed { .. } => {
                let asked_ms = self.asked_mind_ms.take();
                if let (Some(asked_ms), Some(turn)) = (asked_ms, self.last_turn) {
                    self.latency(turn, |l| l.mind_ms = Some(now_ms.saturating_sub(asked_ms)));
                }
            }
            Event::QuestionClosed { question, outcome } => {
                if let Some(question) = self.question(*question) {
                    question.outcome = Some(*outcome);
                }
            }
            Event::Ended { reason } => self.report.end = Some(reason.clone()),
        }
    }

    fn planned(&mut self, now_ms: u64, segment: u32, purpose: &Purpose, said: String) {
        let at_ms = self.since_start(now_ms);
        let about = match purpose {
            Purpose::Question { question, .. }
            | Purpose::Prompt { question }
            | Purpose::SayAgain { question } => Some(*question),
            Purpose::Greeting | Purpose::Goodbye { .. } => None,
        };
        if let Purpose::Question {
            question,
            ask,
            text,
        } = purpose
            && let Some(question) = self.question(*question)
        {
            match ask {
                Ask::First => question.asked_at_ms = Some(at_ms),
                Ask::FollowUp => question.follow_ups.push(text.clone()),
                _ => {}
            }
        }
        let line = self.line(now_ms, Who::Interviewer, about, said, Delivery::Unknown);
        let answers = self.last_turn.take();
        self.segments.insert(
            segment,
            Said {
                line,
                planned_ms: now_ms,
                answers,
            },
        );
    }

    fn heard(&mut self, segment: u32, heard: &Heard, playout: Option<&Playout>) {
        let Some(said) = self.segments.remove(&segment) else {
            return;
        };
        if let Some(line) = self.report.transcript.get_mut(said.line) {
            line.delivery = match heard {
                Heard::Whole => Delivery::Whole,
                Heard::Part { text } => {
                    line.text.clone_from(text);
                    Delivery::Cut
                }
                Heard::Page { .. } => Delivery::Page,
                Heard::Unknown => Delivery::Unknown,
            };
        }
        let Some(playout) = playout else { return };
        once(&mut self.report.engines.tts, &playout.engine);
        if let Some(turn) = said.answers {
            let deciding_ms = said.planned_ms.saturating_sub(turn.heard_ms);
            self.latency(turn, |l| {
                let response_ms = u64::from(l.words_ms) + u64::from(playout.first_sound_ms);
                l.response_ms = Some(response_ms.saturating_add(deciding_ms));
            });
        }
    }

    fn turn(&mut self, now_ms: u64, about: Option<u32>, text: &str, heard_by: &Hearing) -> Turn {
        once(&mut self.report.engines.stt, &heard_by.engine);
        let before_ms = u64::from(heard_by.speech_ms) + u64::from(heard_by.wait_ms);
        let began_ms = now_ms.saturating_sub(before_ms);
        let line = self.line(
            began_ms,
            Who::Candidate,
            about,
            text.to_owned(),
            Delivery::Whole,
        );
        let turn = Turn {
            line,
            heard_ms: now_ms,
        };
        if let Some(line) = self.report.transcript.get_mut(line) {
            line.latency = Some(TurnLatency {
                words_ms: heard_by.wait_ms,
                stt_ms: heard_by.stt_ms,
                mind_ms: None,
                response_ms: None,
            });
        }
        turn
    }

    fn happened(&mut self, now_ms: u64, text: &str) {
        self.line(now_ms, Who::Room, None, text.to_owned(), Delivery::Whole);
    }

    fn line(
        &mut self,
        now_ms: u64,
        who: Who,
        question: Option<u32>,
        text: String,
        delivery: Delivery,
    ) -> usize {
        self.report.transcript.push(Line {
            at_ms: self.since_start(now_ms),
            who,
            question,
            text,
            delivery,
            latency: None,
        });
        self.report.transcript.len() - 1
    }

    fn latency(&mut self, turn: Turn, change: impl FnOnce(&mut TurnLatency)) {
        let line = self.report.transcript.get_mut(turn.line);
        if let Some(latency) = line.and_then(|l| l.latency.as_mut()) {
            change(latency);
        }
    }

    fn question(&mut self, number: u32) -> Option<&mut QuestionReport> {
        let mut all = self
            .report
            .sections
            .iter_mut()
            .flat_map(|s| &mut s.questions);
        all.find(|q| q.number == number)
    }

    fn since_start(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.start_ms)
    }
}

fn once(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|n| n == name) {
        names.push(name.to_owned());
    }
}

fn response_times(transcript: &[Line]) -> Option<ResponseTimes> {
    let mut all: Vec<u64> = transcript
        .iter()
        .filter_map(|line| line.latency?.response_ms)
        .collect();
    all.sort_unstable();
    // The nearest rank: a value that was measured, not one between two.
    let rank = |percent: usize| all.get((all.len() * percent).div_ceil(100).checked_sub(1)?);
    Some(ResponseTimes {
        turns: u32::try_from(all.len()).unwrap_or(u32::MAX),
        p50_ms: *rank(50)?,
        p95_ms: *rank(95)?,
        max_ms: *all.last()?,
    })
}
