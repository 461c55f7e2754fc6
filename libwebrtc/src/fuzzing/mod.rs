//! Whatever reads what others wrote, as functions of bytes: for `cargo fuzz` (`libwebrtc/fuzz`) and for a short run of the same
//! among the tests. Each panics where this crate is at fault.
//!
//! A panic of the protocol stack `rtc` is not one of them: it ends one peer connection and goes no further.

mod media;
mod text;
mod wire;

#[cfg(test)]
mod tests;

pub use media::{playout, rtcp, sealed_frames};
pub use text::{candidates, descriptions, negotiation};
pub use wire::{handshake, relay_messages};

/// Takes bytes from the front, zeros when there are no more.
struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> u8 {
        self.bytes::<1>()[0]
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.bytes())
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.bytes())
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let taken = self.take(N);
        bytes[..taken.len()].copy_from_slice(taken);
        bytes
    }

    /// So many bytes, or what there is.
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
