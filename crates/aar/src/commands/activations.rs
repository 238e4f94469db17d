//! `aar problem activations`: a language model's frozen states of a problem's texts.

use super::anchors::{News, beside};
use super::say;
use crate::shipped;
use aar_lab::text::source::ModelName;
use aar_lab::text::states::states;
use aar_lab::text::tuning::Step;
use aar_problem::{Problem, check};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The problem directory
    dir: PathBuf,
    /// The strong model, as for anchors; where there are anchors, that of the ceilings
    #[arg(long, value_name = "MODEL")]
    strong: ModelName,
    /// After how many of its blocks the last token's state is read: one number or several
    #[arg(long, value_name = "K[,K…]", value_delimiter = ',', required = true,
        value_parser = clap::value_parser!(u16).range(1..))]
    layers: Vec<u16>,
    /// Where computed states are kept; as secret as the vault [default: DIR with .states added]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Where the weights are; by default the Hugging Face cache and installed Python packages
    #[arg(long)]
    weights: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let context = || format!("problem {}", args.dir.display());
    check(&args.dir).with_context(context)?;
    let mut problem = Problem::open(&args.dir)?;
    if problem.teacher().is_ok() {
        bail!(
            "{} has weak features and the states that belong to them",
            args.dir.display()
        );
    }
    let layers: BTreeSet<u16> = args.layers.iter().copied().collect();
    let layers: Vec<u16> = layers.into_iter().collect();
    let weights = shipped::weights(args.weights.as_deref());
    if let Some(ceilings) = &problem.manifest().ceilings
        && args.strong.digest(&weights)? != ceilings.content
    {
        bail!(
            "the ceilings are of {}, and {} has other content: PGR would compare two models",
            ceilings.model,
            args.strong.name()
        );
    }
    let work = match &args.work {
        Some(work) => work.clone(),
        None => beside(&args.dir, ".states")?,
    };
    let mut news = News::new();
    let made = states(
        &problem,
        &args.strong,
        &weights,
        &layers,
        &work,
        &mut |split, done, all| {
            news.hear(&format!("states of {split}"), Step::Asked(done, all));
        },
    )?;
    let (found, splits) = (made.found, made.tensors.len());
    let width = made.strong.activations.first().map_or(0, |spec| spec.width);
    problem.set_activations(made.strong, &made.tensors)?;
    check(&args.dir).with_context(context)?;
    say!(
        "stored states of width {width} after {layers:?} blocks of {}; {found} of {splits} splits were computed before",
        args.strong.name()
    );
    Ok(ExitCode::SUCCESS)
}
