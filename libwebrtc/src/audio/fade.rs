//! Goes over from one interleaved sound to another.

/// Sound after silence is faded in over 2.5 ms, the overlap of Opus's own blocks.
const FADE_IN_SAMPLES: usize = 120;

/// The weight of sample `index` of `len` in a linear ramp from 0 to 1.
pub(super) fn ramp(index: usize, len: usize) -> f32 {
    (index as f32 + 0.5) / len as f32
}

pub(super) fn mix(from: i16, to: i16, weight: f32) -> i16 {
    let from = f32::from(from);
    (from + (f32::from(to) - from) * weight).round() as i16
}

pub(super) fn fade_in(pcm: &mut [i16], channels: usize) {
    for (index, sample) in pcm.iter_mut().take(FADE_IN_SAMPLES * channels).enumerate() {
        *sample = mix(0, *sample, ramp(index / channels, FADE_IN_SAMPLES));
    }
}

/// Fades `from` out over the beginning of `pcm`, which fades in.
pub(super) fn cross_fade(from: &[i16], pcm: &mut [i16], channels: usize) {
    let frames = from.len() / channels;
    for (index, (sample, &before)) in pcm.iter_mut().zip(from).enumerate() {
        *sample = mix(before, *sample, ramp(index / channels, frames));
    }
}

pub(super) fn fade_out(pcm: &mut [i16], channels: usize) {
    let frames = pcm.len() / channels;
    for (index, sample) in pcm.iter_mut().enumerate() {
        *sample = mix(*sample, 0, ramp(index / channels, frames));
    }
}
