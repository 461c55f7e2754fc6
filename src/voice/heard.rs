//! Which words of a sentence were heard when its sound was cut off.

/// The whole words of `sentence` that were heard when `fraction` (0–1) of its sound was played.
///
/// Sound is taken as evenly spread over the letters, which is right to within a word.
pub fn heard_part(sentence: &str, fraction: f64) -> &str {
    let letters = sentence.chars().count();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a sentence is short and the fraction is clamped"
    )]
    let played = (letters as f64 * fraction.clamp(0.0, 1.0)).round() as usize;
    if played >= letters {
        return sentence;
    }
    let end = sentence
        .char_indices()
        .nth(played)
        .map_or(sentence.len(), |(at, _)| at);
    let heard = &sentence[..end];
    match heard.rfind(char::is_whitespace) {
        _ if sentence[end..].starts_with(char::is_whitespace) => heard,
        Some(space) => heard[..space].trim_end(),
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_words_count_as_heard() {
        assert_eq!(heard_part("What is a mutex?", 0.0), "");
        assert_eq!(heard_part("What is a mutex?", 0.3), "What");
        assert_eq!(heard_part("What is a mutex?", 0.45), "What is");
        assert_eq!(heard_part("What is a mutex?", 1.0), "What is a mutex?");
        assert_eq!(heard_part("Größe über Äpfel", 0.5), "Größe");
    }

    proptest::proptest! {
        #[test]
        fn what_was_heard_begins_the_sentence(text in "\\PC{0,60}", fraction in 0.0f64..1.5) {
            proptest::prop_assert!(text.starts_with(heard_part(&text, fraction)));
        }
    }
}
