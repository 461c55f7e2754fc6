//! Speech to text by Moonshine tiny-en, a small encoder-decoder that takes time in proportion to the sound.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::worker::Worker;
use super::{EmbeddedError, NAME};
use crate::models::{self, ManifestError, Pinned};
use crate::onnx::{PendingRuntime, make_lean};
use crate::speech::{Stt, SttError, SttUtterance, Transcript, UtteranceBuffer};

mod decode;
mod segments;
mod tokens;

use decode::Network;
use segments::segments;
use tokens::Tokens;

/// The model's files.
#[derive(Debug, Clone)]
pub struct MoonshineFiles {
    /// Sound to features, ORT format.
    pub encoder: Pinned,
    /// Features to tokens with a key-value cache, ORT format.
    pub decoder: Pinned,
    /// The vocabulary.
    pub tokens: Pinned,
}

impl MoonshineFiles {
    /// The pinned ones under a models directory.
    ///
    /// # Errors
    /// The manifest does not list them.
    pub fn in_directory(directory: &Path) -> Result<Self, ManifestError> {
        Ok(Self {
            encoder: Pinned::of_manifest(directory, models::MOONSHINE_ENCODER)?,
            decoder: Pinned::of_manifest(directory, models::MOONSHINE_DECODER)?,
            tokens: Pinned::of_manifest(directory, models::MOONSHINE_TOKENS)?,
        })
    }
}

type Heard = Result<String, String>;

/// The loaded engine.
pub struct Moonshine {
    worker: Arc<Worker<UtteranceBuffer, Heard>>,
    limit: Duration,
}

impl Moonshine {
    /// Loads and warms up the model on a thread of its own and waits for that; to be called off the async runtime.
    /// `limit` bounds one transcription, its wait in the queue included.
    ///
    /// # Errors
    /// A file is missing, altered or unusable, or there is no thread.
    pub fn load(
        runtime: impl Into<PendingRuntime>,
        files: &MoonshineFiles,
        limit: Duration,
    ) -> Result<Self, EmbeddedError> {
        let (runtime, files) = (runtime.into(), files.clone());
        let worker = Worker::start("moonshine", move |jobs| {
            let tokens =
                Tokens::parse(&files.tokens.read()?).map_err(|reason| EmbeddedError::Content {
                    file: files.tokens.path.clone(),
                    reason,
                })?;
            // The sessions use the weights where they lie here, on this thread's stack frame.
            let (mut encoder, mut decoder) = (files.encoder.read()?, files.decoder.read()?);
            for model in [&mut encoder, &mut decoder] {
                // What came of it is no matter: it loads either way.
                make_lean(model);
            }
            let mut network = Network::load(runtime.wait()?, &encoder, &decoder)?;
            network.warm_up()?;
            jobs.serve(|sound: UtteranceBuffer, is_cancelled| {
                transcribe(&mut network, &tokens, sound.pcm(), is_cancelled)
            });
            Ok(())
        })?;
        Ok(Self {
            worker: Arc::new(worker),
            limit,
        })
    }
}

impl std::fmt::Debug for Moonshine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Moonshine")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

fn transcribe(
    network: &mut Network<'_>,
    tokens: &Tokens,
    pcm: &[i16],
    is_cancelled: &dyn Fn() -> bool,
) -> Heard {
    let mut words: Vec<String> = Vec::new();
    for segment in segments(pcm) {
        let ids = network
            .transcribe(segment, is_cancelled)
            .map_err(|e| e.to_string())?;
        let text = tokens.text(&ids);
        if !text.is_empty() {
            words.push(text);
        }
    }
    Ok(words.join(" "))
}

impl Stt for Moonshine {
    fn name(&self) -> &'static str {
        NAME
    }

    fn begin(&self) -> Box<dyn SttUtterance> {
        Box::new(Utterance {
            worker: self.worker.clone(),
            limit: self.limit,
            sound: UtteranceBuffer::default(),
        })
    }
}

struct Utterance {
    worker: Arc<Worker<UtteranceBuffer, Heard>>,
    limit: Duration,
    sound: UtteranceBuffer,
}

impl SttUtterance for Utterance {
    fn push(&mut self, pcm: &[i16]) -> Result<(), SttError> {
        self.sound.push(pcm)
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Transcript, SttError>> {
        let Self {
            worker,
            limit,
            sound,
        } = *self;
        async move {
            let start = Instant::now();
            let audio_ms = sound.audio_ms();
            if sound.pcm().is_empty() {
                return Err(SttError::Empty);
            }
            let result = worker
                .submit(sound)
                .map_err(|_| SttError::Engine("busy".into()))?;
            let ms = |time: Duration| time.as_millis();
            let heard = tokio::time::timeout(limit, result)
                .await
                .map_err(|_| SttError::Timeout {
                    ms: ms(limit).try_into().unwrap_or(u64::MAX),
                })?
                .map_err(|_| SttError::Engine("it panicked, see the log".into()))?
                .map_err(SttError::Engine)?;
            let elapsed_ms = ms(start.elapsed()).try_into().unwrap_or(u32::MAX);
            Ok(Transcript {
                text: heard,
                engine: NAME,
                audio_ms,
                elapsed_ms,
            })
        }
        .boxed()
    }
}
