//! Two appliances that write the same interview: whatever is sent in whatever order, what Postgres has never changes
//! and is never mixed.

use proptest::prelude::*;

use super::*;
use crate::interview::Event;
use crate::journal::StoredEvent;

const PLAN: &str = "p";

fn id() -> InterviewId {
    InterviewId::new("a").unwrap()
}

/// `events` of a history that goes on from `before` under a term; `mark` tells it from another one.
fn history(before: &[StoredEvent], term: u64, events: u64, mark: u64) -> Vec<StoredEvent> {
    let mut all = before.to_vec();
    for _ in 0..events {
        let mut event = StoredEvent {
            interview_id: id(),
            term,
            seq: all.len() as u64 + 1,
            at_unix_ms: mark,
            elapsed_ms: 0,
            kind: "candidate_left".into(),
            payload: Event::CandidateLeft.to_payload().unwrap(),
            hash: [0; 32],
        };
        let hash = all
            .last()
            .map_or_else(|| first_link(&id(), PLAN), |e| e.hash);
        event.hash = event.hash_after(&hash);
        all.push(event);
    }
    all
}

/// What Postgres has, as far as it matters here.
#[derive(Default)]
struct There {
    events: Vec<StoredEvent>,
    claimed: u64,
}

impl There {
    fn head(&self) -> Head {
        let last = self.events.last();
        Head {
            term: last.map_or(0, |e| e.term).max(self.claimed),
            events: self.events.len() as u64,
            hash: last.map(|e| e.hash),
            plan_hash: PLAN.into(),
        }
    }

    fn send(&mut self, events: &[StoredEvent]) -> Verdict {
        let stored = |seq: u64| Some(self.events.get(usize::try_from(seq).ok()? - 1)?.hash);
        let verdict = judge(&self.head(), events, stored);
        if let Verdict::Take { known, new, .. } = verdict {
            self.events.extend_from_slice(&events[known..known + new]);
        }
        verdict
    }
}

#[test]
fn what_was_sent_before_is_known_and_what_follows_is_new() {
    let mut there = There::default();
    let events = history(&[], 1, 5, 0);
    assert_eq!(
        there.send(&events[..3]),
        Verdict::Take {
            known: 0,
            new: 3,
            refused: None
        }
    );
    assert_eq!(
        there.send(&events[1..]),
        Verdict::Take {
            known: 2,
            new: 2,
            refused: None
        }
    );
}

#[test]
fn a_gap_is_answered_with_what_is_missing() {
    let mut there = There::default();
    assert_eq!(there.send(&history(&[], 1, 5, 0)[2..]), Verdict::Behind);
}

#[test]
fn a_lower_term_is_refused_even_where_its_events_would_fit() {
    let mut there = There::default();
    let events = history(&[], 1, 5, 0);
    there.send(&events[..3]);
    there.claimed = 2;
    assert_eq!(
        there.send(&events[2..]),
        Verdict::Take {
            known: 1,
            new: 0,
            refused: Some(Reason::LowerTerm)
        }
    );
}

#[test]
fn another_event_is_refused_once_it_is_compared() {
    let mut there = There::default();
    let common = history(&[], 1, 3, 0);
    there.send(&history(&common, 2, 2, 7));
    let other = history(&common, 2, 4, 8);
    // Behind what is there already, it does not fit; from the beginning, the first that differs is found.
    assert_eq!(there.send(&other[5..]), Verdict::Unchained);
    assert_eq!(
        there.send(&other),
        Verdict::Take {
            known: 3,
            new: 0,
            refused: Some(Reason::OtherEvent)
        }
    );
}

#[test]
fn an_event_that_is_not_what_was_written_stops_there() {
    let mut there = There::default();
    let mut events = history(&[], 1, 4, 0);
    events[2].payload.push(' ');
    assert_eq!(
        there.send(&events),
        Verdict::Take {
            known: 0,
            new: 2,
            refused: None
        }
    );
    assert_eq!(there.send(&events[2..]), Verdict::Unchained);
}

proptest! {
    #[test]
    fn there_is_one_unbroken_history_whoever_sends_what(
        common in 0u64..6,
        lengths in (0u64..6, 0u64..6),
        terms in (1u64..4, 1u64..4),
        sent in proptest::collection::vec((any::<bool>(), 0usize..12, 1usize..8), 0..30),
    ) {
        let before = history(&[], 1, common, 0);
        let both = [history(&before, terms.0, lengths.0, 1), history(&before, terms.1, lengths.1, 2)];
        let mut there = There::default();
        for (first, from, count) in sent {
            let events = &both[usize::from(first)];
            let from = from.min(events.len());
            let before = there.events.clone();
            there.send(&events[from..(from + count).min(events.len())]);
            prop_assert!(there.events.starts_with(&before), "what is there stays");
            prop_assert!(
                both.iter().any(|history| history.starts_with(&there.events)),
                "it is one of the two histories and no mixture"
            );
        }
    }
}
