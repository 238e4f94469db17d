//! `aar problem score`: the owner scores predictions with the labels. Methods never see this.

use super::anchors::interval;
use super::say;
use aar_core::problem::Split;
use aar_problem::{Problem, read_predictions};
use aar_stats::{Anchors, CorrectMatrix, Crossed, Estimate, Groups};
use anyhow::{Context, Result, anyhow};
use serde::Serialize;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The problem directory, with its vault
    dir: PathBuf,
    /// predictions.jsonl of dev, one file for each seed of one method
    #[arg(required = true)]
    predictions: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Score {
    rows: usize,
    weak: f64,
    ceiling: f64,
    /// None where the ceiling is not above the weak accuracy.
    pgr: Option<f64>,
    accuracy: f64,
    accuracy_by_seed: Vec<f64>,
    pgr_by_seed: Option<Vec<f64>>,
    /// With two files at least: 95 % intervals over seeds and items, the anchors as given.
    accuracy_interval: Option<Estimate>,
    pgr_interval: Option<Estimate>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let problem = Problem::open(&args.dir)?;
    let fixed = problem.manifest().anchors.get(&Split::Dev).ok_or_else(|| {
        let dir = args.dir.display();
        anyhow!("{dir} has no anchors of dev yet: `aar problem anchors` measures them")
    })?;
    let table = problem.table(Split::Dev);
    let (ids, labels) = (table.ids(), problem.labels(Split::Dev));
    let mut correct = Vec::new();
    for file in &args.predictions {
        let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        let said = read_predictions(&bytes, &ids).with_context(|| file.display().to_string())?;
        let rows = said.iter().zip(labels);
        correct.push(
            rows.map(|(said, label)| said == label)
                .collect::<Vec<bool>>(),
        );
    }
    let matrix = CorrectMatrix::from_rows(&correct)?;
    let anchors = Anchors::new(fixed.weak, fixed.ceiling).ok();
    let accuracy_interval = match matrix.seeds() {
        1 => None,
        _ => {
            let keys: Vec<&str> = table.rows.iter().map(|row| &*row.group).collect();
            let crossed = Crossed::accuracy(&matrix, &Groups::from_keys(&keys))?;
            Some(crossed.estimate(0.95)?)
        }
    };
    let pgr_interval = anchors
        .as_ref()
        .and_then(|anchors| Some(anchors.pgr_of(accuracy_interval.as_ref()?)));
    let by_seed = matrix.accuracies();
    let score = Score {
        rows: matrix.items(),
        weak: fixed.weak,
        ceiling: fixed.ceiling,
        pgr: anchors.as_ref().map(|a| a.pgr(matrix.accuracy())),
        accuracy: matrix.accuracy(),
        pgr_by_seed: anchors
            .as_ref()
            .map(|anchors| by_seed.iter().map(|&one| anchors.pgr(one)).collect()),
        accuracy_by_seed: by_seed,
        accuracy_interval,
        pgr_interval,
    };
    if args.json {
        say!("{}", serde_json::to_string_pretty(&score)?);
        return Ok(ExitCode::SUCCESS);
    }
    say!(
        "dev, {} rows; weak {:.3}, ceiling {:.3} (means over {} seeds); for the owner's eyes",
        score.rows,
        score.weak,
        score.ceiling,
        fixed.seeds
    );
    for (index, file) in args.predictions.iter().enumerate() {
        let pgr = score.pgr_by_seed.as_ref().map(|all| all[index]);
        let pgr = pgr.map_or_else(|| "none".to_owned(), |pgr| format!("{pgr:.3}"));
        let accuracy = score.accuracy_by_seed[index];
        say!("  {}: accuracy {accuracy:.3}, PGR {pgr}", file.display());
    }
    if let Some(accuracy) = &score.accuracy_interval {
        let pgr = score.pgr_interval.as_ref();
        let pgr = pgr.map_or_else(|| "none: the anchors leave no gap".to_owned(), interval);
        say!(
            "  mean: accuracy {}, PGR {pgr} (95 %, over seeds and items)",
            interval(accuracy)
        );
    }
    Ok(ExitCode::SUCCESS)
}
