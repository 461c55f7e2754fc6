//! Tells from the sound of a voice whether its turn is over: Smart Turn v3.2, asked once per pause.
//!
//! Network: `input_features` [1, 80, 800] → the probability that whoever spoke has finished. It listens to the melody
//! of the last eight seconds, not to words, and works on a niced thread of its own.

use std::time::Duration;

use ort::value::TensorRef;

use crate::models::Pinned;
use crate::onnx::{
    Graph, ModelBytes, Network as Session, OnnxError, PendingRuntime, Preparation, PrepareError,
    ReadModel, Runtime, prepare,
};
use crate::speech::embedded::EmbeddedError;
use crate::speech::embedded::worker::Worker;

mod features;

use features::{BANDS, COLUMNS, Features, SAMPLES};

const NAME: &str = "smart-turn";
const GRAPH: Graph = Graph::WorkedOver;
/// From here on a turn is taken for complete, as by its makers.
pub const COMPLETE_FROM: f32 = 0.5;
/// The longest sound that is looked at.
pub const SAMPLES_MAX: usize = SAMPLES;
/// A later answer decides nothing: silence alone has by then.
pub const JUDGE_LIMIT: Duration = Duration::from_millis(500);

/// The loaded model; shared by all interviews.
pub struct TurnModel {
    worker: Worker<Vec<i16>, Judged>,
    limit: Duration,
}

type Judged = Result<f32, String>;

/// Why there is no answer; the silence decides then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TurnError {
    /// More voices pause than this machine can listen to.
    #[error("the turn model is busy")]
    Busy,
    /// No answer in time.
    #[error("the turn model did not answer within {} ms", .0.as_millis())]
    Late(Duration),
    /// It failed.
    #[error("the turn model failed: {0}")]
    Failed(String),
}

impl TurnModel {
    /// Loads the model on a thread of its own, warms it up and waits for that; to be called off the async runtime.
    /// `limit` bounds each answer, its wait in the queue included; [`JUDGE_LIMIT`] is what a conversation bears.
    ///
    /// # Errors
    /// The file is missing, altered or unusable, or there is no thread.
    pub fn load(
        runtime: impl Into<PendingRuntime>,
        model: &Pinned,
        limit: Duration,
    ) -> Result<Self, EmbeddedError> {
        let (runtime, model) = (runtime.into(), model.clone());
        let worker = Worker::start(NAME, move |jobs| {
            let read = ReadModel::read(&model)?;
            let runtime = runtime.wait()?;
            let mut bytes = read.fitting(runtime)?;
            let mut network = Network::load(runtime, &mut bytes)?;
            // The first run allocates what later ones reuse; its answer to no features at all is of no interest.
            network.run()?;
            jobs.serve(|pcm: Vec<i16>, _| network.judge(&pcm).map_err(|e| e.to_string()));
            Ok(())
        })?;
        Ok(Self { worker, limit })
    }

    /// The probability (0–1) that the voice in `pcm` has finished its turn. 16 kHz mono, up to and with the pause that
    /// raises the question; the last [`SAMPLES_MAX`] count. Dropping the future takes the question back.
    ///
    /// # Errors
    /// It is busy, late or broken.
    pub async fn judge(&self, mut pcm: Vec<i16>) -> Result<f32, TurnError> {
        pcm.drain(..pcm.len().saturating_sub(SAMPLES_MAX));
        let answer = self.worker.submit(pcm).map_err(|_| TurnError::Busy)?;
        match tokio::time::timeout(self.limit, answer).await {
            Ok(Ok(judged)) => judged.map_err(TurnError::Failed),
            Ok(Err(_)) => Err(TurnError::Failed("it panicked, see the log".into())),
            Err(_) => Err(TurnError::Late(self.limit)),
        }
    }
}

impl std::fmt::Debug for TurnModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TurnModel").finish_non_exhaustive()
    }
}

/// Makes the form of the model that loads fastest, see [`prepare`].
///
/// # Errors
/// The file is missing, altered or unusable, or its directory can't be written.
pub fn prepare_model(runtime: &Runtime, model: &Pinned) -> Result<Preparation, PrepareError> {
    prepare(runtime, NAME, model, GRAPH)
}

struct Network<'m> {
    session: Session<'m>,
    features: Features,
    input: Vec<f32>,
}

impl<'m> Network<'m> {
    fn load(runtime: &Runtime, model: &'m mut ModelBytes) -> Result<Self, OnnxError> {
        Ok(Self {
            session: model.session(runtime, NAME, GRAPH)?,
            features: Features::new(),
            input: vec![0.0; BANDS * COLUMNS],
        })
    }

    fn judge(&mut self, pcm: &[i16]) -> Result<f32, OnnxError> {
        self.features
            .compute(pcm, &mut self.input)
            .map_err(|reason| OnnxError::Run {
                model: NAME,
                reason,
            })?;
        self.run()
    }

    /// The probability for the features that are in `input`.
    fn run(&mut self) -> Result<f32, OnnxError> {
        let broken = |reason: String| OnnxError::Run {
            model: NAME,
            reason,
        };
        let failed = OnnxError::run(NAME);
        let input = TensorRef::from_array_view(([1, BANDS, COLUMNS], &self.input[..]));
        let outputs = self
            .session
            .run(ort::inputs! { "input_features" => input.map_err(&failed)? })
            .map_err(&failed)?;
        let (_, output) = outputs[0].try_extract_tensor::<f32>().map_err(&failed)?;
        match output {
            [probability] if (0.0..=1.0).contains(probability) => Ok(*probability),
            other => Err(broken(format!("{other:?} is no probability"))),
        }
    }
}
