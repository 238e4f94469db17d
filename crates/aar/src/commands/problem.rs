//! `aar problem`: checking problem directories, figures and rebuilding of the built-in problems.

use super::{activations, anchors, say, score, tell};
use crate::builtin;
use crate::shipped;
use aar_core::id::{ProblemId, Seed};
use aar_core::problem::Split;
use aar_lab::anchors::{SplitStats, stats};
use aar_problem::generate::BuiltinProblem;
use aar_problem::import::ImportPlan;
use aar_problem::{Problem, check, draw_builtin, import, write_problem};
use aar_stats::Estimate;
use anyhow::{Context, Result, anyhow, bail};
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
    /// Make a problem directory from data in the study's layout: train_label.jsonl,
    /// train_unlabel.jsonl and test.jsonl
    Import(ImportArgs),
    /// Train weak teachers and ceilings on a problem's texts; store the teachers' labels and the
    /// anchors in the problem
    Anchors(anchors::Args),
    /// Compute a strong language model's states of a problem's texts, for recipes that work on frozen states
    Activations(activations::Args),
    /// Score predictions on dev with the problem's labels, as accuracy and PGR; for the owner alone
    Score(score::Args),
    /// Measure weak teachers, ceiling and the vanilla baseline
    Stats(StatsArgs),
    /// Remake the shipped activations of a built-in problem from the models' weights
    Build(BuildArgs),
}

#[derive(Args)]
pub(crate) struct ImportArgs {
    /// The directory with the three files
    dir: PathBuf,
    /// The problem directory to make; nothing may be there but an empty directory
    #[arg(long)]
    out: PathBuf,
    /// Name and version of the problem, such as chat@1 [default: the name of DIR, version 1]
    #[arg(long, value_name = "NAME@VERSION")]
    id: Option<ProblemId>,
    /// The seed that deals the groups of test.jsonl into dev and rank
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The answers are published nowhere; without this the board says that this is a practice problem
    #[arg(long)]
    private_answers: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
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
        Command::Import(args) => bring(args),
        Command::Anchors(args) => anchors::run(args),
        Command::Activations(args) => activations::run(args),
        Command::Score(args) => score::run(args),
        Command::Stats(args) => show_stats(args),
        Command::Build(args) => build(args),
    }
}

fn bring(args: &ImportArgs) -> Result<ExitCode> {
    let id = match &args.id {
        Some(id) => id.clone(),
        None => default_id(&args.dir)?,
    };
    let plan = ImportPlan {
        id,
        practice: !args.private_answers,
        seed: Seed(args.seed),
    };
    let report = import(&args.dir, &args.out, &plan)?;
    for (field, rows) in &report.unknown_fields {
        tell(&format!(
            "warning: field {field} of {rows} rows is not one of the layout and was left out"
        ));
    }
    if args.json {
        say!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        say!("{report}");
        say!("wrote {}", args.out.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The directory's name, as far as a problem can have it.
fn default_id(dir: &Path) -> Result<ProblemId> {
    let found = dir
        .canonicalize()
        .with_context(|| format!("finding {}", dir.display()))?;
    let name = found.file_name().unwrap_or_default().to_string_lossy();
    let letters = name
        .chars()
        .map(|letter| match letter.to_ascii_lowercase() {
            good @ ('a'..='z' | '0'..='9' | '-' | '_') => good,
            _ => '-',
        });
    let name: String = letters
        .skip_while(|letter| !letter.is_ascii_alphanumeric())
        .take(40)
        .collect();
    format!("{name}@1").parse().map_err(|_| {
        anyhow!(
            "{} does not name a problem: name it with --id NAME@VERSION",
            dir.display()
        )
    })
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
        print_stats(&problem, &measured)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The built-in problems, for an error.
fn names() -> String {
    BuiltinProblem::ALL.map(|problem| problem.name()).join(", ")
}

fn print_stats(problem: &Problem, measured: &BTreeMap<Split, SplitStats>) -> Result<()> {
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
        problem.teacher()?.labels
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
    Ok(())
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
