//! From passwords and key material to keys.

use std::num::NonZeroU32;

use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::pbkdf2::{PBKDF2_HMAC_SHA256, derive};

/// As in every LiveKit SDK; another number would be another key.
const PBKDF2_ITERATIONS: NonZeroU32 = match NonZeroU32::new(100_000) {
    Some(iterations) => iterations,
    None => NonZeroU32::MIN,
};
/// HKDF's context in every LiveKit SDK: nothing, and as much of it.
const HKDF_CONTEXT: &[u8] = &[0; 128];

/// How keys are made of passwords.
#[derive(Copy, Clone, Debug)]
#[non_exhaustive]
pub enum KeyDerivationAlgorithm {
    /// PBKDF2 with SHA-256, for passwords; takes tens of milliseconds.
    PBKDF2,
    /// HKDF with SHA-256, for material that is random already.
    HKDF,
}

/// A way to derive.
#[derive(Clone, Debug)]
pub(super) struct Derivation {
    pub algorithm: KeyDerivationAlgorithm,
    pub salt: Vec<u8>,
}

impl Derivation {
    /// So many bytes of this secret; none only if HKDF can't yield so many.
    pub fn derive<const BYTES: usize>(&self, secret: &[u8]) -> Option<[u8; BYTES]> {
        let mut derived = [0; BYTES];
        match self.algorithm {
            KeyDerivationAlgorithm::PBKDF2 => derive(
                PBKDF2_HMAC_SHA256,
                PBKDF2_ITERATIONS,
                &self.salt,
                secret,
                &mut derived,
            ),
            KeyDerivationAlgorithm::HKDF => Salt::new(HKDF_SHA256, &self.salt)
                .extract(secret)
                .expand(&[HKDF_CONTEXT], Bytes(BYTES))
                .and_then(|okm| okm.fill(&mut derived))
                .ok()?,
        }
        Some(derived)
    }
}

/// The length of what HKDF is to yield.
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}
