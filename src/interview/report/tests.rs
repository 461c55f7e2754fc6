use super::super::event::{Ask, Event, Heard, Hearing, Playout, Purpose, Role};
use super::super::mind::{MindReply, MindRequest};
use super::*;

const PLAN: &str = r#"
title = "Backend | <b>first</b>"
interviewer = "Ada"
time_minutes = 10

[[sections]]
title = "memory"
[[sections.questions]]
id = "stack"
text = "What is a stack?"

[[sections]]
title = "threads"
[[sections.questions]]
text = "What is a mutex?"
[[sections.questions]]
text = "And a semaphore?"
"#;

struct Tale {
    plan: Plan,
    events: Vec<Recorded>,
}

impl Tale {
    fn new() -> Self {
        let plan = Plan::parse(PLAN, "test").unwrap();
        let plan_hash = plan.hash().to_owned();
        let mut tale = Self {
            plan,
            events: Vec::new(),
        };
        tale.at(
            5_000,
            Event::Opened {
                interview_id: InterviewId::new("i-1").unwrap(),
                room: "interview-i-1".into(),
                plan_hash,
                mind: Mind::Llm,
            },
        );
        tale
    }

    fn at(&mut self, elapsed_ms: u64, event: Event) -> &mut Self {
        self.events.push(Recorded {
            seq: self.events.len() as u64 + 1,
            at_unix_ms: 1_795_534_200_000 + elapsed_ms,
            elapsed_ms,
            event,
        });
        self
    }

    fn says(&mut self, elapsed_ms: u64, segment: u32, purpose: Purpose, text: &str) -> &mut Self {
        let event = Event::SegmentPlanned {
            segment,
            purpose,
            sentences: vec![text.into()],
            interruptible: true,
        };
        self.at(elapsed_ms, event)
    }

    fn was(&mut self, elapsed_ms: u64, segment: u32, heard: Heard) -> &mut Self {
        let playout = Some(Playout {
            engine: "piper".into(),
            first_sound_ms: 150,
        });
        self.at(
            elapsed_ms,
            Event::SegmentHeard {
                segment,
                heard,
                playout,
            },
        )
    }

    fn hears(&mut self, elapsed_ms: u64, about: u32, text: &str) -> &mut Self {
        let turn = self.events.len() as u32;
        let event = Event::TurnHeard {
            turn,
            about: Some(about),
            role: Role::Answer,
            text: text.into(),
            heard_by: Hearing {
                engine: "moonshine".into(),
                speech_ms: 4_000,
                stt_ms: 90,
                wait_ms: 640,
            },
        };
        self.at(elapsed_ms, event)
    }

    fn report(&self) -> Report {
        Report::of(&self.plan, &self.events).unwrap()
    }
}

fn question(question: u32, ask: Ask, text: &str) -> Purpose {
    Purpose::Question {
        question,
        ask,
        text: text.into(),
    }
}

fn whole_tale() -> Tale {
    let mut tale = Tale::new();
    tale.at(
        8_000,
        Event::CandidateJoined {
            identity: "grace".into(),
        },
    )
    .says(10_000, 1, Purpose::Greeting, "Hello.")
    .was(12_000, 1, Heard::Whole)
    .says(
        12_000,
        2,
        question(1, Ask::First, "What is a stack?"),
        "What is a stack?",
    )
    .was(14_000, 2, Heard::Whole)
    .hears(
        21_000,
        1,
        "It holds *frames*. <script>alert(1)</script> [x](http://evil.example)",
    )
    .at(
        21_000,
        Event::MindAsked {
            request: MindRequest {
                turn: 6,
                section: "memory".into(),
                question: "What is a stack?".into(),
                answer: "It holds frames.".into(),
                follow_up_allowed: true,
            },
        },
    )
    .at(
        21_700,
        Event::MindAnswered {
            turn: 6,
            reply: MindReply {
                acknowledgement: "Good.".into(),
                follow_up: Some("What is in a frame?".into()),
            },
        },
    )
    .says(
        21_700,
        3,
        question(1, Ask::FollowUp, "What is in a frame?"),
        "Good. What is in a frame?",
    )
    .was(
        23_000,
        3,
        Heard::Part {
            text: "Good. What is".into(),
        },
    )
    .at(24_000, Event::TurnNotUnderstood { about: Some(1) })
    .at(30_000, Event::CandidateLeft)
    .at(
        40_000,
        Event::CandidateJoined {
            identity: "grace".into(),
        },
    )
    .hears(50_000, 1, "Locals.")
    .at(
        50_000,
        Event::QuestionClosed {
            question: 1,
            outcome: Outcome::Answered,
        },
    )
    .says(
        50_000,
        4,
        question(2, Ask::First, "What is a mutex?"),
        "What is a mutex?",
    )
    .was(
        53_000,
        4,
        Heard::Page {
            cause: "no voice".into(),
        },
    )
    .at(
        70_000,
        Event::QuestionClosed {
            question: 2,
            outcome: Outcome::Skipped,
        },
    )
    .says(
        70_000,
        5,
        Purpose::Goodbye {
            reason: EndReason::TimeUp,
        },
        "Goodbye.",
    )
    .was(
        71_500,
        5,
        Heard::Part {
            text: String::new(),
        },
    )
    .at(
        71_500,
        Event::Ended {
            reason: EndReason::TimeUp,
        },
    );
    tale
}

#[test]
fn a_report_reads_as_the_interview_went() {
    insta::assert_snapshot!(whole_tale().report().to_markdown());
}

#[test]
fn the_json_has_its_documented_shape() {
    let report = whole_tale().report();
    let json = report.to_json().unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    insta::assert_snapshot!(json);
}

#[test]
fn the_waits_of_a_turn_add_up() {
    let report = whole_tale().report();
    let first = report
        .transcript
        .iter()
        .find_map(|line| line.latency)
        .unwrap();
    let expected = TurnLatency {
        words_ms: 640,
        stt_ms: 90,
        mind_ms: Some(700),
        response_ms: Some(640 + 700 + 150),
    };
    assert_eq!(first, expected);
    let times = report.response.unwrap();
    assert_eq!((times.turns, times.p50_ms, times.max_ms), (2, 790, 1490));
}

#[test]
fn a_live_interview_has_a_report_too() {
    let mut tale = Tale::new();
    let report = tale.report();
    assert_eq!(
        (report.end, report.transcript, report.duration_ms),
        (None, vec![], 0)
    );
    tale.at(
        6_000,
        Event::CandidateJoined {
            identity: "grace".into(),
        },
    )
    .says(7_000, 1, Purpose::Greeting, "Hello.");
    assert_eq!(tale.report().transcript[1].delivery, Delivery::Unknown);
    assert!(
        tale.report()
            .to_markdown()
            .contains("the interview is live")
    );
}

#[test]
fn another_plan_or_no_opening_is_refused() {
    let tale = Tale::new();
    let other = Plan::parse(&PLAN.replace("stack", "heap"), "other").unwrap();
    let refused = Report::of(&other, &tale.events);
    assert!(
        matches!(refused, Err(ReportError::OtherPlan { .. })),
        "{refused:?}"
    );
    assert_eq!(Report::of(&tale.plan, &[]), Err(ReportError::NotOpened));
}

#[test]
fn hostile_words_stay_words() {
    for (said, shown) in [
        (
            "<img src=x onerror=alert(1)>",
            "\\<img src=x onerror=alert\\(1\\)\\>",
        ),
        ("a | b", "a \\| b"),
        ("one\ntwo\r\n# three", "one two  \\# three"),
        ("- item", "\\- item"),
        (
            "see http://evil.example or WWW.evil.example",
            "see http\\://evil.example or WWW\\.evil.example",
        ),
        ("me@evil.example", "me\\@evil.example"),
        ("&lt; \\* `x` $y$", "\\&lt; \\\\\\* \\`x\\` \\$y\\$"),
        ("abc\u{202E}cba\u{200B}", "abccba"),
    ] {
        assert_eq!(markdown::escape(said), shown);
    }
}

proptest::proptest! {
    #[test]
    fn any_words_stay_in_their_line(said in proptest::prelude::any::<String>()) {
        let mut tale = Tale::new();
        tale.at(6_000, Event::CandidateJoined { identity: said.clone() })
            .says(7_000, 1, Purpose::Greeting, &said)
            .hears(20_000, 1, &said);
        let plain = {
            let mut tale = Tale::new();
            tale.at(6_000, Event::CandidateJoined { identity: "x".into() })
                .says(7_000, 1, Purpose::Greeting, "x")
                .hears(20_000, 1, "x");
            tale.report().to_markdown().lines().count()
        };
        let lines = tale.report().to_markdown().lines().count();
        // Words that are empty make no line of their own, and each line has an empty one before it.
        proptest::prop_assert!(lines <= plain && lines >= plain - 4);
        let shown = markdown::escape(&said);
        proptest::prop_assert!(!shown.contains('\n'));
        let html = shown.match_indices('<').all(|(at, _)| shown[..at].ends_with('\\'));
        proptest::prop_assert!(html);
    }
}
