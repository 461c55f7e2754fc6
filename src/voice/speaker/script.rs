//! The sentences of a segment: which wait, which were made, and how far they were heard.

use std::collections::VecDeque;

use crate::speech::OUTPUT_RATE_HZ;
use crate::voice::heard::heard_part;

/// How fast a voice usually reads.
const LETTERS_PER_S: u64 = 15;

/// The sentences of one segment; their places are samples of the playout at [`OUTPUT_RATE_HZ`].
pub(super) struct Script {
    waiting: VecDeque<String>,
    begun: Vec<Sentence>,
}

/// A sentence and where its sound lies in the playout.
struct Sentence {
    text: String,
    begin: u64,
    /// Known once all its sound was written.
    end: Option<u64>,
}

impl Script {
    pub(super) fn of(sentences: Vec<String>) -> Self {
        Self {
            waiting: sentences.into(),
            begun: Vec::new(),
        }
    }

    /// The next sentence, whose sound will lie after what is `written`.
    pub(super) fn next(&mut self, written: u64) -> Option<&str> {
        let text = self.waiting.pop_front()?;
        let sentence = Sentence {
            text,
            begin: written,
            end: None,
        };
        Some(&self.begun.push_mut(sentence).text)
    }

    /// All sound of the sentence that was taken last is `written`.
    pub(super) fn is_made(&mut self, written: u64) {
        if let Some(last) = self.begun.last_mut() {
            last.end = Some(written);
        }
    }

    pub(super) fn has_more(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Leaves out what waits; whether there was any.
    pub(super) fn cut(&mut self) -> bool {
        let any = self.has_more();
        self.waiting.clear();
        any
    }

    /// The words that were heard when this much was `played` and this much `written`.
    pub(super) fn heard(&self, played: u64, written: u64) -> String {
        let mut words: Vec<&str> = Vec::new();
        for sentence in &self.begun {
            match sentence.end {
                Some(end) if end <= played => words.push(&sentence.text),
                end => {
                    let all = end
                        .map_or_else(|| sentence.estimate(written), |end| end - sentence.begin)
                        .max(1);
                    #[expect(clippy::cast_precision_loss, reason = "samples of one sentence")]
                    let fraction = played.saturating_sub(sentence.begin) as f64 / all as f64;
                    let part = heard_part(&sentence.text, fraction);
                    if !part.is_empty() {
                        words.push(part);
                    }
                    break;
                }
            }
        }
        words.join(" ")
    }
}

impl Sentence {
    /// The samples of one that was cut while it was still being made: what it takes at a usual pace, and no less than it
    /// has already.
    fn estimate(&self, written: u64) -> u64 {
        let letters = self.text.chars().count() as u64;
        (letters * u64::from(OUTPUT_RATE_HZ) / LETTERS_PER_S)
            .max(written.saturating_sub(self.begin))
    }
}
