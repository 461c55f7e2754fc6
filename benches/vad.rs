//! What a frame of VAD costs: Silero for 1 and for 20 streams, the energy detector, and the audio thread's push.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails here"
)]
#![allow(missing_docs, reason = "criterion's macros write the functions")]

use std::hint::black_box;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use viva::models::{self, Pinned};
use viva::onnx::Runtime;
use viva::voice::vad::{FRAME_SAMPLES, FrameHandler, VadEngine, VadInput};

struct Done(SyncSender<f32>);

impl FrameHandler for Done {
    fn on_frame(&mut self, _: &[i16; FRAME_SAMPLES], probability: f32) {
        // Refused only at the end of the benchmark.
        let _ = self.0.send(probability);
    }
}

fn open(engine: &VadEngine, streams: usize) -> (Vec<VadInput>, Receiver<f32>) {
    let (done, all_done) = sync_channel(10_000);
    (
        (0..streams)
            .map(|_| engine.open(Box::new(Done(done.clone()))))
            .collect(),
        all_done,
    )
}

fn frames(c: &mut Criterion) {
    let directory = std::env::var("VIVA_MODELS").unwrap_or_else(|_| "models/files".into());
    let directory = Path::new(&directory);
    let load = || -> Result<VadEngine, Box<dyn std::error::Error>> {
        let runtime = Runtime::load(&directory.join(models::ONNX_RUNTIME))?;
        Ok(VadEngine::start(
            runtime,
            &Pinned::of_manifest(directory, models::VAD)?,
        )?)
    };
    let silero = load().unwrap_or_else(|e| unreachable!("{e}"));
    let energy = VadEngine::energy_only().unwrap_or_else(|e| unreachable!("{e}"));
    let mut group = c.benchmark_group("vad");
    let pcm: Vec<i16> = (0..FRAME_SAMPLES as i16)
        .map(|i| (i % 50 - 25) * 300)
        .collect();
    for (name, engine, streams) in [
        ("silero", &silero, 1),
        ("silero", &silero, 20),
        ("energy", &energy, 20),
    ] {
        let (mut inputs, done) = open(engine, streams);
        group.throughput(Throughput::Elements(streams as u64));
        // From the push to the answer, so with the wake-up and, for many streams, the millisecond of gathering.
        group.bench_function(format!("{name} for {streams}, push to answer"), |b| {
            b.iter(|| {
                inputs
                    .iter_mut()
                    .for_each(|input| input.push(black_box(&pcm)));
                (0..streams).filter_map(|_| done.recv().ok()).sum::<f32>()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, frames);
criterion_main!(benches);
