//! The bounded sound of one utterance, for engines that want all of it at once.

use super::{INPUT_RATE_HZ, SttError, UTTERANCE_MS_MAX};

/// Samples of the longest utterance.
const SAMPLES_MAX: usize = (UTTERANCE_MS_MAX / 1000 * INPUT_RATE_HZ) as usize;

/// 16 kHz mono sound, [`UTTERANCE_MS_MAX`] at most.
#[derive(Debug, Default)]
pub struct UtteranceBuffer {
    pcm: Vec<i16>,
}

impl UtteranceBuffer {
    /// Takes more sound.
    ///
    /// # Errors
    /// [`SttError::TooLong`], and nothing of `pcm` is taken, when it does not fit.
    pub fn push(&mut self, pcm: &[i16]) -> Result<(), SttError> {
        if self.pcm.len() + pcm.len() > SAMPLES_MAX {
            return Err(SttError::TooLong);
        }
        self.pcm.extend_from_slice(pcm);
        Ok(())
    }

    /// What was taken so far.
    #[must_use]
    pub fn pcm(&self) -> &[i16] {
        &self.pcm
    }

    /// Length of the sound.
    #[must_use]
    pub fn audio_ms(&self) -> u32 {
        // At most UTTERANCE_MS_MAX, so it fits.
        u32::try_from(self.pcm.len() as u64 * 1000 / u64::from(INPUT_RATE_HZ))
            .unwrap_or(UTTERANCE_MS_MAX)
    }
}
