//! Silero VAD, version 6, at 16 kHz: one session that judges a frame of each of many streams in one run.
//!
//! Inputs `input` [N, 576] (the last 64 samples of the frame before, then 512 new ones), `state` [2, N, 128] and `sr`;
//! outputs `output` [N, 1] and `stateN` [2, N, 128]. Given 512 samples without the 64, the model raises no error and
//! hears nothing.

use ort::session::Session;
use ort::value::TensorRef;

use super::FRAME_SAMPLES;
use crate::onnx::{Graph, OnnxError, Runtime};
use crate::speech::INPUT_RATE_HZ;

const NAME: &str = "silero-vad";
/// Samples of the frame before that the model wants to see again.
const CONTEXT_SAMPLES: usize = 64;
const ROW: usize = CONTEXT_SAMPLES + FRAME_SAMPLES;
/// The recurrent state is two vectors of this length.
const STATE: usize = 128;
/// Rows of one run. A batch this long takes a few milliseconds; a longer one would make its first row wait.
pub(super) const BATCH_MAX: usize = 32;

/// The same numbers give the same answer; another one means that something has written into the model.
const SILENCE_DIFFERENCE_MAX: f32 = 0.01;

/// What the model knows of one stream from one frame to the next.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    context: [f32; CONTEXT_SAMPLES],
    state: [[f32; STATE]; 2],
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            context: [0.0; CONTEXT_SAMPLES],
            state: [[0.0; STATE]; 2],
        }
    }
}

/// One stream's part of a run.
pub(super) struct Row<'a> {
    pub(super) memory: &'a mut Memory,
    pub(super) pcm: &'a [i16; FRAME_SAMPLES],
}

#[derive(Debug)]
pub(super) struct Silero {
    session: Session,
    // Reused from run to run.
    input: Vec<f32>,
    state: Vec<f32>,
    /// What it said of silence when it was warmed up.
    of_silence: f32,
}

impl Silero {
    pub(super) fn load(runtime: &Runtime, model: &[u8]) -> Result<Self, OnnxError> {
        let session = runtime.session(NAME, model, Graph::Simplified)?;
        Ok(Self {
            session,
            input: vec![0.0; BATCH_MAX * ROW],
            state: vec![0.0; 2 * BATCH_MAX * STATE],
            of_silence: 0.0,
        })
    }

    /// The first run of a session allocates what later ones reuse.
    pub(super) fn warm_up(&mut self) -> Result<(), OnnxError> {
        self.of_silence = self.silence()?;
        Ok(())
    }

    /// Whether it still says of silence what it said at first.
    pub(super) fn ask_about_silence(&mut self) -> Result<(), OnnxError> {
        let now = self.silence()?;
        if (now - self.of_silence).abs() <= SILENCE_DIFFERENCE_MAX {
            return Ok(());
        }
        Err(OnnxError::Run {
            model: NAME,
            reason: format!(
                "silence was speech with {}, and is now with {now}",
                self.of_silence
            ),
        })
    }

    /// The probability that a first frame of silence holds speech.
    fn silence(&mut self) -> Result<f32, OnnxError> {
        let mut memory = Memory::new();
        let row = Row {
            memory: &mut memory,
            pcm: &[0; FRAME_SAMPLES],
        };
        let mut probabilities = Vec::with_capacity(1);
        self.run(&mut [row], &mut probabilities)?;
        Ok(probabilities[0])
    }

    /// Judges at most [`BATCH_MAX`] rows: writes their probabilities in order and moves their memories on. After an
    /// error the memories are as they were.
    pub(super) fn run(
        &mut self,
        rows: &mut [Row<'_>],
        probabilities: &mut Vec<f32>,
    ) -> Result<(), OnnxError> {
        let n = rows.len().min(BATCH_MAX);
        let rows = &mut rows[..n];
        for (i, row) in rows.iter().enumerate() {
            let input = &mut self.input[i * ROW..(i + 1) * ROW];
            input[..CONTEXT_SAMPLES].copy_from_slice(&row.memory.context);
            for (to, from) in input[CONTEXT_SAMPLES..].iter_mut().zip(row.pcm) {
                *to = f32::from(*from) / 32768.0;
            }
            for (layer, state) in row.memory.state.iter().enumerate() {
                self.state[(layer * n + i) * STATE..][..STATE].copy_from_slice(state);
            }
        }
        let failed = OnnxError::run(NAME);
        let rate = [i64::from(INPUT_RATE_HZ)];
        let outputs = self
            .session
            .run(ort::inputs! {
                "input" => TensorRef::from_array_view(([n, ROW], &self.input[..n * ROW])).map_err(&failed)?,
                "state" => TensorRef::from_array_view(([2, n, STATE], &self.state[..2 * n * STATE])).map_err(&failed)?,
                "sr" => TensorRef::from_array_view(([0_usize; 0], &rate[..])).map_err(&failed)?,
            })
            .map_err(&failed)?;
        let (_, output) = outputs["output"]
            .try_extract_tensor::<f32>()
            .map_err(&failed)?;
        let (_, state) = outputs["stateN"]
            .try_extract_tensor::<f32>()
            .map_err(&failed)?;
        if output.len() != n || state.len() != 2 * n * STATE {
            let reason = format!(
                "{} probabilities and {} numbers of state for {n} frames",
                output.len(),
                state.len()
            );
            return Err(OnnxError::Run {
                model: NAME,
                reason,
            });
        }
        probabilities.clear();
        probabilities.extend_from_slice(output);
        for (i, row) in rows.iter_mut().enumerate() {
            let input = &self.input[i * ROW..(i + 1) * ROW];
            row.memory.context.copy_from_slice(&input[FRAME_SAMPLES..]);
            for (layer, to) in row.memory.state.iter_mut().enumerate() {
                to.copy_from_slice(&state[(layer * n + i) * STATE..][..STATE]);
            }
        }
        Ok(())
    }
}
