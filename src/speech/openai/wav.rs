//! A WAV file in memory, the form in which every transcription server takes sound.

use bytes::Bytes;

use crate::speech::INPUT_RATE_HZ;

/// RIFF header, format chunk and the head of the data chunk.
const HEADER_BYTES: usize = 44;
const BYTES_PER_SAMPLE: u32 = 2;
/// Shortest sound that OpenAI's servers take: a tenth of a second. Shorter ones are filled up with silence.
const SAMPLES_MIN: usize = INPUT_RATE_HZ as usize / 10;

/// 16 kHz mono PCM as a WAV file. `pcm` is at most an utterance long, so that all lengths fit.
pub(super) fn wav(pcm: &[i16]) -> Bytes {
    let samples = pcm.len().max(SAMPLES_MIN);
    let data_bytes = samples as u32 * BYTES_PER_SAMPLE;
    let mut file = Vec::with_capacity(HEADER_BYTES + data_bytes as usize);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(data_bytes + HEADER_BYTES as u32 - 8).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend_from_slice(&16_u32.to_le_bytes()); // length of the format chunk
    file.extend_from_slice(&1_u16.to_le_bytes()); // integer PCM
    file.extend_from_slice(&1_u16.to_le_bytes()); // channels
    file.extend_from_slice(&INPUT_RATE_HZ.to_le_bytes());
    file.extend_from_slice(&(INPUT_RATE_HZ * BYTES_PER_SAMPLE).to_le_bytes()); // bytes a second
    file.extend_from_slice(&2_u16.to_le_bytes()); // bytes of a frame
    file.extend_from_slice(&16_u16.to_le_bytes()); // bits of a sample
    file.extend_from_slice(b"data");
    file.extend_from_slice(&data_bytes.to_le_bytes());
    file.extend(pcm.iter().flat_map(|sample| sample.to_le_bytes()));
    file.resize(HEADER_BYTES + data_bytes as usize, 0);
    Bytes::from(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn u32_at(file: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(file[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn lengths_and_samples_are_where_a_reader_expects_them() {
        let pcm: Vec<i16> = (0..3200).map(|n| n as i16 - 1600).collect();
        let file = wav(&pcm);
        assert_eq!(&file[..4], b"RIFF");
        assert_eq!(u32_at(&file, 4) as usize, file.len() - 8);
        assert_eq!(&file[8..16], b"WAVEfmt ");
        assert_eq!(u32_at(&file, 24), 16_000);
        assert_eq!(u32_at(&file, 40) as usize, 6400);
        assert_eq!(file.len(), 44 + 6400);
        assert_eq!(&file[44..46], &(-1600_i16).to_le_bytes());
    }

    #[test]
    fn a_very_short_sound_is_filled_up_with_silence() {
        let file = wav(&[7; 10]);
        assert_eq!(file.len(), 44 + 3200);
        assert_eq!(file[62..64], 7_i16.to_le_bytes());
        assert!(file[64..].iter().all(|&b| b == 0));
    }
}
