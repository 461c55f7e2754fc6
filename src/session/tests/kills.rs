//! A session that dies at any moment of an interview and is taken up from what it had written down, many times over.

use super::*;
use crate::interview::event::Role;

/// So often an interview is killed and taken up again.
const KILLS: usize = 1_000;
/// The whole interview of [`PLAN`] takes a little longer.
const LASTS_MS: u64 = 15_000;
/// From joining again to the next words that are written down, at most: speaking them is a matter of the engines.
const BACK_WITHIN: Duration = Duration::from_secs(2);

/// The candidate, who is there, answers whatever was asked to its end, until the interview is over.
async fn converse(test: &Test) {
    let mut answered = 0;
    loop {
        let asked = |p: &Paper| {
            let events = p.events();
            let last = events.last().map(|e| &e.event);
            matches!(last, Some(Event::Ended { .. }))
                || matches!(last, Some(Event::SegmentHeard { segment, .. }) if *segment > answered && is_question(p, *segment))
        };
        test.until("a question or the end", asked).await;
        let events = test.paper.events();
        match events.last().map(|e| &e.event) {
            Some(Event::SegmentHeard { segment, .. }) => answered = *segment,
            _ => return,
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        test.candidate_says(&format!("An answer to segment {answered}."))
            .await;
    }
}

fn is_question(paper: &Paper, number: u32) -> bool {
    use crate::interview::event::Purpose;

    paper.events().iter().any(|e| {
        matches!(&e.event, Event::SegmentPlanned { segment, purpose: Purpose::Question { .. }, .. } if *segment == number)
    })
}

fn replayed(events: &[Recorded]) -> State {
    let plan = Arc::new(Plan::parse(PLAN, "test").unwrap());
    let mut state = State::new(plan);
    for event in events {
        state.apply(event);
    }
    state
}

/// The state as a process makes it that finds a snapshot of some event and the events behind it.
fn from_a_snapshot(events: &[Recorded], at: usize) -> State {
    let (before, after) = events.split_at(at);
    let text = replayed(before).to_snapshot().unwrap();
    let plan = Arc::new(Plan::parse(PLAN, "test").unwrap());
    let mut state = State::from_snapshot(plan, &text).unwrap();
    for event in after {
        state.apply(event);
    }
    state
}

/// Another process goes on with what is on paper.
async fn take_up(paper: &Paper, random: &mut fastrand::Rng) -> Test {
    let events = paper.events();
    let state = from_a_snapshot(&events, random.usize(0..=events.len()));
    assert_eq!(state, replayed(&events));
    let script = Script::default();
    let mut session = session(paper, &script, state);
    session.input(Input::Resumed).await.unwrap();
    Test::stay(paper.clone(), script, session)
}

fn is_over(paper: &Paper) -> bool {
    paper.kinds().last() == Some(&"ended")
}

/// One interview that is killed one to three times; tells how often it was taken up.
async fn killed_at_random(seed: u64) -> usize {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut test = Test::start(Paper::default()).await;
    test.candidate_comes().await;
    for _ in 0..random.u32(1..=3) {
        let moment = Duration::from_millis(random.u64(0..LASTS_MS));
        let killed = tokio::select! {
            () = converse(&test) => false,
            () = tokio::time::sleep(moment) => true,
        };
        if !killed {
            break;
        }
        // Its task is dropped wherever it waits, as a process ends wherever it is.
        test.staying.abort();
        let before = test.paper.events();
        tokio::time::sleep(Duration::from_millis(random.u64(200..3_000))).await;
        assert_eq!(
            test.paper.events(),
            before,
            "seed {seed}: a dead one writes"
        );
        if is_over(&test.paper) {
            break;
        }
        test = take_up(&test.paper, &mut random).await;
        assert_eq!(
            test.paper.events()[..before.len()],
            before,
            "seed {seed}: what was written stays"
        );
        let again = before.len();
        test.candidate_comes().await;
        let began = Instant::now();
        let speaks = |p: &Paper| {
            let events = p.events();
            let since = events[again..].iter();
            is_over(p) || since.clone().any(|e| e.event.kind() == "segment_planned")
        };
        test.until("the interviewer's next words", speaks).await;
        assert!(
            began.elapsed() < BACK_WITHIN,
            "seed {seed}: {:?}",
            began.elapsed()
        );
    }
    if !is_over(&test.paper) {
        converse(&test).await;
    }
    let events = test.paper.events();
    check(seed, &events);
    let resumed = |e: &&Recorded| e.event.kind() == "resumed";
    events.iter().filter(resumed).count()
}

/// Nothing is missing, nothing is there twice, and the interview came to its end.
fn check(seed: u64, events: &[Recorded]) {
    let numbers: Vec<u64> = events.iter().map(|e| e.seq).collect();
    let all: Vec<u64> = (1..=events.len() as u64).collect();
    assert_eq!(numbers, all, "seed {seed}");
    let closed: Vec<u32> = events
        .iter()
        .filter_map(|e| match e.event {
            Event::QuestionClosed { question, .. } => Some(question),
            _ => None,
        })
        .collect();
    assert_eq!(
        closed,
        [1, 2],
        "seed {seed}: each question once: {events:#?}"
    );
    for question in [1, 2] {
        let answers = events.iter().filter(|e| {
            matches!(&e.event, Event::TurnHeard { about, role: Role::Answer, .. } if *about == Some(question))
        });
        assert_eq!(
            answers.count(),
            1,
            "seed {seed}: one answer to {question}: {events:#?}"
        );
    }
    let ends = events.iter().filter(|e| e.event.kind() == "ended").count();
    assert_eq!(ends, 1, "seed {seed}");
    let state = replayed(events);
    assert_eq!(state.ended(), Some(&EndReason::Completed), "seed {seed}");
}

#[test]
fn an_interview_that_is_killed_at_any_moment_is_held_to_its_end() {
    let (mut taken_up, mut seed) = (0, 0);
    while taken_up < KILLS {
        // A runtime of its own, with which the tasks of those that were killed go.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        taken_up += runtime.unwrap().block_on(killed_at_random(seed));
        seed += 1;
        assert!(seed < 2 * KILLS as u64, "{taken_up} of {seed} were killed");
    }
}
