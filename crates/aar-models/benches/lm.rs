//! Forward pass and training steps of SmolLM2-135M, beside this machine's matrix products.
//!
//!     AAR_WEIGHTS=DIR cargo bench -p aar-models --bench lm [-- --json] [--only NAME]
//!
//! The batch is 16 sequences of 64 tokens, looked at in their last token. `scripts/bench_lm_torch.py` does the same work
//! with PyTorch and prints the same figures. `share` is the share of the time that the least matrix products of the work
//! would take at the speed of one large product on as many threads, measured in the same run.

use std::ops::ControlFlow;
use std::time::Instant;

use aar_models::train::{AdamW, Fall, Plan, Schedule, Target, Trained, cross_entropy, train};
use aar_models::{Config, Decoder, Gguf, Lora, Sequence, Target as Map, Weights};
use gemm::Parallelism;

const ROWS: usize = 16;
const LENGTH: usize = 64;
/// Steps of each kind; the first is not counted.
const STEPS: usize = 4;

/// One line of the results.
#[derive(serde::Serialize)]
struct Figure {
    engine: &'static str,
    work: &'static str,
    threads: usize,
    /// Of the fastest step: other work on the machine only ever makes a step slower.
    wall_s: f64,
    /// Mean over the steps.
    cpu_s: f64,
    tokens_per_s: f64,
    /// Of the whole process, weights included.
    peak_mb: f64,
    /// 2 operations for each product that the work cannot do without.
    gflop: f64,
    share: f64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let json = arguments.iter().any(|a| a == "--json");
    let only = arguments
        .iter()
        .position(|a| a == "--only")
        .map(|i| &arguments[i + 1]);
    let weights = match std::env::var_os("AAR_WEIGHTS") {
        Some(dir) => Weights::in_dir(dir),
        None => Weights::installed(),
    };
    let path = match weights.smollm2() {
        Ok(path) => path,
        Err(e) => return eprintln!("{e}"),
    };
    let open = || {
        Gguf::open(&path)
            .and_then(Decoder::from_gguf)
            .expect("SmolLM2 is read")
    };
    let c = open().config().clone();
    let lora = Lora {
        rank: 8,
        alpha: 8.0,
        rslora: false,
        targets: vec![Map::Query, Map::Key, Map::Value, Map::Mix],
    };
    for (work, gflop) in [
        ("forward", forward_gflop(&c, c.layers)),
        // Forward, and the gradient by the inputs of all maps but those of the lowest queries, keys and values.
        ("lora", 2.0 * forward_gflop(&c, c.layers)),
        // Forward, gradients by inputs and by weights of four blocks.
        ("last4", 3.0 * forward_gflop(&c, 4)),
    ] {
        if only.is_some_and(|name| name != work) {
            continue;
        }
        let mut decoder = open();
        reset_peak();
        let (wall, cpu) = match work {
            "forward" => forward(&decoder),
            "lora" => {
                decoder.attach(&lora, 1).expect("attached");
                steps(&mut decoder, Trained::Adapters)
            }
            _ => steps(&mut decoder, Trained::LastBlocks(4)),
        };
        let figure = Figure {
            engine: "native",
            work,
            threads: rayon::current_num_threads(),
            wall_s: wall,
            cpu_s: cpu,
            tokens_per_s: (ROWS * LENGTH) as f64 / wall,
            peak_mb: peak_mb(),
            gflop,
            share: gflop / peak_gflops() / wall,
        };
        if json {
            println!("{}", serde_json::to_string(&figure).expect("plain numbers"));
        } else {
            println!(
                "{work:8} {:6.2} s wall, {:6.2} s CPU, {:5.0} tokens/s, {:5.0} MB, {:3.0} % of the products' speed",
                figure.wall_s,
                figure.cpu_s,
                figure.tokens_per_s,
                figure.peak_mb,
                100.0 * figure.share
            );
        }
    }
}

/// The same tokens as `bench_lm_torch.py`.
fn sequences() -> Vec<Sequence> {
    let token = |i: usize| (i * 7919 % 40_000 + 100) as u32;
    (0..ROWS)
        .map(|row| Sequence::at_end((0..LENGTH).map(|i| token(row * LENGTH + i)).collect()))
        .collect()
}

fn forward(decoder: &Decoder) -> (f64, f64) {
    let sequences = sequences();
    let mut timer = Timer::default();
    for _ in 0..STEPS {
        decoder.read(&sequences, &mut |_| ()).expect("reads");
        timer.lap();
    }
    timer.figures()
}

fn steps(decoder: &mut Decoder, trained: Trained) -> (f64, f64) {
    let sequences = sequences();
    let targets: Vec<Vec<Target>> = (0..ROWS)
        .map(|row| vec![Target::token(49 + row as u32 % 2)])
        .collect();
    let plan = Plan {
        trained,
        epochs: STEPS,
        batch: ROWS,
        pack_tokens: ROWS * LENGTH,
        optimiser: AdamW::default(),
        schedule: Schedule {
            fall: Fall::Linear,
            warmup: 0.1,
        },
        clip: Some(1.0),
        seed: 1,
        recompute: false,
        memory: None,
    };
    let mut timer = Timer::default();
    let mut loss = cross_entropy(&targets);
    train(decoder, &sequences, &plan, &mut loss, None, &mut |_| {
        timer.lap();
        ControlFlow::Continue(())
    })
    .expect("trains");
    timer.figures()
}

/// Wall and CPU time at each lap.
#[derive(Default)]
struct Timer {
    laps: Vec<(Instant, f64)>,
}

impl Timer {
    fn lap(&mut self) {
        self.laps.push((Instant::now(), cpu_seconds()));
    }

    /// Wall seconds of the fastest lap after the first, CPU seconds of the mean one.
    fn figures(&self) -> (f64, f64) {
        let wall = self
            .laps
            .windows(2)
            .map(|w| (w[1].0 - w[0].0).as_secs_f64());
        let cpu = self.laps[self.laps.len() - 1].1 - self.laps[0].1;
        (
            wall.fold(f64::MAX, f64::min),
            cpu / (self.laps.len() - 1) as f64,
        )
    }
}

/// Products of a forward pass through so many blocks, the head left out.
fn forward_gflop(c: &Config, blocks: usize) -> f64 {
    let kv = c.kv_width();
    let block = c.width * (2 * c.query_width() + 2 * kv) + 3 * c.width * c.ffn;
    (2 * blocks * block * ROWS * LENGTH) as f64 / 1e9
}

/// Speed of large products on all threads.
fn peak_gflops() -> f64 {
    let (n, threads) = (1536, rayon::current_num_threads());
    let mut best = f64::MAX;
    for _ in 0..4 {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let (a, b) = (vec![0.5_f32; n * n], vec![0.25_f32; n * n]);
                    let mut out = vec![0.0_f32; n * n];
                    let began = Instant::now();
                    for _ in 0..3 {
                        square(&a, &b, &mut out, n);
                    }
                    std::hint::black_box(&out);
                    began.elapsed()
                });
            }
        });
        best = best.min(start.elapsed().as_secs_f64());
    }
    (2 * n * n * n * 3 * threads) as f64 / best / 1e9
}

fn square(a: &[f32], b: &[f32], out: &mut [f32], n: usize) {
    assert!(a.len() == n * n && b.len() == n * n && out.len() == n * n);
    let n_stride = n as isize;
    // SAFETY: all three are dense matrices of the size asserted above, and `out` is borrowed mutably, so it aliases neither
    // operand.
    unsafe {
        gemm::gemm(
            n,
            n,
            n,
            out.as_mut_ptr(),
            1,
            n_stride,
            false,
            a.as_ptr(),
            1,
            n_stride,
            b.as_ptr(),
            1,
            n_stride,
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// User and system time of this process; Linux counts 100 ticks a second.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after.split_whitespace().skip(11).take(2);
    ticks.filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn reset_peak() {
    // Where this is not allowed, the peak is that of the whole process so far.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|l| l.starts_with("VmHWM"))
        .unwrap_or_default();
    let kib: f64 = line
        .split_whitespace()
        .nth(1)
        .and_then(|v| v.parse().ok())
        .unwrap_or(0.0);
    kib * 1024.0 / 1e6
}
