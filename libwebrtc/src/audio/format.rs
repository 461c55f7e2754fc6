//! The PCM formats that can be played and sent.

use crate::{RtcError, RtcErrorType};

/// The rate of Opus's decoder and clock, and of everything between it and the sinks, in Hz.
pub(crate) const CORE_RATE_HZ: u32 = 48_000;

/// The rates that Opus is given sound in, from low to high. It would take 8 and 12 kHz too, but does not
/// analyse a sound below 16 kHz, and without that takes a noise for speech and sends it through all pauses.
const ENCODER_RATES_HZ: [u32; 3] = [16_000, 24_000, CORE_RATE_HZ];

/// Samples per channel of one tick at [`CORE_RATE_HZ`].
pub(crate) const CORE_TICK_SAMPLES: usize = 480;

/// Opus carries no more.
pub(crate) const CHANNELS_MAX: usize = 2;

/// Narrowband speech; nothing useful is below it.
const RATE_MIN_HZ: u32 = 8_000;

/// Opus carries no more than this.
const RATE_MAX_HZ: u32 = 48_000;

/// A rate's greatest common divisor with 48 kHz must reach this, which bounds a resampler's table
/// to 640 phases. 11,025 Hz is at the limit; rates in use are far above.
const COMMON_DIVISOR_MIN: u32 = 75;

/// A rate and a number of channels that are known to be servable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    rate_hz: u32,
    channels: usize,
}

impl Format {
    /// The most that decoders yield: 48 kHz stereo.
    pub const CORE: Self = Self {
        rate_hz: CORE_RATE_HZ,
        channels: CHANNELS_MAX,
    };

    pub fn new(rate_hz: u32, channels: u32) -> Result<Self, RtcError> {
        let rate_ok = (RATE_MIN_HZ..=RATE_MAX_HZ).contains(&rate_hz)
            && common_divisor(rate_hz, CORE_RATE_HZ) >= COMMON_DIVISOR_MIN;
        let supported = match channels {
            1 => 1,
            2 => 2,
            _ => 0,
        };
        if rate_ok && supported > 0 {
            return Ok(Self {
                rate_hz,
                channels: supported,
            });
        }
        Err(RtcError {
            error_type: RtcErrorType::InvalidState,
            message: format!(
                "audio of {rate_hz} Hz with {channels} channels is not supported; use a common \
                 rate from 8000 to 48000 Hz and 1 or 2 channels"
            ),
        })
    }

    pub fn rate_hz(self) -> u32 {
        self.rate_hz
    }

    pub fn channels(self) -> usize {
        self.channels
    }

    pub fn with_channels_at_most(self, channels: usize) -> Self {
        Self {
            channels: self.channels.min(channels),
            ..self
        }
    }

    /// At the lowest rate of an encoder that carries all of this sound. More would only be more work: the
    /// encoder finds nothing in the band above.
    pub fn at_encoder_rate(self) -> Self {
        let rate_hz = ENCODER_RATES_HZ
            .into_iter()
            .find(|&rate| rate >= self.rate_hz)
            .unwrap_or(CORE_RATE_HZ);
        Self { rate_hz, ..self }
    }

    /// Samples per channel in 10 ms, which are whole at the rates of encoders.
    pub fn tick_samples(self) -> usize {
        self.rate_hz as usize / 100
    }
}

/// Euclid's algorithm.
pub(crate) fn common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_in_use_are_accepted() {
        for rate in [
            8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000,
        ] {
            assert!(Format::new(rate, 1).is_ok(), "{rate}");
            assert!(Format::new(rate, 2).is_ok(), "{rate}");
        }
    }

    #[test]
    fn an_encoder_takes_a_sound_at_its_own_rate_or_the_next_above() {
        let taken_at = |rate| Format::new(rate, 1).unwrap().at_encoder_rate().rate_hz();
        for rate in ENCODER_RATES_HZ {
            assert_eq!(taken_at(rate), rate);
        }
        assert_eq!(taken_at(8_000), 16_000);
        assert_eq!(taken_at(22_050), 24_000);
        assert_eq!(taken_at(32_000), 48_000);
        assert_eq!(taken_at(44_100), 48_000);
    }

    #[test]
    fn formats_that_can_not_be_served_are_refused() {
        for (rate, channels) in [
            (0, 1),
            (7_999, 1),
            (96_000, 1),
            (47_999, 1),
            (48_000, 0),
            (48_000, 3),
        ] {
            assert!(Format::new(rate, channels).is_err(), "{rate} {channels}");
        }
    }
}
