//! `aar redteam`: what cheating gains, and who is caught.

use super::run::sandbox;
use super::say;
use crate::redteam::figures::Figures;
use crate::redteam::live::{Size, attack};
use crate::redteam::scoring;
use aar_core::id::Seed;
use aar_problem::generate::BuiltinProblem;
use aar_redteam::live::{attacks, honest};
use aar_redteam::scoring::Shown;
use aar_sandbox::Isolation;
use anyhow::{Context, Result, anyhow};
use clap::Args as ClapArgs;
use std::path::PathBuf;
use std::process::ExitCode;

/// What `aar redteam` takes.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Attack the scoring rules alone, offline: what each rule gives away after how many
    /// evaluations, on the rows of drawn chat studies
    #[arg(long, conflicts_with_all = ["quick", "out", "only"])]
    scoring: bool,
    /// One small study of a few minutes, for CI
    #[arg(long)]
    quick: bool,
    /// How many studies, each with its own secret split; by default 2, 1 if quick, 5 for scoring
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    seeds: Option<u64>,
    /// Only these attacks, by name; honest researchers take part all the same
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Keep the studies' run directories below this new directory
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.scoring {
        let cells = scoring::measure(BuiltinProblem::Chat, args.seeds.unwrap_or(5))?;
        if args.json {
            say!("{}", serde_json::to_string_pretty(&cells)?);
        } else {
            say!("{}", Shown(&cells));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut players = attacks();
    if !args.only.is_empty() {
        if let Some(unknown) = args
            .only
            .iter()
            .find(|name| players.iter().all(|player| player.name != **name))
        {
            let known: Vec<_> = players.iter().map(|player| player.name).collect();
            return Err(anyhow!(
                "--only: found {unknown:?}, expected one of {}",
                known.join(", ")
            ));
        }
        players.retain(|player| args.only.iter().any(|name| name == player.name));
    }
    players.extend(honest());
    let size = if args.quick {
        Size {
            problem: BuiltinProblem::Math,
            minutes: 8.0,
            evaluations: 6,
            replication_seeds: 4,
        }
    } else {
        Size {
            problem: BuiltinProblem::Chat,
            minutes: 20.0,
            evaluations: 40,
            replication_seeds: 8,
        }
    };
    let sandbox = sandbox(Isolation::Required)?;
    let temporary = tempfile::tempdir().context("making a temporary directory")?;
    let parent = args.out.as_deref().unwrap_or(temporary.path());
    let seeds = args.seeds.unwrap_or(if args.quick { 1 } else { 2 });
    let mut figures = Figures::default();
    for seed in 0..seeds {
        let run_dir = parent.join(format!("study-{seed}"));
        let met = attack(&players, size, Seed(seed), &sandbox, &run_dir)?;
        figures.add(&players, &met, &run_dir)?;
    }
    let findings = figures.findings(&players)?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        say!("{findings}");
    }
    Ok(if findings.holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
