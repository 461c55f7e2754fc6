//! The keys of one participant, by index.

use std::sync::Arc;

use super::cipher::Key;

/// What the original falls back to, and its limit.
const SIZE_DEFAULT: usize = 16;
const SIZE_MAX: usize = 256;
/// Stands for the key that was set last.
const CURRENT: i32 = -1;

/// As many keys as the options say.
#[derive(Debug, Clone)]
pub(super) struct KeyRing {
    keys: Vec<Option<Arc<Key>>>,
    current: usize,
}

impl KeyRing {
    pub fn new(size: i32) -> Self {
        let size = match usize::try_from(size) {
            Ok(0) | Err(_) => SIZE_DEFAULT,
            Ok(size) => size.min(SIZE_MAX),
        };
        Self {
            keys: vec![None; size],
            current: 0,
        }
    }

    /// The key of this index; −1 is the one that was set last.
    pub fn get(&self, index: i32) -> Option<&Arc<Key>> {
        let index = match index {
            CURRENT => self.current,
            index => usize::try_from(index).ok()?,
        };
        self.keys.get(index)?.as_ref()
    }

    /// Sets a key; beyond the end, the ring begins anew.
    pub fn set(&mut self, index: i32, key: Arc<Key>) {
        if let Ok(index) = usize::try_from(index) {
            self.current = index % self.keys.len();
        }
        self.keys[self.current] = Some(key);
    }
}
