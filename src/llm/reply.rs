//! Makes a reply out of what a model wrote: the structured answer that was asked for, or what a smaller model made of it.
//!
//! Nothing of it is trusted. Words are bounded in length, cleaned of markdown and dropped when they are not fit to be
//! spoken; a follow-up is one question and only there when it is allowed.

use serde_json::{Map, Value};

use crate::interview::mind::MindReply;
use crate::interview::sentences::sentences;

/// Longest acknowledgement: about ten seconds of speech. A longer one is cut after a sentence, or left out.
const ACKNOWLEDGEMENT_CHARS_MAX: usize = 160;
/// Longest follow-up: about twenty seconds of speech. A longer one is left out, since half a question is none.
const FOLLOW_UP_CHARS_MAX: usize = 320;
/// Longest prose without any JSON that is read as a reply; more is an essay.
const PROSE_CHARS_MAX: usize = 600;
/// Opening braces that are tried as the beginning of the answer.
const BRACES_MAX: usize = 8;

/// Fewer words without a question mark are no question ("follow_up", "none").
const UNMARKED_WORDS_MIN: usize = 3;

const ACKNOWLEDGEMENT_KEYS: [&str; 2] = ["acknowledgement", "acknowledgment"];
const FOLLOW_UP_KEYS: [&str; 3] = ["follow_up", "followup", "question"];
const DECISION_KEYS: [&str; 2] = ["decision", "action"];
/// Keys under which models that ignore the schema put all their words.
const WORDS_KEYS: [&str; 4] = ["say", "text", "reply", "message"];

/// The reply in a model's text. The error says what was there instead.
pub(super) fn understand(content: &str, follow_up_allowed: bool) -> Result<MindReply, String> {
    // Reasoning models may put their thoughts in front.
    let content = content.rsplit("</think>").next().unwrap_or(content).trim();
    if content.is_empty() {
        return Err("no text".into());
    }
    let found = if content.contains('{') {
        of_object(&object_in(content).ok_or("JSON that is cut off or of another shape")?)
    } else if content.chars().count() > PROSE_CHARS_MAX {
        return Err("an essay instead of a reply".into());
    } else {
        Found {
            move_on: false,
            ..sorted(content)
        }
    };
    let follow_up = found
        .follow_up
        .filter(|_| follow_up_allowed && !found.move_on);
    Ok(MindReply {
        acknowledgement: found.acknowledgement.unwrap_or_default(),
        follow_up,
    })
}

/// What was found, already fit to be spoken.
#[derive(Default)]
struct Found {
    move_on: bool,
    acknowledgement: Option<String>,
    follow_up: Option<String>,
}

/// The first object in the text that has a key of ours, wherever it is (code fences, prose around it).
fn object_in(content: &str) -> Option<Map<String, Value>> {
    let starts = content
        .match_indices('{')
        .map(|(at, _)| at)
        .take(BRACES_MAX);
    let objects = starts.filter_map(|at| {
        let mut values =
            serde_json::Deserializer::from_str(&content[at..]).into_iter::<Map<String, Value>>();
        values.next()?.ok()
    });
    let known = |object: &Map<String, Value>| {
        let keys = [
            &ACKNOWLEDGEMENT_KEYS[..],
            &FOLLOW_UP_KEYS,
            &DECISION_KEYS,
            &WORDS_KEYS,
        ];
        keys.concat().iter().any(|key| object.contains_key(*key))
    };
    objects.into_iter().find(known)
}

fn of_object(object: &Map<String, Value>) -> Found {
    let text = |keys: &[&str]| keys.iter().find_map(|key| object.get(*key)?.as_str());
    let move_on = text(&DECISION_KEYS).is_some_and(|decision| !is_follow_up(decision));
    let (acknowledgement, follow_up) = (text(&ACKNOWLEDGEMENT_KEYS), text(&FOLLOW_UP_KEYS));
    if acknowledgement.is_none() && follow_up.is_none() {
        let words = text(&WORDS_KEYS).map(sorted).unwrap_or_default();
        return Found { move_on, ..words };
    }
    Found {
        move_on,
        acknowledgement: acknowledgement.and_then(acknowledgement_of),
        follow_up: follow_up.and_then(follow_up_of),
    }
}

/// `follow_up`, however it is spelt.
fn is_follow_up(decision: &str) -> bool {
    let letters = decision.chars().filter(|c| c.is_alphabetic());
    letters.flat_map(char::to_lowercase).eq("followup".chars())
}

/// Words without a key of their own: what comes before the first question acknowledges, the question follows up.
fn sorted(words: &str) -> Found {
    let all = sentences(words);
    let question = all.iter().position(|sentence| is_question(sentence));
    let before = all[..question.unwrap_or(all.len())].join(" ");
    Found {
        move_on: false,
        acknowledgement: acknowledgement_of(&before),
        follow_up: question.and_then(|at| follow_up_of(&all[at])),
    }
}

/// As many whole sentences as fit, none of them a question.
fn acknowledgement_of(text: &str) -> Option<String> {
    let text = speakable(text)?;
    let mut kept = String::new();
    for sentence in sentences(&text) {
        if is_question(&sentence) || kept.len() + sentence.len() + 1 > ACKNOWLEDGEMENT_CHARS_MAX {
            break;
        }
        if !kept.is_empty() {
            kept.push(' ');
        }
        kept.push_str(&sentence);
    }
    (!kept.is_empty()).then_some(kept)
}

/// Everything up to the first question, which is the only one.
fn follow_up_of(text: &str) -> Option<String> {
    let all = sentences(&speakable(text)?);
    let end = match all.iter().position(|sentence| is_question(sentence)) {
        Some(at) => at + 1,
        // A question without its mark is one all the same, where it is all there is.
        None if all.len() == 1 && all[0].split(' ').count() >= UNMARKED_WORDS_MIN => 1,
        None => return None,
    };
    let question = all[..end].join(" ");
    (question.chars().count() <= FOLLOW_UP_CHARS_MAX && question.matches('?').count() <= 1)
        .then_some(question)
}

fn is_question(sentence: &str) -> bool {
    sentence.contains('?')
}

/// The text without marks of emphasis and on one line; nothing where it holds what can't be spoken.
fn speakable(text: &str) -> Option<String> {
    const NOT_SPOKEN: [&str; 7] = ["://", "```", "{", "}", "<", ">", "]("];
    if NOT_SPOKEN.iter().any(|mark| text.contains(mark)) {
        return None;
    }
    // Half a quotation is a sign of text that was torn out of something, a lone identifier of a confused model.
    let is_torn = text.matches('"').count() % 2 == 1;
    let is_identifier = !text.trim().contains(char::is_whitespace) && text.contains('_');
    if is_torn || is_identifier {
        return None;
    }
    let is_list = |line: &str| line.trim_start().starts_with(['-', '*', '#', '|', '•']);
    if text.lines().filter(|line| is_list(line)).count() > 1 {
        return None;
    }
    let plain: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .filter(|c| !matches!(c, '*' | '`' | '#' | '|' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'))
        .collect();
    let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    plain.chars().any(char::is_alphabetic).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(acknowledgement: &str, follow_up: Option<&str>) -> MindReply {
        MindReply {
            acknowledgement: acknowledgement.into(),
            follow_up: follow_up.map(str::to_owned),
        }
    }

    #[test]
    fn the_answer_that_was_asked_for_is_understood() {
        let text = r#"{"decision":"follow_up","acknowledgement":"You would start with the plan.","follow_up":"How do you read it?"}"#;
        assert_eq!(
            understand(text, true),
            Ok(reply(
                "You would start with the plan.",
                Some("How do you read it?")
            ))
        );
    }

    #[test]
    fn a_follow_up_needs_the_decision_and_the_permission() {
        let text = r#"{"decision":"move_on","acknowledgement":"I see.","follow_up":"Why?"}"#;
        assert_eq!(understand(text, true), Ok(reply("I see.", None)));
        let text = r#"{"decision":"follow_up","acknowledgement":"I see.","follow_up":"Why?"}"#;
        assert_eq!(understand(text, false), Ok(reply("I see.", None)));
        let text = r#"{"decision":"follow_up","acknowledgement":"I see.","follow_up":null}"#;
        assert_eq!(understand(text, true), Ok(reply("I see.", None)));
    }

    #[test]
    fn what_smaller_models_make_of_it_is_understood() {
        let expected = Ok(reply("I see.", Some("Why a B-tree?")));
        for text in [
            "```json\n{\"decision\": \"follow_up\", \"acknowledgement\": \"I see.\", \"follow_up\": \"Why a B-tree?\"}\n```",
            "Sure! Here is the JSON: {\"acknowledgment\":\"I see.\",\"question\":\"Why a B-tree?\"} I hope it helps.",
            "{\"action\":\"Follow-up\",\"say\":\"I see. Why a B-tree?\",\"score\":3}",
            "<think>Let me think {about it}.</think>\nI see. Why a B-tree?",
            "I see. Why a B-tree? And what else?",
            "{broken} {\"acknowledgement\":\"**I see.**\",\"follow_up\":\"Why a `B-tree`?\"}",
        ] {
            assert_eq!(understand(text, true), expected, "{text}");
        }
    }

    #[test]
    fn one_question_is_asked_and_no_more() {
        let text = r#"{"acknowledgement":"Good. Really?","follow_up":"You said cache. Which one? And how large is it?"}"#;
        assert_eq!(
            understand(text, true),
            Ok(reply("Good.", Some("You said cache. Which one?")))
        );
    }

    #[test]
    fn what_is_too_long_is_cut_at_a_sentence_or_left_out() {
        let long = format!("I see. {}", "Very ".repeat(100));
        let text = serde_json::json!({"acknowledgement": long, "follow_up": format!("{}?", "why ".repeat(200))});
        assert_eq!(
            understand(&text.to_string(), true),
            Ok(reply("I see.", None))
        );
    }

    #[test]
    fn what_can_not_be_spoken_is_left_out() {
        for words in [
            "See https://x.org now.",
            "```rust fn```",
            "- one\n- two",
            "<b>yes</b>",
            "[x](y)",
            "...",
            "\u{202e}",
            "follow_up",
            "the \"answer",
        ] {
            let text = serde_json::json!({"decision": "follow_up", "acknowledgement": words, "follow_up": "Why?"});
            assert_eq!(
                understand(&text.to_string(), true),
                Ok(reply("", Some("Why?"))),
                "{words}"
            );
        }
    }

    #[test]
    fn what_is_no_reply_is_named() {
        for (text, name) in [
            ("", "no text"),
            ("<think>hm</think>", "no text"),
            ("{\"decision\":\"follow_up\",\"acknow", "cut off"),
            ("{\"answer\":42}", "another shape"),
            (&"word ".repeat(200), "essay"),
        ] {
            let error = understand(text, true).unwrap_err();
            assert!(error.contains(name), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_model_writes_stays_within_bounds(
            acknowledgement in "(?s).{0,400}", follow_up in "(?s).{0,600}", around in "(?s).{0,40}", allowed: bool,
        ) {
            let object = serde_json::json!({"acknowledgement": acknowledgement, "follow_up": follow_up});
            for text in [object.to_string(), format!("{around}{object}"), around, format!("{acknowledgement}{follow_up}")] {
                let Ok(reply) = understand(&text, allowed) else { continue };
                proptest::prop_assert!(reply.acknowledgement.chars().count() <= ACKNOWLEDGEMENT_CHARS_MAX);
                proptest::prop_assert!(!reply.acknowledgement.contains('?'));
                proptest::prop_assert!(allowed || reply.follow_up.is_none());
                if let Some(question) = reply.follow_up {
                    proptest::prop_assert!(question.chars().count() <= FOLLOW_UP_CHARS_MAX);
                    proptest::prop_assert!(question.matches('?').count() <= 1);
                    proptest::prop_assert!(!question.contains(['\n', '*', '`', '<']));
                }
            }
        }
    }
}
