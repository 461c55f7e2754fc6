//! The engines on this machine understand people and each other.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support;
use viva::models::Pinned;
use viva::speech::embedded::{EmbeddedError, Moonshine, MoonshineFiles, Piper, PiperFiles, Style};
use viva::speech::wer::word_error_rate;
use viva::speech::{
    CHUNK_SAMPLES_MAX, OUTPUT_RATE_HZ, SpeechStream, Stt, SttError, Transcript, Tts, TtsError,
};

/// Unoptimised builds on a loaded machine take long; it is reached only when a test fails.
const LIMIT: Duration = Duration::from_secs(60);
/// The opening of Dickens' novel, as far as the recording goes.
const TWO_CITIES: &str = "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age \
    of foolishness, it was the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the \
    season of Darkness, it was the spring of hope, it was the winter of despair, we had everything before us, we had \
    nothing before us, we were all going direct to Heaven, we were all going direct the other way. In short, the period \
    was so far like the present period, that some of its noisiest authorities insisted on its being received, for good \
    or for evil, in the superlative degree of comparison only.";

fn moonshine() -> Moonshine {
    let files = MoonshineFiles::in_directory(&support::models_directory()).unwrap();
    Moonshine::load(support::runtime(), &files, LIMIT).unwrap()
}

fn piper(style: Style) -> Piper {
    let files = PiperFiles::in_directory(&support::models_directory()).unwrap();
    Piper::load(
        support::runtime(),
        &files,
        Path::new("espeak-ng"),
        style,
        LIMIT,
    )
    .unwrap()
}

async fn hear(stt: &dyn Stt, pcm: &[i16]) -> Result<Transcript, SttError> {
    let mut utterance = stt.begin();
    for chunk in pcm.chunks(160) {
        utterance.push(chunk)?;
    }
    utterance.finish().await
}

async fn say(tts: &dyn Tts, text: &str) -> Vec<i16> {
    let mut stream = tts.speak(text);
    let mut sound = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.unwrap();
        assert!(!chunk.is_empty() && chunk.len() <= CHUNK_SAMPLES_MAX);
        sound.extend(chunk);
    }
    sound
}

async fn failure(mut stream: SpeechStream) -> TtsError {
    loop {
        match stream.next().await {
            Some(Ok(_)) => {}
            Some(Err(e)) => return e,
            None => unreachable!("it was spoken"),
        }
    }
}

fn as_heard(sound: &[i16]) -> Vec<i16> {
    let sound: Vec<f32> = sound.iter().map(|s| f32::from(*s) / 32768.0).collect();
    support::at_16_khz(&sound, OUTPUT_RATE_HZ)
}

#[tokio::test]
async fn a_reading_of_44_seconds_is_understood() {
    let heard = hear(&moonshine(), &support::recording("two_cities.wav"))
        .await
        .unwrap();
    let rate = word_error_rate(TWO_CITIES, &heard.text);
    assert!(rate <= 0.10, "{rate}: {}", heard.text);
    assert_eq!((heard.engine, heard.audio_ms / 1000), ("embedded", 44));
}

#[tokio::test]
async fn what_piper_says_moonshine_understands() {
    let (moonshine, piper) = (moonshine(), piper(Style::default()));
    let texts = [
        "Welcome to the interview. Please tell me about the last project that you worked on.",
        "How would you find out why a database query is slow, and what would you look at first?",
        "Thank you. That was a clear answer! Let us go on with the next question.",
        "A hash table gives you constant time on average; in the worst case it is linear.",
    ];
    let mut all = Vec::new();
    for text in texts {
        all.push(
            hear(&moonshine, &as_heard(&say(&piper, text).await))
                .await
                .unwrap()
                .text,
        );
    }
    let rate = word_error_rate(&texts.join(" "), &all.join(" "));
    assert!(rate <= 0.15, "{rate}: {all:#?}");
}

#[tokio::test]
async fn another_style_of_the_voice_is_as_clear_and_as_long() {
    let (moonshine, plain) = (moonshine(), piper(Style::default()));
    let high = piper(Style {
        pitch: 1.2,
        length_scale: 1.0,
    });
    let text = "I would start with a profiler, and then look at the slowest function.";
    let (low, high) = (say(&plain, text).await, say(&high, text).await);
    assert!(
        (0.8..1.25).contains(&(high.len() as f64 / low.len() as f64)),
        "{} and {}",
        low.len(),
        high.len()
    );
    let heard = hear(&moonshine, &as_heard(&high)).await.unwrap().text;
    assert!(word_error_rate(text, &heard) <= 0.15, "{heard}");
}

#[tokio::test]
async fn silence_and_clicks_give_no_essay() {
    let moonshine = moonshine();
    for pcm in [vec![0; 100], vec![0; 16_000], vec![0; 25 * 16_000]] {
        let heard = hear(&moonshine, &pcm).await.unwrap().text;
        assert!(heard.split_whitespace().count() <= 3, "{heard}");
    }
    assert_eq!(hear(&moonshine, &[]).await, Err(SttError::Empty));
}

#[tokio::test]
async fn an_utterance_beyond_a_minute_is_refused() {
    let moonshine = moonshine();
    let mut utterance = moonshine.begin();
    utterance.push(&vec![0; 60 * 16_000]).unwrap();
    assert_eq!(utterance.push(&[0]), Err(SttError::TooLong));
}

#[tokio::test]
async fn an_overload_is_an_error_and_not_a_wait() {
    let moonshine = moonshine();
    let speech = support::recording("beckett.wav");
    let all =
        futures_util::future::join_all((0..30).map(|_| hear(&moonshine, &speech[..32_000]))).await;
    let busy = all
        .iter()
        .filter(|heard| **heard == Err(SttError::Engine("busy".into())))
        .count();
    assert!((1..30).contains(&busy), "{busy} of 30");
    assert!(
        all.iter()
            .all(|heard| heard.is_ok() || *heard == Err(SttError::Engine("busy".into())))
    );
}

#[tokio::test]
async fn a_transcription_that_is_given_up_makes_room_for_the_next() {
    let moonshine = moonshine();
    let long = support::recording("two_cities.wav");
    let start = Instant::now();
    hear(&moonshine, &long).await.unwrap();
    let whole = start.elapsed();
    for _ in 0..5 {
        let given_up =
            tokio::time::timeout(Duration::from_millis(1), hear(&moonshine, &long)).await;
        assert!(given_up.is_err());
    }
    let start = Instant::now();
    hear(&moonshine, &long[..16_000]).await.unwrap();
    // Had each been finished, it would have waited for five.
    assert!(
        start.elapsed() < 3 * whole,
        "{:?} after {whole:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_limit_that_is_too_short_is_named() {
    let files = MoonshineFiles::in_directory(&support::models_directory()).unwrap();
    let moonshine = Moonshine::load(support::runtime(), &files, Duration::from_millis(1)).unwrap();
    let heard = hear(&moonshine, &support::recording("two_cities.wav")).await;
    assert_eq!(heard, Err(SttError::Timeout { ms: 1 }));
}

#[tokio::test]
async fn two_voices_speak_at_the_same_time() {
    let piper = piper(Style::default());
    let (a, b) = tokio::join!(
        say(&piper, "This is the first voice."),
        say(&piper, "And this is the second one.")
    );
    assert!(a.len() > 20_000 && b.len() > 20_000);
}

#[tokio::test]
async fn nothing_to_say_and_too_much_to_say_are_errors() {
    let piper = piper(Style::default());
    assert_eq!(failure(piper.speak(" ... ")).await, TtsError::Empty);
    assert_eq!(
        failure(piper.speak(&"word ".repeat(2000))).await,
        TtsError::TooLong { chars_max: 4000 }
    );
}

#[tokio::test]
async fn a_stream_that_is_dropped_leaves_the_voice_free() {
    let piper = piper(Style::default());
    for _ in 0..16 {
        // Many more than the queue holds: each is given up at its first sound.
        let mut stream = piper
            .speak("Let me explain that in a few words. It is not hard. It only takes some time.");
        assert!(stream.next().await.unwrap().is_ok());
    }
    assert!(!say(&piper, "Good.").await.is_empty());
}

#[test]
fn a_missing_espeak_names_the_package() {
    let files = PiperFiles::in_directory(&support::models_directory()).unwrap();
    let error = Piper::load(
        support::runtime(),
        &files,
        Path::new("/nowhere/espeak-ng"),
        Style::default(),
        LIMIT,
    );
    let error = error.unwrap_err();
    assert!(
        matches!(error, EmbeddedError::NoEspeak { .. })
            && error.to_string().contains("package espeak-ng"),
        "{error}"
    );
}

#[test]
fn missing_files_are_named_with_what_to_do() {
    let files = MoonshineFiles::in_directory(Path::new("/nowhere")).unwrap();
    let error = Moonshine::load(support::runtime(), &files, LIMIT)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("/nowhere/moonshine-tiny-en") && error.contains("models/fetch"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_no_model_is_refused_by_its_hash_before_anything_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut files = PiperFiles::in_directory(&support::models_directory()).unwrap();
    files.voice = Pinned {
        path: directory.path().join("voice.onnx"),
        ..files.voice
    };
    std::fs::write(&files.voice.path, "not a voice").unwrap();
    let error = Piper::load(
        support::runtime(),
        &files,
        Path::new("espeak-ng"),
        Style::default(),
        LIMIT,
    )
    .unwrap_err();
    assert!(
        error.to_string().contains("is not the pinned one"),
        "{error}"
    );
}

#[test]
fn without_a_runtime_speaking_is_an_error_and_not_a_panic() {
    let mut stream = piper(Style::default()).speak("Hello.");
    let first = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(stream.next());
    assert!(matches!(first, Some(Err(TtsError::Engine(_)))));
}
