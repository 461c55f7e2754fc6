//! Speaks segments: text to sentences to sound, and tells what of it was heard.

mod mouth;
mod script;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::playout::Playout;
use crate::speech::Tts;
use mouth::Mouth;

/// Commands that may wait; the session sends one or two at a time.
const COMMANDS_MAX: usize = 16;

/// Events that may wait for the session.
const EVENTS_MAX: usize = 32;

/// What the session asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Command {
    Say {
        segment: u32,
        sentences: Vec<String>,
    },
    Pause,
    Resume,
    Interrupt,
    FinishSentence,
}

/// What of a segment the candidate heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// All of it.
    Whole,
    /// These words from its beginning, possibly none.
    Part(String),
}

/// What the session is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpeakerEvent {
    /// The first sound of a segment is on its way to the candidate.
    Started {
        /// Which.
        segment: u32,
        /// From the request to here.
        first_sound_ms: u32,
        /// The engine that speaks.
        engine: &'static str,
    },
    /// A segment is over.
    Ended {
        /// Which.
        segment: u32,
        /// How far it got.
        heard: Heard,
    },
    /// A segment could not be spoken to its end.
    Failed {
        /// Which.
        segment: u32,
        /// What was heard before that.
        heard: Heard,
        /// Why.
        cause: String,
    },
}

/// The session's handle to its mouth. Dropping it ends the speech.
pub struct Speaker {
    commands: mpsc::Sender<Command>,
    rounds: Arc<AtomicU64>,
}

/// The mouth is gone: its task has ended.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the speaker no longer takes commands")]
pub struct SpeakerGone;

impl Speaker {
    /// Starts the speaker's task on the current runtime.
    pub fn start(tts: Arc<dyn Tts>, playout: Playout) -> (Self, mpsc::Receiver<SpeakerEvent>) {
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let (events, outbox) = mpsc::channel(EVENTS_MAX);
        let rounds = Arc::<AtomicU64>::default();
        let mouth = Mouth::new(tts, playout, inbox, events, rounds.clone());
        crate::spawn::supervised("speaker", mouth.run());
        (Self { commands, rounds }, outbox)
    }

    /// Speaks the sentences in place of whatever is being spoken, which is reported as ended with the part that was heard.
    ///
    /// # Errors
    /// The speaker has ended, or too much is queued, which no session does.
    pub fn say(&self, segment: u32, sentences: Vec<String>) -> Result<(), SpeakerGone> {
        self.send(Command::Say { segment, sentences })
    }

    /// Holds the sound where it is.
    ///
    /// # Errors
    /// As [`Speaker::say`].
    pub fn pause(&self) -> Result<(), SpeakerGone> {
        self.send(Command::Pause)
    }

    /// Goes on after [`Speaker::pause`].
    ///
    /// # Errors
    /// As [`Speaker::say`].
    pub fn resume(&self) -> Result<(), SpeakerGone> {
        self.send(Command::Resume)
    }

    /// Stops what is being spoken; it is reported as ended with the part that was heard.
    ///
    /// # Errors
    /// As [`Speaker::say`].
    pub fn interrupt(&self) -> Result<(), SpeakerGone> {
        self.send(Command::Interrupt)
    }

    /// Stops after the sentence that is being spoken, which is reported as ended with the part that was heard.
    ///
    /// # Errors
    /// As [`Speaker::say`].
    pub fn finish_sentence(&self) -> Result<(), SpeakerGone> {
        self.send(Command::FinishSentence)
    }

    /// Grows a hundred times a second while something is spoken.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    fn send(&self, command: Command) -> Result<(), SpeakerGone> {
        self.commands.try_send(command).map_err(|_| SpeakerGone)
    }
}
