//! AES-128-GCM, and keys that know their successors.

use std::fmt;
use std::sync::{Arc, OnceLock};

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::derivation::Derivation;

/// The length of an initialisation vector.
pub(super) const IV_BYTES: usize = NONCE_LEN;
/// What the cipher adds to a text.
pub(super) const TAG_BYTES: usize = 16;

/// What a ratchet step derives: the next key's material.
const MATERIAL_BYTES: usize = 32;
/// What encrypts.
const KEY_BYTES: usize = 16;

/// An initialisation vector.
pub(super) type Iv = [u8; IV_BYTES];

/// Initialisation vectors that don't repeat: a random half that others don't share, and a count.
#[derive(Debug)]
pub(super) struct Ivs {
    /// Whose they are, among all that encrypt with the same shared key.
    prefix: u64,
    count: u32,
}

impl Default for Ivs {
    fn default() -> Self {
        Self {
            prefix: rand::random(),
            count: 0,
        }
    }
}

impl Ivs {
    pub fn next(&mut self) -> Iv {
        self.count = self.count.wrapping_add(1);
        if self.count == 0 {
            self.prefix = rand::random();
        }
        let mut iv = [0; IV_BYTES];
        iv[..8].copy_from_slice(&self.prefix.to_be_bytes());
        iv[8..].copy_from_slice(&self.count.to_be_bytes());
        iv
    }
}

/// A key, the material that it was derived from, and the keys that ratcheting leads to, once each was asked for.
pub(super) struct Key {
    material: Vec<u8>,
    cipher: LessSafeKey,
    next: OnceLock<Option<Arc<Key>>>,
}

impl Key {
    /// Derives the key; this takes its time.
    pub fn derive(material: Vec<u8>, derivation: &Derivation) -> Option<Self> {
        let key = derivation.derive::<KEY_BYTES>(&material)?;
        Some(Self {
            material,
            cipher: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).ok()?),
            next: OnceLock::new(),
        })
    }

    pub fn material(&self) -> &[u8] {
        &self.material
    }

    /// The key after this one. Only the first call takes its time.
    pub fn next(&self, derivation: &Derivation) -> Option<Arc<Self>> {
        self.next
            .get_or_init(|| {
                let material = derivation.derive::<MATERIAL_BYTES>(&self.material)?;
                Self::derive(material.to_vec(), derivation).map(Arc::new)
            })
            .clone()
    }

    /// The key after this one, if it was derived already.
    pub fn known_next(&self) -> Option<Arc<Self>> {
        self.next.get().cloned().flatten()
    }

    /// Encrypts `text` in place and appends the tag.
    pub fn seal(&self, iv: Iv, clear: &[u8], text: &mut Vec<u8>) -> Result<(), Failed> {
        self.cipher
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(iv), Aad::from(clear), text)
            .map_err(|_| Failed)
    }

    /// Decrypts a text with its tag.
    pub fn open(&self, iv: Iv, clear: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Failed> {
        let mut text = sealed.to_vec();
        let length = self
            .cipher
            .open_in_place(
                Nonce::assume_unique_for_key(iv),
                Aad::from(clear),
                &mut text,
            )
            .map_err(|_| Failed)?
            .len();
        text.truncate(length);
        Ok(text)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// The cipher refused: for decryption, that is another key or a changed text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failed;
