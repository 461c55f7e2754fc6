//! How the interviewer talks after its process was killed and another one took the interview up. No server, no disk,
//! no real time.

use crate::talk::Talk;
use viva::interview::Input;
use viva::interview::event::{EndReason, Event, Outcome};

#[test]
fn a_question_that_was_being_asked_is_asked_again() {
    let mut talk = Talk::by_plan();
    talk.candidate_comes()
        .says("Hello")
        .begins("What is a stack?")
        .is_killed_and_resumed(1_500)
        .says("I am sorry, I was gone for a moment. Let me repeat the question. What is a stack?")
        .candidate("It holds frames.")
        .says("What does a mutex protect?");
    let gaps: Vec<_> = talk
        .events
        .iter()
        .filter_map(|e| match e.event {
            Event::Resumed { gap_ms } => Some(gap_ms),
            _ => None,
        })
        .collect();
    assert_eq!(gaps, [1_500]);
}

#[test]
fn a_question_that_was_heard_and_not_answered_is_asked_again() {
    Talk::by_plan()
        .up_to_the_first_question()
        .is_killed_and_resumed(900)
        .says("Let me repeat the question. What is a stack?");
}

#[test]
fn a_question_that_was_answered_is_not_asked_again() {
    let mut talk = Talk::by_plan().up_to_the_first_question();
    talk.candidate("It holds frames.")
        .begins("What does a mutex protect?")
        .is_killed_and_resumed(900)
        .says("Let me repeat the question. What does a mutex protect?")
        .candidate("Shared data.")
        .says("That was my last question.")
        .ends(EndReason::Completed);
}

#[test]
fn the_greeting_is_given_again_since_it_says_that_an_ai_speaks() {
    Talk::by_plan()
        .candidate_comes()
        .begins("Hello")
        .is_killed_and_resumed(900)
        .says("AI interviewer")
        .says("What is a stack?");
}

#[test]
fn nothing_is_asked_before_the_greeting_was_heard_however_often_it_is_cut_off() {
    let mut talk = Talk::by_plan();
    talk.candidate_comes();
    for _ in 0..5 {
        talk.begins("AI interviewer").is_killed_and_resumed(900);
    }
    talk.says("AI interviewer").says("What is a stack?");
}

#[test]
fn a_model_that_was_being_asked_is_asked_again() {
    let mut talk = Talk::with_mind().up_to_the_first_question();
    talk.candidate("The stack holds frames.").asks_the_mind();
    let first = talk.asked().clone();
    talk.is_killed(900).asks_the_mind();
    assert_eq!(*talk.asked(), first);
    talk.candidate_comes().says_nothing();
    talk.mind("Frames, good.", Some("What is in a frame?"))
        .says("I am sorry, I was gone for a moment. Frames, good. What is in a frame?");
}

#[test]
fn a_follow_up_that_was_asked_is_the_one_that_is_repeated() {
    let mut talk = Talk::with_mind().up_to_the_first_question();
    talk.candidate("The stack holds frames.").asks_the_mind();
    talk.mind("Good.", Some("And what is in a frame?"))
        .says("Good. And what is in a frame?")
        .is_killed_and_resumed(900)
        .says("Let me repeat the question. And what is in a frame?");
}

#[test]
fn a_candidate_who_left_meanwhile_is_waited_for() {
    let mut talk = Talk::by_plan().up_to_the_first_question();
    talk.is_killed(30_000)
        .says_nothing()
        .silence_s(119)
        .says_nothing()
        .silence_s(2)
        .ends(EndReason::CandidateGone);
}

#[test]
fn a_goodbye_that_was_cut_off_is_said_again() {
    let mut talk = Talk::by_plan().up_to_the_first_question();
    talk.candidate("It holds frames.")
        .says("What does a mutex protect?")
        .candidate("Shared data.")
        .begins("That was my last question.")
        .is_killed_and_resumed(900)
        .says("I am sorry, I was gone for a moment. That was my last question.")
        .ends(EndReason::Completed);
}

#[test]
fn the_time_in_which_nobody_conducted_is_not_taken_from_the_candidate() {
    let mut talk = Talk::by_plan().up_to_the_first_question();
    talk.is_killed_and_resumed(3_600_000)
        .says("Let me repeat the question.")
        .candidate("It holds frames.")
        .says("What does a mutex protect?");
}

#[test]
fn a_clock_that_was_set_back_makes_a_gap_of_nothing() {
    let mut talk = Talk::by_plan().up_to_the_first_question();
    let now = viva::interview::Now {
        at_unix_ms: 1_000,
        elapsed_ms: talk.clock_ms,
    };
    let events = viva::interview::decide(&talk.state, now, Input::Resumed);
    assert_eq!(events[0].event, Event::Resumed { gap_ms: 0 });
    talk.says_nothing();
}

#[test]
fn it_may_be_killed_again_and_again() {
    let mut talk = Talk::by_plan().up_to_the_first_question();
    for _ in 0..5 {
        talk.is_killed_and_resumed(500)
            .begins("Let me repeat the question. What is a stack?");
    }
    talk.is_heard()
        .candidate("It holds frames.")
        .says("What does a mutex protect?");
    let closed: Vec<_> = talk
        .events
        .iter()
        .filter(|e| {
            matches!(
                e.event,
                Event::QuestionClosed {
                    outcome: Outcome::Answered,
                    ..
                }
            )
        })
        .collect();
    assert_eq!(closed.len(), 1);
}

#[test]
fn an_interview_that_is_over_is_not_taken_up() {
    let mut talk = Talk::by_plan();
    talk.input(Input::RoomGone {
        cause: "closed".into(),
    })
    .ends(EndReason::RoomGone {
        cause: "closed".into(),
    });
    let before = talk.events.len();
    talk.is_killed(900).says_nothing();
    assert_eq!(talk.events.len(), before);
}
