//! An embedded engine that is only the fallback: loaded after the start, when nothing waits for it.

use std::sync::{Arc, OnceLock};

use futures_util::future::BoxFuture;

use super::{
    SpeechStream, Stt, SttError, SttUtterance, Transcript, Tts, TtsError, UtteranceBuffer,
};

const NOT_LOADED: &str = "the embedded engine is not loaded yet";

/// The place of an engine that comes later; a clone is another handle to it.
pub struct Standby<E: ?Sized> {
    engine: Arc<OnceLock<Arc<E>>>,
}

impl<E: ?Sized> Clone for Standby<E> {
    fn clone(&self) -> Self {
        Self {
            engine: self.engine.clone(),
        }
    }
}

impl<E: ?Sized> Default for Standby<E> {
    fn default() -> Self {
        Self {
            engine: Arc::default(),
        }
    }
}

impl<E: ?Sized> Standby<E> {
    /// The engine is there: from now on it does the work. A second one is not taken.
    pub fn arrived(&self, engine: Arc<E>) {
        // A second engine would be one too many and is dropped.
        let _first = self.engine.set(engine);
    }
}

impl Stt for Standby<dyn Stt> {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn begin(&self) -> Box<dyn SttUtterance> {
        match self.engine.get() {
            Some(engine) => engine.begin(),
            None => Box::new(Unheard(UtteranceBuffer::default())),
        }
    }
}

/// An utterance that came before the engine.
struct Unheard(UtteranceBuffer);

impl SttUtterance for Unheard {
    fn push(&mut self, pcm: &[i16]) -> Result<(), SttError> {
        self.0.push(pcm)
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Transcript, SttError>> {
        Box::pin(async { Err(SttError::Engine(NOT_LOADED.into())) })
    }
}

impl Tts for Standby<dyn Tts> {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn speak(&self, text: &str) -> SpeechStream {
        match self.engine.get() {
            Some(engine) => engine.speak(text),
            None => {
                let (sender, stream) = SpeechStream::channel("embedded");
                // A fresh channel has room for one item.
                let _told = sender.try_fail(TtsError::Engine(NOT_LOADED.into()));
                stream
            }
        }
    }
}
