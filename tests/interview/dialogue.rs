//! How the interviewer talks: each test is a dialogue. No server, no disk, no real time.

use crate::talk::{PLAN, Talk};
use viva::interview::event::{EndReason, Event, Outcome, Role};
use viva::interview::mind::Mind;
use viva::interview::{Action, Input};

fn outcomes(talk: &Talk) -> Vec<Outcome> {
    talk.events
        .iter()
        .filter_map(|e| match e.event {
            Event::QuestionClosed { outcome, .. } => Some(outcome),
            _ => None,
        })
        .collect()
}

fn roles(talk: &Talk) -> Vec<Role> {
    talk.events
        .iter()
        .filter_map(|e| match e.event {
            Event::TurnHeard { role, .. } => Some(role),
            _ => None,
        })
        .collect()
}

#[test]
fn a_whole_interview_by_the_plan() {
    let mut talk = Talk::by_plan();
    talk.says_nothing()
        .candidate_comes()
        .says("My name is Ada. I am an AI interviewer")
        .says("What is a stack? And what is a heap?")
        .candidate("The stack holds frames.")
        .says("All right. The next topic is threads. What does a mutex protect?")
        .candidate("Data that threads share.")
        .begins("That was my last question.")
        .is_heard()
        .ends(EndReason::Completed);
    assert_eq!(outcomes(&talk), [Outcome::Answered, Outcome::Answered]);
}

#[test]
fn a_question_is_spoken_sentence_by_sentence() {
    let mut talk = Talk::by_plan();
    talk.candidate_comes().says("Hello");
    let asked = talk.events.iter().rev().find_map(|e| match &e.event {
        Event::SegmentPlanned { sentences, .. } => Some(sentences.clone()),
        _ => None,
    });
    assert_eq!(asked.unwrap(), ["What is a stack?", "And what is a heap?"]);
}

#[test]
fn no_plan_can_hide_that_an_ai_speaks() {
    let plan = format!("intro = 'I am a human being.'\n{PLAN}");
    Talk::open(&plan, Mind::Plan)
        .candidate_comes()
        .begins("I am an AI interviewer: you are talking with a machine");
}

#[test]
fn the_greeting_can_not_be_talked_over() {
    let mut talk = Talk::by_plan();
    talk.candidate_comes()
        .begins("Hello")
        .candidate("Hello there!")
        .says_nothing()
        .is_heard()
        .says("What is a stack?");
    assert_eq!(roles(&talk), [Role::Aside]);
}

#[test]
fn a_greeting_that_nobody_heard_is_said_again() {
    Talk::by_plan()
        .candidate_comes()
        .begins("Hello")
        .candidate_goes()
        .is_heard()
        .says_nothing()
        .candidate_comes()
        .says("AI interviewer")
        .says("What is a stack?");
}

#[test]
fn a_model_asks_the_follow_ups_that_the_plan_allows() {
    let mut talk = Talk::with_mind().up_to_the_first_question();
    talk.candidate("The stack holds frames.").asks_the_mind();
    assert_eq!(talk.asked().section, "memory");
    assert_eq!(talk.asked().answer, "The stack holds frames.");
    assert!(talk.asked().follow_up_allowed);
    talk.mind("Frames, good.", Some("What is in a frame?"))
        .says("Frames, good. What is in a frame?")
        .candidate("Locals and a return address.")
        .asks_the_mind();
    assert_eq!(talk.asked().question, "What is in a frame?");
    assert_eq!(
        talk.asked().answer,
        "The stack holds frames. Locals and a return address."
    );
    assert!(!talk.asked().follow_up_allowed);
    // A model that asks all the same is not heard.
    talk.mind("Thanks.", Some("And how large is it?"))
        .says("Thanks. The next topic is threads. What does a mutex protect?");
}

#[test]
fn a_model_that_fails_leaves_no_gap() {
    let mut talk = Talk::with_mind().up_to_the_first_question();
    talk.candidate("Frames.").asks_the_mind();
    let turn = talk.asked().turn;
    talk.input(Input::MindFailed {
        turn,
        cause: "503".into(),
    })
    .says("All right. The next topic is threads.");
}

#[test]
fn a_model_that_says_nothing_is_not_waited_for() {
    let mut talk = Talk::with_mind().up_to_the_first_question();
    talk.candidate("Frames.")
        .asks_the_mind()
        .silence_s(7)
        .says_nothing()
        .silence_s(1)
        .begins("What does a mutex protect?");
    talk.mind("Too late.", Some("Really?")).says_nothing();
}

#[test]
fn a_model_that_rambles_is_cut_at_a_sentence() {
    let mut talk = Talk::with_mind().up_to_the_first_question();
    let ramble = format!("Thanks. {}", "And so on, and so forth. ".repeat(40));
    talk.candidate("Frames.")
        .asks_the_mind()
        .mind(&ramble, None);
    let said = talk.events.iter().rev().find_map(|e| match &e.event {
        Event::MindAnswered { reply, .. } => Some(reply.acknowledgement.clone()),
        _ => None,
    });
    let said = said.unwrap();
    assert!(
        said.starts_with("Thanks. ") && said.ends_with("forth."),
        "{said}"
    );
    assert!(said.len() <= 300);
}

#[test]
fn words_that_come_while_the_model_thinks_belong_to_the_answer() {
    let mut talk = Talk::with_mind().up_to_the_first_question();
    talk.candidate("The stack holds frames.").asks_the_mind();
    let older = talk.asked().turn;
    talk.candidate("And the heap the rest.").asks_the_mind();
    assert_eq!(
        talk.asked().answer,
        "The stack holds frames. And the heap the rest."
    );
    talk.mind_on(older, "Old.", Some("Old?"))
        .says_nothing()
        .mind("New.", None)
        .says("New. The next topic");
}

#[test]
fn a_sound_of_listening_does_not_make_the_model_start_again() {
    let mut talk = Talk::with_mind().up_to_the_first_question();
    talk.candidate("The stack holds frames.")
        .asks_the_mind()
        .candidate("Okay.")
        .says_nothing()
        .mind("Good.", None)
        .begins("Good. The next topic");
}

#[test]
fn an_impatient_candidate_answers_before_the_question_is_out() {
    let mut talk = Talk::by_plan().up_to_the_first_question();
    talk.candidate("Frames.")
        .begins("All right. The next topic is threads. What does a mutex protect?");
    talk.clock_ms += 4_000;
    talk.is_cut_after(10)
        .candidate("Shared data, from two threads at once.")
        .begins("That was my last question.");
}

#[test]
fn the_same_reply_twice_is_used_once() {
    let mut talk = Talk::with_mind().up_to_the_first_question();
    talk.candidate("Frames.")
        .asks_the_mind()
        .mind("Good.", None)
        .begins("Good.")
        .mind("Good.", None)
        .says_nothing();
}

#[test]
fn a_question_is_repeated_on_request_as_often_as_asked() {
    let mut talk = Talk::by_plan().up_to_the_first_question();
    for _ in 0..4 {
        talk.candidate("Could you repeat the question, please?")
            .says("Of course. What is a stack?");
    }
    talk.candidate("A stack holds frames.")
        .begins("What does a mutex protect?");
}

#[test]
fn a_question_can_be_skipped() {
    let mut talk = Talk::with_mind().up_to_the_first_question();
    talk.candidate("Let's skip this one.")
        .begins("All right, let us leave that one. The next topic is threads.");
    assert_eq!(outcomes(&talk), [Outcome::Skipped]);
}

#[test]
fn silence_brings_a_gentle_word_then_the_question_then_the_next_one() {
    let mut talk = Talk::by_plan().up_to_the_first_question();
    talk.silence_s(11)
        .says_nothing()
        .silence_s(1)
        .says("Take your time.")
        .silence_s(14)
        .says_nothing()
        .silence_s(1)
        .says("Let me repeat the question. What is a stack?")
        .silence_s(29)
        .says_nothing()
        .silence_s(1)
        .begins("That is all right, let us go on. The next topic is threads.");
    assert_eq!(outcomes(&talk), [Outcome::Silent]);
}

#[test]
fn who_is_speaking_is_never_prompted() {
    let mut talk = Talk::by_plan().up_to_the_first_question();
    talk.candidate_talks_on_s(55)
        .says_nothing()
        .candidate("And so the stack grows down.")
        .begins("What does a mutex protect?");
}

#[test]
fn sounds_without_words_are_asked_about_twice_at_most() {
    let mut talk = Talk::by_plan().up_to_the_first_question();
    talk.candidate_mumbles()
        .says("Sorry, could you say that again?")
        .candidate_mumbles()
        .says("Could you say it once more?")
        .candidate_mumbles()
        .begins("I could not make that out. Let us go on.");
    assert_eq!(outcomes(&talk), [Outcome::NotUnderstood]);
}

#[test]
fn understood_words_end_the_count_of_mumbles() {
    let mut talk = Talk::by_plan().up_to_the_first_question();
    talk.candidate_mumbles()
        .says("Sorry, could you say that again?")
        .candidate("Sorry, I didn't get that.")
        .says("What is a stack?")
        .candidate_mumbles()
        .says("Sorry, could you say that again?");
}

#[test]
fn punctuation_alone_is_not_an_answer() {
    Talk::by_plan()
        .up_to_the_first_question()
        .candidate(" … ")
        .says("Sorry, could you say that again?");
}

#[test]
fn an_answer_into_the_end_of_a_question_counts() {
    let mut talk = Talk::by_plan();
    talk.candidate_comes()
        .says("Hello")
        .begins("What is a stack? And what is a heap?")
        .is_cut_after(7)
        .candidate("The stack holds frames.")
        .begins("What does a mutex protect?");
    assert_eq!(roles(&talk), [Role::Answer]);
}

#[test]
fn an_answer_may_come_before_the_report_that_the_question_was_cut() {
    let mut talk = Talk::by_plan();
    talk.candidate_comes()
        .says("Hello")
        .begins("What is a stack?");
    let question = talk.segment();
    talk.clock_ms += 4_000;
    talk.candidate("The stack holds frames.")
        .begins("What does a mutex protect?");
    let late = Input::SegmentEnded {
        segment: question,
        heard: viva::interview::event::Heard::Part {
            text: "What is a stack? And".into(),
        },
        playout: None,
    };
    talk.input(late.clone()).says_nothing();
    let before = talk.events.len();
    talk.input(late).says_nothing();
    assert_eq!(
        talk.events.len(),
        before,
        "a repeated report changes nothing"
    );
    talk.is_heard()
        .candidate("Data.")
        .begins("That was my last question.");
}

#[test]
fn more_of_the_last_answer_is_not_taken_for_the_next_one() {
    let mut talk = Talk::by_plan().up_to_the_first_question();
    talk.candidate("The stack holds frames.")
        .begins("What does a mutex protect?")
        .is_cut_after(3)
        .candidate("And it grows down on most machines.")
        .says("Let me ask that again. What does a mutex protect?")
        .candidate("Shared data.")
        .begins("That was my last question.");
    assert_eq!(
        roles(&talk),
        [Role::Answer, Role::Continuation, Role::Answer]
    );
}

#[test]
fn words_may_come_before_the_report_that_they_cut_the_question() {
    let mut talk = Talk::by_plan().up_to_the_first_question();
    talk.candidate("The stack holds frames.")
        .begins("What does a mutex protect?")
        .candidate("And it grows down.")
        .says_nothing()
        .is_cut_after(4)
        .begins("Let me ask that again.");
}

#[test]
fn a_sound_of_listening_does_not_answer_a_question_that_is_still_being_asked() {
    let mut talk = Talk::by_plan();
    talk.candidate_comes()
        .says("Hello")
        .begins("What is a stack?");
    talk.clock_ms += 2_000;
    talk.candidate_for("Mm-hmm.", 300)
        .says_nothing()
        .is_heard()
        .candidate("It holds frames.")
        .begins("What does a mutex protect?");
    assert_eq!(roles(&talk), [Role::Aside, Role::Answer]);
}

#[test]
fn a_yes_is_an_answer_once_the_question_is_out() {
    let mut talk = Talk::by_plan().up_to_the_first_question();
    talk.candidate("Yes.").begins("What does a mutex protect?");
    assert_eq!(roles(&talk), [Role::Answer]);
}

#[test]
fn who_talks_over_a_question_again_and_again_is_taken_at_their_word() {
    let mut talk = Talk::by_plan().up_to_the_first_question();
    talk.candidate("The stack holds frames.");
    for _ in 0..2 {
        talk.begins("What does a mutex protect?")
            .is_cut_after(2)
            .candidate("And it grows down.");
    }
    talk.begins("Let me ask that again.")
        .is_cut_after(2)
        .candidate("And on it goes.")
        .begins("That was my last question.");
    let expected = [
        Role::Answer,
        Role::Continuation,
        Role::Continuation,
        Role::Answer,
    ];
    assert_eq!(roles(&talk), expected);
}

#[test]
fn a_noise_that_cuts_a_question_lets_it_be_asked_again() {
    Talk::by_plan()
        .up_to_the_first_question()
        .candidate("Frames.")
        .begins("What does a mutex protect?")
        .is_cut_after(2)
        .candidate_mumbles()
        .begins("Let me ask that again. What does a mutex protect?");
}

#[test]
fn a_candidate_who_comes_back_hears_the_question_again() {
    let mut talk = Talk::by_plan().up_to_the_first_question();
    talk.candidate_goes()
        .silence_s(100)
        .says_nothing()
        .candidate_comes()
        .says("Welcome back. Let me repeat the question. What is a stack?")
        .candidate("It holds frames.")
        .begins("What does a mutex protect?");
}

#[test]
fn what_the_model_said_to_an_empty_room_is_kept_for_the_return() {
    let mut talk = Talk::with_mind().up_to_the_first_question();
    talk.candidate("Frames.")
        .asks_the_mind()
        .candidate_goes()
        .mind("Good.", Some("What is in a frame?"))
        .says_nothing()
        .candidate_comes()
        .says("Welcome back. Good. What is in a frame?");
}

#[test]
fn a_candidate_who_stays_away_ends_it() {
    let mut talk = Talk::by_plan().up_to_the_first_question();
    talk.candidate_goes()
        .silence_s(119)
        .says_nothing()
        .silence_s(1)
        .ends(EndReason::CandidateGone);
    assert_eq!(outcomes(&talk), [Outcome::Unfinished]);
}

#[test]
fn a_candidate_who_never_comes_ends_it() {
    Talk::by_plan()
        .silence_s(599)
        .says_nothing()
        .silence_s(1)
        .ends(EndReason::CandidateNeverCame);
}

#[test]
fn when_the_time_is_up_the_answer_is_finished_first() {
    let mut talk = Talk::by_plan().up_to_the_first_question();
    talk.candidate_talks_on_s(610)
        .says_nothing()
        .candidate("And that is a stack.")
        .begins("All right. We have come to the end of our time.")
        .is_heard()
        .ends(EndReason::TimeUp);
    assert_eq!(outcomes(&talk), [Outcome::Answered]);
}

#[test]
fn an_answer_without_an_end_is_ended() {
    Talk::by_plan()
        .up_to_the_first_question()
        .candidate_talks_on_s(713)
        .says_nothing()
        .candidate_talks_on_s(1)
        .begins("We have come to the end of our time.");
}

#[test]
fn a_question_asked_just_before_the_end_may_still_be_answered() {
    let mut talk = Talk::by_plan().up_to_the_first_question();
    talk.candidate_talks_on_s(590);
    talk.candidate("So much for the stack.")
        .begins("What does a mutex protect?");
    talk.clock_ms += 4_000;
    talk.is_heard()
        .silence_s(4)
        .says_nothing()
        .candidate("Data.")
        .begins("That was my last question.");
}

#[test]
fn a_question_with_a_time_of_its_own_gets_no_late_follow_up() {
    let plan = PLAN.replace("follow_ups_max = 2", "follow_ups_max = 2\ntime_minutes = 1");
    let mut talk = Talk::open(&plan, Mind::Llm).up_to_the_first_question();
    talk.candidate("Frames.")
        .asks_the_mind()
        .mind("Good.", None)
        .says("What does a mutex protect?")
        .candidate_talks_on_s(61)
        .candidate("Data.")
        .asks_the_mind();
    assert!(!talk.asked().follow_up_allowed);
}

#[test]
fn a_fault_is_said_honestly() {
    let mut talk = Talk::by_plan().up_to_the_first_question();
    let fault = Input::Fault {
        what: "disk full".into(),
    };
    talk.input(fault.clone())
        .begins("a technical problem on our side")
        .input(fault)
        .says_nothing()
        .is_heard()
        .ends(EndReason::Fault {
            what: "disk full".into(),
        });
}

#[test]
fn nobody_says_goodbye_to_an_empty_room() {
    let what = || "no STT".to_owned();
    let fault = EndReason::Fault { what: what() };
    Talk::by_plan()
        .input(Input::Fault { what: what() })
        .ends(fault.clone());
    Talk::by_plan()
        .up_to_the_first_question()
        .candidate_goes()
        .input(Input::Fault { what: what() })
        .ends(fault);
}

#[test]
fn a_lost_room_ends_it_at_once() {
    let gone = || Input::RoomGone {
        cause: "server shut down".into(),
    };
    let mut talk = Talk::by_plan().up_to_the_first_question();
    talk.input(gone()).ends(EndReason::RoomGone {
        cause: "server shut down".into(),
    });
    talk.input(gone())
        .candidate("Hello?")
        .candidate_goes()
        .silence_s(1000)
        .says_nothing();
}

#[test]
fn hanging_up_during_the_goodbye_is_a_completed_interview() {
    let mut talk = Talk::by_plan().up_to_the_first_question();
    talk.candidate("Frames.")
        .says("What does a mutex protect?")
        .candidate("Data.")
        .begins("That was my last question.")
        .candidate("Bye!")
        .candidate_goes()
        .input(Input::RoomGone {
            cause: "empty".into(),
        })
        .ends(EndReason::Completed);
}

#[test]
fn a_segment_that_no_voice_could_speak_counts_as_read() {
    let mut talk = Talk::by_plan();
    talk.candidate_comes()
        .begins("AI interviewer")
        .can_not_be_spoken()
        .begins("What is a stack?")
        .can_not_be_spoken()
        .candidate("Frames.")
        .begins("What does a mutex protect?");
}

#[test]
fn a_segment_whose_end_is_never_reported_does_not_stop_the_interview() {
    let mut talk = Talk::by_plan();
    talk.candidate_comes()
        .says("Hello")
        .begins("What is a stack?")
        .silence_s(60)
        .begins("Take your time.");
}

#[test]
fn the_floor_is_given_when_the_question_was_heard() {
    let mut talk = Talk::by_plan();
    talk.candidate_comes()
        .says("Hello")
        .begins("What is a stack?");
    assert!(!talk.state.is_listening());
    talk.is_heard();
    assert!(talk.state.is_listening());
    let state = talk.state.clone();
    let listen = talk
        .events
        .last()
        .map(|e| viva::interview::actions(&state, &e.event));
    assert_eq!(listen, Some(vec![Action::Listen]));
}
