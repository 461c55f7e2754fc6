//! Text to speech by the first engine that can: another one takes over while nothing was heard, or at a sentence.

use std::fmt;
use std::sync::Arc;

use tokio::time::timeout;

use super::race::{Slow, race};
use super::{Blame, EngineError, EngineStatus, Engines, PATIENCE, Trial, blame};
use crate::interview::sentences::sentences;
use crate::speech::{OUTPUT_RATE_HZ, SpeechSender, SpeechStream, Tts, TtsError};

/// Characters that are spoken in a second, taken low (15 are usual): where a voice breaks off, an estimate that is
/// too early says a sentence twice, one that is too late leaves one out.
const CHARS_PER_SECOND: usize = 12;

/// Text-to-speech engines in order of preference. A clone shares engines and breakers.
#[derive(Clone)]
pub struct TtsChain {
    engines: Arc<Engines<dyn Tts>>,
}

impl TtsChain {
    /// A chain of these engines, the preferred one first.
    #[must_use]
    pub fn new(engines: Vec<Arc<dyn Tts>>) -> Self {
        Self {
            engines: Arc::new(Engines::new("tts", engines, |engine| engine.name())),
        }
    }

    /// How each engine is doing, by preference.
    #[must_use]
    pub fn status(&self) -> Vec<EngineStatus> {
        self.engines.status()
    }
}

impl fmt::Debug for TtsChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TtsChain").field(&self.status()).finish()
    }
}

impl Tts for TtsChain {
    /// The engine that serves now, or would be tried first.
    fn name(&self) -> &'static str {
        let serving = self.engines.preferred().unwrap_or(0);
        self.engines
            .slots
            .get(serving)
            .map_or("none", |slot| slot.name)
    }

    /// To be called on a tokio runtime, where the work runs until it is done or the stream is dropped.
    fn speak(&self, text: &str) -> SpeechStream {
        let (sender, stream) = SpeechStream::channel(self.name());
        let engines = Arc::clone(&self.engines);
        let text = text.to_owned();
        crate::spawn::supervised("tts chain", async move {
            let outcome = tokio::select! {
                biased;
                () = sender.closed() => return,
                outcome = say(engines, text, &sender) => outcome,
            };
            if let Err(error) = outcome {
                // Nobody is left to be told when this fails.
                let _ = sender.fail(error).await;
            }
        });
        stream
    }
}

/// An engine's speech of which the first chunk has come.
struct Begun {
    first: Vec<i16>,
    rest: SpeechStream,
}

async fn say(
    engines: Arc<Engines<dyn Tts>>,
    mut text: String,
    out: &SpeechSender,
) -> Result<(), TtsError> {
    for trial in engines.trials() {
        // Ends by itself: every engine bounds its time.
        crate::spawn::supervised("tts trial", try_out(trial, text.clone()));
    }
    let mut order = engines.order();
    loop {
        let ask = |index: usize| begin(&*engines.slots[index].engine, &text);
        let (index, begun) = race(&engines, &order, ask).await?;
        let (heard_samples, error) = match relay(begun, out).await {
            (_, None) => {
                engines.succeeded(index);
                return Ok(());
            }
            (heard_samples, Some(error)) => (heard_samples, error),
        };
        engines.failed(index, &error, &error.blame());
        // Each engine breaks off once at most.
        order.retain(|&other| other != index);
        let (Some(rest), Some(&next)) = (rest_of(&text, heard_samples), order.first()) else {
            return Err(error);
        };
        engines.switched(index, next, &error);
        text = rest;
    }
}

async fn begin(engine: &dyn Tts, text: &str) -> Result<Begun, TtsError> {
    let mut rest = engine.speak(text);
    match rest.next().await {
        Some(first) => Ok(Begun {
            first: first?,
            rest,
        }),
        None => Err(TtsError::Engine(format!("{} made no sound", engine.name()))),
    }
}

/// Hands the sound on to its end or its error; says how much of it there was.
async fn relay(begun: Begun, out: &SpeechSender) -> (usize, Option<TtsError>) {
    let Begun { first, mut rest } = begun;
    let mut heard_samples = 0;
    let mut item = Some(Ok(first));
    while let Some(chunk) = item {
        match chunk {
            Ok(pcm) => {
                heard_samples += pcm.len();
                // Once the stream is dropped the caller ends all of this, so the failure needs no answer here.
                let _ = out.send(pcm).await;
            }
            Err(error) => return (heard_samples, Some(error)),
        }
        item = rest.next().await;
    }
    (heard_samples, None)
}

/// To the end of the sound, because a voice that breaks off is not well.
async fn try_out(trial: Trial<dyn Tts>, text: String) {
    let Ok(begun) = timeout(PATIENCE, begin(trial.engine(), &text)).await else {
        return trial.failed(&Slow, &Blame::Engine);
    };
    let outcome = match begun {
        Ok(begun) => to_the_end(begun.rest).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => trial.succeeded(),
        Err(error) => trial.failed(&error, &error.blame()),
    }
}

async fn to_the_end(mut speech: SpeechStream) -> Result<(), TtsError> {
    while let Some(chunk) = speech.next().await {
        chunk?;
    }
    Ok(())
}

/// The sentences after the one that broke off when this much of the text had been spoken.
fn rest_of(text: &str, heard_samples: usize) -> Option<String> {
    let spoken_chars = heard_samples * CHARS_PER_SECOND / OUTPUT_RATE_HZ as usize;
    let sentences = sentences(text);
    let mut end_chars = 0;
    let broken = sentences.iter().position(|sentence| {
        end_chars += sentence.chars().count() + 1;
        end_chars > spoken_chars
    })?;
    let rest = sentences.get(broken + 1..)?.join(" ");
    (!rest.is_empty()).then_some(rest)
}

impl EngineError for TtsError {
    fn blame(&self) -> Blame {
        match self {
            Self::Provider(error) => blame(error),
            Self::Timeout { .. } | Self::Engine(_) => Blame::Engine,
            Self::TooLong { .. } | Self::Empty | Self::NoEngine => Blame::Request,
        }
    }

    fn no_engine() -> Self {
        Self::NoEngine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "That is clear. What is a mutex? Take your time.";

    fn seconds(s: f64) -> usize {
        (s * f64::from(OUTPUT_RATE_HZ)) as usize
    }

    #[test]
    fn what_is_left_begins_at_the_next_sentence() {
        assert_eq!(
            rest_of(TEXT, 1).as_deref(),
            Some("What is a mutex? Take your time.")
        );
        assert_eq!(
            rest_of(TEXT, seconds(1.5)).as_deref(),
            Some("Take your time.")
        );
        assert_eq!(rest_of(TEXT, seconds(3.0)), None);
        assert_eq!(rest_of(TEXT, seconds(100.0)), None);
        assert_eq!(rest_of("One sentence alone.", 1), None);
        assert_eq!(rest_of("", 1), None);
    }
}
