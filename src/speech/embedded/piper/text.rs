//! Prepares text for the voice: clauses with their punctuation, in units that are synthesised one by one.
//!
//! `espeak-ng` drops punctuation, and the voice needs it for pauses and for the falling tone, so clauses are cut here and
//! each keeps its mark.

/// A unit that has a sentence's end is closed there, one that grows beyond this at its next clause: 200 characters are
/// some 12 s of speech.
const UNIT_CHARS_MAX: usize = 200;
/// The first unit is closed at the first clause that makes it this long, so that sound begins soon while the rest of
/// the sentence is being made.
const FIRST_UNIT_CHARS_MIN: usize = 24;
/// A clause that nobody punctuates is cut between two words.
const CLAUSE_CHARS_MAX: usize = 160;
/// A full stop after one of these ends no sentence.
const ABBREVIATIONS: [&str; 14] = [
    "dr", "mr", "mrs", "ms", "prof", "st", "vs", "etc", "e.g", "i.e", "approx", "no", "fig", "resp",
];

/// Words between two pauses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clause {
    /// What `espeak-ng` reads: one line without anything that would make it pause.
    pub(super) words: String,
    /// What ends it: one of `.`, `,`, `;`, `:`, `?`, `!`.
    pub(super) mark: char,
}

/// The text in units of one sentence or less. Empty where there is nothing to say.
pub(super) fn units(text: &str) -> Vec<Vec<Clause>> {
    let mut units = Vec::new();
    let mut unit = Vec::new();
    let mut chars = 0;
    for clause in clauses(text) {
        chars += clause.words.chars().count();
        let is_sentence = matches!(clause.mark, '.' | '?' | '!');
        unit.push(clause);
        let is_full = chars
            >= if units.is_empty() {
                FIRST_UNIT_CHARS_MIN
            } else {
                UNIT_CHARS_MAX
            };
        if is_sentence || is_full {
            units.push(std::mem::take(&mut unit));
            chars = 0;
        }
    }
    if !unit.is_empty() {
        units.push(unit);
    }
    units
}

fn clauses(text: &str) -> Vec<Clause> {
    let mut clauses = Clauses::default();
    for line in text.lines() {
        let line: String = line.chars().flat_map(spaced).collect();
        for word in line.split_whitespace() {
            clauses.word(word);
        }
        clauses.end_line();
    }
    clauses.done
}

/// Signs that separate clauses without a space around them get one, control characters become spaces, and
/// brackets, in which `espeak-ng` would take phonemes, become pauses.
fn spaced(c: char) -> impl Iterator<Item = char> {
    let (before, c, after) = match c {
        '\u{2014}' | '\u{2013}' => (Some(' '), '-', Some(' ')),
        '\u{2026}' => (None, '.', None),
        '(' | ')' | '[' | ']' | '{' | '}' => (None, ',', Some(' ')),
        '"' | '\u{201c}' | '\u{201d}' | '\u{ab}' | '\u{bb}' | '`' | '*' | '|' => (None, ' ', None),
        '\u{2019}' => (None, '\'', None),
        c if c.is_control() => (None, ' ', None),
        c => (None, c, None),
    };
    before.into_iter().chain([c]).chain(after)
}

#[derive(Default)]
struct Clauses {
    done: Vec<Clause>,
    words: String,
}

impl Clauses {
    fn word(&mut self, word: &str) {
        let bare = word.trim_end_matches(['.', ',', ';', ':', '?', '!', '\'']);
        let marks = &word[bare.len()..];
        let bare = bare.trim_start_matches(['.', ',', ';', ':', '?', '!', '\'', '-']);
        if bare.chars().any(char::is_alphanumeric) {
            if !self.words.is_empty() {
                if self.words.chars().count() + bare.chars().count() >= CLAUSE_CHARS_MAX {
                    self.end(',');
                } else {
                    self.words.push(' ');
                }
            }
            // A word longer than a clause is no word.
            self.words.extend(bare.chars().take(CLAUSE_CHARS_MAX));
        }
        let is_abbreviated = marks == "." && ABBREVIATIONS.contains(&bare.to_lowercase().as_str());
        let mark = if word == "-" {
            Some(',')
        } else {
            strongest(marks)
        };
        if let Some(mark) = mark.filter(|_| !is_abbreviated) {
            self.end(mark);
        }
    }

    /// A heading or an item of a list, too, is said as a sentence.
    fn end_line(&mut self) {
        self.end('.');
        if let Some(last) = self.done.last_mut().filter(|last| last.mark == ',') {
            last.mark = '.';
        }
    }

    fn end(&mut self, mark: char) {
        if !self.words.is_empty() {
            self.done.push(Clause {
                words: std::mem::take(&mut self.words),
                mark,
            });
        }
    }
}

fn strongest(marks: &str) -> Option<char> {
    ['?', '!', '.', ':', ';', ',']
        .into_iter()
        .find(|mark| marks.contains(*mark))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> Vec<String> {
        let unit = |unit: &Vec<Clause>| {
            unit.iter()
                .map(|c| format!("{}{}", c.words, c.mark))
                .collect::<Vec<_>>()
                .join(" ")
        };
        units(text).iter().map(unit).collect()
    }

    #[test]
    fn sentences_are_units_and_keep_their_marks() {
        assert_eq!(
            shown("Welcome! What is a mutex, and when is it slow? Take your time."),
            [
                "Welcome!",
                "What is a mutex, and when is it slow?",
                "Take your time."
            ]
        );
    }

    #[test]
    fn the_first_unit_of_a_long_sentence_ends_at_a_clause() {
        assert_eq!(
            shown(
                "Thank you for that explanation, it was clear, and I have one more question for you."
            ),
            [
                "Thank you for that explanation,",
                "it was clear, and I have one more question for you."
            ]
        );
    }

    #[test]
    fn numbers_names_and_abbreviations_do_not_end_anything() {
        assert_eq!(
            shown("Dr. Smith runs Node.js 3.5 at 10:30, e.g. on 1,234 cores."),
            ["Dr Smith runs Node.js 3.5 at 10:30,", "e.g on 1,234 cores."]
        );
    }

    #[test]
    fn brackets_dashes_and_lines_are_pauses_and_quotes_are_nothing() {
        assert_eq!(
            shown("One (or two) — \"three\"…\n- four\n[[five]]"),
            ["One, or two, three.", "four.", "five."]
        );
    }

    #[test]
    fn nothing_to_say_is_nothing() {
        for text in ["", "  \n ", "...", "\u{0}\u{7}", "--- ()", "\u{2026}?!"] {
            assert!(units(text).is_empty(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_clause_is_one_short_line_with_a_mark(text in "\\PC{0,400}|[a-zA-Z0-9 .,;:?!()\\n\"-]{0,400}|[a-z]{300,500}") {
            for clause in units(&text).iter().flatten() {
                prop_assert!(clause.words.chars().any(char::is_alphanumeric));
                prop_assert!(clause.words.chars().all(|c| !c.is_control()));
                prop_assert!(clause.words.chars().count() <= CLAUSE_CHARS_MAX);
                prop_assert!(".,;:?!".contains(clause.mark));
            }
        }

        #[test]
        fn no_word_is_lost(words in prop::collection::vec("[a-z]{1,12}", 1..60)) {
            let said: Vec<String> = units(&words.join(" ")).iter().flatten().flat_map(|c| c.words.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
            prop_assert_eq!(said, words);
        }
    }
}
