//! `aar lab run` of a recipe with a critic. It reads true labels of `teacher`, as anchors do, so it is the owner's.

use super::anchors::News;
use super::lab::{Args, lines, write};
use super::{say, tell};
use aar_core::problem::{Split, Teachers};
use aar_core::recipe::Recipe;
use aar_core::row::Label;
use aar_lab::text::critic::{self, CriticRun, CriticTask, Told};
use aar_lab::text::method::TextRun;
use aar_lab::text::source::ModelName;
use aar_problem::{Problem, write_predictions};
use anyhow::{Result, bail};

/// What the installed model is called in a problem's manifest.
const INSTALLED: ModelName = ModelName::Smollm2;

/// Trains critic, judge and student, and writes what came of it.
pub(super) fn run(args: &Args, recipe: &Recipe, problem: &Problem, text: TextRun) -> Result<()> {
    let table = |split| &problem.table(split).rows;
    let task = CriticTask {
        kind: problem.about().kind,
        teacher: table(Split::Teacher),
        truth: problem.labels(Split::Teacher),
        train: table(Split::Train),
        predict: table(Split::Dev),
    };
    let how = CriticRun {
        text,
        weak: weak(args, problem)?,
        work: args.out.join("work"),
    };
    let mut news = News::new();
    let outcome = critic::run(recipe, task, &how, &mut |stage, told| {
        let what = format!("{}, seed {}", stage.name(), args.seed);
        match told {
            Told::Step(step) => news.hear(&what, step),
            Told::Written(done, all) => {
                news.line(&what, || format!("{done} of {all} critiques written"))
            }
            // Each takes minutes, so each is told.
            Told::Rewarded(step, all) => tell(&format!(
                "{what}: step {} of {all}, reward {:.3}, divergence {:.4}, {:.0} tokens, {:.0} % of groups flat",
                step.step,
                step.reward,
                step.kl,
                step.tokens,
                100.0 * step.flat
            )),
        }
    })?;
    for warning in &outcome.diagnostics.warnings {
        tell(&format!("WARNING: {warning}"));
    }
    let dev = problem.table(Split::Dev).ids();
    let file = |name: &str, labels: &[Label]| write(args, name, &write_predictions(&dev, labels));
    file("predictions.jsonl", &outcome.labels)?;
    file("judge-before.jsonl", &outcome.judge[0])?;
    file("judge.jsonl", &outcome.judge[1])?;
    let train = problem.table(Split::Train).ids();
    let (ids, labels): (Vec<_>, Vec<Label>) = outcome
        .train
        .iter()
        .map(|(row, label)| (train[*row], *label))
        .unzip();
    write(args, "judge-train.jsonl", &write_predictions(&ids, &labels))?;
    for (stage, curve) in &outcome.curves {
        let name = match stage {
            critic::Stage::Student => "loss.jsonl".to_owned(),
            other => format!("loss-{}.jsonl", other.name()),
        };
        write(args, &name, &lines(curve)?)?;
    }
    write(args, "grpo.jsonl", &lines(&outcome.rewards)?)?;
    let diagnostics = serde_json::to_string_pretty(&outcome.diagnostics)?;
    say!("{diagnostics}");
    write(args, "diagnostics.json", &(diagnostics + "\n"))
}

/// The model that was named, or that of the problem's stored teachers if its name says how to find it.
fn weak(args: &Args, problem: &Problem) -> Result<ModelName> {
    if let Some(named) = &args.weak {
        return Ok(named.clone());
    }
    match &problem.manifest().teacher {
        Some(Teachers::Stored(stored)) if stored.model == INSTALLED.name() => Ok(INSTALLED),
        Some(Teachers::Stored(stored)) => match stored.model.parse() {
            Ok(found) => Ok(found),
            Err(_) => bail!(
                "the problem's weak teachers are of {}: name a language model that is critic and judge \
                 with --weak",
                stored.model
            ),
        },
        _ => bail!("name the language model that is first critic and judge with --weak"),
    }
}
