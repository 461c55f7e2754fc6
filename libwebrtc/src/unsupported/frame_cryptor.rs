//! End-to-end encryption: not supported, and made safe by sending nothing.
//!
//! A media sender that is to be encrypted is withheld: its track stays silent rather than
//! leave unencrypted. Encrypting a data packet is an error.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use parking_lot::Mutex;

use crate::native::packet_trailer::PacketTrailerHandler;
use crate::peer_connection_factory::PeerConnectionFactory;
use crate::rtp_receiver::RtpReceiver;
use crate::rtp_sender::RtpSender;

/// Called with the participant and each new state.
pub type OnStateChange = Box<dyn FnMut(String, EncryptionState) + Send + Sync>;

/// How keys are made of passwords.
#[derive(Copy, Clone, Debug)]
#[non_exhaustive]
pub enum KeyDerivationAlgorithm {
    /// PBKDF2.
    PBKDF2,
    /// HKDF.
    HKDF,
}

/// How keys are kept.
#[derive(Debug, Clone)]
pub struct KeyProviderOptions {
    /// Whether all participants share a key.
    pub shared_key: bool,
    /// How many ratchet steps are tried.
    pub ratchet_window_size: i32,
    /// The salt of the derivation.
    pub ratchet_salt: Vec<u8>,
    /// Failures after which a key is given up.
    pub failure_tolerance: i32,
    /// Keys per participant.
    pub key_ring_size: i32,
    /// How keys are made of passwords.
    pub key_derivation_algorithm: KeyDerivationAlgorithm,
}

/// The cipher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncryptionAlgorithm {
    /// AES-GCM.
    AesGcm,
    /// AES-CBC.
    AesCbc,
}

/// How a cryptor fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncryptionState {
    /// Nothing has happened.
    New,
    /// It works.
    Ok,
    /// Encrypting failed.
    EncryptionFailed,
    /// Decrypting failed.
    DecryptionFailed,
    /// There is no key.
    MissingKey,
    /// The key was moved on.
    KeyRatcheted,
    /// It can't work: the state of every cryptor here.
    InternalError,
}

/// An encrypted data packet.
#[derive(Debug, Clone)]
pub struct EncryptedPacket {
    /// The cipher text.
    pub data: Vec<u8>,
    /// The initialisation vector.
    pub iv: Vec<u8>,
    /// Which key.
    pub key_index: u32,
}

/// Keys by participant, if not of all, and index.
type Keys = HashMap<(Option<String>, i32), Vec<u8>>;

/// Keeps keys, which nothing uses.
#[derive(Clone)]
pub struct KeyProvider {
    keys: Arc<Mutex<Keys>>,
}

impl KeyProvider {
    /// A provider without keys.
    #[must_use]
    pub fn new(_options: KeyProviderOptions) -> Self {
        Self {
            keys: Arc::default(),
        }
    }

    /// Keeps the key of all participants.
    #[allow(clippy::must_use_candidate)]
    pub fn set_shared_key(&self, key_index: i32, key: Vec<u8>) -> bool {
        self.keys.lock().insert((None, key_index), key);
        true
    }

    /// Nothing: keys can't be moved on.
    #[must_use]
    pub fn ratchet_shared_key(&self, _key_index: i32) -> Option<Vec<u8>> {
        None
    }

    /// The key of all participants.
    #[must_use]
    pub fn get_shared_key(&self, key_index: i32) -> Option<Vec<u8>> {
        self.keys.lock().get(&(None, key_index)).cloned()
    }

    /// Keeps the key of one participant.
    #[allow(clippy::must_use_candidate)]
    pub fn set_key(&self, participant_id: String, key_index: i32, key: Vec<u8>) -> bool {
        self.keys
            .lock()
            .insert((Some(participant_id), key_index), key);
        true
    }

    /// Nothing: keys can't be moved on.
    #[must_use]
    pub fn ratchet_key(&self, _participant_id: String, _key_index: i32) -> Option<Vec<u8>> {
        None
    }

    /// The key of one participant.
    #[must_use]
    pub fn get_key(&self, participant_id: String, key_index: i32) -> Option<Vec<u8>> {
        self.keys
            .lock()
            .get(&(Some(participant_id), key_index))
            .cloned()
    }

    /// Has no effect.
    pub fn set_sif_trailer(&self, _trailer: Vec<u8>) {}
}

/// Would encrypt or decrypt a track's frames; withholds a sender's instead.
#[derive(Clone)]
pub struct FrameCryptor {
    participant_id: String,
    sender: Option<RtpSender>,
    enabled: Arc<AtomicBool>,
    key_index: Arc<AtomicI32>,
}

impl FrameCryptor {
    /// A cryptor of a sender. Once it is enabled, the sender sends nothing any more.
    #[must_use]
    pub fn new_for_rtp_sender(
        _peer_factory: &PeerConnectionFactory,
        participant_id: String,
        _algorithm: EncryptionAlgorithm,
        _key_provider: KeyProvider,
        sender: RtpSender,
    ) -> Self {
        Self::new(participant_id, Some(sender))
    }

    /// A cryptor of a receiver. What it receives stays unintelligible.
    #[must_use]
    pub fn new_for_rtp_receiver(
        _peer_factory: &PeerConnectionFactory,
        participant_id: String,
        _algorithm: EncryptionAlgorithm,
        _key_provider: KeyProvider,
        _receiver: RtpReceiver,
    ) -> Self {
        Self::new(participant_id, None)
    }

    fn new(participant_id: String, sender: Option<RtpSender>) -> Self {
        Self {
            participant_id,
            sender,
            enabled: Arc::default(),
            key_index: Arc::default(),
        }
    }

    /// Switches encryption on, which withholds the sender's media for good.
    pub fn set_enabled(&self, enabled: bool) {
        self.enabled.store(enabled, Ordering::Relaxed);
        if let Some(sender) = self.sender.as_ref().filter(|_| enabled) {
            log::error!(
                "media of {} is withheld: it is to be encrypted end to end, which is not supported; turn e2ee off",
                self.participant_id
            );
            sender.handle.withhold();
        }
    }

    /// Whether it is switched on.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }

    /// Remembers which key to use.
    pub fn set_key_index(&self, index: i32) {
        self.key_index.store(index, Ordering::Relaxed);
    }

    /// The remembered key.
    #[must_use]
    pub fn key_index(&self) -> i32 {
        self.key_index.load(Ordering::Relaxed)
    }

    /// The participant.
    #[must_use]
    pub fn participant_id(&self) -> String {
        self.participant_id.clone()
    }

    /// Tells the handler at once that this cryptor can't work.
    pub fn on_state_change(&self, handler: Option<OnStateChange>) {
        if let Some(mut handler) = handler {
            handler(self.participant_id.clone(), EncryptionState::InternalError);
        }
    }

    /// Has no effect.
    pub fn set_packet_trailer_handler(&self, _handler: &PacketTrailerHandler) {}
}

/// Would encrypt and decrypt data packets.
#[derive(Clone)]
pub struct DataPacketCryptor {}

const UNSUPPORTED: &str =
    "end-to-end encryption is not supported by this implementation: connect without it";

impl DataPacketCryptor {
    /// A cryptor that refuses.
    #[must_use]
    pub fn new(_algorithm: EncryptionAlgorithm, _key_provider: KeyProvider) -> Self {
        Self {}
    }

    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub fn encrypt(
        &self,
        _participant_id: &str,
        _key_index: u32,
        _data: &[u8],
    ) -> Result<EncryptedPacket, Box<dyn std::error::Error>> {
        Err(UNSUPPORTED.into())
    }

    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub fn decrypt(
        &self,
        _participant_id: &str,
        _encrypted_packet: &EncryptedPacket,
    ) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        Err(UNSUPPORTED.into())
    }
}
