//! A recipe with `[finetune]`: which labels the strong model learns, and the run itself.

use super::example::Wording;
use super::source::ModelName;
use super::tuning::{Hear, Lengths, probabilities, tune};
use super::zero_shot;
use super::{Model, TextError};
use crate::numeric::random::{permutation, stream};
use aar_core::id::Seed;
use aar_core::problem::ItemKind;
use aar_core::recipe::{EngineName, FineTune, Labels, Recipe, Refine};
use aar_core::row::{Item, Label};
use aar_models::Weights;
use aar_models::train::Record;
use aar_problem::Row;
use serde::Serialize;
use std::borrow::Cow;

/// What a run learns from and predicts.
#[derive(Clone, Copy, Debug)]
pub struct TextTask<'a> {
    /// Pairs or claims.
    pub kind: ItemKind,
    /// Rows to learn from.
    pub train: &'a [Row],
    /// The weak teacher's probability of label 1 of each of them; zero-shot recipes read none.
    pub weak: &'a [f64],
    /// Rows to predict.
    pub predict: &'a [Row],
}

/// What can be said of a run without any truth.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct TextDiagnostics {
    /// What ran the model.
    pub engine: EngineName,
    /// Train rows there were, after the limit.
    pub train_rows: usize,
    /// Train rows whose label was learnt.
    pub kept_rows: usize,
    /// Share of label 1 among these.
    pub kept_positive: f64,
    /// Rows trained on or predicted that were cut to the greatest length, or left out for it.
    pub lengths: Lengths,
    /// Rows predicted.
    pub predicted_rows: usize,
    /// Share of label 1 among them.
    pub positive_rate: f64,
    /// The loss of the last step.
    pub last_loss: f64,
}

/// Which model is trained, and how a run varies.
#[derive(Clone, Debug)]
pub struct TextRun {
    /// The strong model.
    pub student: ModelName,
    /// Where installed weights are.
    pub weights: Weights,
    /// Draws rows, their order and new adapters.
    pub seed: Seed,
    /// Most train rows; the seed draws them.
    pub rows: Option<usize>,
}

/// The predictions of a run.
#[derive(Clone, PartialEq, Debug)]
pub struct TextOutcome {
    /// One label for each row to predict.
    pub labels: Vec<Label>,
    /// What they were cut from: probabilities of label 1.
    pub p: Vec<f64>,
    /// One record for each step of training.
    pub curve: Vec<Record>,
    /// See [`TextDiagnostics`].
    pub diagnostics: TextDiagnostics,
}

/// So many rows, drawn by the seed, in the order they came in; all without a limit.
pub(crate) fn drawn(rows: usize, limit: Option<usize>, seed: Seed) -> Vec<usize> {
    let mut drawn = permutation(rows, &mut stream(seed, "text-rows", 0));
    drawn.truncate(limit.unwrap_or(rows));
    drawn.sort_unstable();
    drawn
}

/// The rows that the recipe keeps of `drawn`, with their labels as probabilities of label 1.
///
/// `keep-above` goes by the weak label, whatever became of it, as everywhere. With the study's
/// 0.75 a probability of exactly 0.75 or 0.25 is dropped, as there.
#[must_use]
pub fn targets(recipe: &Recipe, weak: &[f64], drawn: &[usize]) -> Vec<(usize, f64)> {
    let kept = |p: f64| {
        recipe.refine.iter().all(|part| match *part {
            Refine::KeepAbove { threshold } => p.max(1.0 - p) > threshold,
            _ => true,
        })
    };
    let label = |p: f64| match recipe.labels {
        Labels::WeakSoft { temperature } => {
            let p = p.clamp(1e-12, 1.0 - 1e-12);
            let logit = (p / (1.0 - p)).ln() / temperature;
            1.0 / (1.0 + (-logit).exp())
        }
        _ if p > 0.5 => 1.0,
        _ => 0.0,
    };
    let rows = drawn.iter().map(|&row| (row, weak[row]));
    rows.filter(|(_, p)| kept(*p))
        .map(|(row, p)| (row, label(p)))
        .collect()
}

/// Labels that the model itself gives to the drawn rows, before it is trained.
fn elicited<'a>(
    model: &mut Model,
    finetune: &FineTune,
    task: TextTask<'a>,
    drawn: &[usize],
    lengths: &mut Lengths,
    hear: &mut Hear<'_>,
) -> Result<Vec<(Cow<'a, Item>, f64)>, TextError> {
    let rows: Vec<&Row> = drawn.iter().map(|&row| &task.train[row]).collect();
    let items: Vec<&Item> = rows.iter().map(|row| &row.item).collect();
    let mut ask = |items: &[&Item]| {
        let wording = Wording::zero_shot(task.kind);
        let (p, asked) = probabilities(model, wording, items, finetune, hear)?;
        *lengths = lengths.plus(asked);
        Ok::<_, TextError>(p)
    };
    let p = ask(&items)?;
    let labelled = match task.kind {
        ItemKind::Pair => {
            let swapped: Vec<Item> = items.iter().map(|item| item.swapped()).collect();
            let p_swapped = ask(&swapped.iter().collect::<Vec<_>>())?;
            zero_shot::pairs(&items, &p, &p_swapped)
        }
        ItemKind::Claim => zero_shot::claims(&rows, &p),
    };
    let labelled = labelled.into_iter();
    Ok(labelled
        .map(|(item, label)| (item, label.as_f64()))
        .collect())
}

/// Runs a recipe that has `finetune`.
///
/// # Errors
/// If it has not, no row is left to train on, or the model cannot be read, trained or asked.
pub fn run(
    recipe: &Recipe,
    task: TextTask<'_>,
    how: &TextRun,
    hear: &mut Hear<'_>,
) -> Result<TextOutcome, TextError> {
    let Some(finetune) = &recipe.finetune else {
        let what = "the recipe has no [finetune]: it trains no language model";
        return Err(TextError::Refused(what.to_owned()));
    };
    if recipe.critic.is_some() {
        let what = "a recipe with [critic] reads true labels and has a run of its own: `aar lab run`, for \
                    the problem's owner";
        return Err(TextError::Refused(what.to_owned()));
    }
    let drawn = drawn(task.train.len(), how.rows, how.seed);
    let mut model = how.student.open(&how.weights, finetune.engine)?;
    let mut lengths = Lengths::default();
    let kept = if finetune.zero_shot {
        elicited(&mut model, finetune, task, &drawn, &mut lengths, hear)?
    } else {
        let kept = targets(recipe, task.weak, &drawn).into_iter();
        kept.map(|(row, p)| (Cow::Borrowed(&task.train[row].item), p))
            .collect()
    };
    if kept.is_empty() {
        let why = match finetune.zero_shot {
            true => {
                "the untrained model says the same of all of them, so no class is left to learn"
            }
            false => "no weak label is sure enough; lower the threshold",
        };
        let what = format!("none of {} train rows is kept: {why}", drawn.len());
        return Err(TextError::NoRows(what));
    }
    let rows: Vec<(&Item, f64)> = kept.iter().map(|(item, p)| (&**item, *p)).collect();
    let seed = how.seed.derive("student", 0);
    let (curve, trained) = tune(&mut model, task.kind, &rows, finetune, seed, None, hear)?;
    let items: Vec<&Item> = task.predict.iter().map(|row| &row.item).collect();
    let wording = Wording::label(task.kind);
    let (p, asked) = probabilities(&mut model, wording, &items, finetune, hear)?;
    let share = |ones: usize, all: usize| ones as f64 / all.max(1) as f64;
    let diagnostics = TextDiagnostics {
        engine: finetune.engine,
        train_rows: drawn.len(),
        kept_rows: kept.len(),
        kept_positive: share(kept.iter().filter(|(_, p)| *p > 0.5).count(), kept.len()),
        lengths: lengths.plus(trained).plus(asked),
        predicted_rows: p.len(),
        positive_rate: share(p.iter().filter(|&&p| p > 0.5).count(), p.len()),
        last_loss: curve.last().map_or(f64::NAN, |record| record.loss),
    };
    Ok(TextOutcome {
        labels: p.iter().map(|&p| Label::from(p > 0.5)).collect(),
        p,
        curve,
        diagnostics,
    })
}
