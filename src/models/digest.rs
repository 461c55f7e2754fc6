//! A SHA-256 hash: of bytes, of a stream, and as the hexadecimal text that people compare.

use std::fmt;
use std::io::{self, Read};

use serde::Deserialize;
use sha2::Digest;

/// Large enough that hashing is not slowed by system calls, small enough to stay in the cache.
pub(super) const READ_BYTES: usize = 256 * 1024;

/// A SHA-256 hash. Prints and parses as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Sha256([u8; 32]);

/// The text is no SHA-256 hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a sha256 has 64 hexadecimal digits, this is not one: {0:?}")]
pub struct Sha256Error(String);

impl Sha256 {
    /// The hash of bytes in memory.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The hash of everything that `from` yields, without holding it in memory.
    ///
    /// # Errors
    /// Reading fails.
    pub fn of_stream(mut from: impl Read) -> io::Result<Self> {
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return Ok(hasher.finish()),
                Ok(n) => hasher.update(&buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// A hash in the making.
#[derive(Default)]
pub(super) struct Hasher(sha2::Sha256);

impl Hasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn finish(self) -> Sha256 {
        Sha256(self.0.finalize().into())
    }
}

impl TryFrom<String> for Sha256 {
    type Error = Sha256Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits: Option<Vec<u8>> = text
            .bytes()
            .map(|c| {
                char::from(c)
                    .to_digit(16)
                    .and_then(|d| u8::try_from(d).ok())
            })
            .collect();
        match digits {
            Some(digits) if digits.len() == 64 => {
                let mut hash = [0; 32];
                for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
                    *byte = pair[0] << 4 | pair[1];
                }
                Ok(Self(hash))
            }
            _ => Err(Sha256Error(text)),
        }
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_hash_of_abc_is_the_standard_s_own_example() {
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Sha256::of(b"abc").to_string(), hash);
        assert_eq!(
            Sha256::try_from(hash.to_uppercase()),
            Ok(Sha256::of(b"abc"))
        );
    }

    #[test]
    fn text_that_is_no_hash_is_refused_and_shown() {
        for text in [
            "",
            "abc",
            &"g".repeat(64),
            &"0".repeat(63),
            &"0".repeat(66),
            &"é".repeat(32),
        ] {
            assert_eq!(
                Sha256::try_from(text.to_owned()),
                Err(Sha256Error(text.to_owned()))
            );
        }
    }

    proptest! {
        #[test]
        fn a_stream_hashes_like_its_bytes(bytes in prop::collection::vec(any::<u8>(), 0..1000)) {
            prop_assert_eq!(Sha256::of_stream(bytes.as_slice()).unwrap(), Sha256::of(&bytes));
        }

        #[test]
        fn text_and_hash_are_each_other_s_inverse(bytes in any::<[u8; 32]>()) {
            prop_assert_eq!(Sha256::try_from(Sha256(bytes).to_string()), Ok(Sha256(bytes)));
        }
    }
}
