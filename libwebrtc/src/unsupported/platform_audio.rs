//! Platform audio devices: there are none.
//!
//! The trait is the original's: besides devices it makes local tracks. Whatever is about devices
//! is answered here, as on a machine that has none.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::audio_source::AudioSourceOptions;
use crate::audio_source::native::NativeAudioSource;
use crate::audio_track::RtcAudioTrack;
use crate::video_source::native::NativeVideoSource;
use crate::video_track::RtcVideoTrack;

/// What a call about devices returns that can't succeed: the original's code for a missing module.
const NO_DEVICES: i16 = 0;

macro_rules! without_devices {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $kind:ty),*) -> $ret:ty = $value:expr;)*) => {$(
        $(#[$doc])*
        #[allow(unused_variables, clippy::must_use_candidate)]
        fn $name(&self, $($arg: $kind),*) -> $ret {
            $value
        }
    )*};
}

/// Which devices may be used: what is said is remembered, although there are none.
#[derive(Debug, Default)]
pub struct AllowedDevices {
    recording: AtomicBool,
    playout: AtomicBool,
}

/// Local tracks, and audio devices.
pub trait PeerConnectionFactoryExt {
    /// A video track; it can't be sent.
    fn create_video_track(&self, label: &str, source: NativeVideoSource) -> RtcVideoTrack;

    /// An audio track that the application feeds. Its id, `label`, is announced in SDP.
    fn create_audio_track(&self, label: &str, source: NativeAudioSource) -> RtcAudioTrack;

    /// An audio track of a microphone; without one it is silent.
    fn create_device_audio_track(&self, label: &str) -> RtcAudioTrack {
        log::warn!("there are no audio devices here: track {label} is silent");
        let source = NativeAudioSource::new(AudioSourceOptions::default(), 48_000, 1, 100);
        self.create_audio_track(label, source)
    }

    /// Which devices may be used.
    fn allowed_devices(&self) -> &AllowedDevices;

    /// Allows the microphone.
    fn set_adm_recording_enabled(&self, enabled: bool) {
        let allowed = &self.allowed_devices().recording;
        allowed.store(enabled, Ordering::Relaxed);
    }

    /// Whether the microphone is allowed.
    fn adm_recording_enabled(&self) -> bool {
        self.allowed_devices().recording.load(Ordering::Relaxed)
    }

    /// Allows the loudspeaker.
    fn set_adm_playout_enabled(&self, enabled: bool) {
        let allowed = &self.allowed_devices().playout;
        allowed.store(enabled, Ordering::Relaxed);
    }

    /// Whether the loudspeaker is allowed.
    fn adm_playout_enabled(&self) -> bool {
        self.allowed_devices().playout.load(Ordering::Relaxed)
    }

    without_devices! {
        /// The number of output devices.
        fn playout_devices() -> i16 = NO_DEVICES;
        /// The number of input devices.
        fn recording_devices() -> i16 = NO_DEVICES;
        /// The name of an output device.
        fn playout_device_name(index: u16) -> String = String::new();
        /// The name of an input device.
        fn recording_device_name(index: u16) -> String = String::new();
        /// The identity of an output device.
        fn playout_device_guid(index: u16) -> String = String::new();
        /// The identity of an input device.
        fn recording_device_guid(index: u16) -> String = String::new();
        /// Chooses an output device.
        fn set_playout_device(index: u16) -> bool = false;
        /// Chooses an input device.
        fn set_recording_device(index: u16) -> bool = false;
        /// Chooses an output device by identity.
        fn set_playout_device_by_guid(guid: &str) -> bool = false;
        /// Chooses an input device by identity.
        fn set_recording_device_by_guid(guid: &str) -> bool = false;
        /// Stops the microphone.
        fn stop_recording() -> bool = false;
        /// Prepares the microphone.
        fn init_recording() -> bool = false;
        /// Starts the microphone.
        fn start_recording() -> bool = false;
        /// Whether the microphone is prepared.
        fn recording_is_initialized() -> bool = false;
        /// Stops the loudspeaker.
        fn stop_playout() -> bool = false;
        /// Prepares the loudspeaker.
        fn init_playout() -> bool = false;
        /// Starts the loudspeaker.
        fn start_playout() -> bool = false;
        /// Whether the loudspeaker is prepared.
        fn playout_is_initialized() -> bool = false;
        /// Whether the device cancels echo.
        fn builtin_aec_is_available() -> bool = false;
        /// Whether the device controls gain.
        fn builtin_agc_is_available() -> bool = false;
        /// Whether the device suppresses noise.
        fn builtin_ns_is_available() -> bool = false;
        /// Switches the device's echo cancellation.
        fn enable_builtin_aec(enable: bool) -> bool = false;
        /// Switches the device's gain control.
        fn enable_builtin_agc(enable: bool) -> bool = false;
        /// Switches the device's noise suppression.
        fn enable_builtin_ns(enable: bool) -> bool = false;
        /// Takes hold of the platform's audio.
        fn acquire_platform_adm() -> bool = false;
        /// Lets the platform's audio go.
        fn release_platform_adm() -> () = ();
        /// How many hold the platform's audio.
        fn platform_adm_ref_count() -> i32 = 0;
        /// Whether the platform's audio is held.
        fn is_platform_adm_active() -> bool = false;
    }
}
