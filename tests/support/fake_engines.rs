//! Speech engines that do what a test tells them, in simulated time.
#![allow(
    clippy::disallowed_methods,
    reason = "a panic here ends the run, which is seen"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use viva::provider::ProviderError;
use viva::speech::{SpeechStream, Stt, SttError, SttUtterance, Transcript, Tts, UtteranceBuffer};

/// Longest simulated wait for an event that should come.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// What an engine does with each request from now on.
#[derive(Clone, Debug)]
pub enum Deed {
    Succeed,
    SucceedAfter(Duration),
    Fail(ProviderError),
    FailAfter(Duration, ProviderError),
    /// Speaks this many samples and then fails.
    BreakOff(usize, ProviderError),
}

impl Deed {
    async fn wait(&self) {
        if let Self::SucceedAfter(wait) | Self::FailAfter(wait, _) = self {
            sleep(*wait).await;
        }
    }

    fn error(&self) -> Option<ProviderError> {
        match self {
            Self::Fail(error) | Self::FailAfter(_, error) | Self::BreakOff(_, error) => {
                Some(error.clone())
            }
            Self::Succeed | Self::SucceedAfter(_) => None,
        }
    }
}

/// What both kinds have: the deed, and how many requests came to an end.
struct Doer {
    name: &'static str,
    deed: Mutex<Deed>,
    finished: watch::Sender<usize>,
}

impl Doer {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            deed: Mutex::new(Deed::Succeed),
            finished: watch::Sender::new(0),
        }
    }

    fn deed(&self) -> Deed {
        self.deed.lock().unwrap().clone()
    }

    async fn finished(&self, requests: usize) {
        let mut finished = self.finished.subscribe();
        let wait = finished.wait_for(|&done| done >= requests);
        timeout(WAIT_MAX, wait)
            .await
            .expect("it did not end")
            .unwrap();
        // Whoever waits for that end gets to know it first.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }
}

pub struct FakeStt {
    doer: Arc<Doer>,
    heard: Arc<Mutex<Vec<usize>>>,
}

impl FakeStt {
    pub fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self {
            doer: Arc::new(Doer::new(name)),
            heard: Arc::default(),
        })
    }

    pub fn will(&self, deed: Deed) {
        *self.doer.deed.lock().unwrap() = deed;
    }

    /// Lengths of the utterances that were finished.
    pub fn heard_samples(&self) -> Vec<usize> {
        self.heard.lock().unwrap().clone()
    }

    /// Waits until this many requests have ended.
    pub async fn finished(&self, requests: usize) {
        self.doer.finished(requests).await;
    }
}

impl Stt for FakeStt {
    fn name(&self) -> &'static str {
        self.doer.name
    }

    fn begin(&self) -> Box<dyn SttUtterance> {
        Box::new(Utterance {
            doer: Arc::clone(&self.doer),
            heard: Arc::clone(&self.heard),
            audio: UtteranceBuffer::default(),
        })
    }
}

struct Utterance {
    doer: Arc<Doer>,
    heard: Arc<Mutex<Vec<usize>>>,
    audio: UtteranceBuffer,
}

impl SttUtterance for Utterance {
    fn push(&mut self, pcm: &[i16]) -> Result<(), SttError> {
        self.audio.push(pcm)
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Transcript, SttError>> {
        async move {
            if self.audio.pcm().is_empty() {
                return Err(SttError::Empty);
            }
            self.heard.lock().unwrap().push(self.audio.pcm().len());
            let deed = self.doer.deed();
            deed.wait().await;
            self.doer.finished.send_modify(|done| *done += 1);
            match deed.error() {
                Some(error) => Err(error.into()),
                None => Ok(Transcript {
                    text: "words".into(),
                    engine: self.doer.name,
                    audio_ms: self.audio.audio_ms(),
                    elapsed_ms: 0,
                }),
            }
        }
        .boxed()
    }
}

/// Speaks three chunks of one sample, whose value tells who made them.
pub struct FakeTts {
    doer: Arc<Doer>,
    sample: i16,
    asked: Mutex<Vec<String>>,
    begun: Notify,
    dropped: Arc<Notify>,
}

impl FakeTts {
    pub fn new(name: &'static str, sample: i16) -> Arc<Self> {
        Arc::new(Self {
            doer: Arc::new(Doer::new(name)),
            sample,
            asked: Mutex::default(),
            begun: Notify::default(),
            dropped: Arc::default(),
        })
    }

    pub fn will(&self, deed: Deed) {
        *self.doer.deed.lock().unwrap() = deed;
    }

    /// The texts that it was asked to speak.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// Waits until this many requests have ended.
    pub async fn finished(&self, requests: usize) {
        self.doer.finished(requests).await;
    }

    /// Waits until it was asked to speak.
    pub async fn begun(&self) {
        timeout(WAIT_MAX, self.begun.notified())
            .await
            .expect("it was not asked");
    }

    /// Waits until a stream was dropped before its end.
    pub async fn dropped(&self) {
        timeout(WAIT_MAX, self.dropped.notified())
            .await
            .expect("it was not dropped");
    }
}

impl Tts for FakeTts {
    fn name(&self) -> &'static str {
        self.doer.name
    }

    fn speak(&self, text: &str) -> SpeechStream {
        self.asked.lock().unwrap().push(text.to_owned());
        self.begun.notify_one();
        let (sender, stream) = SpeechStream::channel(self.doer.name);
        let (doer, sample, dropped) = (
            Arc::clone(&self.doer),
            self.sample,
            Arc::clone(&self.dropped),
        );
        tokio::spawn(async move {
            let deed = doer.deed();
            tokio::select! {
                () = sender.closed() => return dropped.notify_one(),
                () = deed.wait() => {}
            }
            if let Deed::BreakOff(samples, _) = deed {
                sender.send(vec![sample; samples]).await.unwrap();
            }
            match deed.error() {
                Some(error) => sender.fail(error.into()).await.unwrap(),
                None => {
                    for _ in 0..3 {
                        sender.send(vec![sample]).await.unwrap();
                    }
                    drop(sender);
                }
            }
            doer.finished.send_modify(|done| *done += 1);
        });
        stream
    }
}
