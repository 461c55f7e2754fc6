//! Segments spoken in simulated time.

use super::*;
use std::time::Duration;

use tokio::time::Instant;

use crate::speech::{SpeechStream, TtsError};
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
async fn a_segment_that_is_to_end_with_its_sentence_is_told_up_to_there() {
    let (speaker, mut events) = start();
    // Longer than what the playout holds: the next one is not begun.
    let long = format!("{}end.", "word ".repeat(19));
    speaker
        .say(1, vec![long.clone(), "three four.".into()])
        .unwrap();
    started(&mut events).await;
    // Twice, as by somebody in a hurry.
    speaker.finish_sentence().unwrap();
    speaker.finish_sentence().unwrap();
    let part = SpeakerEvent::Ended {
        segment: 1,
        heard: Heard::Part(long),
    };
    assert_eq!(events.recv().await, Some(part));
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
