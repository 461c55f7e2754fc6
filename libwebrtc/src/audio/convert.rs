//! Brings a running signal from one PCM format into another: mixing, then resampling.

use super::{format::Format, resample::Resampler};

/// One direction of conversion with its memory. It allocates only until its buffers have grown to
/// the size of a piece.
pub(crate) struct Converter {
    from: Format,
    to: Format,
    resampler: Option<Resampler>,
    mixed: Vec<i16>,
    resampled: Vec<i16>,
}

impl Converter {
    pub fn new(from: Format, to: Format) -> Self {
        // Fewer channels are resampled, whichever side has them.
        let channels = from.channels().min(to.channels());
        let resampler = (from.rate_hz() != to.rate_hz())
            .then(|| Resampler::new(from.rate_hz(), to.rate_hz(), channels));
        Self {
            from,
            to,
            resampler,
            mixed: Vec::new(),
            resampled: Vec::new(),
        }
    }

    /// Takes interleaved samples of one format and appends them to `out` in the other.
    pub fn process(&mut self, input: &[i16], out: &mut Vec<i16>) {
        self.mixed.clear();
        let mut signal = input;
        if self.from.channels() > self.to.channels() {
            self.mixed
                .extend(input.chunks_exact(2).map(|pair| mean(pair[0], pair[1])));
            signal = &self.mixed;
        }
        if let Some(resampler) = &mut self.resampler {
            self.resampled.clear();
            resampler.process(signal, &mut self.resampled);
            signal = &self.resampled;
        }
        if self.from.channels() < self.to.channels() {
            out.extend(signal.iter().flat_map(|&sample| [sample, sample]));
        } else {
            out.extend_from_slice(signal);
        }
    }
}

fn mean(left: i16, right: i16) -> i16 {
    left.midpoint(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(from: (u32, u32), to: (u32, u32), input: &[i16]) -> Vec<i16> {
        let from = Format::new(from.0, from.1).unwrap();
        let to = Format::new(to.0, to.1).unwrap();
        let mut out = Vec::new();
        Converter::new(from, to).process(input, &mut out);
        out
    }

    #[test]
    fn the_same_format_passes_untouched() {
        let input = [1, -2, i16::MAX, i16::MIN];
        assert_eq!(convert((48_000, 2), (48_000, 2), &input), input);
    }

    #[test]
    fn stereo_becomes_the_mean_and_mono_is_doubled() {
        let mono = convert((48_000, 2), (48_000, 1), &[100, 200, i16::MAX, i16::MAX]);
        assert_eq!(mono, [150, i16::MAX]);
        assert_eq!(convert((48_000, 1), (48_000, 2), &[7, -7]), [7, 7, -7, -7]);
    }

    #[test]
    fn rate_and_channels_change_together() {
        let stereo = [1_000_i16; 960];
        let out = convert((48_000, 2), (16_000, 1), &stereo);
        assert_eq!(out.len(), 160);
        assert_eq!(out[150], 1_000);
        assert_eq!(convert((16_000, 1), (48_000, 2), &[0; 160]).len(), 960);
    }
}
