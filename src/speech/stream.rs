//! The channel that carries synthesised sound from an engine to playout.

use tokio::sync::mpsc;

use super::TtsError;

/// Longest chunk that a [`SpeechStream`] yields, in samples: 100 ms, so that a stop takes hold and a playout
/// position is known within a tenth of a second whatever an engine produces at a time.
pub const CHUNK_SAMPLES_MAX: usize = super::OUTPUT_RATE_HZ as usize / 10;

/// Chunks between engine and playout: about 25 s, longer than a sentence takes to say, so that an engine is done
/// with it (and its connection free) long before it has been heard, and 1.2 MB is the most that one stream holds.
const CHUNKS_MAX: usize = 256;

/// 24 kHz mono chunks from a bounded channel; ends after the last chunk or the first error.
#[derive(Debug)]
pub struct SpeechStream {
    /// The engine that was asked first.
    pub engine: &'static str,
    rx: mpsc::Receiver<Result<Vec<i16>, TtsError>>,
}

/// An engine's end of a [`SpeechStream`]. Dropping it ends the stream.
#[derive(Debug)]
pub struct SpeechSender {
    tx: mpsc::Sender<Result<Vec<i16>, TtsError>>,
}

/// Nobody listens any more: the stream was dropped, and the work behind it should stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the speech is not wanted any more")]
pub struct Closed;

impl SpeechStream {
    /// A stream and the end that an engine fills.
    #[must_use]
    pub fn channel(engine: &'static str) -> (SpeechSender, Self) {
        let (tx, rx) = mpsc::channel(CHUNKS_MAX);
        (SpeechSender { tx }, Self { engine, rx })
    }

    /// The next chunk of at most [`CHUNK_SAMPLES_MAX`] samples, never empty; an error is the last item.
    /// Cancellation-safe.
    pub async fn next(&mut self) -> Option<Result<Vec<i16>, TtsError>> {
        let item = self.rx.recv().await;
        if let Some(Err(_)) = item {
            self.rx.close();
        }
        item
    }
}

impl SpeechSender {
    /// Hands on sound of any length, cut into chunks; waits while the stream is full.
    ///
    /// # Errors
    /// The stream was dropped.
    pub async fn send(&self, pcm: Vec<i16>) -> Result<(), Closed> {
        if pcm.len() <= CHUNK_SAMPLES_MAX {
            return if pcm.is_empty() {
                Ok(())
            } else {
                self.tx.send(Ok(pcm)).await.map_err(|_| Closed)
            };
        }
        for chunk in pcm.chunks(CHUNK_SAMPLES_MAX) {
            self.tx.send(Ok(chunk.to_vec())).await.map_err(|_| Closed)?;
        }
        Ok(())
    }

    /// [`send`](Self::send) from a plain thread.
    ///
    /// # Errors
    /// The stream was dropped.
    pub fn blocking_send(&self, pcm: &[i16]) -> Result<(), Closed> {
        for chunk in pcm.chunks(CHUNK_SAMPLES_MAX) {
            self.tx
                .blocking_send(Ok(chunk.to_vec()))
                .map_err(|_| Closed)?;
        }
        Ok(())
    }

    /// Ends the stream with the reason why there is no more sound.
    ///
    /// # Errors
    /// The stream was dropped.
    pub async fn fail(self, error: TtsError) -> Result<(), Closed> {
        self.tx.send(Err(error)).await.map_err(|_| Closed)
    }

    /// [`fail`](Self::fail) from a plain thread.
    ///
    /// # Errors
    /// The stream was dropped.
    pub fn blocking_fail(self, error: TtsError) -> Result<(), Closed> {
        self.tx.blocking_send(Err(error)).map_err(|_| Closed)
    }

    /// [`fail`](Self::fail) without waiting, for a stream that has room.
    ///
    /// # Errors
    /// The stream was dropped, or is full.
    pub fn try_fail(self, error: TtsError) -> Result<(), Closed> {
        self.tx.try_send(Err(error)).map_err(|_| Closed)
    }

    /// Waits until the stream is dropped.
    pub async fn closed(&self) {
        self.tx.closed().await;
    }

    /// Whether the stream was dropped.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.tx.is_closed()
    }
}
