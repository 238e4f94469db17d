//! `aar bench`: how fast language models run and train here, beside PyTorch in the same run.

mod table;
mod work;
mod worker;

use super::{say, tell};
use crate::shipped;
use anyhow::{Context, Result};
use clap::Subcommand;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, ExitCode};
use std::thread::available_parallelism;
use work::{Kind, LENGTH, ROWS};
use worker::Worker;

/// The other side of the comparison.
const TORCH: &str = include_str!("torch.py");
/// Counted steps of each engine and kind of work.
const TURNS: usize = 3;

/// The subcommands of `aar bench`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Forward pass, training steps and generation of SmolLM2-135M, beside PyTorch
    Lm(Args),
    /// One kind of work; `aar bench lm` starts it
    #[command(hide = true)]
    Work(work::Args),
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Threads of each engine [default: as many as the machine runs at once]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Where the weights are; by default the Hugging Face cache and installed Python packages
    #[arg(long, value_name = "DIR")]
    weights: Option<PathBuf>,
    /// The Python that has torch, transformers, peft and gguf
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,
    /// Only this kind of work [default: all four]
    #[arg(long, value_name = "NAME", value_enum)]
    only: Option<Kind>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Lm(args) => compare(args),
        Command::Work(args) => work::run(args),
    }
}

/// All that `aar bench lm` found.
#[derive(Serialize)]
struct Report {
    model: &'static str,
    /// Sequences of the batch, and tokens of each.
    rows: usize,
    tokens: usize,
    threads: usize,
    /// Counted steps of each engine and kind of work.
    turns: usize,
    ours: String,
    /// Versions of the other side; none where it did nothing.
    torch: Option<String>,
    /// Why figures of the other side are missing, if some are.
    torch_missing: Option<String>,
    work: Vec<Line>,
}

/// One kind of work.
#[derive(Serialize)]
struct Line {
    work: &'static str,
    /// 10⁹ operations of a step's least products.
    gflop: Option<f64>,
    /// 10⁹ operations a second of large products, one on each thread, in the fastest of the same turns.
    products_gflops: f64,
    ours: Figures,
    torch: Option<Figures>,
    /// Ours by PyTorch's: below 1 is better.
    ratio: Option<Ratio>,
}

/// What one engine needed for a step.
#[derive(Serialize)]
struct Figures {
    wall_s: Range,
    cpu_s: Range,
    /// In the fastest turn.
    tokens_per_s: f64,
    /// Of the whole process, weights included.
    peak_mb: f64,
    /// What was reckoned before a training run.
    reckoned_mb: Option<f64>,
    /// Of the fastest turn: the time of the least products at the speed of large ones.
    share: Option<f64>,
    /// What came out of the first step.
    answer: f64,
}

/// Over the turns.
#[derive(Serialize, Clone, Copy)]
struct Range {
    min: f64,
    max: f64,
}

#[derive(Serialize)]
struct Ratio {
    wall_s: f64,
    cpu_s: f64,
    peak_mb: f64,
}

fn compare(args: &Args) -> Result<ExitCode> {
    let file = shipped::weights(args.weights.as_deref()).smollm2()?;
    let file = std::path::absolute(&file)
        .with_context(|| format!("finding where {} is", file.display()))?;
    let threads = match args.threads {
        Some(threads) => usize::from(threads),
        None => available_parallelism()
            .context("counting processors; give --threads")?
            .get(),
    };
    let mut report = Report {
        model: "SmolLM2-135M-Instruct",
        rows: ROWS,
        tokens: LENGTH,
        threads,
        turns: TURNS,
        ours: String::new(),
        torch: None,
        torch_missing: None,
        work: Vec::new(),
    };
    let kinds = [Kind::Forward, Kind::Lora, Kind::Last4, Kind::Generate];
    for kind in kinds {
        if args.only.is_none_or(|only| only == kind) {
            measure(&mut report, kind, &file, &args.python)?;
        }
    }
    if args.json {
        say!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        say!("{}", table::of(&report));
    }
    Ok(ExitCode::SUCCESS)
}

/// Adds a line to the report. The engines take turns, so that other work on the machine hits all of them alike.
fn measure(report: &mut Report, kind: Kind, file: &Path, python: &Path) -> Result<()> {
    let (name, threads) = (kind.name(), report.threads);
    tell(&format!("{name}: loading, and a step that is not counted"));
    let this = std::env::current_exe().context("finding this program")?;
    let own = |kind: Option<Kind>| {
        let mut command = Process::new(&this);
        command.args(["bench", "work"]).arg(file);
        command
            .arg(threads.to_string())
            .args(kind.map(Kind::name))
            .env("RAYON_NUM_THREADS", threads.to_string());
        command
    };
    let mut ours = Worker::start(&mut own(Some(kind))).with_context(|| name.to_owned())?;
    let mut products = Worker::start(&mut own(None)).context("large products")?;
    let mut peer = Process::new(python);
    peer.args(["-c", TORCH, name])
        .arg(file)
        .arg(threads.to_string());
    let mut torch = Worker::start(&mut peer);
    for turn in 1..=TURNS {
        tell(&format!("{name}: turn {turn} of {TURNS}"));
        ours.step().with_context(|| name.to_owned())?;
        torch = torch.and_then(|mut torch| torch.step().map(|()| torch));
        products.step().context("large products")?;
    }
    let gflop = ours.ready.gflop;
    let products_gflops = products.ready.gflop.unwrap_or(f64::NAN) / wall(&products).min;
    let figures = |worker: &mut Worker| -> Result<Figures> {
        let wall_s = wall(worker);
        Ok(Figures {
            wall_s,
            cpu_s: Range::of(worker.laps.iter().map(|lap| lap.cpu_s)),
            tokens_per_s: worker.ready.tokens as f64 / wall_s.min,
            peak_mb: worker.end()?,
            reckoned_mb: worker.ready.reckoned_mb,
            share: gflop.map(|gflop| gflop / products_gflops / wall_s.min),
            answer: worker.ready.answer,
        })
    };
    report.ours.clone_from(&ours.ready.engine);
    let ours = figures(&mut ours).with_context(|| name.to_owned())?;
    let torch = torch.and_then(|mut torch| Ok((figures(&mut torch)?, torch.ready.engine.clone())));
    let torch = match torch {
        Ok((figures, engine)) => {
            report.torch.get_or_insert(engine);
            check(name, &ours, &figures);
            Some(figures)
        }
        Err(error) => {
            let why = format!("{name}, by {}: {error:#}", python.display());
            tell(&format!("PyTorch is not there: {why}"));
            report.torch_missing.get_or_insert(why);
            None
        }
    };
    report.work.push(Line {
        work: name,
        gflop,
        products_gflops,
        ratio: torch.as_ref().map(|torch| ours.by(torch)),
        ours,
        torch,
    });
    Ok(())
}

fn wall(worker: &Worker) -> Range {
    Range::of(worker.laps.iter().map(|lap| lap.wall_s))
}

/// Tells if the engines cannot have done the same work.
fn check(name: &str, ours: &Figures, torch: &Figures) {
    if (ours.answer - torch.answer).abs() > 0.01 * torch.answer.abs() {
        tell(&format!(
            "WARNING: {name}: {:.4} came out of ours and {:.4} out of PyTorch's: they did not do the same work",
            ours.answer, torch.answer
        ));
    }
}

impl Figures {
    fn by(&self, other: &Self) -> Ratio {
        Ratio {
            wall_s: self.wall_s.min / other.wall_s.min,
            cpu_s: self.cpu_s.min / other.cpu_s.min,
            peak_mb: self.peak_mb / other.peak_mb,
        }
    }
}

impl Range {
    fn of(numbers: impl Iterator<Item = f64> + Clone) -> Self {
        Self {
            min: numbers.clone().fold(f64::INFINITY, f64::min),
            max: numbers.fold(f64::NEG_INFINITY, f64::max),
        }
    }
}
