//! Transcription by a server: the words when it is well, a named error in time when it is not.

use std::time::{Duration, Instant};

use crate::fake_provider::{Behaviour, FakeProvider, KEY, WORDS};
use viva::config::{self, Secret};
use viva::provider::ProviderError;
use viva::speech::openai::OpenAiStt;
use viva::speech::{Stt, SttError, Transcript, UTTERANCE_MS_MAX};

const TIMEOUT_MS: u32 = 700;
/// What a busy machine may add to a limit.
const GRACE: Duration = Duration::from_millis(500);

fn engine(base_url: &str) -> OpenAiStt {
    let settings = config::Stt {
        base_url: Some(base_url.to_owned()),
        timeout_ms: TIMEOUT_MS,
        ..config::Stt::default()
    };
    OpenAiStt::new(&settings, Some(&Secret::new(KEY))).unwrap()
}

async fn transcribe(engine: &OpenAiStt) -> Result<Transcript, SttError> {
    let mut utterance = engine.begin();
    utterance.push(&[1000; 16_000]).unwrap();
    utterance.push(&[-1000; 8_000]).unwrap();
    let start = Instant::now();
    let outcome = utterance.finish().await;
    assert!(
        start.elapsed() < Duration::from_millis(TIMEOUT_MS.into()) + GRACE,
        "{:?}",
        start.elapsed()
    );
    outcome
}

async fn error_of(script: impl IntoIterator<Item = Behaviour>) -> (ProviderError, FakeProvider) {
    let provider = FakeProvider::start(script).await;
    let Err(SttError::Provider(error)) = transcribe(&engine(provider.base_url())).await else {
        panic!("no error of the provider")
    };
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(error.to_string().contains(provider.base_url()), "{error}");
    (error, provider)
}

#[tokio::test]
async fn an_utterance_becomes_words() {
    let provider = FakeProvider::start([Behaviour::Right]).await;
    let transcript = transcribe(&engine(provider.base_url())).await.unwrap();
    assert_eq!(transcript.text, WORDS);
    assert_eq!(transcript.engine, "openai");
    assert_eq!(transcript.audio_ms, 1500);

    let seen = provider.seen().remove(0);
    assert_eq!(seen.path, "/v1/audio/transcriptions");
    assert_eq!(
        seen.authorization.as_deref(),
        Some(format!("Bearer {KEY}").as_str())
    );
    let has = |part: &[u8]| seen.body.windows(part.len()).any(|at| at == part);
    assert!(has(b"name=\"model\"\r\n\r\nwhisper-1"));
    assert!(has(b"name=\"response_format\"\r\n\r\njson"));
    assert!(has(b"filename=\"speech.wav\""));
    assert!(
        has(b"RIFF\xa4\xbb\0\0WAVEfmt "),
        "24,000 samples in a WAV file"
    );
}

#[tokio::test]
async fn plain_text_is_words_too() {
    let provider = FakeProvider::start([Behaviour::Body("text/plain", b"Use an index.\n")]).await;
    let transcript = transcribe(&engine(provider.base_url())).await.unwrap();
    assert_eq!(transcript.text, "Use an index.");
}

#[tokio::test]
async fn a_refused_key_is_named_and_not_tried_again() {
    let (error, provider) = error_of([Behaviour::Status(401)]).await;
    assert!(matches!(
        error,
        ProviderError::Unauthorized { status: 401, .. }
    ));
    assert_eq!(provider.seen().len(), 1);
}

#[tokio::test]
async fn a_failure_of_the_moment_is_tried_again() {
    let provider = FakeProvider::start([
        Behaviour::Status(503),
        Behaviour::Limited("0"),
        Behaviour::Right,
    ])
    .await;
    let transcript = transcribe(&engine(provider.base_url())).await.unwrap();
    assert_eq!(transcript.text, WORDS);
    assert_eq!(provider.seen().len(), 3);
}

#[tokio::test]
async fn a_server_that_keeps_failing_is_named() {
    let (error, provider) = error_of([Behaviour::Status(500)]).await;
    assert!(matches!(error, ProviderError::Server { status: 500, .. }));
    assert!(provider.seen().len() > 1);
}

#[tokio::test]
async fn a_rate_limit_beyond_the_deadline_is_not_waited_for() {
    let start = Instant::now();
    let (error, provider) = error_of([Behaviour::Limited("30")]).await;
    assert_eq!(error.retry_after(), Some(Duration::from_secs(30)));
    assert_eq!(provider.seen().len(), 1);
    assert!(start.elapsed() < GRACE);
}

#[tokio::test]
async fn garbage_is_named() {
    let (error, _) = error_of([Behaviour::Body("application/json", b"{not json")]).await;
    assert!(matches!(error, ProviderError::Garbled { .. }), "{error}");
}

#[tokio::test]
async fn a_silent_a_stalled_and_a_slow_server_run_into_the_deadline() {
    for behaviour in [
        Behaviour::Silent,
        Behaviour::Stalls,
        Behaviour::Slow(Duration::from_secs(5)),
    ] {
        let (error, _) = error_of([behaviour]).await;
        let expected = u64::from(TIMEOUT_MS);
        assert!(
            matches!(error, ProviderError::Timeout { ms, .. } if ms == expected),
            "{error}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_asked_for_again() {
    let provider = FakeProvider::start([Behaviour::Cut, Behaviour::Right]).await;
    assert_eq!(
        transcribe(&engine(provider.base_url())).await.unwrap().text,
        WORDS
    );
    let (error, _) = error_of([Behaviour::Cut]).await;
    assert!(
        matches!(error, ProviderError::Unreachable { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_body_without_an_end_is_not_read_for_ever() {
    let (error, _) = error_of([Behaviour::Endless]).await;
    assert!(
        matches!(
            error,
            ProviderError::Garbled { .. } | ProviderError::Timeout { .. }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (error, provider) = error_of([Behaviour::Redirect, Behaviour::Right]).await;
    assert!(matches!(
        error,
        ProviderError::Redirected { status: 303, .. }
    ));
    assert_eq!(provider.seen().len(), 1);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    // A port that is bound and not listened at: nobody else can get it meanwhile, and it refuses.
    let bound = tokio::net::TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let gone = bound.local_addr().unwrap();
    let Err(SttError::Provider(error)) = transcribe(&engine(&format!("http://{gone}/v1"))).await
    else {
        panic!("no error of the provider")
    };
    assert!(
        matches!(&error, ProviderError::Unreachable { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn nothing_and_too_much_are_not_sent() {
    let provider = FakeProvider::start([Behaviour::Right]).await;
    let engine = engine(provider.base_url());
    assert_eq!(engine.begin().finish().await, Err(SttError::Empty));

    let mut utterance = engine.begin();
    let second = vec![0; 16_000];
    for _ in 0..UTTERANCE_MS_MAX / 1000 {
        utterance.push(&second).unwrap();
    }
    assert_eq!(utterance.push(&[0]), Err(SttError::TooLong));
    assert!(provider.seen().is_empty());
}

#[tokio::test]
async fn a_warmed_connection_is_used_again() {
    let provider = FakeProvider::start([Behaviour::Right]).await;
    let engine = engine(provider.base_url());
    engine.provider().warm().await;
    transcribe(&engine).await.unwrap();
    let paths: Vec<_> = provider.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/v1/models", "/v1/audio/transcriptions"]);
    assert_eq!(provider.connections(), 1);
}
