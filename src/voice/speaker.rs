//! Speaks segments: text to sentences to sound, and tells what of it was heard.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::heard::heard_part;
use super::playout::Playout;
use crate::speech::{OUTPUT_RATE_HZ, SpeechStream, Tts};

/// Commands that may wait; the session sends one or two at a time.
const COMMANDS_MAX: usize = 16;

/// Events that may wait for the session.
const EVENTS_MAX: usize = 32;

/// How often the ring is topped up and the position read while something is spoken.
const TICK: Duration = Duration::from_millis(10);

/// Sound that was written but is not taken for this long, without a pause, means that the audio clock stands still.
const STANDSTILL: Duration = Duration::from_secs(5);
/// The same in ticks: after a pause of the whole process a time says nothing.
const STANDSTILL_TICKS: u128 = STANDSTILL.as_millis() / TICK.as_millis();

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
        let mouth = Mouth {
            tts,
            playout,
            inbox,
            events,
            next: None,
            rounds: rounds.clone(),
        };
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

struct Mouth {
    tts: Arc<dyn Tts>,
    playout: Playout,
    inbox: mpsc::Receiver<Command>,
    events: mpsc::Sender<SpeakerEvent>,
    /// Replaces what is being spoken.
    next: Option<(u32, Vec<String>)>,
    /// A sign of life.
    rounds: Arc<AtomicU64>,
}

/// A sentence and where its sound lies in the playout.
struct Spoken {
    text: String,
    begin: u64,
    /// Known once all its sound was written.
    end: Option<u64>,
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
    async fn run(mut self) {
        loop {
            let next = match self.next.take() {
                Some(next) => Some(next),
                None => match self.inbox.recv().await {
                    None => return,
                    Some(Command::Say { segment, sentences }) => Some((segment, sentences)),
                    // Nothing is being spoken that could be held or stopped.
                    Some(
                        Command::Pause
                        | Command::Resume
                        | Command::Interrupt
                        | Command::FinishSentence,
                    ) => None,
                },
            };
            let Some((segment, sentences)) = next else {
                continue;
            };
            let mut spoken = Vec::new();
            let outcome = self.speak(segment, sentences, &mut spoken).await;
            let told = match outcome {
                Outcome::Abandoned => return,
                Outcome::Whole => {
                    self.events
                        .send(SpeakerEvent::Ended {
                            segment,
                            heard: Heard::Whole,
                        })
                        .await
                }
                Outcome::Failed(cause) => {
                    let heard = Heard::Part(self.heard(&spoken));
                    self.events
                        .send(SpeakerEvent::Failed {
                            segment,
                            heard,
                            cause,
                        })
                        .await
                }
                Outcome::Interrupted => {
                    let heard = Heard::Part(self.heard(&spoken));
                    self.events
                        .send(SpeakerEvent::Ended { segment, heard })
                        .await
                }
            };
            if told.is_err() {
                return;
            }
        }
    }

    async fn speak(
        &mut self,
        segment: u32,
        sentences: Vec<String>,
        spoken: &mut Vec<Spoken>,
    ) -> Outcome {
        let asked = Instant::now();
        let mut waiting: VecDeque<String> = sentences.into();
        let mut stream: Option<SpeechStream> = None;
        let mut chunk: (Vec<i16>, usize) = (Vec::new(), 0);
        let mut started = false;
        let mut progress = (self.playout.played(), 0);
        let mut paused = false;
        let mut cut = false;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.comes_round();
            if stream.is_none()
                && let Some(sentence) = waiting.pop_front()
            {
                stream = Some(self.tts.speak(&sentence));
                spoken.push(Spoken {
                    text: sentence,
                    begin: self.playout.written(),
                    end: None,
                });
            }
            let has_chunk = chunk.1 < chunk.0.len();
            let wants_sound = !has_chunk && stream.is_some();
            tokio::select! {
                command = self.inbox.recv() => match command {
                    None => {
                        self.playout.flush();
                        return Outcome::Abandoned;
                    }
                    Some(Command::Say { segment, sentences }) => {
                        self.next = Some((segment, sentences));
                        self.flush().await;
                        return Outcome::Interrupted;
                    }
                    Some(Command::Pause) => {
                        paused = true;
                        self.playout.set_paused(true);
                    }
                    Some(Command::Resume) => {
                        paused = false;
                        self.playout.set_paused(false);
                        progress.1 = 0;
                    }
                    Some(Command::Interrupt) => {
                        self.flush().await;
                        return Outcome::Interrupted;
                    }
                    Some(Command::FinishSentence) => {
                        cut = !waiting.is_empty();
                        waiting.clear();
                    }
                },
                sound = next_sound(&mut stream), if wants_sound => match sound {
                    Some(Ok(pcm)) => {
                        chunk = (pcm, 0);
                        if !started {
                            started = true;
                            let engine = stream.as_ref().map_or("", |s| s.engine);
                            let first_sound_ms = u32::try_from(asked.elapsed().as_millis()).unwrap_or(u32::MAX);
                            if self.events.send(SpeakerEvent::Started { segment, first_sound_ms, engine }).await.is_err() {
                                return Outcome::Abandoned;
                            }
                        }
                    }
                    Some(Err(error)) => {
                        self.flush_after_playing().await;
                        return Outcome::Failed(error.to_string());
                    }
                    None => {
                        stream = None;
                        if let Some(last) = spoken.last_mut() {
                            last.end = Some(self.playout.written());
                        }
                    }
                },
                _ = tick.tick() => progress.1 += 1,
            }
            chunk.1 += self.playout.write(&chunk.0[chunk.1..]);
            let played = self.playout.played();
            if played != progress.0 || paused || played == self.playout.written() {
                progress = (played, 0);
            }
            let all_written = stream.is_none() && waiting.is_empty() && chunk.1 == chunk.0.len();
            if all_written && played == self.playout.written() {
                return if cut {
                    Outcome::Interrupted
                } else {
                    Outcome::Whole
                };
            }
            if progress.1 > STANDSTILL_TICKS {
                self.playout.flush();
                return Outcome::Failed(format!(
                    "the audio clock took no sound for {} s",
                    STANDSTILL.as_secs()
                ));
            }
        }
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

    fn heard(&self, spoken: &[Spoken]) -> String {
        let played = self.playout.played();
        let mut words: Vec<&str> = Vec::new();
        for sentence in spoken {
            match sentence.end {
                Some(end) if end <= played => words.push(&sentence.text),
                // Cut while it was still being made: its length is unknown, so that what was written stands for it.
                end => {
                    let all = end
                        .map_or_else(|| self.estimate(sentence), |end| end - sentence.begin)
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

    /// Samples that a sentence takes at a usual 15 letters a second.
    fn estimate(&self, sentence: &Spoken) -> u64 {
        const LETTERS_PER_S: u64 = 15;
        let letters = sentence.text.chars().count() as u64;
        (letters * u64::from(OUTPUT_RATE_HZ) / LETTERS_PER_S)
            .max(self.playout.written().saturating_sub(sentence.begin))
    }
}

async fn next_sound(
    stream: &mut Option<SpeechStream>,
) -> Option<Result<Vec<i16>, crate::speech::TtsError>> {
    match stream {
        Some(stream) => stream.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::TtsError;
    use crate::voice::playout::{PlayoutClock, playout};

    /// Speaks 100 ms of sound for each word, or fails at the word "fail".
    struct Metronome;

    impl Tts for Metronome {
        fn name(&self) -> &'static str {
            "metronome"
        }

        fn speak(&self, text: &str) -> SpeechStream {
            let (sender, stream) = SpeechStream::channel("metronome");
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            crate::spawn::supervised("metronome", async move {
                for word in words {
                    if word.starts_with("fail") {
                        let _told = sender.fail(TtsError::Engine("on purpose".into())).await;
                        return;
                    }
                    if sender.send(vec![7; 2_400]).await.is_err() {
                        return;
                    }
                }
            });
            stream
        }
    }

    /// The audio thread, in simulated time.
    async fn tick(mut clock: PlayoutClock) {
        let mut beat = tokio::time::interval(Duration::from_millis(10));
        let mut out = [0; 240];
        loop {
            beat.tick().await;
            clock.fill(&mut out);
        }
    }

    fn start() -> (Speaker, mpsc::Receiver<SpeakerEvent>) {
        let (playout, clock) = playout();
        crate::spawn::supervised("audio clock", tick(clock));
        Speaker::start(Arc::new(Metronome), playout)
    }

    fn text(words: &str) -> Vec<String> {
        vec![words.to_owned()]
    }

    async fn started(events: &mut mpsc::Receiver<SpeakerEvent>) {
        let event = events.recv().await;
        assert!(
            matches!(event, Some(SpeakerEvent::Started { .. })),
            "{event:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_segment_is_over_when_its_last_sample_was_heard() {
        let (speaker, mut events) = start();
        let asked = Instant::now();
        speaker.say(1, text("one two three four")).unwrap();
        started(&mut events).await;
        let whole = SpeakerEvent::Ended {
            segment: 1,
            heard: Heard::Whole,
        };
        assert_eq!(events.recv().await, Some(whole));
        let took_ms = asked.elapsed().as_millis();
        assert!((400..=450).contains(&took_ms), "{took_ms} ms");
    }

    #[tokio::test(start_paused = true)]
    async fn an_interrupted_segment_is_told_up_to_the_word_that_was_heard() {
        let (speaker, mut events) = start();
        speaker
            .say(1, text("one two three four five six seven eight"))
            .unwrap();
        started(&mut events).await;
        tokio::time::sleep(Duration::from_millis(420)).await;
        speaker.interrupt().unwrap();
        let Some(SpeakerEvent::Ended {
            heard: Heard::Part(part),
            ..
        }) = events.recv().await
        else {
            panic!("not interrupted");
        };
        assert!(
            part == "one two three four" || part == "one two three",
            "{part:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_keeps_the_place_for_as_long_as_it_lasts() {
        let (speaker, mut events) = start();
        let asked = Instant::now();
        speaker.say(1, text("one two three four")).unwrap();
        started(&mut events).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        speaker.pause().unwrap();
        tokio::time::sleep(Duration::from_secs(20)).await;
        speaker.resume().unwrap();
        let whole = SpeakerEvent::Ended {
            segment: 1,
            heard: Heard::Whole,
        };
        assert_eq!(events.recv().await, Some(whole));
        let took_ms = asked.elapsed().as_millis();
        assert!((20_400..=20_500).contains(&took_ms), "{took_ms} ms");
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_segment_takes_the_place_of_the_one_being_spoken() {
        let (speaker, mut events) = start();
        speaker.say(1, text("one two three four")).unwrap();
        started(&mut events).await;
        speaker.say(2, text("five")).unwrap();
        let event = events.recv().await;
        assert!(
            matches!(
                event,
                Some(SpeakerEvent::Ended {
                    segment: 1,
                    heard: Heard::Part(_)
                })
            ),
            "{event:?}"
        );
        started(&mut events).await;
        let whole = SpeakerEvent::Ended {
            segment: 2,
            heard: Heard::Whole,
        };
        assert_eq!(events.recv().await, Some(whole));
    }

    #[tokio::test(start_paused = true)]
    async fn a_voice_that_breaks_is_told_with_what_was_heard_before() {
        let (speaker, mut events) = start();
        speaker
            .say(1, vec!["one two.".into(), "fail here.".into()])
            .unwrap();
        started(&mut events).await;
        let Some(SpeakerEvent::Failed { heard, cause, .. }) = events.recv().await else {
            panic!("not told");
        };
        assert_eq!(heard, Heard::Part("one two.".into()));
        assert!(cause.contains("on purpose"), "{cause}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_audio_clock_that_stands_still_fails_the_segment() {
        let (playout, _clock) = playout();
        let (speaker, mut events) = Speaker::start(Arc::new(Metronome), playout);
        speaker.say(1, text("one two")).unwrap();
        started(&mut events).await;
        let event = events.recv().await;
        assert!(
            matches!(&event, Some(SpeakerEvent::Failed { cause, .. }) if cause.contains("audio clock")),
            "{event:?}"
        );
    }
}
