//! Sound and reports, as they are after decryption.

use std::time::Instant;

use bytes::Bytes;

use super::Source;
use crate::audio::{Frame, Playout, PlayoutStats, RtpAudio, TICK};
use crate::core::rename_unknown_items;
use crate::e2ee::{
    DataPacketCryptor, EncryptedPacket, EncryptionAlgorithm, FrameCipher, KeyDerivationAlgorithm,
    KeyProvider, KeyProviderOptions, Sealed,
};

/// Packets in any order, of any source and age, some beats apart; every beat must yield its sound.
pub fn playout(data: &[u8]) {
    let Ok(mut playout) = Playout::new(PlayoutStats::default()) else {
        return;
    };
    let mut source = Source(data);
    let mut now = Instant::now();
    let mut frame = Frame::SILENT;
    let (mut seq, mut timestamp) = (0_u16, 0_u32);
    let mut beats = 0_u64;
    while !source.is_empty() {
        let kind = source.byte();
        match kind & 0b11 {
            // The next packet, or one that a sender of sound could send.
            0 => (seq, timestamp) = (seq.wrapping_add(1), timestamp.wrapping_add(960)),
            1 => (seq, timestamp) = (seq.wrapping_sub(3), timestamp.wrapping_sub(3 * 960)),
            // One that follows nothing.
            2 => (seq, timestamp) = (source.u16(), source.u32()),
            _ => timestamp = timestamp.wrapping_add(u32::from(source.u16())),
        }
        let length = usize::from(source.byte());
        playout.insert(RtpAudio {
            ssrc: u32::from(kind >> 2 & 1),
            seq,
            timestamp,
            marker: kind & 0b1000 != 0,
            payload: Bytes::copy_from_slice(source.take(length)),
            arrival: now,
            resent: kind & 0b1000 != 0,
        });
        for _ in 0..kind >> 4 {
            now += TICK;
            playout.frame(now, &mut frame);
            assert_eq!(frame.samples().len(), frame.channels() * 480);
            beats += 1;
        }
    }
    assert_eq!(playout.stats().played, beats * 480);
}

/// A compound RTCP packet on its way to the stack's parser: the repair must keep its length and touch item types alone.
pub fn rtcp(data: &[u8]) {
    let mut source = Source(data);
    let header: [u8; 8] = source.bytes();
    let body = source.0;
    let mut after = body.to_vec();
    rename_unknown_items(&header, &mut after);
    assert_eq!(after.len(), body.len());
    for (before, after) in body.iter().zip(&after) {
        assert!(before == after || *after == 7);
    }
    let mut twice = after.clone();
    rename_unknown_items(&header, &mut twice);
    assert_eq!(twice, after, "repaired once is repaired");
}

/// Frames and data packets of somebody who has no key, and frames that went through and were changed.
pub fn sealed_frames(data: &[u8]) {
    let keys = KeyProvider::new(KeyProviderOptions {
        shared_key: true,
        ratchet_window_size: 0,
        ratchet_salt: b"salt".to_vec(),
        failure_tolerance: -1,
        key_ring_size: 16,
        key_derivation_algorithm: KeyDerivationAlgorithm::HKDF,
    });
    keys.set_shared_key(0, b"secret".to_vec());
    keys.set_sif_trailer(b"injected".to_vec());
    let cipher = FrameCipher::new("a".to_owned(), EncryptionAlgorithm::AesGcm, keys.clone());
    cipher.switch(true);
    let opened = cipher.open(Bytes::copy_from_slice(data));
    assert!(opened.is_none() || data.ends_with(b"injected"), "forged");
    let mut source = Source(data);
    let (at, change) = (usize::from(source.u16()), source.byte());
    if let Sealed::As(mut sealed) = cipher.seal(source.0) {
        if let Some(byte) = sealed.get_mut(at) {
            *byte ^= change;
        }
        let unchanged = change == 0 || at >= sealed.len();
        let injected = sealed.ends_with(b"injected");
        let opened = cipher.open(Bytes::from(sealed));
        assert!(injected || opened.is_some() == unchanged);
    }
    let packet = EncryptedPacket {
        iv: source.take(12).to_vec(),
        key_index: source.u32(),
        data: source.0.to_vec(),
    };
    let data = DataPacketCryptor::new(EncryptionAlgorithm::AesGcm, keys).decrypt("a", &packet);
    assert!(data.is_err(), "forged");
}
