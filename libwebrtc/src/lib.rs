//! A pure-Rust stand-in for LiveKit's `libwebrtc` bindings: the same public API, no C++.
//!
//! The official `livekit` crate is built on this surface. With
//! `[patch.crates-io] libwebrtc = { path = ".." }` it runs unchanged, for audio and data.
//! Video and platform audio devices are not supported: their types exist, and using them gives an
//! error or nothing, never a panic.
//!
//! Inside, top-down: the files named after the original hold the API; `pc` is the peer connection
//! (state, negotiation, driver task); `core` alone touches the sans-IO protocol stack `rtc`;
//! `net` owns sockets and the I/O threads; `audio` has codec, jitter buffer and clocks; `e2ee`
//! encrypts sound and data end to end.

use thiserror::Error;

mod core;
mod e2ee;
mod enum_dispatch;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod net;
mod pc;
mod sdp;
mod unsupported;

pub mod audio;
pub mod audio_frame;
pub mod audio_source;
pub mod audio_stream;
pub mod audio_track;
pub mod data_channel;
pub mod ice_candidate;
pub mod media_stream;
pub mod media_stream_track;
pub mod peer_connection;
pub mod peer_connection_factory;
pub mod prelude;
pub mod rtp_parameters;
pub mod rtp_receiver;
pub mod rtp_sender;
pub mod rtp_transceiver;
pub mod session_description;
pub mod stats;
pub use net::{io_tasks, use_interfaces};
pub use unsupported::{video_frame, video_source, video_stream, video_track};

/// What a media section or track carries.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum MediaType {
    /// Sound.
    Audio,
    /// Pictures; negotiated, but neither encoded nor decoded here.
    Video,
    /// SCTP data channels.
    Data,
    /// Anything else.
    Unsupported,
}

/// The kind of an [`RtcError`].
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum RtcErrorType {
    /// The stack failed, or the feature does not exist in this implementation.
    Internal,
    /// A description could not be parsed or applied.
    InvalidSdp,
    /// The call does not fit the state of the object.
    InvalidState,
}

/// The error of every fallible call of this crate.
#[derive(Error, Debug)]
#[error("an RtcError occurred: {error_type:?} - {message}")]
pub struct RtcError {
    /// What kind of failure it is.
    pub error_type: RtcErrorType,
    /// What failed, why, and what to do.
    pub message: String,
}

impl RtcError {
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self {
            error_type: RtcErrorType::Internal,
            message: message.into(),
        }
    }

    pub(crate) fn invalid_sdp(message: impl Into<String>) -> Self {
        Self {
            error_type: RtcErrorType::InvalidSdp,
            message: message.into(),
        }
    }

    pub(crate) fn invalid_state(message: impl Into<String>) -> Self {
        Self {
            error_type: RtcErrorType::InvalidState,
            message: message.into(),
        }
    }
}

/// The parts of the original that are specific to native platforms.
pub mod native {
    /// End-to-end encryption.
    pub mod frame_cryptor {
        pub use crate::e2ee::{
            DataPacketCryptor, EncryptedPacket, EncryptionAlgorithm, EncryptionState, FrameCryptor,
            KeyDerivationAlgorithm, KeyProvider, KeyProviderOptions, OnStateChange,
        };
    }
    pub use crate::unsupported::packet_trailer;

    /// Returns a random version 4 UUID in its usual text form.
    #[must_use]
    pub fn create_random_uuid() -> String {
        let bits =
            (rand::random::<u128>() & !(0xf << 76) & !(0b11 << 62)) | (4 << 76) | (0b10 << 62);
        let hex = format!("{bits:032x}");
        format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        )
    }

    #[cfg(test)]
    mod tests {
        #[test]
        fn a_random_uuid_has_version_4_and_the_rfc_variant() {
            let uuid = super::create_random_uuid();
            let groups: Vec<&str> = uuid.split('-').collect();
            assert_eq!(
                groups.iter().map(|g| g.len()).collect::<Vec<_>>(),
                [8, 4, 4, 4, 12]
            );
            assert!(groups[2].starts_with('4'), "version of {uuid}");
            assert!(
                groups[3].starts_with(['8', '9', 'a', 'b']),
                "variant of {uuid}"
            );
            assert_ne!(uuid, super::create_random_uuid());
        }
    }
}
