//! All that the interviewer says besides the plan's and the language model's words.

use super::event::{Ask, EndReason, Outcome};
use super::plan::Plan;
use super::sentences::sentences;

/// Neutral on purpose: praise would be a judgement.
const ACKNOWLEDGEMENTS: [&str; 5] = [
    "Thank you.",
    "All right.",
    "Okay, thank you.",
    "I see.",
    "Understood, thank you.",
];
const PROMPTS: [&str; 3] = [
    "Take your time.",
    "Please take the time you need.",
    "There is no hurry.",
];
const SAY_AGAIN: [&str; 2] = [
    "Sorry, could you say that again?",
    "Sorry, I did not catch that. Could you say it once more?",
];
const INTRO: &str = "I will ask you some questions, one after the other. You can ask me to repeat a question \
    or to skip it at any time. What we say is written down.";
/// Said by an interviewer who was gone: the fault was not the candidate's.
pub(super) const GONE: &str = "I am sorry, I was gone for a moment.";
const CLOSING: &str = "Thank you for your time and your answers. Goodbye.";

/// The first words. That an AI speaks is part of them, whatever the plan says.
pub(super) fn greeting(plan: &Plan) -> Vec<String> {
    let mut all = sentences(&format!(
        "Hello, and welcome. My name is {}. I am an AI interviewer: you are talking with a machine, not with a person.",
        plan.interviewer()
    ));
    all.extend(sentences(plan.intro().unwrap_or(INTRO)));
    all
}

/// What is said before a question or a goodbye about the one before it.
pub(super) fn lead(outcome: Outcome, turn: u32) -> Option<String> {
    let text = match outcome {
        Outcome::Answered => pick(&ACKNOWLEDGEMENTS, turn),
        Outcome::Skipped => "All right, let us leave that one.",
        Outcome::Silent => "That is all right, let us go on.",
        Outcome::NotUnderstood => "I am sorry, I could not make that out. Let us go on.",
        Outcome::Unfinished => return None,
    };
    Some(text.to_owned())
}

/// What is said before a question in this form.
pub(super) fn ask_lead(ask: Ask) -> Option<&'static str> {
    match ask {
        Ask::First | Ask::FollowUp => None,
        Ask::RepeatOnRequest => Some("Of course."),
        Ask::RepeatAfterSilence => Some("Let me repeat the question."),
        Ask::RepeatAfterOverlap => Some("Let me ask that again."),
        Ask::RepeatOnReturn => Some("Welcome back. Let me repeat the question."),
        Ask::RepeatOnResume => {
            Some("I am sorry, I was gone for a moment. Let me repeat the question.")
        }
    }
}

/// Between two sections.
pub(super) fn topic(section: &str) -> String {
    format!("The next topic is {}.", section.trim_end_matches('.'))
}

/// Into a silence.
pub(super) fn prompt(turn: u32) -> Vec<String> {
    sentences(pick(&PROMPTS, turn))
}

/// After sounds without words, the first or the second time.
pub(super) fn say_again(times: u32) -> Vec<String> {
    sentences(pick(&SAY_AGAIN, times.saturating_sub(1)))
}

/// The last words.
pub(super) fn goodbye(plan: &Plan, reason: &EndReason) -> Vec<String> {
    let closing = plan.closing().unwrap_or(CLOSING);
    match reason {
        EndReason::Completed => match plan.closing() {
            Some(own) => sentences(own),
            None => sentences(&format!("That was my last question. {CLOSING}")),
        },
        EndReason::Fault { .. } => sentences(
            "I am sorry: a technical problem on our side means that we have to stop here. It is not your fault. Goodbye.",
        ),
        _ => sentences(&format!("We have come to the end of our time. {closing}")),
    }
}

fn pick<'a>(phrases: &[&'a str], turn: u32) -> &'a str {
    usize::try_from(turn)
        .ok()
        .and_then(|turn| phrases.get(turn % phrases.len()))
        .or(phrases.first())
        .copied()
        .unwrap_or_default()
}
