//! Moonshine's vocabulary: from token numbers to text.
//!
//! The file holds the tokens in order, each as its length and its bytes; a length from 128 on takes two bytes, the low
//! seven bits first. A length of zero is a number without a token.

/// Numbers below this are the model's own signs.
const SPECIAL_END: usize = 3;
/// What the vocabulary writes for a space.
const SPACE: &str = "\u{2581}";

/// The vocabulary.
#[derive(Debug)]
pub(super) struct Tokens {
    tokens: Vec<Vec<u8>>,
}

impl Tokens {
    /// Reads the file's bytes.
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self, String> {
        let mut tokens = Vec::new();
        while let Some((&first, rest)) = bytes.split_first() {
            let (length, rest) = match (usize::from(first), rest.split_first()) {
                (length @ 0..128, _) => (length, rest),
                (low, Some((&high, rest))) => (low - 128 + usize::from(high) * 128, rest),
                _ => {
                    return Err(format!(
                        "it ends within the length of token {}",
                        tokens.len()
                    ));
                }
            };
            let Some((token, rest)) = rest.split_at_checked(length) else {
                return Err(format!("it ends within token {}", tokens.len()));
            };
            tokens.push(unescape(token));
            bytes = rest;
        }
        Ok(Self { tokens })
    }

    /// The words of a sequence, trimmed. Numbers without a token are left out.
    pub(super) fn text(&self, ids: &[usize]) -> String {
        let bytes: Vec<u8> = ids
            .iter()
            .filter(|id| **id >= SPECIAL_END)
            .filter_map(|id| self.tokens.get(*id))
            .flatten()
            .copied()
            .collect();
        String::from_utf8_lossy(&bytes)
            .replace(SPACE, " ")
            .trim()
            .to_owned()
    }
}

/// A byte that is no character of its own is written `<0x0A>`.
fn unescape(token: &[u8]) -> Vec<u8> {
    let escaped = std::str::from_utf8(token)
        .ok()
        .and_then(|t| t.strip_prefix("<0x")?.strip_suffix('>'));
    match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
        Some(byte) => vec![byte],
        None => token.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(tokens: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for token in tokens {
            match token.len() {
                n @ 0..128 => bytes.push(n as u8),
                n => bytes.extend([(n % 128 + 128) as u8, (n / 128) as u8]),
            }
            bytes.extend(token.bytes());
        }
        bytes
    }

    #[test]
    fn tokens_join_to_words_without_the_model_s_signs() {
        let tokens = Tokens::parse(&file(&[
            "<unk>",
            "<s>",
            "</s>",
            "\u{2581}Hel",
            "lo",
            "\u{2581}there",
            "<0x21>",
        ]));
        assert_eq!(
            tokens.unwrap().text(&[1, 3, 4, 5, 6, 2, 999]),
            "Hello there!"
        );
    }

    #[test]
    fn a_length_of_two_bytes_is_read() {
        let long = "x".repeat(300);
        assert_eq!(
            Tokens::parse(&file(&["", "", "", &long]))
                .unwrap()
                .text(&[3]),
            long
        );
    }

    #[test]
    fn a_file_that_ends_too_early_says_where() {
        assert_eq!(
            Tokens::parse(&[1, b'a', 5, b'b']).unwrap_err(),
            "it ends within token 1"
        );
        assert_eq!(
            Tokens::parse(&[200]).unwrap_err(),
            "it ends within the length of token 0"
        );
    }

    proptest! {
        #[test]
        fn any_file_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..500), ids in prop::collection::vec(0usize..100, 0..20)) {
            if let Ok(tokens) = Tokens::parse(&bytes) {
                tokens.text(&ids);
            }
        }
    }
}
