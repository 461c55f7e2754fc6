//! Tells the few things a candidate can ask of the interviewer from an answer.
//!
//! A request is taken only when the whole utterance is one, after politeness is set aside: an answer that
//! merely contains "skip" or "repeat" stays an answer.

/// What a finished utterance wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intent {
    /// Nothing but to answer.
    Answer,
    /// To hear the question again.
    Repeat,
    /// To go on without answering.
    Skip,
    /// Nothing: a sound of listening, such as "mm-hmm" or "okay".
    Backchannel,
}

/// Longer utterances are answers; no polite request needs more words.
const REQUEST_WORDS_MAX: usize = 16;
/// Longer runs of "yes, okay, right" mean something.
const BACKCHANNEL_WORDS_MAX: usize = 3;

const LEADS: [&str; 32] = [
    "um",
    "uh",
    "er",
    "oh",
    "hm",
    "hmm",
    "well",
    "so",
    "okay",
    "ok",
    "yes",
    "yeah",
    "no",
    "hey",
    "hi",
    "sorry",
    "i'm sorry",
    "i am sorry",
    "excuse me",
    "but",
    "please",
    "actually",
    "maybe",
    "can you",
    "could you",
    "would you",
    "can we",
    "could we",
    "can i",
    "could i",
    "may i",
    "just",
];
const WISHES: [&str; 11] = [
    "let's",
    "lets",
    "let us",
    "i'd like to",
    "i would like to",
    "i want to",
    "i'd rather",
    "i'd prefer to",
    "would you mind",
    "may we",
    "i think we should",
];
const TAILS: [&str; 15] = [
    "please",
    "thanks",
    "thank you",
    "now",
    "again",
    "for me",
    "one more time",
    "once more",
    "if possible",
    "if you can",
    "if that's okay",
    "if you don't mind",
    "sorry",
    "a bit slower",
    "more slowly",
];
const REPEATS: [&str; 42] = [
    "again",
    "once more",
    "one more time",
    "repeat",
    "repeat the question",
    "repeat that",
    "repeat that question",
    "repeat your question",
    "repeat it",
    "repeat this question",
    "repeat yourself",
    "repeating",
    "repeating the question",
    "repeating that",
    "say that",
    "say it",
    "saying that",
    "say the question",
    "ask that",
    "ask me",
    "ask the question",
    "ask it",
    "read the question",
    "hear the question",
    "hear that",
    "hear it",
    "what was the question",
    "what's the question",
    "what is the question",
    "what was that",
    "what did you say",
    "what did you ask",
    "what",
    "pardon",
    "pardon me",
    "come",
    "sorry",
    "rephrase the question",
    "rephrase that",
    "i missed that",
    "i missed the question",
    "i missed it",
];
/// Of the repeats, those that are one only with "again" or the like behind them.
const REPEATS_NEED_TAIL: [&str; 13] = [
    "say that",
    "say it",
    "say the question",
    "saying that",
    "ask that",
    "ask me",
    "ask the question",
    "ask it",
    "read the question",
    "hear the question",
    "hear that",
    "hear it",
    "come",
];
const NOT_GOT: [&str; 9] = [
    "get",
    "catch",
    "hear",
    "understand",
    "quite get",
    "quite catch",
    "quite hear",
    "really hear",
    "quite understand",
];
const NOT_GOT_WHAT: [&str; 9] = [
    "",
    "that",
    "you",
    "it",
    "the question",
    "your question",
    "what you said",
    "the last part",
    "this question",
];
const SKIPS: [&str; 22] = [
    "skip",
    "skip it",
    "skip this",
    "skip that",
    "skip this one",
    "skip that one",
    "skip the question",
    "skip this question",
    "skip that question",
    "skipping",
    "skip to the next question",
    "next",
    "next question",
    "next one",
    "the next question",
    "go to the next question",
    "go on to the next question",
    "move on",
    "move on to the next question",
    "move to the next question",
    "pass",
    "i'll pass",
];
const SOUNDS: [&str; 24] = [
    "mm", "mmm", "mhm", "mm-hmm", "mmhmm", "hmm", "hm", "uh", "uh-huh", "uhuh", "huh", "um", "er",
    "erm", "ah", "oh", "yeah", "yes", "yep", "okay", "ok", "right", "sure", "alright",
];

/// Reads an utterance.
pub(crate) fn intent(text: &str) -> Intent {
    let words = words(text);
    if words.is_empty() {
        return Intent::Backchannel;
    }
    // Requests first: a bare "sorry?" or "what?" asks for the question.
    if words.len() <= REQUEST_WORDS_MAX {
        if asks_to_repeat(&words) {
            return Intent::Repeat;
        }
        if asks_to_skip(&words) {
            return Intent::Skip;
        }
    }
    let sounds = words.iter().all(|w| SOUNDS.contains(&w.as_str()));
    if sounds && words.len() <= BACKCHANNEL_WORDS_MAX {
        return Intent::Backchannel;
    }
    Intent::Answer
}

fn asks_to_repeat(words: &[String]) -> bool {
    let utterance = words.join(" ");
    readings(&utterance, &TAILS)
        .into_iter()
        .any(|(rest, tailed)| {
            let known = REPEATS.contains(&rest.as_str())
                && (tailed || !REPEATS_NEED_TAIL.contains(&rest.as_str()));
            known || says_it_was_not_got(&rest)
        })
}

fn says_it_was_not_got(rest: &str) -> bool {
    [
        "i didn't ",
        "i did not ",
        "i don't ",
        "i do not ",
        "i couldn't ",
        "i could not ",
        "i can't ",
        "i cannot ",
        "didn't ",
    ]
    .iter()
    .any(|lead| {
        rest.strip_prefix(lead).is_some_and(|rest| {
            NOT_GOT.iter().any(|got| {
                rest.strip_prefix(got)
                    .is_some_and(|what| NOT_GOT_WHAT.contains(&what.trim_start()))
            })
        })
    })
}

fn asks_to_skip(words: &[String]) -> bool {
    readings(&words.join(" "), &TAILS)
        .into_iter()
        .any(|(rest, _)| SKIPS.contains(&rest.as_str()))
}

/// The utterance with more and more of its politeness taken off, and whether something was taken off its end.
fn readings(utterance: &str, tails: &[&str]) -> Vec<(String, bool)> {
    let mut fronts = vec![utterance];
    let mut front = utterance;
    while let Some(rest) = WISHES
        .iter()
        .chain(&LEADS)
        .find_map(|lead| front.strip_prefix(lead)?.strip_prefix(' '))
    {
        front = rest;
        fronts.push(front);
    }
    let mut found = Vec::new();
    for front in fronts {
        let mut rest = front;
        found.push((rest.to_owned(), false));
        while let Some(shorter) = tails
            .iter()
            .find_map(|tail| rest.strip_suffix(tail)?.strip_suffix(' '))
        {
            rest = shorter;
            found.push((rest.to_owned(), true));
        }
    }
    found
}

/// Lower-case words without punctuation; apostrophes and inner hyphens stay.
fn words(text: &str) -> Vec<String> {
    text.replace(['’', '‘'], "'")
        .to_lowercase()
        .split(|c: char| !(c.is_alphanumeric() || c == '\'' || c == '-'))
        .map(|w| w.trim_matches(['\'', '-']).to_owned())
        .filter(|w| !w.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(expected: Intent, texts: &[&str]) {
        for text in texts {
            assert_eq!(intent(text), expected, "{text}");
        }
    }

    #[test]
    fn asking_for_the_question_again_is_understood() {
        all(
            Intent::Repeat,
            &[
                "Repeat the question.",
                "Could you repeat the question, please?",
                "Sorry, can you repeat that?",
                "Um, sorry, I didn’t get that.",
                "I did not catch that, sorry.",
                "I didn't quite hear you.",
                "Say that again?",
                "Could you say that again please",
                "Pardon?",
                "Again, please.",
                "I don't understand the question.",
                "Sorry, I can't hear you.",
                "Sorry?",
                "What was the question again?",
                "Would you mind repeating the question?",
                "Can you ask me again?",
                "I'm sorry, but could you repeat that one more time for me?",
            ],
        );
    }

    #[test]
    fn asking_to_go_on_is_understood() {
        all(
            Intent::Skip,
            &[
                "Skip.",
                "Let's skip this one.",
                "Next question, please.",
                "Can we move on to the next question?",
                "Okay, I'd like to skip that question.",
                "Pass.",
            ],
        );
    }

    #[test]
    fn an_answer_that_has_the_words_in_it_stays_an_answer() {
        all(
            Intent::Answer,
            &[
                "I would repeat the request with a back-off.",
                "You skip the first element and return the next.",
                "Then we move on to the next question of who owns the lock.",
                "Say that the lock is held.",
                "Hear that lock? It is contended.",
                "I don't know.",
                "I don't understand why people use it.",
                "I don't get it to compile.",
                "Don't skip this one.",
                "I didn't get that job at first, so I learned Rust.",
                "A skip list.",
                "Yes, I have used it in production.",
                "It repeats.",
                "No, never.",
            ],
        );
    }

    #[test]
    fn sounds_of_listening_are_not_answers() {
        all(
            Intent::Backchannel,
            &["Mm-hmm.", "Okay.", "Uh, yeah.", "Right, okay", "…", ""],
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "\\PC{0,300}") {
            let _ = intent(&text);
        }
    }
}
