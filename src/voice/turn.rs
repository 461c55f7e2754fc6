//! What was said in a turn: transcribes its segments while it is still going on and joins their words when it is over.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tracing::Instrument;

use super::listen::Segment;
use crate::speech::{INPUT_RATE_HZ, Stt, SttError, Transcript};

/// A finished turn in words.
#[derive(Debug, Clone, PartialEq)]
pub struct Utterance {
    /// The words; empty where there were none.
    pub text: String,
    /// The engine that heard the last of them.
    pub engine: &'static str,
    /// Sound that was transcribed.
    pub speech_ms: u32,
    /// Wait for the words after the turn was over.
    pub stt_ms: u32,
    /// When the candidate stopped speaking.
    pub speech_ended: Instant,
    /// Why words are missing, where an engine failed.
    pub failure: Option<String>,
}

struct Piece {
    index: u32,
    speech_ms: u32,
    work: AbortHandle,
    result: Option<Result<Transcript, SttError>>,
}

#[derive(Default)]
struct Turn {
    number: u64,
    pieces: Vec<Piece>,
    finished: Option<Finish>,
}

struct Finish {
    at: Instant,
    speech_ended: Instant,
}

/// The turns of one candidate that have no words yet.
pub struct Transcriber {
    stt: Arc<dyn Stt>,
    turns: VecDeque<Turn>,
    work: JoinSet<(u64, u32, Result<Transcript, SttError>)>,
    number: u64,
}

impl Transcriber {
    /// Nothing was said yet.
    pub fn new(stt: Arc<dyn Stt>) -> Self {
        Self {
            stt,
            turns: VecDeque::new(),
            work: JoinSet::new(),
            number: 0,
        }
    }

    /// A turn begins.
    pub fn begin(&mut self) {
        self.number += 1;
        self.turns.push_back(Turn {
            number: self.number,
            ..Turn::default()
        });
    }

    /// Transcribes a segment of the turn under way; the same index again replaces what it gave before.
    pub fn segment(&mut self, segment: Segment) {
        let Some(turn) = self.turns.back_mut().filter(|t| t.finished.is_none()) else {
            return;
        };
        turn.pieces.retain(|piece| {
            let stays = piece.index != segment.index;
            if !stays {
                piece.work.abort();
            }
            stays
        });
        let (number, index) = (turn.number, segment.index);
        let speech_ms =
            u32::try_from(segment.pcm.len() / (INPUT_RATE_HZ as usize / 1000)).unwrap_or(u32::MAX);
        let mut utterance = self.stt.begin();
        let understood = async move {
            let result = match utterance.push(&segment.pcm) {
                Ok(()) => utterance.finish().await,
                Err(error) => Err(error),
            };
            (number, index, result)
        };
        let work = self.work.spawn(understood.in_current_span());
        turn.pieces.push(Piece {
            index,
            speech_ms,
            work,
            result: None,
        });
    }

    /// The turn under way is over; its last speech was `silence_ms` ago.
    pub fn finish(&mut self, silence_ms: u32) {
        let Some(turn) = self.turns.back_mut().filter(|t| t.finished.is_none()) else {
            return;
        };
        let at = Instant::now();
        let speech_ended = at
            .checked_sub(Duration::from_millis(silence_ms.into()))
            .unwrap_or(at);
        turn.finished = Some(Finish { at, speech_ended });
    }

    /// The next finished turn with all its words. Cancel-safe; waits for ever while there is none.
    pub async fn next(&mut self) -> Utterance {
        loop {
            if let Some(utterance) = self.take_complete() {
                return utterance;
            }
            match self.work.join_next().await {
                Some(Ok((number, index, result))) => self.note(number, index, result),
                // Aborted because it was replaced, or broken down: a breakdown leaves the piece to `take_complete`.
                Some(Err(gone)) => self.note_gone(&gone),
                None => std::future::pending().await,
            }
        }
    }

    fn note(&mut self, number: u64, index: u32, result: Result<Transcript, SttError>) {
        let piece = self
            .turns
            .iter_mut()
            .filter(|t| t.number == number)
            .flat_map(|t| &mut t.pieces)
            .find(|p| p.index == index);
        if let Some(piece) = piece {
            piece.result = Some(result);
        }
    }

    fn note_gone(&mut self, gone: &tokio::task::JoinError) {
        if !gone.is_panic() {
            return;
        }
        let piece = self
            .turns
            .iter_mut()
            .flat_map(|t| &mut t.pieces)
            .find(|p| p.work.id() == gone.id());
        if let Some(piece) = piece {
            piece.result = Some(Err(SttError::Engine("the engine broke down".into())));
        }
    }

    fn take_complete(&mut self) -> Option<Utterance> {
        let turn = self.turns.front()?;
        let finish = turn.finished.as_ref()?;
        if turn.pieces.iter().any(|p| p.result.is_none()) {
            return None;
        }
        let stt_ms = u32::try_from(finish.at.elapsed().as_millis()).unwrap_or(u32::MAX);
        let mut utterance = Utterance {
            text: String::new(),
            engine: "",
            speech_ms: 0,
            stt_ms,
            speech_ended: finish.speech_ended,
            failure: None,
        };
        for piece in &turn.pieces {
            utterance.speech_ms += piece.speech_ms;
            match &piece.result {
                Some(Ok(transcript)) => {
                    utterance.engine = transcript.engine;
                    let words = transcript.text.trim();
                    if !words.is_empty() && !utterance.text.is_empty() {
                        utterance.text.push(' ');
                    }
                    utterance.text.push_str(words);
                }
                Some(Err(error)) => utterance.failure = Some(error.to_string()),
                None => {}
            }
        }
        self.turns.pop_front();
        Some(utterance)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;

    use super::*;
    use crate::speech::SttUtterance;

    /// "Hears" the length of the sound in ms, after as many ms.
    struct Echo;
    struct EchoUtterance(u32);

    impl Stt for Echo {
        fn name(&self) -> &'static str {
            "echo"
        }
        fn begin(&self) -> Box<dyn SttUtterance> {
            Box::new(EchoUtterance(0))
        }
    }

    impl SttUtterance for EchoUtterance {
        fn push(&mut self, pcm: &[i16]) -> Result<(), SttError> {
            self.0 += u32::try_from(pcm.len() / 16).unwrap();
            Ok(())
        }
        fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Transcript, SttError>> {
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(self.0.into())).await;
                if self.0 == 13 {
                    return Err(SttError::Engine("thirteen".into()));
                }
                Ok(Transcript {
                    text: self.0.to_string(),
                    engine: "echo",
                    audio_ms: self.0,
                    elapsed_ms: self.0,
                })
            })
        }
    }

    fn segment(index: u32, ms: usize) -> Segment {
        Segment {
            index,
            pcm: vec![1; ms * 16],
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_words_of_a_turn_are_those_of_its_last_segments() {
        let mut turn = Transcriber::new(Arc::new(Echo));
        turn.begin();
        turn.segment(segment(0, 100));
        turn.segment(segment(0, 200));
        turn.segment(segment(1, 300));
        turn.finish(550);
        let said = turn.next().await;
        assert_eq!(
            (said.text.as_str(), said.speech_ms, said.stt_ms),
            ("200 300", 500, 300)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn words_that_were_there_before_the_end_cost_no_wait() {
        let mut turn = Transcriber::new(Arc::new(Echo));
        turn.begin();
        turn.segment(segment(0, 100));
        assert!(
            tokio::time::timeout(Duration::from_millis(350), turn.next())
                .await
                .is_err()
        );
        turn.finish(550);
        assert_eq!(turn.next().await.stt_ms, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn turns_come_in_the_order_in_which_they_were_spoken() {
        let mut turn = Transcriber::new(Arc::new(Echo));
        for ms in [900, 10] {
            turn.begin();
            turn.segment(segment(0, ms));
            turn.finish(550);
        }
        assert_eq!(turn.next().await.text, "900");
        assert_eq!(turn.next().await.text, "10");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_engine_is_told_and_what_else_was_heard_is_kept() {
        let mut turn = Transcriber::new(Arc::new(Echo));
        turn.begin();
        turn.segment(segment(0, 20));
        turn.segment(segment(1, 13));
        turn.finish(550);
        let said = turn.next().await;
        assert_eq!(said.text, "20");
        assert!(said.failure.unwrap().contains("thirteen"));
    }
}
