use super::*;
use crate::core::testing::binding_success;

const BASE: &str = "10.0.0.1:4000";
const SERVER: &str = "192.0.2.1:3478";
const SEEN: &str = "198.51.100.7:5000";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn server(address: &str) -> KnownServer {
    KnownServer {
        url: format!("stun:{address}"),
        address: at(address),
    }
}

/// One question that has been sent, and the time it was sent at.
fn asked() -> (Reflexive, Instant, Packet) {
    let now = Instant::now();
    let mut reflexive = Reflexive::default();
    reflexive.add_server(now, server(SERVER), &[at(BASE)]);
    let mut sent = Vec::new();
    assert!(reflexive.handle_timeout(now, &mut sent).is_empty());
    (reflexive, now, sent.pop().unwrap())
}

#[test]
fn a_socket_learns_how_it_looks_from_outside() {
    let (mut reflexive, now, question) = asked();
    assert_eq!((question.local, question.peer), (at(BASE), at(SERVER)));
    let answer = binding_success(&question.data, at(SEEN));
    let outcome = reflexive.take(now, at(BASE), at(SERVER), &answer);
    let seen = at(SEEN);
    let base = at(BASE);
    assert_eq!(outcome, Some(Outcome::Seen { base, seen }));
    assert!(!reflexive.is_waiting());
}

#[test]
fn a_question_is_repeated_ever_more_slowly_and_given_up() {
    let (mut reflexive, begin, _) = asked();
    let (mut sent_at, mut outcomes) = (Vec::new(), Vec::new());
    while let Some(next) = reflexive.next_timeout() {
        let mut sent = Vec::new();
        outcomes.extend(reflexive.handle_timeout(next, &mut sent));
        sent_at.extend(sent.iter().map(|_| (next - begin).as_millis()));
    }
    assert_eq!(sent_at, [250, 750, 1750, 3750, 7750]);
    assert!(
        matches!(&outcomes[..], [Outcome::Failed { code: None, reason, .. }] if reason.contains("10 s"))
    );
}

#[test]
fn questions_are_paced() {
    let now = Instant::now();
    let mut reflexive = Reflexive::default();
    let sockets: Vec<SocketAddr> = (1..=3).map(|n| at(&format!("10.0.0.{n}:1"))).collect();
    reflexive.add_server(now, server(SERVER), &sockets);
    let mut sent = Vec::new();
    reflexive.handle_timeout(now, &mut sent);
    assert_eq!(sent.len(), 1);
    reflexive.handle_timeout(now + PACE, &mut sent);
    assert_eq!(sent.len(), 2);
}

#[test]
fn an_answer_from_elsewhere_or_to_another_question_is_none() {
    let (mut reflexive, now, question) = asked();
    let right = binding_success(&question.data, at(SEEN));
    let other = binding_success(&BindingRequest::new().unwrap().bytes, at(SEEN));
    assert_eq!(
        reflexive.take(now, at(BASE), at("192.0.2.9:3478"), &right),
        None
    );
    assert_eq!(
        reflexive.take(now, at("10.0.0.2:1"), at(SERVER), &right),
        None
    );
    assert_eq!(reflexive.take(now, at(BASE), at(SERVER), &other), None);
    assert_eq!(reflexive.take(now, at(BASE), at(SERVER), b"hello"), None);
    assert!(reflexive.is_waiting());
}

#[test]
fn an_address_that_is_none_is_not_believed() {
    for nonsense in [
        "0.0.0.0:1",
        "198.51.100.7:0",
        "224.0.0.1:1",
        "127.0.0.1:1",
        "[::2]:1",
    ] {
        let (mut reflexive, now, question) = asked();
        let answer = binding_success(&question.data, at(nonsense));
        let outcome = reflexive.take(now, at(BASE), at(SERVER), &answer);
        assert!(
            matches!(outcome, Some(Outcome::Failed { .. })),
            "{nonsense}: {outcome:?}"
        );
    }
}

#[test]
fn an_address_is_asked_for_again_until_there_is_a_path() {
    let (mut reflexive, now, question) = asked();
    let answer = binding_success(&question.data, at(SEEN));
    reflexive.take(now, at(BASE), at(SERVER), &answer);
    let mut sent = Vec::new();
    reflexive.handle_timeout(now + REFRESH_EVERY - PACE, &mut sent);
    assert!(sent.is_empty());
    reflexive.handle_timeout(now + REFRESH_EVERY, &mut sent);
    assert_ne!(sent[0].data, question.data, "another question");
    reflexive.rest();
    assert_eq!(reflexive.next_timeout(), None);
}

#[test]
fn nobody_is_told_that_a_later_answer_did_not_come() {
    let (mut reflexive, now, question) = asked();
    let answer = binding_success(&question.data, at(SEEN));
    reflexive.take(now, at(BASE), at(SERVER), &answer);
    while let Some(next) = reflexive.next_timeout() {
        assert!(reflexive.handle_timeout(next, &mut Vec::new()).is_empty());
    }
}

#[test]
fn servers_are_asked_only_by_sockets_that_reach_them() {
    let now = Instant::now();
    let mut reflexive = Reflexive::default();
    reflexive.add_server(
        now,
        server(SERVER),
        &[at("[2001:db8::1]:1"), at("127.0.0.1:1")],
    );
    assert!(!reflexive.is_waiting());
    reflexive.add_server(now, server("127.0.0.1:3478"), &[at("127.0.0.1:1")]);
    assert!(reflexive.is_waiting());
}

#[test]
fn after_a_restart_everything_is_asked_again() {
    let (mut reflexive, now, question) = asked();
    let answer = binding_success(&question.data, at(SEEN));
    reflexive.take(now, at(BASE), at(SERVER), &answer);
    reflexive.restart(now, &[at("10.0.0.2:2")]);
    let mut sent = Vec::new();
    reflexive.handle_timeout(now, &mut sent);
    assert_eq!(sent[0].local, at("10.0.0.2:2"));
    reflexive.forget_socket(at("10.0.0.2:2"));
    assert_eq!(reflexive.next_timeout(), None);
}

#[test]
fn questions_have_a_bound() {
    let now = Instant::now();
    let mut reflexive = Reflexive::default();
    let sockets: Vec<SocketAddr> = (1..=100).map(|n| at(&format!("10.0.0.{n}:1"))).collect();
    reflexive.add_server(now, server(SERVER), &sockets);
    assert_eq!(reflexive.questions.len(), QUESTIONS_MAX);
}
