//! Interviews and events for the tests of the journal.
#![allow(dead_code, reason = "no test needs all of it")]
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::path::Path;

use viva::interview::event::EndReason;
use viva::interview::plan::Plan;
use viva::interview::{Event, InterviewId, Recorded};
use viva::journal::{Journal, NewInterview};

pub fn id(text: &str) -> InterviewId {
    InterviewId::new(text).unwrap()
}

pub fn new(name: &str) -> NewInterview {
    let plan = Plan::parse(include_str!("../../plans/demo.toml"), "demo.toml").unwrap();
    NewInterview {
        id: id(name),
        room: format!("interview-{name}"),
        plan_name: "demo".into(),
        plan_hash: plan.hash().into(),
        plan_body: plan.body().into(),
        candidate: None,
        at_unix_ms: 1_800_000_000_000,
    }
}

pub fn joined(seq: u64) -> Recorded {
    Recorded {
        seq,
        at_unix_ms: 1_800_000_000_000 + seq,
        elapsed_ms: seq,
        event: Event::CandidateJoined {
            identity: format!("ünïcode \"{seq}\"\u{0}\n"),
        },
    }
}

pub fn ended(seq: u64) -> Recorded {
    Recorded {
        event: Event::Ended {
            reason: EndReason::TimeUp,
        },
        ..joined(seq)
    }
}

/// A journal that was closed with the live interview `a`, which has two events.
pub async fn with_one_live(directory: &Path) {
    let journal = Journal::open(directory).unwrap();
    journal.begin(new("a")).await.unwrap();
    journal
        .append(&id("a"), vec![joined(1), joined(2)])
        .await
        .unwrap();
    journal.close().await.unwrap();
}
