//! End-to-end encryption of sound and data, as LiveKit's other SDKs do it.
//!
//! Keys are derived from passwords or key material ([`KeyProvider`]) and moved on by ratcheting. An audio frame travels
//! as its first byte in clear, AES-128-GCM over the rest, the initialisation vector, its length and the key's index
//! ([`FrameCryptor`]); a data packet carries the same parts in fields of its own ([`DataPacketCryptor`]).
//!
//! Sealing and opening happen where the frame is anyway, on the audio thread and the driver; deriving a key takes tens of
//! milliseconds and never happens there.

mod cipher;
mod data_packets;
mod derivation;
mod frames;
mod key_provider;
mod key_ring;
#[cfg(test)]
mod tests;

pub use data_packets::{DataPacketCryptor, EncryptedPacket};
pub use derivation::KeyDerivationAlgorithm;
pub(crate) use frames::{FrameCipher, Sealed};
pub use frames::{FrameCryptor, OnStateChange};
pub use key_provider::{KeyProvider, KeyProviderOptions};

/// The cipher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncryptionAlgorithm {
    /// AES-GCM.
    AesGcm,
    /// AES-CBC, which no LiveKit client uses: whatever asks for it fails.
    AesCbc,
}

/// How a cryptor fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncryptionState {
    /// Nothing has happened.
    New,
    /// It works.
    Ok,
    /// Encrypting failed; the frame was not sent.
    EncryptionFailed,
    /// Decrypting failed; the frame is not heard.
    DecryptionFailed,
    /// There is no key; frames are neither sent nor heard.
    MissingKey,
    /// The sender has moved its key on, and so did we.
    KeyRatcheted,
    /// It can't work.
    InternalError,
}
