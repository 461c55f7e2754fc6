//! Cuts text into sentences, so that speech can begin with the first one.

/// Words whose full stop does not end a sentence.
const ABBREVIATIONS: [&str; 12] = [
    "e.g.", "i.e.", "etc.", "vs.", "dr.", "mr.", "mrs.", "ms.", "prof.", "no.", "approx.", "incl.",
];

/// The sentences of a text, trimmed, with runs of white space made one space; never an empty one.
pub fn sentences(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut found = Vec::new();
    let mut sentence = String::new();
    for (at, word) in words.iter().enumerate() {
        if !sentence.is_empty() {
            sentence.push(' ');
        }
        sentence.push_str(word);
        if ends_sentence(word, words.get(at + 1).copied()) {
            found.push(std::mem::take(&mut sentence));
        }
    }
    if !sentence.is_empty() {
        found.push(sentence);
    }
    found
}

fn ends_sentence(word: &str, next: Option<&str>) -> bool {
    let bare = word.trim_end_matches(['"', '\'', ')', ']', '”', '’', '»']);
    match bare.chars().last() {
        Some('?' | '!' | '…' | '。' | '？' | '！') => true,
        Some('.') => {
            let abbreviation = ABBREVIATIONS.contains(&bare.to_lowercase().as_str());
            let goes_on = next
                .and_then(|n| n.chars().next())
                .is_some_and(char::is_lowercase);
            !abbreviation && !goes_on
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sentence_stands_alone() {
        assert_eq!(
            sentences("Hello there.  What is\na mutex? Say  it \"in your words.\" Go"),
            [
                "Hello there.",
                "What is a mutex?",
                "Say it \"in your words.\"",
                "Go"
            ]
        );
    }

    #[test]
    fn an_abbreviation_or_a_version_does_not_end_one() {
        assert_eq!(
            sentences("Use a lock, e.g. Rust 1.95 or vs. Mutex. Done."),
            ["Use a lock, e.g. Rust 1.95 or vs. Mutex.", "Done."]
        );
    }

    proptest::proptest! {
        #[test]
        fn no_word_is_lost_or_added(text in ".{0,200}") {
            let joined = sentences(&text).join(" ");
            let expected = text.split_whitespace().collect::<Vec<_>>().join(" ");
            proptest::prop_assert_eq!(joined, expected);
        }
    }
}
