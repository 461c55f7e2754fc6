//! Moonshine's two networks: the encoder once, then the decoder token by token with its key-value cache.
//!
//! Encoder: `input_values` [1, N] at 16 kHz and `attention_mask` [1, N] of ones → hidden [1, T, 288]. Decoder:
//! `input_ids` [1, 1], `encoder_hidden_states`, `encoder_attention_mask` [1, N] – of samples, not of T –,
//! `past_key_values.{layer}.{decoder,encoder}.{key,value}` [1, 8, length, 36], empty at first, and
//! `use_cache_branch` → `logits` [1, 1, 32768] and `present.…`. The encoder's keys and values are those of the first
//! step ever after.

use ort::session::InMemorySession;
use ort::value::{DynValue, Tensor, TensorRef};

use crate::onnx::{OnnxError, Runtime};
use crate::speech::INPUT_RATE_HZ;

const NAME: &str = "moonshine-tiny-en";
const LAYERS: usize = 6;
const HEADS: usize = 8;
const HEAD_WIDTH: usize = 36;
/// `<s>`, which begins every sequence.
const START: usize = 1;
/// `</s>`, which ends one.
const END: usize = 2;
/// Nobody says more than this: Moonshine's authors bound a sequence so, because a small decoder that has lost its way
/// goes on for ever.
const TOKENS_PER_SECOND_MAX: f32 = 6.5;
/// A short "yes, exactly." still needs this many.
const TOKENS_MIN: usize = 6;
/// Sound is padded to this length with silence: the encoder's convolutions need 56 ms, and a bit of silence after a
/// word keeps it whole.
const SAMPLES_MIN: usize = INPUT_RATE_HZ as usize / 2;
/// A sequence is a loop when its end is one phrase this many times over, and at least [`LOOP_TOKENS_MIN`] long, so that
/// "no, no, no" is none.
const LOOP_TIMES: usize = 4;
const LOOP_TOKENS_MIN: usize = 16;
/// Longest phrase that is looked for.
const LOOP_PHRASE_MAX: usize = 16;

/// Both networks, over the bytes of their files.
pub(super) struct Network<'m> {
    encoder: InMemorySession<'m>,
    decoder: InMemorySession<'m>,
    caches: Vec<Cache>,
}

/// One of the decoder's caches: what it is called going in and coming out, and whose it is.
struct Cache {
    past: String,
    present: String,
    is_of_encoder: bool,
}

impl<'m> Network<'m> {
    pub(super) fn load(
        runtime: &Runtime,
        encoder: &'m [u8],
        decoder: &'m [u8],
    ) -> Result<Self, OnnxError> {
        // The decoder takes four fifths of the time; on two cores the encoder's is saved.
        let (encoder, decoder) = std::thread::scope(|scope| {
            let other = scope.spawn(|| runtime.session_in_place(NAME, encoder));
            let decoder = runtime.session_in_place(NAME, decoder);
            (other.join(), decoder)
        });
        let panicked = |_| OnnxError::Session {
            model: NAME,
            reason: "loading the encoder panicked".into(),
        };
        Ok(Self {
            encoder: encoder.map_err(panicked)??,
            decoder: decoder?,
            caches: caches(),
        })
    }

    /// The first run allocates what later ones reuse. Two tokens, whichever they are, are one run of each of the decoder's
    /// branches.
    pub(super) fn warm_up(&mut self) -> Result<(), OnnxError> {
        let (sound, mask) = ([0.0; SAMPLES_MIN], [1; SAMPLES_MIN]);
        self.decode(&sound, &mask, 2, None, &|| false)
            .map(drop)
            .map_err(OnnxError::run(NAME))
    }

    /// The tokens of at most half a minute of sound; fewer when `is_cancelled` says so.
    pub(super) fn transcribe(
        &mut self,
        pcm: &[i16],
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<Vec<usize>, OnnxError> {
        let mut sound: Vec<f32> = pcm.iter().map(|s| f32::from(*s) / 32768.0).collect();
        sound.resize(sound.len().max(SAMPLES_MIN), 0.0);
        let mask = vec![1_i64; sound.len()];
        let tokens_max = tokens_max(sound.len());
        self.decode(&sound, &mask, tokens_max, Some(END), is_cancelled)
            .map_err(OnnxError::run(NAME))
    }

    fn decode(
        &mut self,
        sound: &[f32],
        mask: &[i64],
        tokens_max: usize,
        end: Option<usize>,
        is_cancelled: &dyn Fn() -> bool,
    ) -> ort::Result<Vec<usize>> {
        let shape = [1, sound.len()];
        // Made anew for each run: a clone of ort's would copy the samples by way of a session of its own.
        let mask = || TensorRef::from_array_view((shape, mask));
        let mut encoded = self.encoder.run(ort::inputs! {
            "input_values" => TensorRef::from_array_view((shape, sound))?,
            "attention_mask" => mask()?,
        })?;
        let Some(hidden) = encoded.remove("last_hidden_state") else {
            return Err(ort::Error::new(
                "the encoder has no output last_hidden_state",
            ));
        };
        drop(encoded);
        let mut past = empty(&self.caches)?;
        let mut tokens = vec![START];
        while tokens.len() <= tokens_max && !is_cancelled() {
            let last = [tokens.last().map_or(0, |token| *token as i64)];
            let is_later = [tokens.len() > 1];
            let mut inputs = ort::inputs! {
                "input_ids" => TensorRef::from_array_view(([1_usize, 1], &last[..]))?,
                "encoder_hidden_states" => &hidden,
                "encoder_attention_mask" => mask()?,
                "use_cache_branch" => TensorRef::from_array_view(([1_usize], &is_later[..]))?,
            };
            inputs.extend(
                self.caches
                    .iter()
                    .zip(&past)
                    .map(|(cache, value)| (cache.past.as_str().into(), value.into())),
            );
            let mut outputs = self.decoder.run(inputs)?;
            let token = likeliest(outputs["logits"].try_extract_tensor::<f32>()?.1);
            if Some(token) == end {
                break;
            }
            tokens.push(token);
            if let Some(length) = without_loop(&tokens) {
                tokens.truncate(length);
                break;
            }
            for (cache, value) in self.caches.iter().zip(&mut past) {
                if cache.is_of_encoder && is_later[0] {
                    continue;
                }
                match outputs.remove(&cache.present) {
                    Some(present) => *value = present,
                    None => {
                        return Err(ort::Error::new(format!(
                            "the decoder has no output {}",
                            cache.present
                        )));
                    }
                }
            }
        }
        tokens.remove(0);
        Ok(tokens)
    }
}

fn caches() -> Vec<Cache> {
    let mut caches = Vec::with_capacity(LAYERS * 4);
    for layer in 0..LAYERS {
        for (side, is_of_encoder) in [("decoder", false), ("encoder", true)] {
            for part in ["key", "value"] {
                let name = format!("{layer}.{side}.{part}");
                let (past, present) =
                    (format!("past_key_values.{name}"), format!("present.{name}"));
                caches.push(Cache {
                    past,
                    present,
                    is_of_encoder,
                });
            }
        }
    }
    caches
}

fn empty(caches: &[Cache]) -> ort::Result<Vec<DynValue>> {
    let nothing =
        || Tensor::from_array(([1, HEADS, 0, HEAD_WIDTH], Vec::<f32>::new())).map(Tensor::into_dyn);
    caches.iter().map(|_| nothing()).collect()
}

fn tokens_max(samples: usize) -> usize {
    let seconds = samples as f32 / INPUT_RATE_HZ as f32;
    ((seconds * TOKENS_PER_SECOND_MAX) as usize).max(TOKENS_MIN)
}

fn likeliest(logits: &[f32]) -> usize {
    logits
        .iter()
        .enumerate()
        .max_by(|a, b| a.1.total_cmp(b.1))
        .map_or(END, |(token, _)| token)
}

/// Where to cut a sequence that has begun to go round in circles: after the phrase's first time.
fn without_loop(tokens: &[usize]) -> Option<usize> {
    (1..=LOOP_PHRASE_MAX).find_map(|length| {
        let times = LOOP_TIMES.max(LOOP_TOKENS_MIN.div_ceil(length));
        let start = tokens.len().checked_sub(length * times)?;
        let (phrase, rest) = tokens[start..].split_at(length);
        rest.chunks(length)
            .all(|chunk| chunk == phrase)
            .then_some(start + length)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_that_goes_round_in_circles_is_cut_after_the_first_round() {
        let tokens: Vec<usize> = [1, 50, 51]
            .into_iter()
            .chain([7, 8, 9, 10, 11].repeat(4))
            .collect();
        assert_eq!(without_loop(&tokens), Some(8));
        assert_eq!(without_loop(&tokens[..tokens.len() - 1]), None);
    }

    #[test]
    fn saying_no_a_few_times_is_no_loop() {
        assert_eq!(without_loop(&[1, 9, 9, 9, 9, 9, 9]), None);
        assert_eq!(without_loop(&[9; 16]), Some(1));
    }

    #[test]
    fn the_number_of_tokens_follows_the_length_of_the_sound() {
        assert_eq!((tokens_max(8_000), tokens_max(160_000)), (6, 65));
    }
}
