//! `aar problem`: checking problem directories, figures and rebuilding of the built-in problems.

use super::say;
use crate::builtin;
use crate::shipped;
use aar_core::id::Seed;
use aar_core::problem::Split;
use aar_lab::anchors::{SplitStats, stats};
use aar_problem::generate::BuiltinProblem;
use aar_problem::{Problem, check, draw_builtin, write_problem};
use aar_stats::Estimate;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The subcommands of `aar problem`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Validate a problem directory and name every fault with its file, line and field
    Check {
        /// The directory
        dir: PathBuf,
    },
    /// Measure weak teachers, ceiling and the vanilla baseline
    Stats(StatsArgs),
    /// Remake the shipped activations of a built-in problem from the models' weights
    Build(BuildArgs),
}

#[derive(Args)]
pub(crate) struct StatsArgs {
    /// A built-in problem, or a problem directory
    problem: String,
    /// Teacher seeds
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(2..=256))]
    seeds: u64,
    /// The seed that draws the splits of a built-in problem [default: 1]
    #[arg(long)]
    split_seed: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct BuildArgs {
    /// A built-in problem
    problem: String,
    /// Where the weights are; by default the Hugging Face cache and installed Python packages
    #[arg(long)]
    weights: Option<PathBuf>,
    /// The file to write; without it, the result is only compared with what ships. With --fresh, the
    /// directory to write
    #[arg(long)]
    out: Option<PathBuf>,
    /// Make another instance of the problem with this seed: new rows, as a problem directory that a
    /// study can name in `transfer`
    #[arg(long, value_name = "SEED", requires = "out", conflicts_with = "every")]
    fresh: Option<u64>,
    /// Remake only every N-th group, to compare a sample
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "out")]
    every: u64,
}

pub(crate) fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Check { dir } => {
            let report = check(dir)?;
            say!("{report}");
            Ok(ExitCode::SUCCESS)
        }
        Command::Stats(args) => show_stats(args),
        Command::Build(args) => build(args),
    }
}

fn show_stats(args: &StatsArgs) -> Result<ExitCode> {
    let split_seed = Seed(args.split_seed.unwrap_or(1));
    let seeds: Vec<Seed> = (0..args.seeds)
        .map(|index| split_seed.derive("stats-teacher", index))
        .collect();
    let scratch;
    let directory = match BuiltinProblem::from_name(&args.problem) {
        None if !Path::new(&args.problem).is_dir() => bail!(
            "{:?} is neither a built-in problem ({}) nor a directory",
            args.problem,
            names()
        ),
        None if args.split_seed.is_some() => {
            bail!("--split-seed draws the splits of a built-in problem; a directory has its own")
        }
        None => PathBuf::from(&args.problem),
        Some(problem) => {
            scratch = tempfile::tempdir().context("making a temporary directory")?;
            let directory = scratch.path().join("problem");
            let bundle = builtin::bundle(problem)?;
            // These splits are for looking at, so their salt need not be secret.
            let parts = draw_builtin(problem, &bundle, split_seed, [0; 32])?;
            write_problem(&directory, &parts)?;
            directory
        }
    };
    check(&directory).with_context(|| format!("problem {}", args.problem))?;
    let problem = Problem::open(&directory)?;
    let measured = stats(&problem, &seeds, 0.95)?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&measured)?);
    } else {
        print_stats(&problem, &measured);
    }
    Ok(ExitCode::SUCCESS)
}

/// The built-in problems, for an error.
fn names() -> String {
    BuiltinProblem::ALL.map(|problem| problem.name()).join(", ")
}

fn print_stats(problem: &Problem, measured: &BTreeMap<Split, SplitStats>) {
    let manifest = problem.manifest();
    say!(
        "{}{}",
        manifest.id,
        if manifest.hard {
            "  (hard: for transfer)"
        } else {
            ""
        }
    );
    for (split, rows) in &manifest.rows {
        say!("  {split:<8} {rows:>6} rows");
    }
    say!(
        "  a teacher sees {} labels; 95 % intervals over seeds and items",
        manifest.teacher.labels
    );
    say!(
        "  {:<6} {:<22} {:<22} {:<22} vanilla PGR",
        "split",
        "weak",
        "ceiling",
        "gap"
    );
    for (split, one) in measured {
        let vanilla = one
            .vanilla_pgr
            .as_ref()
            .map_or_else(|| "no gap".to_owned(), interval);
        say!(
            "  {split:<6} {:<22} {:<22} {:<22} {vanilla}",
            interval(&one.weak),
            interval(&one.ceiling),
            interval(&one.gap)
        );
    }
}

fn interval(estimate: &Estimate) -> String {
    format!(
        "{:.3} [{:.3}, {:.3}]",
        estimate.value, estimate.low, estimate.high
    )
}

fn build(args: &BuildArgs) -> Result<ExitCode> {
    let Some(problem) = BuiltinProblem::from_name(&args.problem) else {
        bail!(
            "{:?} is not a built-in problem; there are {}",
            args.problem,
            names()
        );
    };
    let weights = shipped::weights(args.weights.as_deref());
    if let (Some(seed), Some(out)) = (args.fresh, &args.out) {
        write_problem(out, &shipped::fresh(problem, &weights, Seed(seed))?)?;
        say!("wrote {}", out.display());
        return Ok(ExitCode::SUCCESS);
    }
    let made = shipped::make(problem, &weights, args.every as usize)?;
    if let Some(out) = &args.out {
        let id = format!("{}@1", problem.name());
        let bytes = shipped::encode(id.parse().map_err(anyhow::Error::msg)?, &made)?;
        write(out, &bytes)?;
        say!("wrote {} ({} bytes)", out.display(), bytes.len());
        return Ok(ExitCode::SUCCESS);
    }
    let agreement = shipped::compare(problem, &made)?;
    for tensor in &agreement {
        say!("{tensor}");
    }
    Ok(if agreement.iter().all(shipped::Agreement::is_good) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}
