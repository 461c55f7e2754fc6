//! Chains the events of an interview, so that a change, a loss or an exchange in the middle shows.

use sha2::{Digest, Sha256};

use crate::interview::InterviewId;

/// The hash of an event and all before it.
pub type Hash = [u8; 32];

/// What an event's hash covers.
pub(super) struct Link<'a> {
    pub(super) term: u64,
    pub(super) seq: u64,
    pub(super) at_unix_ms: u64,
    pub(super) elapsed_ms: u64,
    pub(super) kind: &'a str,
    pub(super) payload: &'a str,
}

/// What the first event is chained to: its interview and plan.
#[must_use]
pub fn genesis(id: &InterviewId, plan_hash: &str) -> Hash {
    let mut digest = Sha256::new();
    digest.update(b"viva journal 1");
    field(&mut digest, id.as_str().as_bytes());
    field(&mut digest, plan_hash.as_bytes());
    digest.finalize().into()
}

/// The hash of an event after the one that has the hash `before`.
pub(super) fn link(before: &Hash, event: &Link<'_>) -> Hash {
    let mut digest = Sha256::new();
    digest.update(before);
    for number in [event.term, event.seq, event.at_unix_ms, event.elapsed_ms] {
        digest.update(number.to_be_bytes());
    }
    field(&mut digest, event.kind.as_bytes());
    field(&mut digest, event.payload.as_bytes());
    digest.finalize().into()
}

/// With its length, so that nothing can move from one field into the next.
fn field(digest: &mut Sha256, bytes: &[u8]) {
    digest.update((bytes.len() as u64).to_be_bytes());
    digest.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Link<'static> {
        Link {
            term: 1,
            seq: 2,
            at_unix_ms: 3,
            elapsed_ms: 4,
            kind: "ended",
            payload: "{}",
        }
    }

    #[test]
    fn every_part_of_an_event_is_in_its_hash() {
        let base = link(&[0; 32], &event());
        let others = [
            link(&[1; 32], &event()),
            link(&[0; 32], &Link { term: 9, ..event() }),
            link(&[0; 32], &Link { seq: 9, ..event() }),
            link(
                &[0; 32],
                &Link {
                    at_unix_ms: 9,
                    ..event()
                },
            ),
            link(
                &[0; 32],
                &Link {
                    elapsed_ms: 9,
                    ..event()
                },
            ),
            link(
                &[0; 32],
                &Link {
                    kind: "ended{",
                    payload: "}",
                    ..event()
                },
            ),
            link(
                &[0; 32],
                &Link {
                    payload: "{ }",
                    ..event()
                },
            ),
        ];
        assert!(others.iter().all(|other| *other != base));
    }

    #[test]
    fn the_same_events_of_two_interviews_differ() {
        let (a, b) = (
            InterviewId::new("a").unwrap(),
            InterviewId::new("b").unwrap(),
        );
        assert_ne!(genesis(&a, "p"), genesis(&b, "p"));
        assert_ne!(genesis(&a, "p"), genesis(&a, "q"));
    }
}
