//! What holds for every interview, whatever comes in and in whatever order. No server, no disk, no real time.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use viva::interview::event::{Ask, Event, Heard, Hearing, Playout, Purpose, Role};
use viva::interview::mind::{Mind, MindReply};
use viva::interview::pace::{NOT_UNDERSTOOD_MAX, OVERLAPS_MAX};
use viva::interview::plan::Plan;
use viva::interview::{Input, InterviewId, Now, Recorded, State, actions, decide};

const PLAN: &str = r#"
title = "Small"
time_minutes = 5
[[sections]]
title = "one"
[[sections.questions]]
text = "What is a stack? And what is a heap?"
[[sections.questions]]
text = "Why?"
follow_ups_max = 3
time_minutes = 1
[[sections]]
title = "two"
[[sections.questions]]
text = "What does a mutex protect?"
follow_ups_max = 0
"#;

/// Far more than any ending needs.
const TICKS_MAX: usize = 1_000;

fn opened(mind: Mind) -> Input {
    Input::Opened {
        interview_id: InterviewId::new("p-1").unwrap(),
        room: "interview-p-1".into(),
        mind,
    }
}

fn words() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("The stack holds frames.".to_owned()),
        Just("Could you repeat that, please?".to_owned()),
        Just("Skip.".to_owned()),
        Just("Mm-hmm.".to_owned()),
        Just(String::new()),
        "\\PC{0,40}",
        any::<String>(),
    ]
}

fn inputs() -> impl Strategy<Value = Input> {
    let hearing = (0u32..20_000, 0u32..2_000).prop_map(|(speech_ms, wait_ms)| Hearing {
        engine: "stt".into(),
        speech_ms,
        stt_ms: 10,
        wait_ms,
    });
    let heard = prop_oneof![
        3 => Just(Heard::Whole),
        1 => words().prop_map(|text| Heard::Part { text }),
    ];
    let playout = proptest::option::of(Just(Playout {
        engine: "tts".into(),
        first_sound_ms: 90,
    }));
    prop_oneof![
        1 => prop_oneof![Just(Mind::Plan), Just(Mind::Llm)].prop_map(opened),
        4 => Just(Input::CandidatePresent { identity: "c".into() }),
        1 => Just(Input::CandidateAbsent),
        6 => (words(), hearing).prop_map(|(text, heard_by)| Input::Heard { text, heard_by }),
        2 => Just(Input::NotUnderstood),
        8 => (0u32..30, heard, playout)
            .prop_map(|(segment, heard, playout)| Input::SegmentEnded { segment, heard, playout }),
        1 => (0u32..30, words()).prop_map(|(segment, cause)| Input::SegmentFailed { segment, cause }),
        4 => (0u32..12, words(), proptest::option::of(words())).prop_map(|(turn, acknowledgement, follow_up)| {
            Input::MindReplied { turn, reply: MindReply { acknowledgement, follow_up } }
        }),
        1 => (0u32..12, words()).prop_map(|(turn, cause)| Input::MindFailed { turn, cause }),
        6 => prop_oneof![Just(0u64), Just(u64::MAX), 0u64..40_000].prop_map(|quiet_ms| Input::Tick { quiet_ms }),
        1 => Just(Input::Resumed),
    ]
}

struct Run {
    plan: Arc<Plan>,
    state: State,
    events: Vec<Recorded>,
    /// As it was after each event.
    states: Vec<State>,
}

impl Run {
    fn new(mind: Mind) -> Self {
        let plan = Arc::new(Plan::parse(PLAN, "test").unwrap());
        let mut run = Self {
            state: State::new(plan.clone()),
            plan,
            events: Vec::new(),
            states: Vec::new(),
        };
        run.input(0, opened(mind));
        run
    }

    fn input(&mut self, elapsed_ms: u64, input: Input) {
        let now = Now {
            at_unix_ms: 1_800_000_000_000,
            elapsed_ms,
        };
        for recorded in decide(&self.state, now, input) {
            self.state.apply(&recorded);
            // Orders are derived for every event without a panic.
            let _ = actions(&self.state, &recorded.event);
            self.events.push(recorded);
            self.states.push(self.state.clone());
        }
    }

    /// Feeds random inputs; a segment or turn number of 0 stands for the current one.
    fn feed(&mut self, steps: Vec<(i64, Input)>) -> u64 {
        let mut clock_ms: u64 = 0;
        for (ms, mut input) in steps {
            clock_ms = clock_ms.saturating_add_signed(ms);
            let latest = |wanted: fn(&Event) -> Option<u32>| {
                self.events.iter().rev().find_map(|e| wanted(&e.event))
            };
            match &mut input {
                Input::SegmentEnded { segment, .. } | Input::SegmentFailed { segment, .. }
                    if *segment % 2 == 0 =>
                {
                    *segment = latest(|e| match e {
                        Event::SegmentPlanned { segment, .. } => Some(*segment),
                        _ => None,
                    })
                    .unwrap_or(0);
                }
                Input::MindReplied { turn, .. } | Input::MindFailed { turn, .. }
                    if *turn % 2 == 0 =>
                {
                    *turn = latest(|e| match e {
                        Event::MindAsked { request } => Some(request.turn),
                        _ => None,
                    })
                    .unwrap_or(0);
                }
                _ => {}
            }
            self.input(clock_ms, input);
        }
        clock_ms
    }
}

fn steps() -> impl Strategy<Value = Vec<(i64, Input)>> {
    // Sometimes the clock goes backwards.
    proptest::collection::vec((-2_000i64..20_000, inputs()), 0..80)
}

fn minds() -> impl Strategy<Value = Mind> {
    prop_oneof![Just(Mind::Plan), Just(Mind::Llm)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_prefix_replays_to_the_state_it_had(mind in minds(), steps in steps()) {
        let mut run = Run::new(mind);
        run.feed(steps);
        let mut replayed = State::new(run.plan.clone());
        for (at, recorded) in run.events.iter().enumerate() {
            prop_assert_eq!(recorded.seq, at as u64 + 1);
            let payload = recorded.event.to_payload().unwrap();
            let read = Event::from_payload(&payload).unwrap();
            prop_assert_eq!(&read, &recorded.event);
            let kind = format!("\"kind\":\"{}\"", read.kind());
            prop_assert!(payload.contains(&kind));
            replayed.apply(&Recorded { event: read, ..recorded.clone() });
            prop_assert_eq!(&replayed, &run.states[at], "after event {}", recorded.seq);
            let snapshot = State::from_snapshot(run.plan.clone(), &replayed.to_snapshot().unwrap());
            prop_assert_eq!(&snapshot.unwrap(), &replayed);
        }
        prop_assert_eq!(replayed, run.state);
    }

    #[test]
    fn it_always_ends_when_nothing_more_comes(mind in minds(), steps in steps(), quiet in any::<bool>()) {
        let mut run = Run::new(mind);
        let mut clock_ms = run.feed(steps);
        let mut taken = 0;
        while let Some(due_ms) = run.state.next_deadline_ms() {
            clock_ms = due_ms.max(clock_ms + 1_000);
            run.input(clock_ms, Input::Tick { quiet_ms: if quiet { u64::MAX } else { 0 } });
            taken += 1;
            prop_assert!(taken < TICKS_MAX, "still {:?}", run.state);
        }
        prop_assert!(run.state.ended().is_some());
        let ends = run.events.iter().filter(|e| e.event.kind() == "ended").count();
        prop_assert_eq!(ends, 1);
        prop_assert_eq!(run.events.last().map(|e| e.event.kind()), Some("ended"));
    }

    #[test]
    fn nothing_is_asked_twice_without_a_reason(mind in minds(), steps in steps()) {
        let mut run = Run::new(mind);
        run.feed(steps);
        let mut first = 0;
        let mut follow_ups: BTreeMap<u32, u32> = BTreeMap::new();
        let mut since_new: BTreeMap<&'static str, u32> = BTreeMap::new();
        let (mut requests, mut on_request, mut joins, mut on_return) = (0, 0, 0, 0);
        let (mut resumes, mut on_resume) = (0, 0);
        let mut say_again = 0;
        for recorded in &run.events {
            match &recorded.event {
                Event::CandidateJoined { .. } => joins += 1,
                Event::Resumed { .. } => resumes += 1,
                Event::TurnHeard { role, .. } => {
                    say_again = 0;
                    requests += u32::from(*role == Role::RepeatRequest);
                }
                Event::SegmentPlanned { purpose: Purpose::SayAgain { .. }, .. } => {
                    say_again += 1;
                    prop_assert!(say_again <= NOT_UNDERSTOOD_MAX);
                }
                Event::SegmentPlanned { purpose: Purpose::Question { question, ask, .. }, .. } => match ask {
                    Ask::First => {
                        first += 1;
                        prop_assert_eq!(*question, first);
                        since_new.clear();
                        say_again = 0;
                    }
                    Ask::FollowUp => {
                        let asked = follow_ups.entry(*question).or_default();
                        *asked += 1;
                        let most = run.plan.question(*question).map_or(0, |q| q.follow_ups_max);
                        prop_assert!(*asked <= most);
                        since_new.clear();
                        say_again = 0;
                    }
                    Ask::RepeatOnRequest => on_request += 1,
                    Ask::RepeatOnReturn => on_return += 1,
                    Ask::RepeatOnResume => on_resume += 1,
                    Ask::RepeatAfterSilence => {
                        let times = since_new.entry("silence").or_default();
                        *times += 1;
                        prop_assert_eq!(*times, 1);
                    }
                    Ask::RepeatAfterOverlap => {
                        let times = since_new.entry("overlap").or_default();
                        *times += 1;
                        prop_assert!(*times <= OVERLAPS_MAX);
                    }
                },
                _ => {}
            }
        }
        prop_assert!(on_request <= requests);
        prop_assert!(on_return < joins.max(1));
        prop_assert!(on_resume <= resumes);
    }

    #[test]
    fn the_first_words_of_all_say_that_an_ai_speaks(mind in minds(), steps in steps()) {
        let mut run = Run::new(mind);
        run.feed(steps);
        let first = run.events.iter().find_map(|e| match &e.event {
            Event::SegmentPlanned { sentences, interruptible, .. } => Some((sentences.join(" "), *interruptible)),
            _ => None,
        });
        if let Some((text, interruptible)) = first {
            prop_assert!(text.contains("I am an AI interviewer") && !interruptible);
        }
    }

    #[test]
    fn nothing_is_said_to_an_empty_room_or_after_the_end(mind in minds(), steps in steps()) {
        let mut run = Run::new(mind);
        run.feed(steps);
        let (mut here, mut ended) = (false, false);
        for recorded in &run.events {
            prop_assert!(!ended, "{:?}", recorded);
            match &recorded.event {
                Event::CandidateJoined { .. } => here = true,
                Event::CandidateLeft | Event::Resumed { .. } => here = false,
                Event::SegmentPlanned { .. } => prop_assert!(here),
                Event::Ended { .. } => ended = true,
                _ => {}
            }
        }
    }
    /// Killed after any event, taken up by another process: the same state, and from there to an end.
    #[test]
    fn it_goes_on_from_whatever_was_written_down(mind in minds(), steps in steps(), at in any::<proptest::sample::Index>()) {
        let mut run = Run::new(mind);
        run.feed(steps);
        let killed_after = at.index(run.events.len()) + 1;
        let mut resumed = Run { state: State::new(run.plan.clone()), plan: run.plan.clone(), events: Vec::new(), states: Vec::new() };
        for recorded in &run.events[..killed_after] {
            resumed.state.apply(recorded);
            resumed.events.push(recorded.clone());
        }
        let mut clock_ms = resumed.state.now_ms();
        resumed.input(clock_ms, Input::Resumed);
        let unheard = resumed.events[killed_after..].iter().filter(|e| matches!(e.event, Event::SegmentPlanned { .. })).count();
        prop_assert_eq!(unheard, 0, "nothing is said before the room is joined");
        resumed.input(clock_ms, Input::CandidatePresent { identity: "c".into() });
        if resumed.state.ended().is_none() && resumed.state.now_ms() < 100_000 {
            let spoken = resumed.events[killed_after..].iter().any(|e| matches!(e.event, Event::SegmentPlanned { .. } | Event::MindAsked { .. }));
            prop_assert!(spoken, "the candidate is left in silence: {:?}", resumed.state);
        }
        let mut taken = 0;
        while let Some(due_ms) = resumed.state.next_deadline_ms() {
            clock_ms = due_ms.max(clock_ms + 1_000);
            resumed.input(clock_ms, Input::Tick { quiet_ms: u64::MAX });
            taken += 1;
            prop_assert!(taken < TICKS_MAX, "still {:?}", resumed.state);
        }
        prop_assert!(resumed.state.ended().is_some());
        for (at, recorded) in resumed.events.iter().enumerate() {
            prop_assert_eq!(recorded.seq, at as u64 + 1);
        }
    }
}
