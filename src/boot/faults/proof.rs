//! Whether a start that says READY can do what it says: each part is used once.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::boot::components::Components;
use crate::interview::InterviewId;
use crate::journal::NewInterview;
use crate::speech::Tts as _;
use crate::voice::vad::{FRAME_SAMPLES, FrameHandler};

/// For each use of a part. Far above what it takes, on a machine that is busy with something else too.
const USE_LIMIT: Duration = Duration::from_secs(10);

/// Tells of the first frame that was judged.
struct Judged(mpsc::Sender<f32>);

impl FrameHandler for Judged {
    fn on_frame(&mut self, _: &[i16; FRAME_SAMPLES], speech_probability: f32) {
        // One is enough.
        let _told = self.0.try_send(speech_probability);
    }
}

/// What is not as READY says, if anything: a part of which nothing comes is a lie.
pub(super) async fn contradiction(components: &Components, embedded: bool) -> Option<String> {
    let proving = async {
        writes(components).await?;
        hears(components).await?;
        answers(components).await?;
        if embedded {
            speaks(components).await?;
        }
        Ok(())
    };
    let proved: Result<(), String> = proving.await;
    proved.err()
}

async fn within<T>(what: &str, using: impl Future<Output = T>) -> Result<T, String> {
    tokio::time::timeout(USE_LIMIT, using)
        .await
        .map_err(|_| format!("{what} gives nothing within {} s", USE_LIMIT.as_secs()))
}

/// An interview can begin, by the default plan.
async fn writes(components: &Components) -> Result<(), String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let Some((name, plan)) = components.plans.usable.iter().next() else {
        return Err("there is no plan".into());
    };
    let id = InterviewId::new(format!("proof-{number}")).map_err(|e| e.to_string())?;
    let begun = components.journal.begin(NewInterview {
        room: format!("interview-{id}"),
        id,
        plan_name: name.clone(),
        plan_hash: plan.hash().to_owned(),
        plan_body: plan.body().to_owned(),
        candidate: None,
        at_unix_ms: 0,
    });
    within("the journal", begun)
        .await?
        .map_err(|e| format!("the journal: {e}"))
}

/// A frame of silence is judged.
async fn hears(components: &Components) -> Result<(), String> {
    let (sender, mut judged) = mpsc::channel(1);
    let mut input = components.vad.open(Box::new(Judged(sender)));
    input.push(&[0; FRAME_SAMPLES]);
    match within("the VAD", judged.recv()).await? {
        Some(probability) if (0.0..0.5).contains(&probability) => Ok(()),
        Some(probability) => Err(format!("the VAD hears speech in silence: {probability}")),
        None => Err("the VAD's thread is gone".into()),
    }
}

/// Whoever connects is accepted.
async fn answers(components: &Components) -> Result<(), String> {
    let address = components
        .listener
        .local_addr()
        .map_err(|e| e.to_string())?;
    let connecting =
        async { tokio::join!(TcpStream::connect(address), components.listener.accept()) };
    match within("the listener", connecting).await? {
        (Ok(_), Ok(_)) => Ok(()),
        (Err(error), _) | (_, Err(error)) => Err(format!("the listener: {error}")),
    }
}

/// A word is made into sound.
async fn speaks(components: &Components) -> Result<(), String> {
    let mut sound = components.engines.tts.speak("Yes.");
    match within("the voice", sound.next()).await? {
        Some(Ok(pcm)) if !pcm.is_empty() => Ok(()),
        Some(Ok(_)) | None => Err("the voice makes no sound".into()),
        Some(Err(error)) => Err(format!("the voice: {error}")),
    }
}
