//! Tokens a second of the forward passes, beside what the matrix products alone would take.
//!
//!     AAR_WEIGHTS=DIR cargo bench -p aar-models --bench forward
//!
//! Products of the layers' shapes are timed in the same run, on as many threads, on packs as large
//! as the embedder's; `floor` is what a model made of nothing else would reach. Weights are looked
//! for in `AAR_WEIGHTS` or, without it, where `Weights::installed` looks.

use std::time::Instant;

use aar_models::{Embedder, Pooling, Tap, Weights};
use gemm::Parallelism;

/// Tokens in a pack of the embedder.
const PACK: usize = 512;
/// Best of so many runs: other work on the machine only ever makes a run slower.
const RUNS: usize = 5;

fn main() {
    let weights = match std::env::var_os("AAR_WEIGHTS") {
        Some(dir) => Weights::in_dir(dir),
        None => Weights::installed(),
    };
    let threads = rayon::current_num_threads();
    println!("{threads} threads; best of {RUNS}; tokens a second");
    // Inputs and outputs of each layer's products.
    let llama = [(576, 960), (576, 576), (576, 3072), (1536, 576)];
    let bert = [(384, 1152), (384, 384), (384, 1536), (1536, 384)];
    match load("SmolLM2", || Embedder::smollm2(&weights)) {
        Some(model) => [10, 20, 30]
            .iter()
            .for_each(|&layers| report(&model, layers, &llama, threads)),
        None => return,
    }
    if let Some(model) = load("MiniLM", || Embedder::minilm(&weights)) {
        report(&model, 6, &bert, threads);
    }
}

fn load<E: std::fmt::Display>(
    name: &str,
    open: impl FnOnce() -> Result<Embedder, E>,
) -> Option<Embedder> {
    let start = Instant::now();
    match open() {
        Ok(model) => {
            println!(
                "{name}: loaded and checked in {:.2} s",
                start.elapsed().as_secs_f64()
            );
            Some(model)
        }
        Err(e) => {
            println!("{name}: {e}");
            None
        }
    }
}

/// Prints one line for each length of text.
fn report(model: &Embedder, layers: usize, shapes: &[(usize, usize)], threads: usize) {
    for (kind, words, count) in [("about 12", 9, 240), ("about 64", 59, 64)] {
        let texts: Vec<String> = (0..count).map(|i| text(i, words)).collect();
        let tokens: usize = model
            .tokens(&texts)
            .expect("tokens")
            .iter()
            .map(Vec::len)
            .sum();
        for pooling in [Pooling::Last, Pooling::Mean] {
            let tap = [Tap {
                layer: layers,
                pooling,
            }];
            let (mut floor, mut time) = (f64::MAX, f64::MAX);
            // Taken in turns, so that both see the same noise.
            for _ in 0..RUNS {
                floor = floor.min(products(shapes, threads));
                let start = Instant::now();
                model.embed(&texts, &tap, &mut |_| ()).expect("embeds");
                time = time.min(start.elapsed().as_secs_f64());
            }
            let (speed, floor) = (tokens as f64 / time, 1.0 / (floor * layers as f64));
            println!(
                "  {layers} layers, {pooling:?}, texts of {kind} tokens ({tokens} in all): \
                 {speed:.0} (floor {floor:.0}, {:.0} %)",
                100.0 * speed / floor
            );
        }
    }
}

/// Words that are mostly one token each, other ones in each text.
fn text(seed: usize, words: usize) -> String {
    const WORDS: [&str; 12] = [
        "the", "city", "river", "animal", "is", "larger", "than", "a", "house", "with", "green",
        "water",
    ];
    let pick = |i: usize| WORDS[(seed * 31 + i * i * 7 + i) % WORDS.len()];
    (0..words).map(pick).collect::<Vec<_>>().join(" ") + " end."
}

/// Seconds that one layer's products take for one token, all threads at work.
fn products(shapes: &[(usize, usize)], threads: usize) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for &(inputs, outputs) in shapes {
                    let a = vec![0.5_f32; PACK * inputs];
                    let b = vec![0.25_f32; inputs * outputs];
                    let mut c = vec![0.0_f32; PACK * outputs];
                    for _ in 0..REPEATS {
                        product(&a, &b, &mut c, inputs, outputs);
                    }
                    std::hint::black_box(&c);
                }
            });
        }
    });
    start.elapsed().as_secs_f64() / (REPEATS * PACK * threads) as f64
}

/// How often each product is repeated, so that filling the operands does not count.
const REPEATS: usize = 10;

fn product(a: &[f32], b: &[f32], c: &mut [f32], inputs: usize, outputs: usize) {
    assert!(a.len() == PACK * inputs && b.len() == inputs * outputs && c.len() == PACK * outputs);
    // SAFETY: all three are dense matrices of the sizes asserted above, and `c` is borrowed
    // mutably, so it aliases neither operand.
    unsafe {
        gemm::gemm(
            PACK,
            outputs,
            inputs,
            c.as_mut_ptr(),
            1,
            outputs as isize,
            false,
            a.as_ptr(),
            1,
            inputs as isize,
            b.as_ptr(),
            1,
            outputs as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
