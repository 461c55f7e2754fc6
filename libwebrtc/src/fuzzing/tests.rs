//! The fuzz targets for a moment each, from the same seeds: `VIVA_FUZZ_SECONDS` makes it longer, and `VIVA_FUZZ_SEED`, which a
//! failure prints, repeats it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // That is how a test fails.

use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

const SECONDS: f64 = 0.5;
/// Longer inputs take more time and find no more.
const INPUT_BYTES_MAX: usize = 16 * 1024;

fn number<T: std::str::FromStr>(variable: &str, otherwise: T) -> T {
    let set = std::env::var(variable).ok();
    set.map_or(otherwise, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}"))
    })
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let mut seeds: Vec<Vec<u8>> = std::fs::read_dir(directory)
        .unwrap()
        .map(|file| std::fs::read(file.unwrap().path()).unwrap())
        .collect();
    seeds.sort();
    seeds
}

/// One of the seeds, with a few changes.
fn mutant(rng: &mut impl Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let one = |rng: &mut dyn Rng| {
        let at = rng.random_range(0..=seeds.len());
        seeds.get(at).cloned().unwrap_or_else(|| {
            let mut noise = vec![0; 64];
            rng.fill_bytes(&mut noise);
            noise
        })
    };
    let mut data = one(rng);
    for _ in 0..rng.random_range(0..8) {
        let at = rng.random_range(0..=data.len());
        let end = rng.random_range(at..=data.len().min(at + 64));
        match rng.random_range(0..5) {
            0 => drop(data.drain(at..end)),
            1 => {
                let copy = data[at..end].to_vec();
                let to = rng.random_range(0..=data.len());
                data.splice(to..to, copy);
            }
            2 => {
                let other = one(rng);
                let from = rng.random_range(0..=other.len());
                data.splice(at..end, other[from..].iter().copied().take(64));
            }
            3 => data.splice(at..at, [rng.random()]).for_each(drop),
            _ => {
                if let Some(byte) = data.get_mut(at) {
                    *byte ^= 1 << rng.random_range(0..8);
                }
            }
        }
    }
    data.truncate(INPUT_BYTES_MAX);
    data
}

fn fuzz(target: &str, run: fn(&[u8])) {
    let seed = number("VIVA_FUZZ_SEED", rand::random::<u64>());
    let limit = Duration::from_secs_f64(number("VIVA_FUZZ_SECONDS", SECONDS));
    println!("VIVA_FUZZ_SEED={seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let seeds = seeds(target);
    let (begun, mut runs) = (Instant::now(), 0_u64);
    while begun.elapsed() < limit || runs < 10 {
        run(&mutant(&mut rng, &seeds));
        runs += 1;
    }
    println!("{target}: {runs} runs");
}

macro_rules! targets {
    ($($target:ident)*) => {$(
        #[test]
        fn $target() {
            fuzz(stringify!($target), super::$target);
        }
    )*};
}

targets!(candidates descriptions negotiation playout rtcp sealed_frames handshake relay_messages);

/// An undisturbed wire connects: else the target would find nothing behind the first message.
#[test]
fn a_handshake_that_is_left_alone_comes_to_its_end() {
    assert!(super::wire::connects());
}
