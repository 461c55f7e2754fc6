//! Brings a running signal from one PCM format into another: mixing, then resampling.

use super::{format::Format, resample::Resampler};

/// One direction of conversion with its memory. It allocates only until its buffers have grown to
/// the size of a piece.
pub(crate) struct Converter {
    to: Format,
    /// Channels that are resampled: fewer are less work, whichever side has them.
    width: usize,
    resampler: Option<Resampler>,
    mixed: Vec<i16>,
    resampled: Vec<i16>,
}

impl Converter {
    /// For what has the rate of `from` and at most its channels.
    pub fn new(from: Format, to: Format) -> Self {
        let width = from.channels().min(to.channels());
        let resampler = (from.rate_hz() != to.rate_hz())
            .then(|| Resampler::new(from.rate_hz(), to.rate_hz(), width));
        Self {
            to,
            width,
            resampler,
            mixed: Vec::new(),
            resampled: Vec::new(),
        }
    }

    /// Takes interleaved samples of so many channels, which may change from call to call, and appends
    /// them to `out` in the other format.
    pub fn process(&mut self, input: &[i16], channels: usize, out: &mut Vec<i16>) {
        let mut signal = input;
        if channels != self.width {
            self.mixed.clear();
            mix(input, channels, self.width, &mut self.mixed);
            signal = &self.mixed;
        }
        if let Some(resampler) = &mut self.resampler {
            self.resampled.clear();
            resampler.process(signal, &mut self.resampled);
            signal = &self.resampled;
        }
        mix(signal, self.width, self.to.channels(), out);
    }
}

/// Appends a signal of one or two channels to `out` in as many as are wanted.
fn mix(signal: &[i16], channels: usize, wanted: usize, out: &mut Vec<i16>) {
    match (channels, wanted) {
        (2, 1) => out.extend(signal.chunks_exact(2).map(|pair| mean(pair[0], pair[1]))),
        (1, 2) => out.extend(signal.iter().flat_map(|&sample| [sample, sample])),
        _ => out.extend_from_slice(signal),
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
        Converter::new(from, to).process(input, from.channels(), &mut out);
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

    #[test]
    fn a_second_channel_that_comes_later_makes_no_seam() {
        let tone: Vec<i16> = (0..960)
            .map(|n| (8_000.0 * (f64::from(n) * 0.06).sin()) as i16)
            .collect();
        let both: Vec<i16> = tone.iter().flat_map(|&sample| [sample, sample]).collect();
        for wanted in [(16_000, 1), (16_000, 2), (48_000, 1), (48_000, 2)] {
            let to = Format::new(wanted.0, wanted.1).unwrap();
            let mut converter = Converter::new(Format::CORE, to);
            let mut out = Vec::new();
            converter.process(&tone[..480], 1, &mut out);
            converter.process(&both[960..], 2, &mut out);
            assert_eq!(out, convert((48_000, 2), wanted, &both), "{wanted:?}");
        }
    }
}
