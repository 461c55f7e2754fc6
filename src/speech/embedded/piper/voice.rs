//! A Piper voice: its settings, and its network from phoneme numbers to sound.
//!
//! Network: `input` [1, L], `input_lengths` [1] and `scales` [3] (noise, length, noise of lengths) → `output`
//! [1, 1, 1, samples] at the voice's own rate. A sequence is `^ _`, then each phoneme with a `_` after it, then `$`.

use std::collections::HashMap;

use ort::value::TensorRef;
use serde::Deserialize;

use super::Style;
use crate::models::Pinned;
use crate::onnx::{
    Graph, ModelBytes, Network, OnnxError, Preparation, PrepareError, Runtime, prepare,
};
use crate::speech::OUTPUT_RATE_HZ;
use crate::speech::resample::{Resampler, to_pcm};

const NAME: &str = "piper";
const GRAPH: Graph = Graph::AsExported;
/// The signs that frame a sequence.
const START: char = '^';
const PAD: char = '_';
const END: char = '$';
/// The loudest sample of a sentence is brought here, as Piper itself does with full scale; a little lower, so that
/// neither resampling nor a lossy codec clips it.
const PEAK: f32 = 0.8;
/// A sentence of breath alone is not blown up to a shout.
const GAIN_MAX: f32 = 3.0;

/// What is read of the voice's JSON file.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Settings {
    audio: Audio,
    espeak: EspeakVoice,
    inference: Inference,
    num_speakers: u32,
    phoneme_id_map: HashMap<String, Vec<i64>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Audio {
    sample_rate: u32,
}

#[derive(Debug, Clone, Deserialize)]
struct EspeakVoice {
    voice: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Inference {
    noise_scale: f32,
    length_scale: f32,
    noise_w: f32,
}

impl Settings {
    pub(super) fn parse(json: &[u8]) -> Result<Self, String> {
        let settings: Self = serde_json::from_slice(json)
            .map_err(|e| format!("it is not a voice's settings: {e}"))?;
        if settings.num_speakers != 1 {
            return Err(format!(
                "the voice has {} speakers, and only voices with one are supported",
                settings.num_speakers
            ));
        }
        if !(8_000..=48_000).contains(&settings.audio.sample_rate) {
            return Err(format!(
                "a sampling rate of {} Hz is none",
                settings.audio.sample_rate
            ));
        }
        if let Some(sign) = [START, PAD, END]
            .into_iter()
            .find(|sign| settings.id(*sign).is_empty())
        {
            return Err(format!("it has no number for {sign}"));
        }
        Ok(settings)
    }

    pub(super) fn espeak_voice(&self) -> &str {
        &self.espeak.voice
    }

    /// The sequence for clauses, each phonemes and the mark that ends it. Signs that the voice never learnt are left out.
    pub(super) fn ids(&self, clauses: impl Iterator<Item = (String, char)>) -> Vec<i64> {
        let mut text = String::new();
        for (phonemes, mark) in clauses {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&phonemes);
            text.push(mark);
        }
        let mut ids = [self.id(START), self.id(PAD)].concat();
        for ids_of_one in text
            .chars()
            .filter(|c| ![START, PAD, END].contains(c))
            .map(|c| self.id(c))
        {
            if !ids_of_one.is_empty() {
                ids.extend(ids_of_one);
                ids.extend(self.id(PAD));
            }
        }
        ids.extend(self.id(END));
        ids
    }

    fn id(&self, phoneme: char) -> &[i64] {
        self.phoneme_id_map
            .get(phoneme.encode_utf8(&mut [0; 4]) as &str)
            .map_or(&[], Vec::as_slice)
    }
}

/// Makes the form of the network that loads fastest.
pub(super) fn prepare_network(
    runtime: &Runtime,
    model: &Pinned,
) -> Result<Preparation, PrepareError> {
    prepare(runtime, NAME, model, GRAPH)
}

/// The loaded network.
#[derive(Debug)]
pub(super) struct Voice<'m> {
    session: Network<'m>,
    scales: [f32; 3],
    resampler: Resampler,
    warm_up: Vec<i64>,
}

impl<'m> Voice<'m> {
    pub(super) fn load(
        runtime: &Runtime,
        model: &'m mut ModelBytes,
        settings: &Settings,
        style: Style,
    ) -> Result<Self, OnnxError> {
        let Inference {
            noise_scale,
            length_scale,
            noise_w,
        } = settings.inference;
        // Sound that is played `pitch` times as fast is spoken as much slower, so that only its height changes.
        let length_scale = length_scale * style.length_scale * style.pitch;
        let from_hz = f64::from(settings.audio.sample_rate) * f64::from(style.pitch);
        Ok(Self {
            session: model.session(runtime, NAME, GRAPH)?,
            scales: [noise_scale, length_scale, noise_w],
            resampler: Resampler::new(from_hz, OUTPUT_RATE_HZ.into()),
            // As short as an utterance can be.
            warm_up: settings.ids([("ə".to_owned(), '.')].into_iter()),
        })
    }

    /// The first run allocates what later ones reuse.
    pub(super) fn warm_up(&mut self) -> Result<(), OnnxError> {
        let ids = std::mem::take(&mut self.warm_up);
        self.speak(&ids).map(drop)
    }

    /// One sequence as sound of [`OUTPUT_RATE_HZ`].
    pub(super) fn speak(&mut self, ids: &[i64]) -> Result<Vec<i16>, OnnxError> {
        let failed = OnnxError::run(NAME);
        let length = [ids.len() as i64];
        let outputs = self
            .session
            .run(ort::inputs! {
                "input" => TensorRef::from_array_view(([1, ids.len()], ids)).map_err(&failed)?,
                "input_lengths" => TensorRef::from_array_view(([1_usize], &length[..])).map_err(&failed)?,
                "scales" => TensorRef::from_array_view(([3_usize], &self.scales[..])).map_err(&failed)?,
            })
            .map_err(&failed)?;
        let (_, sound) = outputs["output"]
            .try_extract_tensor::<f32>()
            .map_err(&failed)?;
        Ok(to_pcm(&levelled(self.resampler.process(sound))))
    }
}

fn levelled(mut sound: Vec<f32>) -> Vec<f32> {
    let peak = sound.iter().fold(0.0_f32, |peak, s| peak.max(s.abs()));
    let gain = (PEAK / peak.max(f32::MIN_POSITIVE)).min(GAIN_MAX);
    sound.iter_mut().for_each(|s| *s *= gain);
    sound
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(speakers: u32, signs: &str) -> String {
        let map: String = signs
            .chars()
            .enumerate()
            .map(|(i, c)| format!("\"{c}\":[{i}],"))
            .collect();
        format!(
            r#"{{"audio":{{"sample_rate":22050}},"espeak":{{"voice":"en-us"}},"num_speakers":{speakers},
            "inference":{{"noise_scale":0.667,"length_scale":1,"noise_w":0.8}},
            "phoneme_id_map":{{{}}}}}"#,
            map.trim_end_matches(',')
        )
    }

    #[test]
    fn a_sequence_is_framed_and_padded_and_keeps_its_marks() {
        let settings = Settings::parse(json(1, "_^$ab, .").as_bytes()).unwrap();
        let ids = settings.ids([("a\u{301}b".to_owned(), ','), ("b^".to_owned(), '.')].into_iter());
        assert_eq!(ids, [1, 0, 3, 0, 4, 0, 5, 0, 6, 0, 4, 0, 7, 0, 2]);
    }

    #[test]
    fn settings_that_do_not_fit_are_refused_with_the_reason() {
        for (json, reason) in [
            ("{}".to_owned(), "missing field"),
            (json(4, "_^$"), "4 speakers"),
            (json(1, "_^"), "no number for $"),
            (json(1, "_^$").replace("22050", "0"), "0 Hz"),
        ] {
            let error = Settings::parse(json.as_bytes()).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_whisper_is_raised_a_little_and_a_shout_is_brought_down() {
        assert_eq!(levelled(vec![0.01, -0.02]), [0.03, -0.06]);
        assert_eq!(levelled(vec![1.6, -0.8]), [0.8, -0.4]);
        assert_eq!(levelled(vec![0.0]), [0.0]);
    }
}
