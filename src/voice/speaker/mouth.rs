//! The speaker's task: makes the sound of a segment, keeps the playout filled with it and heeds the session meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::script::Script;
use super::{Command, Heard, SpeakerEvent};
use crate::speech::{SpeechStream, Tts, TtsError};
use crate::voice::playout::Playout;

/// How often the ring is topped up and the position read while something is spoken.
const TICK: Duration = Duration::from_millis(10);

/// Sound that was written but is not taken for this long, without a pause, means that the audio clock stands still.
const STANDSTILL: Duration = Duration::from_secs(5);
/// The same in ticks: after a pause of the whole process a time says nothing.
const STANDSTILL_TICKS: u128 = STANDSTILL.as_millis() / TICK.as_millis();

pub(super) struct Mouth {
    tts: Arc<dyn Tts>,
    playout: Playout,
    inbox: mpsc::Receiver<Command>,
    events: mpsc::Sender<SpeakerEvent>,
    /// Replaces what is being spoken.
    next: Option<(u32, Vec<String>)>,
    /// A sign of life.
    rounds: Arc<AtomicU64>,
}

/// A segment that is being spoken.
struct Segment {
    number: u32,
    asked: Instant,
    script: Script,
    /// The sentence that is being made.
    stream: Option<SpeechStream>,
    /// Sound that was made, and how much of it the playout has.
    chunk: (Vec<i16>, usize),
    is_started: bool,
    is_paused: bool,
    /// Its end was left out as asked.
    is_cut: bool,
    progress: Progress,
}

/// Whether the audio clock takes what it is given.
struct Progress {
    played: u64,
    idle_ticks: u128,
}

/// How the speaking of one segment came to its end.
enum Outcome {
    Whole,
    Interrupted,
    Failed(String),
    /// The session is gone.
    Abandoned,
}

impl Mouth {
    pub(super) fn new(
        tts: Arc<dyn Tts>,
        playout: Playout,
        inbox: mpsc::Receiver<Command>,
        events: mpsc::Sender<SpeakerEvent>,
        rounds: Arc<AtomicU64>,
    ) -> Self {
        Self {
            tts,
            playout,
            inbox,
            events,
            next: None,
            rounds,
        }
    }

    /// Speaks what is asked for, until the session is gone.
    pub(super) async fn run(mut self) {
        while let Some((number, sentences)) = self.next_segment().await {
            let mut segment = Segment::new(number, sentences, self.playout.played());
            let outcome = self.speak(&mut segment).await;
            let Some(told) = self.tells(&segment, outcome) else {
                return;
            };
            if self.events.send(told).await.is_err() {
                return;
            }
        }
    }

    async fn next_segment(&mut self) -> Option<(u32, Vec<String>)> {
        if let Some(next) = self.next.take() {
            return Some(next);
        }
        loop {
            match self.inbox.recv().await? {
                Command::Say { segment, sentences } => return Some((segment, sentences)),
                // Nothing is being spoken that could be held or stopped.
                Command::Pause | Command::Resume | Command::Interrupt | Command::FinishSentence => {
                }
            }
        }
    }

    async fn speak(&mut self, segment: &mut Segment) -> Outcome {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.comes_round();
            if segment.stream.is_none()
                && let Some(sentence) = segment.script.next(self.playout.written())
            {
                segment.stream = Some(self.tts.speak(sentence));
            }
            let over = tokio::select! {
                command = self.inbox.recv() => self.obeys(segment, command).await,
                sound = next_sound(&mut segment.stream), if segment.wants_sound() => {
                    self.takes(segment, sound).await
                }
                _ = tick.tick() => {
                    segment.progress.idle_ticks += 1;
                    None
                }
            };
            if let Some(outcome) = over.or_else(|| self.plays(segment)) {
                return outcome;
            }
        }
    }

    /// Does what the session asks for in the middle of a segment.
    async fn obeys(&mut self, segment: &mut Segment, command: Option<Command>) -> Option<Outcome> {
        let Some(command) = command else {
            self.playout.flush();
            return Some(Outcome::Abandoned);
        };
        match command {
            Command::Say { segment, sentences } => {
                self.next = Some((segment, sentences));
                self.flush().await;
                return Some(Outcome::Interrupted);
            }
            Command::Interrupt => {
                self.flush().await;
                return Some(Outcome::Interrupted);
            }
            Command::Pause => {
                segment.is_paused = true;
                self.playout.set_paused(true);
            }
            Command::Resume => {
                segment.is_paused = false;
                self.playout.set_paused(false);
                segment.progress.idle_ticks = 0;
            }
            Command::FinishSentence => segment.is_cut |= segment.script.cut(),
        }
        None
    }

    /// Takes sound as the engine makes it, and tells of the first.
    async fn takes(
        &mut self,
        segment: &mut Segment,
        sound: Option<Result<Vec<i16>, TtsError>>,
    ) -> Option<Outcome> {
        match sound {
            Some(Ok(pcm)) => {
                segment.chunk = (pcm, 0);
                if segment.is_started {
                    return None;
                }
                segment.is_started = true;
                let told = self.events.send(segment.started()).await;
                told.is_err().then_some(Outcome::Abandoned)
            }
            Some(Err(error)) => {
                self.flush_after_playing().await;
                Some(Outcome::Failed(error.to_string()))
            }
            None => {
                segment.stream = None;
                segment.script.is_made(self.playout.written());
                None
            }
        }
    }

    /// Tops up the playout, and says when all was played or the audio clock stands still.
    fn plays(&mut self, segment: &mut Segment) -> Option<Outcome> {
        let (pcm, given) = &mut segment.chunk;
        *given += self.playout.write(&pcm[*given..]);
        let (played, written) = (self.playout.played(), self.playout.written());
        let progress = &mut segment.progress;
        if played != progress.played || segment.is_paused || played == written {
            *progress = Progress::at(played);
        }
        if progress.idle_ticks > STANDSTILL_TICKS {
            self.playout.flush();
            return Some(Outcome::Failed(format!(
                "the audio clock took no sound for {} s",
                STANDSTILL.as_secs()
            )));
        }
        if played < written || !segment.is_made() {
            return None;
        }
        Some(if segment.is_cut {
            Outcome::Interrupted
        } else {
            Outcome::Whole
        })
    }

    /// What the session is told of a segment's end, if it is there to be told.
    fn tells(&self, segment: &Segment, outcome: Outcome) -> Option<SpeakerEvent> {
        let part = || {
            let (played, written) = (self.playout.played(), self.playout.written());
            Heard::Part(segment.script.heard(played, written))
        };
        let segment = segment.number;
        Some(match outcome {
            Outcome::Abandoned => return None,
            Outcome::Whole => SpeakerEvent::Ended {
                segment,
                heard: Heard::Whole,
            },
            Outcome::Interrupted => SpeakerEvent::Ended {
                segment,
                heard: part(),
            },
            Outcome::Failed(cause) => SpeakerEvent::Failed {
                segment,
                heard: part(),
                cause,
            },
        })
    }

    /// Throws the ring away and waits for the audio thread to say so, so that what was heard is final.
    async fn flush(&mut self) {
        self.playout.flush();
        let limit = Instant::now() + STANDSTILL;
        while !self.playout.is_flushed() && Instant::now() < limit {
            self.comes_round();
            tokio::time::sleep(TICK).await;
        }
        self.playout.set_paused(false);
        self.playout.forget_unplayed();
    }

    /// Lets the candidate hear what was already made before an engine broke.
    async fn flush_after_playing(&mut self) {
        let limit = Instant::now() + STANDSTILL;
        while self.playout.played() < self.playout.written() && Instant::now() < limit {
            self.comes_round();
            tokio::time::sleep(TICK).await;
        }
        self.flush().await;
    }

    fn comes_round(&self) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
    }
}

impl Segment {
    fn new(number: u32, sentences: Vec<String>, played: u64) -> Self {
        Self {
            number,
            asked: Instant::now(),
            script: Script::of(sentences),
            stream: None,
            chunk: (Vec::new(), 0),
            is_started: false,
            is_paused: false,
            is_cut: false,
            progress: Progress::at(played),
        }
    }

    fn has_chunk(&self) -> bool {
        self.chunk.1 < self.chunk.0.len()
    }

    fn wants_sound(&self) -> bool {
        !self.has_chunk() && self.stream.is_some()
    }

    /// All its sound was made and is in the playout.
    fn is_made(&self) -> bool {
        self.stream.is_none() && !self.script.has_more() && !self.has_chunk()
    }

    fn started(&self) -> SpeakerEvent {
        SpeakerEvent::Started {
            segment: self.number,
            first_sound_ms: u32::try_from(self.asked.elapsed().as_millis()).unwrap_or(u32::MAX),
            engine: self.stream.as_ref().map_or("", |stream| stream.engine),
        }
    }
}

impl Progress {
    fn at(played: u64) -> Self {
        Self {
            played,
            idle_ticks: 0,
        }
    }
}

async fn next_sound(stream: &mut Option<SpeechStream>) -> Option<Result<Vec<i16>, TtsError>> {
    match stream {
        Some(stream) => stream.next().await,
        None => std::future::pending().await,
    }
}
