//! Where peer connections and local tracks are made.

use std::fmt;
use std::sync::Arc;

use crate::core;
use crate::pc;
use crate::peer_connection::PeerConnection;
use crate::rtp_parameters::RtpCapabilities;
use crate::unsupported::platform_audio::AllowedDevices;
use crate::{MediaType, RtcError};

/// A STUN or TURN server. STUN is used over UDP, TURN over UDP, TCP and TLS.
#[derive(Debug, Clone)]
pub struct IceServer {
    /// Its addresses.
    pub urls: Vec<String>,
    /// The user name for TURN.
    pub username: String,
    /// The password for TURN.
    pub password: String,
}

/// How long local candidates are looked for.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum ContinualGatheringPolicy {
    /// Once; the gathering state reaches `Complete`.
    GatherOnce,
    /// Again at each ICE restart; the gathering state stays `Gathering`.
    GatherContinually,
}

/// Which local candidates may be used.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum IceTransportsType {
    /// Relayed ones only.
    Relay,
    /// Host addresses are used and not told to the remote side.
    NoHost,
    /// All.
    All,
}

/// The configuration of a peer connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RtcConfiguration {
    /// STUN servers (`stun:`), which tell how this machine looks from outside, and TURN servers (`turn:`, `turns:`), which
    /// relay. The certificate of the latter has to name the server, by an authority that the system trusts.
    pub ice_servers: Vec<IceServer>,
    /// How long local candidates are looked for.
    pub continual_gathering_policy: ContinualGatheringPolicy,
    /// Which local candidates may be used.
    pub ice_transport_type: IceTransportsType,
    /// SCTP handshake inside SDP; an optimisation that this implementation does not offer to the peer.
    pub enable_sctp_snap: bool,
}

impl Default for RtcConfiguration {
    fn default() -> Self {
        Self {
            ice_servers: Vec::new(),
            continual_gathering_policy: ContinualGatheringPolicy::GatherContinually,
            ice_transport_type: IceTransportsType::All,
            enable_sctp_snap: false,
        }
    }
}

/// Makes peer connections and local tracks. All factories share the I/O threads of the process.
#[derive(Clone, Default)]
pub struct PeerConnectionFactory {
    allowed_devices: Arc<AllowedDevices>,
}

impl fmt::Debug for PeerConnectionFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerConnectionFactory").finish()
    }
}

impl PeerConnectionFactory {
    /// As `default`: the option concerns video alone.
    #[must_use]
    pub fn with_zero_playout_delay() -> Self {
        Self::default()
    }

    /// As `default`: the options concern video, and handshake optimisations that are not offered.
    #[must_use]
    pub fn with_options(_zero_playout_delay: bool, _enable_warp: bool) -> Self {
        Self::default()
    }

    /// Creates a peer connection.
    ///
    /// # Errors
    /// The I/O threads or certificate can't be made.
    pub fn create_peer_connection(
        &self,
        config: RtcConfiguration,
    ) -> Result<PeerConnection, RtcError> {
        Ok(PeerConnection {
            handle: pc::CloseOnDrop::open(&config)?,
        })
    }

    /// What could be sent.
    #[must_use]
    pub fn get_rtp_sender_capabilities(&self, media_type: MediaType) -> RtpCapabilities {
        core::capabilities(media_type)
    }

    /// What could be received.
    #[must_use]
    pub fn get_rtp_receiver_capabilities(&self, media_type: MediaType) -> RtpCapabilities {
        core::capabilities(media_type)
    }
}

/// Local tracks, and the platform audio of the original.
pub mod native {
    use crate::audio_source::native::NativeAudioSource;
    use crate::audio_track::RtcAudioTrack;
    use crate::peer_connection_factory::PeerConnectionFactory;
    pub use crate::unsupported::platform_audio::{AllowedDevices, PeerConnectionFactoryExt};
    use crate::video_source::native::NativeVideoSource;
    use crate::video_track::RtcVideoTrack;

    impl PeerConnectionFactoryExt for PeerConnectionFactory {
        fn create_video_track(&self, label: &str, source: NativeVideoSource) -> RtcVideoTrack {
            RtcVideoTrack::new_local(label.to_owned(), source)
        }

        fn create_audio_track(&self, label: &str, source: NativeAudioSource) -> RtcAudioTrack {
            RtcAudioTrack::new_local(label.to_owned(), source)
        }

        fn allowed_devices(&self) -> &AllowedDevices {
            &self.allowed_devices
        }
    }
}
