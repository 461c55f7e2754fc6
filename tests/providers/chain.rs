//! Engines in a chain, by engines made for the tests and simulated time: who serves when others fail, and who comes back.

use std::sync::Arc;
use std::time::Duration;

use crate::fake_engines::{Deed, FakeStt, FakeTts};
use tokio::time::{Instant, advance};
use viva::provider::{BreakerState, ProviderError};
use viva::speech::chain::{PATIENCE, SttChain, TtsChain};
use viva::speech::{OUTPUT_RATE_HZ, Stt, SttError, Transcript, Tts, TtsError};

/// Longer than the first time for which an engine is set aside, and shorter than the longest.
const A_WHILE: Duration = Duration::from_secs(6);
const TEXT: &str = "That is clear. What is a mutex? Take your time.";

async fn hear(chain: &SttChain) -> Result<Transcript, SttError> {
    let mut utterance = chain.begin();
    utterance.push(&[1; 8000]).unwrap();
    utterance.push(&[2; 8000]).unwrap();
    utterance.finish().await
}

async fn heard_by(chain: &SttChain) -> &'static str {
    hear(chain).await.unwrap().engine
}

fn stt_chain(engines: [&Arc<FakeStt>; 2]) -> SttChain {
    SttChain::new(
        engines
            .map(|engine| Arc::clone(engine) as Arc<dyn Stt>)
            .to_vec(),
    )
}

fn tts_chain(engines: [&Arc<FakeTts>; 2]) -> TtsChain {
    TtsChain::new(
        engines
            .map(|engine| Arc::clone(engine) as Arc<dyn Tts>)
            .to_vec(),
    )
}

/// The first samples of all chunks, which name the engine that made them, and how it ended.
async fn listen(chain: &TtsChain) -> (Vec<i16>, Option<TtsError>) {
    let mut speech = chain.speak(TEXT);
    let mut makers = Vec::new();
    while let Some(item) = speech.next().await {
        match item {
            Ok(chunk) => makers.push(chunk[0]),
            Err(error) => return (makers, Some(error)),
        }
    }
    (makers, None)
}

#[tokio::test(start_paused = true)]
async fn the_preferred_engine_serves_and_hears_everything() {
    let (first, second) = (FakeStt::new("first"), FakeStt::new("second"));
    let transcript = hear(&stt_chain([&first, &second])).await.unwrap();
    assert_eq!((transcript.engine, transcript.audio_ms), ("first", 1000));
    assert_eq!(first.heard_samples(), [16_000]);
    assert!(second.heard_samples().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_next_engine_gets_the_same_sound() {
    let (first, second) = (FakeStt::new("first"), FakeStt::new("second"));
    first.will(Deed::Fail(server()));
    assert_eq!(heard_by(&stt_chain([&first, &second])).await, "second");
    assert_eq!(second.heard_samples(), [16_000]);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_keeps_failing_is_not_waited_for() {
    let (first, second) = (FakeStt::new("first"), FakeStt::new("second"));
    let chain = stt_chain([&first, &second]);
    first.will(Deed::FailAfter(Duration::from_secs(6), timeout()));
    for _ in 0..2 {
        assert_eq!(heard_by(&chain).await, "second");
    }
    let start = Instant::now();
    assert_eq!(heard_by(&chain).await, "second");
    assert_eq!(start.elapsed(), Duration::ZERO);

    let status = chain.status();
    assert_eq!(status[0].name, "first");
    assert!(matches!(status[0].breaker, BreakerState::Open { .. }));
    assert!(status[0].last_error.as_ref().unwrap().contains("2000 ms"));
    assert_eq!(status[1].breaker, BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_slow_engine_is_overtaken_and_counts_as_failing() {
    let (first, second) = (FakeStt::new("first"), FakeStt::new("second"));
    let chain = stt_chain([&first, &second]);
    first.will(Deed::SucceedAfter(Duration::from_secs(5)));
    let start = Instant::now();
    assert_eq!(heard_by(&chain).await, "second");
    assert_eq!(start.elapsed(), PATIENCE);
    assert!(
        chain.status()[0]
            .last_error
            .as_ref()
            .unwrap()
            .contains("2000 ms")
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_engine_that_is_first_all_the_same_serves() {
    let (first, second) = (FakeStt::new("first"), FakeStt::new("second"));
    let chain = stt_chain([&first, &second]);
    first.will(Deed::SucceedAfter(Duration::from_secs(3)));
    second.will(Deed::FailAfter(Duration::from_millis(100), server()));
    assert_eq!(heard_by(&chain).await, "first");
    second.will(Deed::SucceedAfter(Duration::from_secs(2)));
    assert_eq!(heard_by(&chain).await, "first");
    assert!(
        chain
            .status()
            .iter()
            .all(|engine| engine.breaker == BreakerState::Closed)
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_voice_is_overtaken_before_its_first_sound() {
    let (first, second) = (FakeTts::new("first", 1), FakeTts::new("second", 2));
    first.will(Deed::SucceedAfter(Duration::from_secs(5)));
    let start = Instant::now();
    assert_eq!(
        listen(&tts_chain([&first, &second])).await,
        (vec![2, 2, 2], None)
    );
    assert_eq!(start.elapsed(), PATIENCE);
    first.dropped().await;
}

#[tokio::test(start_paused = true)]
async fn a_trial_costs_the_candidate_nothing_and_brings_the_engine_back() {
    let (first, second) = (FakeStt::new("first"), FakeStt::new("second"));
    let chain = stt_chain([&first, &second]);
    first.will(Deed::Fail(server()));
    for _ in 0..2 {
        hear(&chain).await.unwrap();
    }
    advance(A_WHILE).await;
    assert_eq!(chain.status()[0].breaker, BreakerState::HalfOpen);

    // It is well again, if not fast: the second one serves, and only one trial is made at a time.
    first.will(Deed::SucceedAfter(Duration::from_secs(1)));
    let start = Instant::now();
    assert_eq!(heard_by(&chain).await, "second");
    assert_eq!(heard_by(&chain).await, "second");
    assert_eq!(start.elapsed(), Duration::ZERO);
    first.finished(3).await;
    assert_eq!(first.heard_samples().len(), 3);

    assert_eq!(chain.status()[0].breaker, BreakerState::Closed);
    assert_eq!(heard_by(&chain).await, "first");
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_is_too_slow_has_failed() {
    let (first, second) = (FakeTts::new("first", 1), FakeTts::new("second", 2));
    let chain = tts_chain([&first, &second]);
    first.will(Deed::Fail(server()));
    for _ in 0..2 {
        listen(&chain).await;
    }
    advance(A_WHILE).await;
    first.will(Deed::SucceedAfter(Duration::from_secs(3)));
    assert_eq!(listen(&chain).await.0, [2, 2, 2]);
    first.dropped().await;
    assert!(
        chain.status()[0]
            .last_error
            .as_ref()
            .unwrap()
            .contains("2000 ms")
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_trial_sets_it_aside_again() {
    let (first, second) = (FakeStt::new("first"), FakeStt::new("second"));
    let chain = stt_chain([&first, &second]);
    first.will(Deed::Fail(server()));
    for _ in 0..2 {
        hear(&chain).await.unwrap();
    }
    advance(A_WHILE).await;
    assert_eq!(heard_by(&chain).await, "second");
    first.finished(3).await;
    assert!(matches!(
        chain.status()[0].breaker,
        BreakerState::Open { .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_sets_an_engine_aside_at_once() {
    let (first, second) = (FakeStt::new("first"), FakeStt::new("second"));
    let chain = stt_chain([&first, &second]);
    first.will(Deed::Fail(unauthorized()));
    assert_eq!(heard_by(&chain).await, "second");
    assert!(matches!(
        chain.status()[0].breaker,
        BreakerState::Open { .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn when_all_are_set_aside_they_are_tried_all_the_same() {
    let (first, second) = (FakeStt::new("first"), FakeStt::new("second"));
    let chain = stt_chain([&first, &second]);
    first.will(Deed::Fail(unauthorized()));
    second.will(Deed::Fail(server()));
    for _ in 0..3 {
        // The preferred engine's error is the one that is told.
        assert_eq!(hear(&chain).await, Err(unauthorized().into()));
    }
    second.will(Deed::Succeed);
    assert_eq!(heard_by(&chain).await, "second");
    assert_eq!(chain.status()[1].breaker, BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_bad_request_is_nobodys_failure() {
    let (first, second) = (FakeStt::new("first"), FakeStt::new("second"));
    let chain = stt_chain([&first, &second]);
    let mut utterance = chain.begin();
    utterance.push(&vec![0; 16_000 * 60]).unwrap();
    assert_eq!(utterance.push(&[0]), Err(SttError::TooLong));
    for _ in 0..3 {
        assert_eq!(chain.begin().finish().await, Err(SttError::Empty));
    }
    assert!(
        chain
            .status()
            .iter()
            .all(|engine| engine.breaker == BreakerState::Closed)
    );
    assert_eq!(
        SttChain::new(Vec::new()).begin().finish().await,
        Err(SttError::NoEngine)
    );
}

#[tokio::test(start_paused = true)]
async fn another_voice_says_the_whole_text_when_the_first_is_silent() {
    let (first, second) = (FakeTts::new("first", 1), FakeTts::new("second", 2));
    first.will(Deed::Fail(server()));
    assert_eq!(
        listen(&tts_chain([&first, &second])).await,
        (vec![2, 2, 2], None)
    );
    assert_eq!(second.asked(), [TEXT]);
}

#[tokio::test(start_paused = true)]
async fn a_voice_that_breaks_off_is_followed_by_the_next_sentence() {
    let (first, second) = (FakeTts::new("first", 1), FakeTts::new("second", 2));
    let chain = tts_chain([&first, &second]);
    first.will(Deed::BreakOff(OUTPUT_RATE_HZ as usize / 10, server()));
    assert_eq!(listen(&chain).await, (vec![1, 2, 2, 2], None));
    assert_eq!(second.asked(), ["What is a mutex? Take your time."]);
}

#[tokio::test(start_paused = true)]
async fn a_voice_that_breaks_off_in_the_last_sentence_is_an_error() {
    let (first, second) = (FakeTts::new("first", 1), FakeTts::new("second", 2));
    let chain = tts_chain([&first, &second]);
    first.will(Deed::BreakOff(OUTPUT_RATE_HZ as usize * 10, server()));
    let (_, error) = listen(&chain).await;
    assert_eq!(error, Some(server().into()));
    assert!(second.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_voice_is_set_aside_and_comes_back() {
    let (first, second) = (FakeTts::new("first", 1), FakeTts::new("second", 2));
    let chain = tts_chain([&first, &second]);
    first.will(Deed::FailAfter(Duration::from_secs(4), timeout()));
    for _ in 0..2 {
        listen(&chain).await;
    }
    let start = Instant::now();
    assert_eq!(listen(&chain).await.0, [2, 2, 2]);
    assert_eq!(start.elapsed(), Duration::ZERO);

    advance(A_WHILE).await;
    first.will(Deed::Succeed);
    assert_eq!(listen(&chain).await.0, [2, 2, 2], "the trial is not heard");
    first.finished(1).await;
    assert_eq!(listen(&chain).await.0, [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_stream_stops_the_engine_and_blames_nobody() {
    let (first, second) = (FakeTts::new("first", 1), FakeTts::new("second", 2));
    let chain = tts_chain([&first, &second]);
    first.will(Deed::FailAfter(Duration::from_secs(4), timeout()));
    for _ in 0..3 {
        let speech = chain.speak(TEXT);
        first.begun().await;
        drop(speech);
        first.dropped().await;
    }
    assert_eq!(chain.status()[0].breaker, BreakerState::Closed);
    assert!(second.asked().is_empty());
}

fn server() -> ProviderError {
    ProviderError::Server {
        base_url: "http://fake".into(),
        status: 500,
    }
}

fn unauthorized() -> ProviderError {
    ProviderError::Unauthorized {
        base_url: "http://fake".into(),
        status: 401,
    }
}

fn timeout() -> ProviderError {
    ProviderError::Timeout {
        base_url: "http://fake".into(),
        what: "answer",
        ms: 6000,
    }
}
