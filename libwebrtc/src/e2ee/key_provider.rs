//! Where cryptors get their keys.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::cipher::Key;
use super::derivation::{Derivation, KeyDerivationAlgorithm};
use super::key_ring::KeyRing;

/// Ratchet steps that are tried at most, whatever the options say: each is worth tens of milliseconds.
const RATCHET_WINDOW_MAX: usize = 64;

/// How keys are kept.
#[derive(Debug, Clone)]
pub struct KeyProviderOptions {
    /// Whether all participants share a key.
    pub shared_key: bool,
    /// How many ratchet steps are tried on what can't be decrypted.
    pub ratchet_window_size: i32,
    /// The salt of the derivation.
    pub ratchet_salt: Vec<u8>,
    /// Failures in a row after which a key is given up until another one is set; negative is never.
    pub failure_tolerance: i32,
    /// Keys per participant.
    pub key_ring_size: i32,
    /// How keys are made of passwords.
    pub key_derivation_algorithm: KeyDerivationAlgorithm,
}

/// Keeps the keys of participants. Clones are the same provider.
///
/// Setting and ratcheting derive a key, which with PBKDF2 takes tens of milliseconds.
#[derive(Clone)]
pub struct KeyProvider {
    inner: Arc<Inner>,
}

struct Inner {
    shared_key: bool,
    key_ring_size: i32,
    failure_tolerance: i32,
    ratchet_window: usize,
    derivation: Derivation,
    keys: Mutex<Keys>,
    /// Later keys are being derived in the background.
    deriving: AtomicBool,
}

#[derive(Default)]
struct Keys {
    shared: Option<KeyRing>,
    /// Of those who have keys of their own; with a shared key, of those who have moved on from it.
    of_participants: HashMap<String, KeyRing>,
    sif_trailer: Vec<u8>,
}

impl Keys {
    /// The keys that a participant encrypts with.
    fn ring(&self, participant_id: &str) -> Option<&KeyRing> {
        self.of_participants
            .get(participant_id)
            .or(self.shared.as_ref())
    }
}

impl KeyProvider {
    /// A provider without keys.
    #[must_use]
    pub fn new(options: KeyProviderOptions) -> Self {
        Self {
            inner: Arc::new(Inner {
                shared_key: options.shared_key,
                key_ring_size: options.key_ring_size,
                failure_tolerance: options.failure_tolerance,
                ratchet_window: usize::try_from(options.ratchet_window_size)
                    .unwrap_or(0)
                    .min(RATCHET_WINDOW_MAX),
                derivation: Derivation {
                    algorithm: options.key_derivation_algorithm,
                    salt: options.ratchet_salt,
                },
                keys: Mutex::default(),
                deriving: AtomicBool::new(false),
            }),
        }
    }

    /// Sets the key of all participants; false if each is to have its own.
    #[allow(clippy::must_use_candidate)]
    pub fn set_shared_key(&self, key_index: i32, key: Vec<u8>) -> bool {
        if !self.inner.shared_key {
            return false;
        }
        let Some(key) = self.derive(key) else {
            return false;
        };
        self.share(key_index, &key);
        true
    }

    /// Moves the key of all participants on and returns the new one's material, to be told to others.
    #[must_use]
    pub fn ratchet_shared_key(&self, key_index: i32) -> Option<Vec<u8>> {
        let key = {
            let keys = self.inner.keys.lock();
            Arc::clone(keys.shared.as_ref()?.get(key_index)?)
        };
        let next = key.next(&self.inner.derivation)?;
        self.share(key_index, &next);
        Some(next.material().to_vec())
    }

    /// The material of the key of all participants.
    #[must_use]
    pub fn get_shared_key(&self, key_index: i32) -> Option<Vec<u8>> {
        let keys = self.inner.keys.lock();
        Some(keys.shared.as_ref()?.get(key_index)?.material().to_vec())
    }

    /// Sets the key of one participant.
    #[allow(clippy::must_use_candidate)]
    pub fn set_key(&self, participant_id: String, key_index: i32, key: Vec<u8>) -> bool {
        let Some(key) = self.derive(key) else {
            return false;
        };
        self.inner
            .keys
            .lock()
            .of_participants
            .entry(participant_id)
            .or_insert_with(|| KeyRing::new(self.inner.key_ring_size))
            .set(key_index, key);
        true
    }

    /// Moves the key of one participant on and returns the new one's material.
    #[must_use]
    pub fn ratchet_key(&self, participant_id: String, key_index: i32) -> Option<Vec<u8>> {
        let next = self
            .key(&participant_id, key_index)?
            .next(&self.inner.derivation)?;
        let material = next.material().to_vec();
        self.adopt(&participant_id, key_index, next);
        Some(material)
    }

    /// The material of the key of one participant.
    #[must_use]
    pub fn get_key(&self, participant_id: String, key_index: i32) -> Option<Vec<u8>> {
        Some(self.key(&participant_id, key_index)?.material().to_vec())
    }

    /// How frames end that the server put in unencrypted; they are heard as silence, whatever is in them.
    pub fn set_sif_trailer(&self, trailer: Vec<u8>) {
        self.inner.keys.lock().sif_trailer = trailer;
    }

    pub(super) fn key(&self, participant_id: &str, key_index: i32) -> Option<Arc<Key>> {
        let keys = self.inner.keys.lock();
        keys.ring(participant_id)?.get(key_index).cloned()
    }

    pub(super) fn is_injected(&self, frame: &[u8]) -> bool {
        let keys = self.inner.keys.lock();
        !keys.sif_trailer.is_empty() && frame.ends_with(&keys.sif_trailer)
    }

    pub(super) fn failure_tolerance(&self) -> Option<u32> {
        u32::try_from(self.inner.failure_tolerance).ok()
    }

    /// The keys that this one may have been moved on to, each derived when it is asked for.
    pub(super) fn later_keys(&self, key: &Arc<Key>) -> impl Iterator<Item = Arc<Key>> {
        let first = Arc::clone(key);
        std::iter::successors(Some(first), |key| key.next(&self.inner.derivation))
            .skip(1)
            .take(self.inner.ratchet_window)
    }

    /// Those of them that are derived already. The others are derived in the background.
    pub(super) fn known_later_keys(&self, key: &Arc<Key>) -> impl Iterator<Item = Arc<Key>> {
        let known = std::iter::successors(key.known_next(), |key| key.known_next())
            .take(self.inner.ratchet_window);
        if known.clone().count() < self.inner.ratchet_window {
            self.derive_later_keys(Arc::clone(key));
        }
        known
    }

    /// A participant has moved on to this key.
    pub(super) fn adopt(&self, participant_id: &str, key_index: i32, key: Arc<Key>) {
        let mut keys = self.inner.keys.lock();
        if !keys.of_participants.contains_key(participant_id) {
            let Some(shared) = keys.shared.clone() else {
                return;
            };
            keys.of_participants
                .insert(participant_id.to_owned(), shared);
        }
        if let Some(ring) = keys.of_participants.get_mut(participant_id) {
            ring.set(key_index, key);
        }
    }

    fn derive(&self, material: Vec<u8>) -> Option<Arc<Key>> {
        Key::derive(material, &self.inner.derivation).map(Arc::new)
    }

    fn share(&self, key_index: i32, key: &Arc<Key>) {
        let mut keys = self.inner.keys.lock();
        keys.shared
            .get_or_insert_with(|| KeyRing::new(self.inner.key_ring_size))
            .set(key_index, Arc::clone(key));
        for ring in keys.of_participants.values_mut() {
            ring.set(key_index, Arc::clone(key));
        }
    }

    /// Derives on a thread of its own, one at a time, since whoever asks can't wait.
    fn derive_later_keys(&self, key: Arc<Key>) {
        if self.inner.deriving.swap(true, Ordering::AcqRel) {
            return;
        }
        let provider = self.clone();
        let started = std::thread::Builder::new()
            .name("e2ee-keys".to_owned())
            .spawn(move || {
                provider.later_keys(&key).for_each(drop);
                provider.inner.deriving.store(false, Ordering::Release);
            });
        if let Err(error) = started {
            self.inner.deriving.store(false, Ordering::Release);
            log::warn!("later keys can't be derived: {error}");
        }
    }
}

impl fmt::Debug for KeyProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyProvider")
            .field("shared_key", &self.inner.shared_key)
            .finish_non_exhaustive()
    }
}
