//! Behaviour of keys, frames and data packets; the vectors were made with Python's `hashlib`.
#![allow(clippy::unwrap_used, clippy::panic)] // That is how a test fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use super::derivation::Derivation;
use super::*;

const SALT: &[u8] = b"LKFrameEncryptionKey";
const OPUS: &[u8] = &[0x78, 1, 2, 3, 4, 5, 6, 7, 8];

fn options(shared_key: bool) -> KeyProviderOptions {
    KeyProviderOptions {
        shared_key,
        ratchet_window_size: 4,
        ratchet_salt: SALT.to_vec(),
        failure_tolerance: -1,
        key_ring_size: 16,
        // The faster one; the other differs in the derivation alone.
        key_derivation_algorithm: KeyDerivationAlgorithm::HKDF,
    }
}

fn shared(secret: &[u8]) -> KeyProvider {
    let keys = KeyProvider::new(options(true));
    assert!(keys.set_shared_key(0, secret.to_vec()));
    keys
}

/// A cryptor of a track without the track, and the states that it reports.
fn cipher(keys: &KeyProvider) -> (FrameCipher, Arc<Mutex<Vec<EncryptionState>>>) {
    let cipher = FrameCipher::new("anna".to_owned(), EncryptionAlgorithm::AesGcm, keys.clone());
    let states = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&states);
    cipher.observe(Some(Box::new(move |_, state| told.lock().push(state))));
    cipher.switch(true);
    (cipher, states)
}

fn sealed(cipher: &FrameCipher) -> Bytes {
    match cipher.seal(OPUS) {
        Sealed::As(sealed) => sealed.into(),
        other => panic!("{other:?}"),
    }
}

fn data(keys: &KeyProvider) -> DataPacketCryptor {
    DataPacketCryptor::new(EncryptionAlgorithm::AesGcm, keys.clone())
}

#[test]
fn keys_are_derived_as_other_clients_derive_them() {
    let derived = |algorithm| {
        let salt = SALT.to_vec();
        let key = Derivation { algorithm, salt }.derive::<16>(b"password");
        u128::from_be_bytes(key.unwrap())
    };
    assert_eq!(
        derived(KeyDerivationAlgorithm::PBKDF2),
        0x4218_90b1_5575_04a8_ea1a_90c2_53b4_19e4
    );
    assert_eq!(
        derived(KeyDerivationAlgorithm::HKDF),
        0xba01_b33c_a655_75da_0ac4_3ec4_5570_668c
    );
}

#[test]
fn a_frame_that_is_sealed_can_be_opened_with_the_same_key_and_with_no_other() {
    let (sender, states) = cipher(&shared(b"secret"));
    let frame = sealed(&sender);
    assert_eq!(frame[0], OPUS[0], "the first byte stays in clear");
    assert_eq!(frame.len(), OPUS.len() + 16 + 12 + 2);
    assert_eq!(frame[frame.len() - 2..], [12, 0]);
    assert_ne!(sealed(&sender), frame, "no vector is used twice");

    let (receiver, _) = cipher(&shared(b"secret"));
    assert_eq!(receiver.open(frame.clone()).unwrap(), OPUS);
    let (stranger, refusals) = cipher(&shared(b"another"));
    assert_eq!(stranger.open(frame), None);
    assert_eq!(*states.lock(), [EncryptionState::Ok]);
    assert_eq!(*refusals.lock(), [EncryptionState::DecryptionFailed]);
}

#[test]
fn a_frame_without_a_key_is_not_sent_and_one_in_clear_is_not_heard() {
    let (cipher, states) = cipher(&KeyProvider::new(options(true)));
    assert_eq!(cipher.seal(OPUS), Sealed::Withheld);
    assert_eq!(*states.lock(), [EncryptionState::MissingKey]);
    assert_eq!(cipher.open(Bytes::from_static(OPUS)), None);
}

#[test]
fn a_frame_that_was_changed_is_not_heard() {
    let keys = shared(b"secret");
    let (sender, _) = cipher(&keys);
    let frame = sealed(&sender);
    let (receiver, _) = cipher(&keys);
    for at in 0..frame.len() {
        let mut changed = frame.to_vec();
        changed[at] ^= 1;
        assert_eq!(receiver.open(changed.into()), None, "byte {at}");
    }
    for length in 0..frame.len() {
        assert_eq!(receiver.open(frame.slice(..length)), None, "{length} bytes");
    }
    assert!(receiver.open(frame).is_some());
}

#[test]
fn frames_are_heard_again_when_their_sender_has_moved_its_key_on() {
    let (ours, theirs) = (shared(b"secret"), shared(b"secret"));
    let (sender, _) = cipher(&theirs);
    let (receiver, states) = cipher(&ours);
    assert!(receiver.open(sealed(&sender)).is_some());
    let material = theirs.ratchet_shared_key(0).unwrap();
    assert_eq!(theirs.get_shared_key(0).unwrap(), material);
    // The first ones are lost: the keys are derived meanwhile.
    let patience = Instant::now() + Duration::from_secs(20);
    while receiver.open(sealed(&sender)).is_none() {
        assert!(Instant::now() < patience, "the key was not found");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(receiver.open(sealed(&sender)).is_some());
    assert_eq!(states.lock().last(), Some(&EncryptionState::Ok));
    assert!(states.lock().contains(&EncryptionState::KeyRatcheted));
    assert_eq!(ours.get_key("anna".to_owned(), 0).unwrap(), material);
    assert_ne!(ours.get_key("bert".to_owned(), 0).unwrap(), material);
}

#[test]
fn a_key_that_fails_too_often_is_given_up_until_there_is_another() {
    let keys = KeyProvider::new(KeyProviderOptions {
        failure_tolerance: 2,
        ratchet_window_size: 0,
        ..options(true)
    });
    keys.set_shared_key(0, b"wrong".to_vec());
    let (sender, _) = cipher(&shared(b"secret"));
    let (receiver, _) = cipher(&keys);
    for _ in 0..5 {
        assert_eq!(receiver.open(sealed(&sender)), None);
    }
    keys.set_shared_key(0, b"secret".to_vec());
    assert!(receiver.open(sealed(&sender)).is_some());
}

#[test]
fn what_the_server_puts_in_is_heard_as_silence() {
    let keys = shared(b"secret");
    let (receiver, _) = cipher(&keys);
    let injected = Bytes::from_static(b"\x78say thisTRAILER");
    assert_eq!(receiver.open(injected.clone()), None);
    keys.set_sif_trailer(b"TRAILER".to_vec());
    assert_eq!(receiver.open(injected).unwrap(), [0xf8, 0xff, 0xfe][..]);
}

#[test]
fn a_participant_has_keys_of_its_own_if_they_are_not_shared() {
    let keys = KeyProvider::new(options(false));
    assert!(!keys.set_shared_key(0, b"secret".to_vec()));
    keys.set_key("anna".to_owned(), 3, b"hers".to_vec());
    keys.set_key("bert".to_owned(), 3, b"his".to_vec());
    let cryptor = data(&keys);
    let packet = cryptor.encrypt("anna", 3, b"hello").unwrap();
    assert_eq!(cryptor.decrypt("anna", &packet).unwrap(), b"hello");
    assert!(cryptor.decrypt("bert", &packet).is_err());
    assert!(cryptor.encrypt("anna", 4, b"hello").is_err());
    assert!(cryptor.encrypt("anna", u32::MAX, b"hello").is_err());
    assert!(cryptor.encrypt("carl", 3, b"hello").is_err());
    let moved_on = keys.ratchet_key("anna".to_owned(), 3).unwrap();
    assert_eq!(keys.get_key("anna".to_owned(), 3).unwrap(), moved_on);
    assert_eq!(keys.get_key("bert".to_owned(), 3).unwrap(), b"his");
}

#[test]
fn data_is_decrypted_although_its_sender_has_moved_its_key_on() {
    let (ours, theirs) = (shared(b"secret"), shared(b"secret"));
    let (sender, receiver) = (data(&theirs), data(&ours));
    for _ in 0..3 {
        let _material = theirs.ratchet_shared_key(0).unwrap();
    }
    let packet = sender.encrypt("anna", 0, b"hello").unwrap();
    assert_eq!(receiver.decrypt("anna", &packet).unwrap(), b"hello");
    let mut changed = sender.encrypt("anna", 0, b"hello").unwrap();
    changed.data[0] ^= 1;
    assert!(receiver.decrypt("anna", &changed).is_err());
    changed.iv.push(0);
    assert!(receiver.decrypt("anna", &changed).is_err());
}

#[test]
fn other_algorithms_are_refused() {
    let keys = shared(b"secret");
    let refused = DataPacketCryptor::new(EncryptionAlgorithm::AesCbc, keys.clone())
        .encrypt("anna", 0, b"hello")
        .unwrap_err();
    assert!(refused.to_string().contains("AES-GCM"));
    let cipher = FrameCipher::new("anna".to_owned(), EncryptionAlgorithm::AesCbc, keys);
    cipher.switch(true);
    assert_eq!(cipher.seal(OPUS), Sealed::Withheld);
}
