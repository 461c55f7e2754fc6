//! Data packets: encrypted whole, since they have fields for what decryption needs.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::EncryptionAlgorithm;
use super::cipher::{Iv, Ivs};
use super::key_provider::KeyProvider;

/// An encrypted data packet.
#[derive(Debug, Clone)]
pub struct EncryptedPacket {
    /// The cipher text and its tag.
    pub data: Vec<u8>,
    /// The initialisation vector.
    pub iv: Vec<u8>,
    /// Which key.
    pub key_index: u32,
}

/// Encrypts and decrypts data packets.
#[derive(Clone)]
pub struct DataPacketCryptor {
    algorithm: EncryptionAlgorithm,
    keys: KeyProvider,
    ivs: Arc<Mutex<Ivs>>,
}

impl DataPacketCryptor {
    /// A cryptor that takes its keys from this provider.
    #[must_use]
    pub fn new(algorithm: EncryptionAlgorithm, key_provider: KeyProvider) -> Self {
        Self {
            algorithm,
            keys: key_provider,
            ivs: Arc::default(),
        }
    }

    /// Encrypts a packet of this participant.
    ///
    /// # Errors
    /// The participant has no such key, or the algorithm is not AES-GCM.
    pub fn encrypt(
        &self,
        participant_id: &str,
        key_index: u32,
        data: &[u8],
    ) -> Result<EncryptedPacket, Box<dyn Error>> {
        self.ensure_algorithm()?;
        let key = self
            .keys
            .key(participant_id, ring_index(key_index)?)
            .ok_or_else(|| no_key(participant_id, key_index))?;
        let iv = self.ivs.lock().next();
        let mut text = data.to_vec();
        key.seal(iv, &[], &mut text)
            .map_err(|_| "the data packet is too long to be encrypted: send less at once")?;
        Ok(EncryptedPacket {
            data: text,
            iv: iv.to_vec(),
            key_index,
        })
    }

    /// Decrypts a packet of this participant, whose key is moved on if that is what it takes.
    ///
    /// # Errors
    /// The participant has no such key, or another one, or the packet was changed on its way.
    pub fn decrypt(
        &self,
        participant_id: &str,
        encrypted_packet: &EncryptedPacket,
    ) -> Result<Vec<u8>, Box<dyn Error>> {
        self.ensure_algorithm()?;
        let EncryptedPacket {
            data,
            iv,
            key_index,
        } = encrypted_packet;
        let index = ring_index(*key_index)?;
        let iv: Iv = iv
            .as_slice()
            .try_into()
            .map_err(|_| "the data packet's initialisation vector has not 12 bytes")?;
        let key = self
            .keys
            .key(participant_id, index)
            .ok_or_else(|| no_key(participant_id, *key_index))?;
        if let Ok(text) = key.open(iv, &[], data) {
            return Ok(text);
        }
        for later in self.keys.later_keys(&key) {
            if let Ok(text) = later.open(iv, &[], data) {
                self.keys.adopt(participant_id, index, later);
                return Ok(text);
            }
        }
        Err(format!(
            "a data packet of {participant_id} can't be decrypted: its key {key_index} is another one than ours"
        )
        .into())
    }

    fn ensure_algorithm(&self) -> Result<(), Box<dyn Error>> {
        match self.algorithm {
            EncryptionAlgorithm::AesGcm => Ok(()),
            EncryptionAlgorithm::AesCbc => {
                Err("data is encrypted by AES-GCM alone: choose that algorithm".into())
            }
        }
    }
}

/// An index as key rings have it. What does not fit there is no key, and not the last one that was set.
fn ring_index(key_index: u32) -> Result<i32, Box<dyn Error>> {
    i32::try_from(key_index).map_err(|_| format!("there can be no key {key_index}").into())
}

fn no_key(participant_id: &str, key_index: u32) -> Box<dyn Error> {
    format!("{participant_id} has no key {key_index}: set it at the key provider").into()
}

impl fmt::Debug for DataPacketCryptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataPacketCryptor")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}
