//! One kind of work in a process of its own, a step whenever somebody asks for one.
//!
//! `torch.py` does the same with PyTorch. Both say on standard output, a JSON object a line, what came out of a first step
//! ([`Ready`]), then for each line of standard input how long one more step took ([`Lap`]), and at its end the [`Peak`].

use aar_lab::models::train::{
    AdamW, Fall, Plan, Schedule, Target, Trained, cross_entropy, train as fit,
};
use aar_lab::models::{Config, Decoder, Gguf, Lora, Projection, Sampling, Sequence};
use aar_lab::numeric::matrix::Matrix;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, BufRead as _, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Sequences of the batch.
pub(super) const ROWS: usize = 16;
/// Tokens of each, and new tokens in generation.
pub(super) const LENGTH: usize = 64;
/// Rows and columns of the large products.
const LARGE: usize = 2048;
/// Training steps that there is a plan for.
const MOST_STEPS: usize = 100;

/// A kind of work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(super) enum Kind {
    /// Forward pass, looked at in the last tokens
    Forward,
    /// Training step of LoRA, rank 8 on queries, keys, values and outputs
    Lora,
    /// Training step of the last four blocks on kept states
    Last4,
    /// Greedy continuations by as many tokens
    Generate,
}

impl Kind {
    /// The name on the command line and in results.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Lora => "lora",
            Self::Last4 => "last4",
            Self::Generate => "generate",
        }
    }

    /// Operations, in 10⁹, of the products that a step cannot do without, 2 for each; the head is left out. None for
    /// generation, which is bound by memory.
    fn gflop(self, config: &Config) -> Option<f64> {
        match self {
            Self::Forward => Some(forward_gflop(config, config.layers)),
            // Forward, and the gradient by the inputs of all maps but those of the lowest queries, keys and values.
            Self::Lora => Some(2.0 * forward_gflop(config, config.layers)),
            // Forward, gradients by inputs and by weights of four blocks.
            Self::Last4 => Some(3.0 * forward_gflop(config, 4)),
            Self::Generate => None,
        }
    }
}

/// What a worker says after its first step, which is not counted.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct Ready {
    /// Program and version.
    pub(super) engine: String,
    /// What came out: mean largest logit, loss, or number of new tokens. Engines that do the same work agree on it.
    pub(super) answer: f64,
    /// Tokens that a step goes through or makes.
    pub(super) tokens: usize,
    /// 10⁹ operations of a step's least products, where they are counted.
    #[serde(default)]
    pub(super) gflop: Option<f64>,
    /// The memory, in MB, that was reckoned before a training run began.
    #[serde(default)]
    pub(super) reckoned_mb: Option<f64>,
}

/// One step.
#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
pub(super) struct Lap {
    pub(super) wall_s: f64,
    /// Of all threads. Linux counts ours in hundredths.
    pub(super) cpu_s: f64,
}

/// The most memory, in MB, that the process held since its weights were read.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct Peak {
    pub(super) peak_mb: f64,
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The weights, a GGUF file
    file: PathBuf,
    /// Threads for large products
    threads: usize,
    /// What to do; large products without it
    #[arg(value_enum)]
    kind: Option<Kind>,
}

/// Works until standard input ends.
pub(super) fn run(args: &Args) -> Result<ExitCode> {
    match args.kind {
        None => products(args.threads)?,
        Some(kind) => model(kind, &args.file)?,
    }
    let peak_mb = status_kib("VmHWM")? * 1024.0 / 1e6;
    answer(&Peak { peak_mb })?;
    Ok(ExitCode::SUCCESS)
}

fn model(kind: Kind, file: &Path) -> Result<()> {
    let mut decoder = Decoder::from_gguf(Gguf::open(file)?)?;
    // From here on the peak is that of the work. Where this is not allowed, it is that of the whole process.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let ready = Ready {
        engine: engine(),
        answer: f64::NAN,
        tokens: ROWS * LENGTH,
        gflop: kind.gflop(decoder.config()),
        reckoned_mb: None,
    };
    let turns = Turns::new(ready);
    match kind {
        Kind::Forward => forward(&decoder, turns),
        Kind::Generate => generate(&decoder, turns),
        Kind::Last4 => train(&mut decoder, Trained::LastBlocks(4), turns),
        Kind::Lora => {
            let lora = Lora {
                rank: 8,
                alpha: 8.0,
                rslora: false,
                targets: vec![
                    Projection::Query,
                    Projection::Key,
                    Projection::Value,
                    Projection::Output,
                ],
            };
            decoder.attach(&lora, 1)?;
            train(&mut decoder, Trained::Adapters, turns)
        }
    }
}

fn engine() -> String {
    concat!("aar ", env!("CARGO_PKG_VERSION")).to_owned()
}

/// The same tokens as in `torch.py`.
fn sequences() -> Vec<Sequence> {
    let token = |i: usize| (i * 7919 % 40_000 + 100) as u32;
    (0..ROWS)
        .map(|row| Sequence::at_end((0..LENGTH).map(|i| token(row * LENGTH + i)).collect()))
        .collect()
}

fn forward(decoder: &Decoder, mut turns: Turns) -> Result<()> {
    let sequences = sequences();
    loop {
        let mut sum = 0.0;
        decoder.read(&sequences, &mut |said| {
            let largest = |i| said.logits(i).iter().copied().fold(f32::MIN, f32::max);
            sum += (0..said.places.len())
                .map(|i| f64::from(largest(i)))
                .sum::<f64>();
        })?;
        if turns.done(sum / ROWS as f64)?.is_break() {
            return Ok(());
        }
    }
}

fn generate(decoder: &Decoder, mut turns: Turns) -> Result<()> {
    let prompts: Vec<Vec<u32>> = sequences().into_iter().map(|s| s.tokens).collect();
    let sampling = Sampling::greedy(LENGTH);
    loop {
        let samples = decoder.generate(&prompts, &sampling, &|_| false, &mut |_| ())?;
        let made = samples.iter().map(|sample| sample.tokens.len()).sum();
        turns.ready.tokens = made;
        if turns.done(made as f64)?.is_break() {
            return Ok(());
        }
    }
}

fn train(decoder: &mut Decoder, trained: Trained, mut turns: Turns) -> Result<()> {
    let sequences = sequences();
    let targets: Vec<Vec<Target>> = (0..ROWS)
        .map(|row| vec![Target::token(49 + row as u32 % 2)])
        .collect();
    let plan = Plan {
        trained,
        epochs: MOST_STEPS,
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
    turns.ready.reckoned_mb = Some(plan.memory(decoder, &sequences).total() as f64 / 1e6);
    let mut loss = cross_entropy(&targets);
    let mut broken = None;
    fit(
        decoder,
        &sequences,
        &plan,
        &mut loss,
        None,
        &mut |progress| {
            turns.done(progress.record.loss).unwrap_or_else(|error| {
                broken = Some(error);
                ControlFlow::Break(())
            })
        },
    )?;
    broken.map_or(Ok(()), Err)
}

/// A large product on each thread.
fn products(threads: usize) -> Result<()> {
    let filled = |value| Matrix::new(LARGE, LARGE, vec![value; LARGE * LARGE]);
    let (a, b) = (filled(0.5), filled(0.25));
    let mut turns = Turns::new(Ready {
        engine: engine(),
        answer: 0.0,
        tokens: 0,
        gflop: Some((2 * LARGE.pow(3) * threads) as f64 / 1e9),
        reckoned_mb: None,
    });
    loop {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| std::hint::black_box(a.times(&b)));
            }
        });
        if turns.done(0.0)?.is_break() {
            return Ok(());
        }
    }
}

/// Products of a forward pass through so many blocks, the head left out.
fn forward_gflop(config: &Config, blocks: usize) -> f64 {
    let maps = 2 * config.query_width() + 2 * config.kv_width() + 3 * config.ffn;
    (2 * blocks * config.width * maps * ROWS * LENGTH) as f64 / 1e9
}

/// The talk with whoever asks for steps.
struct Turns {
    ready: Ready,
    /// When the step now at work was asked for, and the CPU seconds until then; none in the first.
    began: Option<(Instant, f64)>,
}

impl Turns {
    fn new(ready: Ready) -> Self {
        let began = None;
        Self { ready, began }
    }

    /// A step is done: tells so, and waits until the next is asked for.
    fn done(&mut self, said: f64) -> Result<ControlFlow<()>> {
        match self.began {
            None => {
                self.ready.answer = said;
                answer(&self.ready)?;
            }
            Some((began, cpu_s)) => answer(&Lap {
                wall_s: began.elapsed().as_secs_f64(),
                cpu_s: cpu_seconds()? - cpu_s,
            })?,
        }
        let mut line = String::new();
        if io::stdin().lock().read_line(&mut line)? == 0 {
            return Ok(ControlFlow::Break(()));
        }
        self.began = Some((Instant::now(), cpu_seconds()?));
        Ok(ControlFlow::Continue(()))
    }
}

fn answer(what: &impl Serialize) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(what)?)?;
    Ok(out.flush()?)
}

/// User and system time of this process; Linux counts 100 ticks a second.
fn cpu_seconds() -> Result<f64> {
    let path = "/proc/self/stat";
    let stat = fs::read_to_string(path).context(path)?;
    // The program's name stands in parentheses and may hold anything.
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after.split_whitespace().skip(11).take(2);
    Ok(ticks.filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() / 100.0)
}

/// A number of this process's status.
fn status_kib(name: &str) -> Result<f64> {
    let path = "/proc/self/status";
    let status = fs::read_to_string(path).context(path)?;
    let line = status.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .with_context(|| format!("{path} has no {name}"))
}
