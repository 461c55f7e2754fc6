//! Speech: raw PCM read from the response as it comes, so that the first words are heard while the rest is made.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use serde::Serialize;
use tokio::time::{Instant, timeout};

use super::NAME;
use super::pcm::{SNIFF_BYTES, Samples, not_pcm};
use crate::config::{self, Secret};
use crate::provider::{Limit, Provider, ProviderError, SetupError, retrying};
use crate::speech::{OUTPUT_RATE_HZ, SpeechSender, SpeechStream, Tts, TtsError};

/// Longest text of one request; it is OpenAI's own limit.
const TEXT_CHARS_MAX: usize = 4096;
/// Longest silence of the connection once sound has begun. By then playout has run dry, and the sentence is better
/// taken up by the next engine than waited for.
const STALL: Duration = Duration::from_secs(2);
/// Sound that a text may have, and time that its transfer may wait for the network: a slow speaker needs 0.1 s for a
/// character. A response beyond that has no end.
const SOUND_BASE: Duration = Duration::from_secs(10);
const SOUND_PER_CHAR: Duration = Duration::from_millis(250);

/// Speech by an OpenAI-compatible server (`POST {base}/audio/speech`, `response_format` `pcm`).
#[derive(Debug)]
pub struct OpenAiTts {
    engine: Arc<Engine>,
}

#[derive(Debug)]
struct Engine {
    provider: Provider,
    model: String,
    voice: String,
    timeout_ms: u64,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    voice: &'a str,
    input: &'a str,
    response_format: &'static str,
}

/// A response whose first bytes were looked at.
struct Begun {
    response: Response,
    first: Vec<u8>,
}

impl OpenAiTts {
    /// An engine by the settings; connects to nothing yet.
    ///
    /// # Errors
    /// The base URL or the key can't be used.
    pub fn new(settings: &config::Tts, key: Option<&Secret>) -> Result<Self, SetupError> {
        Ok(Self {
            engine: Arc::new(Engine {
                provider: Provider::new(settings.base_url.as_deref(), key)?,
                model: settings.model.clone(),
                voice: settings.voice.clone(),
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

impl Tts for OpenAiTts {
    fn name(&self) -> &'static str {
        NAME
    }

    /// To be called on a tokio runtime, where the transfer runs until it is done or the stream is dropped.
    fn speak(&self, text: &str) -> SpeechStream {
        let (sender, stream) = SpeechStream::channel(NAME);
        let engine = Arc::clone(&self.engine);
        let text = text.to_owned();
        crate::spawn::supervised("speech stream", async move {
            let outcome = tokio::select! {
                biased;
                () = sender.closed() => return,
                outcome = engine.speak(&text, &sender) => outcome,
            };
            if let Err(error) = outcome {
                // Nobody is left to be told when this fails.
                let _ = sender.fail(error).await;
            }
        });
        stream
    }
}

impl Engine {
    async fn speak(&self, text: &str, out: &SpeechSender) -> Result<(), TtsError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(TtsError::Empty);
        }
        let chars = text.chars().count();
        if chars > TEXT_CHARS_MAX {
            return Err(TtsError::TooLong {
                chars_max: TEXT_CHARS_MAX,
            });
        }
        let limit = Limit {
            base_url: self.provider.base_url(),
            what: "sound",
            ms: self.timeout_ms,
        };
        let begun = retrying(limit, || self.begin(text)).await?;
        // At most 4096 characters, so the number fits.
        let sound_max = SOUND_BASE + SOUND_PER_CHAR * chars as u32;
        self.transfer(begun, sound_max, out).await
    }

    /// Sends the request and waits for the first sound, which is the last moment to try again unheard.
    async fn begin(&self, text: &str) -> Result<Begun, ProviderError> {
        let request = Request {
            model: &self.model,
            voice: &self.voice,
            input: text,
            response_format: "pcm",
        };
        let mut response = self.provider.post_json("/audio/speech", &request).await?;
        let mut first = Vec::new();
        while first.len() < SNIFF_BYTES {
            let Some(piece) = response
                .chunk()
                .await
                .map_err(|e| self.provider.broken(e))?
            else {
                break;
            };
            first.extend_from_slice(&piece);
        }
        let kind = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        if let Some(other) = not_pcm(kind, &first) {
            return Err(self.provider.garbled(other));
        }
        if first.len() < 2 {
            return Err(self.provider.garbled("no sound at all"));
        }
        Ok(Begun { response, first })
    }

    async fn transfer(
        &self,
        begun: Begun,
        sound_max: Duration,
        out: &SpeechSender,
    ) -> Result<(), TtsError> {
        let Begun {
            mut response,
            first,
        } = begun;
        let samples_max = (sound_max.as_secs_f64() * f64::from(OUTPUT_RATE_HZ)) as usize;
        let mut samples = Samples::default();
        let mut sent_samples = 0;
        let mut waited = Duration::ZERO;
        let mut piece = Bytes::from(first);
        loop {
            let pcm = samples.take(&piece);
            sent_samples += pcm.len();
            if sent_samples > samples_max {
                let reason = format!("more than {} s of sound for this text", sound_max.as_secs());
                return Err(self.provider.garbled(reason).into());
            }
            if out.send(pcm).await.is_err() {
                return Ok(()); // nobody listens any more
            }
            // Only the network's time counts: a stream that is full waits for playout, not for the provider.
            let asked = Instant::now();
            match timeout(STALL, response.chunk()).await {
                Ok(Ok(Some(next))) => piece = next,
                // Half a sample at the end, if there is one, is no sound.
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => return Err(self.provider.broken(error).into()),
                Err(_) => return Err(self.too_slow("more sound", STALL).into()),
            }
            waited += asked.elapsed();
            if waited > sound_max {
                return Err(self.too_slow("end of the sound", sound_max).into());
            }
        }
    }

    fn too_slow(&self, what: &'static str, limit: Duration) -> ProviderError {
        ProviderError::Timeout {
            base_url: self.provider.base_url().to_owned(),
            what,
            ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
        }
    }
}
