//! Speech to text by the first engine that can: the sound is kept until one of them has heard it.

use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::race::{Slow, race};
use super::{Blame, EngineError, EngineStatus, Engines, PATIENCE, Trial, blame};
use crate::speech::{Stt, SttError, SttUtterance, Transcript, UtteranceBuffer};

/// Speech-to-text engines in order of preference. A clone shares engines and breakers.
#[derive(Clone)]
pub struct SttChain {
    engines: Arc<Engines<dyn Stt>>,
}

impl SttChain {
    /// A chain of these engines, the preferred one first.
    #[must_use]
    pub fn new(engines: Vec<Arc<dyn Stt>>) -> Self {
        Self {
            engines: Arc::new(Engines::new("stt", engines, |engine| engine.name())),
        }
    }

    /// How each engine is doing, by preference.
    #[must_use]
    pub fn status(&self) -> Vec<EngineStatus> {
        self.engines.status()
    }
}

impl fmt::Debug for SttChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SttChain").field(&self.status()).finish()
    }
}

impl Stt for SttChain {
    /// The engine that serves now, or would be tried first.
    fn name(&self) -> &'static str {
        let serving = self.engines.preferred().unwrap_or(0);
        self.engines
            .slots
            .get(serving)
            .map_or("none", |slot| slot.name)
    }

    fn begin(&self) -> Box<dyn SttUtterance> {
        let begun = self
            .engines
            .preferred()
            .map(|index| (index, self.engines.slots[index].engine.begin()));
        Box::new(Utterance {
            engines: Arc::clone(&self.engines),
            audio: UtteranceBuffer::default(),
            begun,
        })
    }
}

struct Utterance {
    engines: Arc<Engines<dyn Stt>>,
    audio: UtteranceBuffer,
    /// The preferred engine gets the sound as it comes, in case it streams.
    begun: Option<(usize, Box<dyn SttUtterance>)>,
}

impl SttUtterance for Utterance {
    fn push(&mut self, pcm: &[i16]) -> Result<(), SttError> {
        self.audio.push(pcm)?;
        if let Some((_, utterance)) = &mut self.begun
            && utterance.push(pcm).is_err()
        {
            // It gets the whole sound again at the end, where its failure counts.
            self.begun = None;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Transcript, SttError>> {
        let Self {
            engines,
            audio,
            begun,
        } = *self;
        transcribe(engines, audio, begun).boxed()
    }
}

async fn transcribe(
    engines: Arc<Engines<dyn Stt>>,
    audio: UtteranceBuffer,
    mut begun: Option<(usize, Box<dyn SttUtterance>)>,
) -> Result<Transcript, SttError> {
    for trial in engines.trials() {
        // Ends by itself: a trial has less time than a request.
        crate::spawn::supervised("stt trial", try_out(trial, audio.pcm().to_vec()));
    }
    let order = engines.order();
    let ask = |index: usize| {
        let (engines, audio) = (&engines, &audio);
        let begun = begun.take_if(|(engine, _)| *engine == index);
        async move {
            match begun {
                Some((_, utterance)) => utterance.finish().await,
                None => whole(&*engines.slots[index].engine, audio.pcm()).await,
            }
        }
    };
    let (index, transcript) = race(&engines, &order, ask).await?;
    engines.succeeded(index);
    Ok(transcript)
}

/// The words of sound that is there already.
async fn whole(engine: &dyn Stt, pcm: &[i16]) -> Result<Transcript, SttError> {
    let mut utterance = engine.begin();
    utterance.push(pcm)?;
    utterance.finish().await
}

async fn try_out(trial: Trial<dyn Stt>, pcm: Vec<i16>) {
    match timeout(PATIENCE, whole(trial.engine(), &pcm)).await {
        Ok(Ok(_)) => trial.succeeded(),
        Ok(Err(error)) => trial.failed(&error, &error.blame()),
        Err(_) => trial.failed(&Slow, &Blame::Engine),
    }
}

impl EngineError for SttError {
    fn blame(&self) -> Blame {
        match self {
            Self::Provider(error) => blame(error),
            Self::Timeout { .. } | Self::Engine(_) => Blame::Engine,
            Self::TooLong | Self::Empty | Self::NoEngine => Blame::Request,
        }
    }

    fn no_engine() -> Self {
        Self::NoEngine
    }
}
