//! Speech by a server: sound as it comes when the server is well, a named error in time when it is not.

use std::time::{Duration, Instant};

use crate::fake_provider::{Behaviour, FakeProvider, KEY, SOUND_SAMPLES, sound};
use viva::config::{self, Secret};
use viva::provider::ProviderError;
use viva::speech::openai::OpenAiTts;
use viva::speech::{CHUNK_SAMPLES_MAX, SpeechStream, Tts, TtsError};

const TIMEOUT_MS: u32 = 700;
/// What a busy machine may add to a limit.
const GRACE: Duration = Duration::from_millis(500);
/// The engine's limit of silence once sound has begun.
const STALL: Duration = Duration::from_secs(2);
const TEXT: &str = "What is a mutex?";

fn engine(base_url: &str) -> OpenAiTts {
    let settings = config::Tts {
        base_url: Some(base_url.to_owned()),
        timeout_ms: TIMEOUT_MS,
        ..config::Tts::default()
    };
    OpenAiTts::new(&settings, Some(&Secret::new(KEY))).unwrap()
}

/// All of the sound, and how it ended.
async fn listen(mut speech: SpeechStream) -> (Vec<i16>, Option<TtsError>) {
    let mut heard = Vec::new();
    while let Some(item) = speech.next().await {
        match item {
            Ok(chunk) => {
                assert!((1..=CHUNK_SAMPLES_MAX).contains(&chunk.len()));
                heard.extend(chunk);
            }
            Err(error) => {
                assert!(speech.next().await.is_none(), "an error is the last item");
                return (heard, Some(error));
            }
        }
    }
    (heard, None)
}

/// The error of a sentence of which nothing is heard.
async fn error_of(script: impl IntoIterator<Item = Behaviour>) -> (ProviderError, FakeProvider) {
    let provider = FakeProvider::start(script).await;
    let start = Instant::now();
    let (heard, error) = listen(engine(provider.base_url()).speak(TEXT)).await;
    assert!(
        start.elapsed() < Duration::from_millis(TIMEOUT_MS.into()) + GRACE,
        "{:?}",
        start.elapsed()
    );
    assert!(heard.is_empty());
    (named(error, &provider), provider)
}

fn named(error: Option<TtsError>, provider: &FakeProvider) -> ProviderError {
    let Some(TtsError::Provider(error)) = error else {
        panic!("no error of the provider: {error:?}")
    };
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(error.to_string().contains(provider.base_url()), "{error}");
    error
}

#[tokio::test]
async fn a_sentence_becomes_sound() {
    let provider = FakeProvider::start([Behaviour::Right]).await;
    let (heard, error) = listen(engine(provider.base_url()).speak(TEXT)).await;
    assert_eq!(error, None);
    assert_eq!(heard, sound());

    let seen = provider.seen().remove(0);
    assert_eq!(seen.path, "/v1/audio/speech");
    assert_eq!(
        seen.authorization.as_deref(),
        Some(format!("Bearer {KEY}").as_str())
    );
    let request: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
    let expected = serde_json::json!({"model": "tts-1", "voice": "alloy", "input": TEXT, "response_format": "pcm"});
    assert_eq!(request, expected);
}

#[tokio::test]
async fn pieces_that_end_in_the_middle_of_a_sample_are_put_together() {
    let provider = FakeProvider::start([Behaviour::Crumbs]).await;
    let (heard, error) = listen(engine(provider.base_url()).speak(TEXT)).await;
    assert_eq!(error, None);
    assert_eq!(heard, sound());
}

#[tokio::test]
async fn what_is_no_pcm_is_named_and_not_played() {
    for (kind, body, name) in [
        ("audio/wav", &b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0"[..], "WAV"),
        ("application/json", b"{not json", "JSON"),
        ("audio/pcm", b"{\"error\":{\"message\":\"no\"}}", "JSON"),
        (
            "text/event-stream",
            b"event: speech.audio.delta\ndata: {}\n\n",
            "events",
        ),
        ("audio/mpeg", b"ID3\x04\0\0\0\0\0\0\0\0\0\0", "MP3"),
        ("audio/pcm", b"", "no sound"),
    ] {
        let (error, provider) = error_of([Behaviour::Body(kind, body)]).await;
        let ProviderError::Garbled { reason, .. } = error else {
            panic!("{error}")
        };
        assert!(reason.contains(name), "{reason}");
        assert_eq!(provider.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_refused_key_is_named_and_not_tried_again() {
    let (error, provider) = error_of([Behaviour::Status(403)]).await;
    assert!(matches!(
        error,
        ProviderError::Unauthorized { status: 403, .. }
    ));
    assert_eq!(provider.seen().len(), 1);
}

#[tokio::test]
async fn a_failure_before_the_first_sound_is_tried_again() {
    let provider = FakeProvider::start([
        Behaviour::Status(500),
        Behaviour::Limited("0"),
        Behaviour::Right,
    ])
    .await;
    let (heard, error) = listen(engine(provider.base_url()).speak(TEXT)).await;
    assert_eq!(error, None);
    assert_eq!(heard, sound());
    assert_eq!(provider.seen().len(), 3);
}

#[tokio::test]
async fn each_failure_has_its_name_within_the_deadline() {
    let (error, _) = error_of([Behaviour::Status(500)]).await;
    assert!(matches!(error, ProviderError::Server { status: 500, .. }));
    let (error, _) = error_of([Behaviour::Limited("30")]).await;
    assert!(matches!(
        error,
        ProviderError::RateLimited {
            retry_after_ms: Some(30_000),
            ..
        }
    ));
    let (error, provider) = error_of([Behaviour::Redirect, Behaviour::Right]).await;
    assert!(matches!(error, ProviderError::Redirected { .. }));
    assert_eq!(provider.seen().len(), 1);
    for behaviour in [Behaviour::Silent, Behaviour::Slow(Duration::from_secs(5))] {
        let (error, _) = error_of([behaviour]).await;
        assert!(
            matches!(error, ProviderError::Timeout { what: "sound", .. }),
            "{error}"
        );
    }
}

#[tokio::test]
async fn what_was_heard_before_a_cut_is_not_said_again() {
    let provider = FakeProvider::start([Behaviour::Cut]).await;
    let (heard, error) = listen(engine(provider.base_url()).speak(TEXT)).await;
    assert_eq!(heard, sound()[..SOUND_SAMPLES / 4]);
    assert!(matches!(
        named(error, &provider),
        ProviderError::Unreachable { .. }
    ));
    assert_eq!(provider.seen().len(), 1);
}

#[tokio::test]
async fn a_connection_that_stalls_in_the_middle_is_given_up() {
    let provider = FakeProvider::start([Behaviour::Stalls]).await;
    let start = Instant::now();
    let (heard, error) = listen(engine(provider.base_url()).speak(TEXT)).await;
    assert!(
        (STALL..STALL + GRACE).contains(&start.elapsed()),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(heard.len(), SOUND_SAMPLES / 4);
    assert!(matches!(
        named(error, &provider),
        ProviderError::Timeout { .. }
    ));
}

#[tokio::test]
async fn sound_without_an_end_ends() {
    let provider = FakeProvider::start([Behaviour::Endless]).await;
    let (heard, error) = listen(engine(provider.base_url()).speak(TEXT)).await;
    assert!(heard.len() <= 24_000 * 15, "{} s", heard.len() / 24_000);
    assert!(matches!(
        named(error, &provider),
        ProviderError::Garbled { .. }
    ));
}

#[tokio::test]
async fn dropping_the_stream_closes_the_connection() {
    let provider = FakeProvider::start([Behaviour::Stalls]).await;
    let mut speech = engine(provider.base_url()).speak(TEXT);
    speech.next().await.unwrap().unwrap();
    drop(speech);
    tokio::time::timeout(GRACE, provider.abandoned())
        .await
        .unwrap();
}

#[tokio::test]
async fn nothing_and_too_much_are_not_sent() {
    let provider = FakeProvider::start([Behaviour::Right]).await;
    let engine = engine(provider.base_url());
    assert_eq!(listen(engine.speak(" \n")).await.1, Some(TtsError::Empty));
    let error = listen(engine.speak(&"long ".repeat(1000))).await.1;
    assert!(matches!(error, Some(TtsError::TooLong { chars_max: 4096 })));
    assert!(provider.seen().is_empty());
}
