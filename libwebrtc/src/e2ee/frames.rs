//! Audio frames: each is sealed after the encoder and opened before the jitter buffer.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::cipher::{IV_BYTES, Iv, Ivs, Key, TAG_BYTES};
use super::key_provider::KeyProvider;
use super::{EncryptionAlgorithm, EncryptionState};
use crate::native::packet_trailer::PacketTrailerHandler;
use crate::pc::{Callback, TransceiverHandle};
use crate::peer_connection_factory::PeerConnectionFactory;
use crate::rtp_receiver::RtpReceiver;
use crate::rtp_sender::RtpSender;

/// Bytes of an Opus packet that stay readable: the one that tells its duration, which relays look at.
const CLEAR_BYTES: usize = 1;
/// After the initialisation vector: its length, and the index of the key.
const TRAILER_BYTES: usize = 2;
/// What sealing adds to a frame.
const OVERHEAD_BYTES: usize = TAG_BYTES + IV_BYTES + TRAILER_BYTES;
/// An Opus packet of 20 ms of silence.
const SILENCE: &[u8] = &[0xf8, 0xff, 0xfe];

/// Called with the participant and each new state.
pub type OnStateChange = Box<dyn FnMut(String, EncryptionState) + Send + Sync>;

/// Encrypts or decrypts the frames of a track. Clones are the same cryptor.
///
/// While it is enabled and can't do its work, nothing is sent or heard.
#[derive(Clone)]
pub struct FrameCryptor {
    cipher: Arc<FrameCipher>,
}

impl FrameCryptor {
    /// A cryptor of a sender.
    #[must_use]
    pub fn new_for_rtp_sender(
        _peer_factory: &PeerConnectionFactory,
        participant_id: String,
        algorithm: EncryptionAlgorithm,
        key_provider: KeyProvider,
        sender: RtpSender,
    ) -> Self {
        Self::attach(
            FrameCipher::new(participant_id, algorithm, key_provider),
            |cipher| sender.handle.seal_with(cipher),
        )
    }

    /// A cryptor of a receiver.
    #[must_use]
    pub fn new_for_rtp_receiver(
        _peer_factory: &PeerConnectionFactory,
        participant_id: String,
        algorithm: EncryptionAlgorithm,
        key_provider: KeyProvider,
        receiver: RtpReceiver,
    ) -> Self {
        Self::attach(
            FrameCipher::new(participant_id, algorithm, key_provider),
            |cipher| TransceiverHandle::open_with(&receiver.handle, cipher),
        )
    }

    fn attach(cipher: FrameCipher, attach: impl FnOnce(Arc<FrameCipher>)) -> Self {
        let cipher = Arc::new(cipher);
        attach(Arc::clone(&cipher));
        Self { cipher }
    }

    /// Switches encryption on or off; off, frames pass as they are.
    pub fn set_enabled(&self, enabled: bool) {
        self.cipher.switch(enabled);
    }

    /// Whether it is switched on.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.cipher.enabled.load(Ordering::Relaxed)
    }

    /// Chooses the key to encrypt with.
    pub fn set_key_index(&self, index: i32) {
        self.cipher.key_index.store(index, Ordering::Relaxed);
    }

    /// The key to encrypt with.
    #[must_use]
    pub fn key_index(&self) -> i32 {
        self.cipher.key_index.load(Ordering::Relaxed)
    }

    /// The participant.
    #[must_use]
    pub fn participant_id(&self) -> String {
        self.cipher.participant_id.clone()
    }

    /// Calls the handler with each new state, on a thread that it must not block.
    pub fn on_state_change(&self, handler: Option<OnStateChange>) {
        self.cipher.observe(handler);
    }

    /// Has no effect: trailers are a matter of video.
    pub fn set_packet_trailer_handler(&self, _handler: &PacketTrailerHandler) {}
}

impl fmt::Debug for FrameCryptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameCryptor")
            .field("participant_id", &self.cipher.participant_id)
            .field("enabled", &self.enabled())
            .finish_non_exhaustive()
    }
}

/// What becomes of a frame that is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sealed {
    /// It goes as it is: encryption is off.
    AsItIs,
    /// It goes encrypted.
    As(Vec<u8>),
    /// It must not go.
    Withheld,
}

/// The cryptor as a sender or receiver has it: called for one frame after the other.
pub(crate) struct FrameCipher {
    participant_id: String,
    algorithm: EncryptionAlgorithm,
    keys: KeyProvider,
    enabled: AtomicBool,
    key_index: AtomicI32,
    ivs: Mutex<Ivs>,
    progress: Mutex<Progress>,
    on_state_change: Callback<OnStateChange>,
}

struct Progress {
    state: EncryptionState,
    /// How often in a row this key has failed.
    failures: Option<(Arc<Key>, u32)>,
}

impl FrameCipher {
    pub fn new(participant_id: String, algorithm: EncryptionAlgorithm, keys: KeyProvider) -> Self {
        Self {
            participant_id,
            algorithm,
            keys,
            enabled: AtomicBool::new(false),
            key_index: AtomicI32::new(0),
            ivs: Mutex::default(),
            progress: Mutex::new(Progress {
                state: EncryptionState::New,
                failures: None,
            }),
            on_state_change: Callback::default(),
        }
    }

    pub fn switch(&self, enabled: bool) {
        self.enabled.store(enabled, Ordering::Relaxed);
    }

    pub fn observe(&self, handler: Option<OnStateChange>) {
        self.on_state_change.set(handler);
    }

    /// Encrypts an encoded frame.
    pub fn seal(&self, frame: &[u8]) -> Sealed {
        if !self.enabled.load(Ordering::Relaxed) {
            return Sealed::AsItIs;
        }
        let (state, sealed) = match self.sealed(frame) {
            Ok(sealed) => (EncryptionState::Ok, Sealed::As(sealed)),
            Err(state) => (state, Sealed::Withheld),
        };
        self.report(state);
        sealed
    }

    fn sealed(&self, frame: &[u8]) -> Result<Vec<u8>, EncryptionState> {
        let index = self.key_index.load(Ordering::Relaxed);
        let key = self.keys.key(&self.participant_id, index);
        let key = key.ok_or(EncryptionState::MissingKey)?;
        // The index has one byte of the frame.
        let index = u8::try_from(index).map_err(|_| EncryptionState::MissingKey)?;
        if self.algorithm != EncryptionAlgorithm::AesGcm {
            return Err(EncryptionState::EncryptionFailed);
        }
        let (clear, text) = frame
            .split_at_checked(CLEAR_BYTES)
            .ok_or(EncryptionState::EncryptionFailed)?;
        let mut text = text.to_vec();
        let iv = self.ivs.lock().next();
        key.seal(iv, clear, &mut text)
            .map_err(|_| EncryptionState::EncryptionFailed)?;
        let mut sealed = Vec::with_capacity(frame.len() + OVERHEAD_BYTES);
        sealed.extend_from_slice(clear);
        sealed.extend_from_slice(&text);
        sealed.extend_from_slice(&iv);
        sealed.extend_from_slice(&[IV_BYTES as u8, index]);
        Ok(sealed)
    }

    /// Decrypts a received frame; none if it must not be heard.
    pub fn open(&self, frame: Bytes) -> Option<Bytes> {
        if !self.enabled.load(Ordering::Relaxed) {
            return Some(frame);
        }
        if self.keys.is_injected(&frame) {
            return Some(Bytes::from_static(SILENCE));
        }
        match self.opened(&frame) {
            Ok((state, opened)) => {
                self.report(state);
                Some(opened)
            }
            Err(state) => {
                self.report(state);
                None
            }
        }
    }

    fn opened(&self, frame: &[u8]) -> Result<(EncryptionState, Bytes), EncryptionState> {
        let failed = EncryptionState::DecryptionFailed;
        if self.algorithm != EncryptionAlgorithm::AesGcm {
            return Err(failed);
        }
        let parts = Parts::of(frame).ok_or(failed)?;
        let index = i32::from(parts.key_index);
        let key = self.keys.key(&self.participant_id, index);
        let key = key.ok_or(EncryptionState::MissingKey)?;
        if self.has_given_up(&key) {
            return Err(failed);
        }
        if let Some(opened) = parts.open(&key) {
            self.progress.lock().failures = None;
            return Ok((EncryptionState::Ok, opened));
        }
        for later in self.keys.known_later_keys(&key) {
            if let Some(opened) = parts.open(&later) {
                self.keys.adopt(&self.participant_id, index, later);
                return Ok((EncryptionState::KeyRatcheted, opened));
            }
        }
        self.count_failure(key);
        Err(failed)
    }

    /// Whether this key has failed more often than it may.
    fn has_given_up(&self, key: &Arc<Key>) -> bool {
        let Some(tolerance) = self.keys.failure_tolerance() else {
            return false;
        };
        let progress = self.progress.lock();
        progress
            .failures
            .as_ref()
            .is_some_and(|(failing, times)| Arc::ptr_eq(failing, key) && *times > tolerance)
    }

    fn count_failure(&self, key: Arc<Key>) {
        let mut progress = self.progress.lock();
        let times = match &progress.failures {
            Some((failing, times)) if Arc::ptr_eq(failing, &key) => times.saturating_add(1),
            _ => 1,
        };
        progress.failures = Some((key, times));
    }

    fn report(&self, state: EncryptionState) {
        let former = std::mem::replace(&mut self.progress.lock().state, state);
        if former != state {
            self.on_state_change
                .call(|handler| handler(self.participant_id.clone(), state));
        }
    }
}

/// A sealed frame, taken apart.
struct Parts<'a> {
    clear: &'a [u8],
    sealed: &'a [u8],
    iv: Iv,
    key_index: u8,
}

impl<'a> Parts<'a> {
    fn of(frame: &'a [u8]) -> Option<Self> {
        let (rest, &[iv_bytes, key_index]) = frame.split_last_chunk::<TRAILER_BYTES>()?;
        if usize::from(iv_bytes) != IV_BYTES {
            return None;
        }
        let (rest, &iv) = rest.split_last_chunk::<IV_BYTES>()?;
        let (clear, sealed) = rest.split_at_checked(CLEAR_BYTES)?;
        Some(Self {
            clear,
            sealed,
            iv,
            key_index,
        })
    }

    fn open(&self, key: &Key) -> Option<Bytes> {
        let text = key.open(self.iv, self.clear, self.sealed).ok()?;
        let mut frame = Vec::with_capacity(CLEAR_BYTES + text.len());
        frame.extend_from_slice(self.clear);
        frame.extend_from_slice(&text);
        Some(frame.into())
    }
}
