//! Transcription: the utterance as a WAV file in one request, made again while there is time.

use std::sync::Arc;

use async_openai::types::InputSource;
use async_openai::types::audio::{AudioInput, AudioResponseFormat, CreateTranscriptionRequest};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::{NAME, transcript, wav};
use crate::config::{self, Secret};
use crate::provider::{
    ApiClient, Expect, Limit, Provider, ProviderError, SetupError, name_api_error, retrying,
};
use crate::speech::{Stt, SttError, SttUtterance, Transcript, UtteranceBuffer};

/// Room for the words of a minute with the times of each of them.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Transcription by an OpenAI-compatible server (`POST {base}/audio/transcriptions`).
#[derive(Debug)]
pub struct OpenAiStt {
    engine: Arc<Engine>,
}

#[derive(Debug)]
struct Engine {
    provider: Provider,
    client: ApiClient,
    model: String,
    timeout_ms: u64,
}

impl OpenAiStt {
    /// An engine by the settings; connects to nothing yet.
    ///
    /// # Errors
    /// The base URL or the key can't be used.
    pub fn new(settings: &config::Stt, key: Option<&Secret>) -> Result<Self, SetupError> {
        let provider = Provider::new(settings.base_url.as_deref(), key)?;
        let client = provider.api(Expect::Anything {
            bytes_max: ANSWER_BYTES_MAX,
        });
        Ok(Self {
            engine: Arc::new(Engine {
                provider,
                client,
                model: settings.model.clone(),
                timeout_ms: settings.timeout_ms.into(),
            }),
        })
    }

    /// The server, to warm it up or to ask whether it is there.
    #[must_use]
    pub fn provider(&self) -> &Provider {
        &self.engine.provider
    }
}

impl Stt for OpenAiStt {
    fn name(&self) -> &'static str {
        NAME
    }

    fn begin(&self) -> Box<dyn SttUtterance> {
        Box::new(Utterance {
            engine: Arc::clone(&self.engine),
            audio: UtteranceBuffer::default(),
        })
    }
}

struct Utterance {
    engine: Arc<Engine>,
    audio: UtteranceBuffer,
}

impl SttUtterance for Utterance {
    fn push(&mut self, pcm: &[i16]) -> Result<(), SttError> {
        self.audio.push(pcm)
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Transcript, SttError>> {
        async move {
            if self.audio.pcm().is_empty() {
                return Err(SttError::Empty);
            }
            let start = Instant::now();
            let audio_ms = self.audio.audio_ms();
            let text = self
                .engine
                .transcribe(wav::wav(self.audio.pcm()), audio_ms)
                .await?;
            let elapsed_ms = u32::try_from(start.elapsed().as_millis()).unwrap_or(u32::MAX);
            Ok(Transcript {
                text,
                engine: NAME,
                audio_ms,
                elapsed_ms,
            })
        }
        .boxed()
    }
}

impl Engine {
    async fn transcribe(&self, wav: Bytes, audio_ms: u32) -> Result<String, ProviderError> {
        let limit = Limit {
            base_url: self.provider.base_url(),
            what: "transcript",
            ms: self.timeout_ms,
        };
        retrying(limit, || self.try_once(wav.clone(), audio_ms)).await
    }

    async fn try_once(&self, wav: Bytes, audio_ms: u32) -> Result<String, ProviderError> {
        let source = InputSource::Bytes {
            filename: "speech.wav".into(),
            bytes: wav,
        };
        let request = CreateTranscriptionRequest {
            file: AudioInput { source },
            model: self.model.clone(),
            // The one format that all of them know.
            response_format: Some(AudioResponseFormat::Json),
            ..Default::default()
        };
        let audio = self.client.audio();
        let body = audio.transcription().create_raw(request).await;
        let body = body.map_err(|e| name_api_error(&self.provider, e))?;
        transcript::words(&body, audio_ms).map_err(|reason| self.provider.garbled(reason))
    }
}
