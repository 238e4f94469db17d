//! A recipe, a problem and a seed: predictions and what can be said of them without any truth.

use crate::bench::{Bench, Labelled};
use crate::elicit::{Elicited, median, search};
use crate::evolve::evolve;
use crate::features::{FeatureError, FeatureSet, choose};
use crate::loss::{logit, sigmoid};
use crate::numeric::random::{bootstrap_counts, permutation, stream};
use crate::refine::{first_labels, refine};
use crate::student::Model;
use aar_core::id::Seed;
use aar_core::problem::ItemKind;
use aar_core::recipe::{Combine, Labels, Recipe, Student, Threshold};
use aar_core::row::Label;
use aar_problem::{MethodView, ProblemError, Row, Tensor};
use serde::Serialize;
use std::cell::OnceCell;
use std::collections::HashMap;
use thiserror::Error;

/// Why an experiment could not run.
#[derive(Debug, Error)]
pub enum ExperimentError {
    /// The problem cannot be read.
    #[error(transparent)]
    Problem(#[from] ProblemError),
    /// The problem lacks what the recipe asks for.
    #[error(transparent)]
    Features(#[from] FeatureError),
}

/// What an experiment works on: plain numbers, one element per train row where not said otherwise.
pub struct Task {
    /// Pairs or claims.
    pub kind: ItemKind,
    /// One tensor per depth that the recipe reads.
    pub train: Vec<Tensor>,
    /// The same depths for the rows to predict.
    pub predict: Vec<Tensor>,
    /// The teacher's probability of label 1.
    pub weak: Vec<f32>,
    /// Groups, numbered from 0.
    pub groups: Vec<u32>,
}

impl Task {
    /// Reads what the recipe needs; with `rows`, only that many train rows, drawn by the seed.
    ///
    /// # Errors
    /// A tensor that cannot be read, or that the problem does not have.
    pub fn read(
        view: &MethodView,
        recipe: &Recipe,
        seed: Seed,
        rows: Option<usize>,
    ) -> Result<Self, ExperimentError> {
        let specs = choose(&recipe.features, view.about.activations())?;
        let all = view.train.len();
        let mut drawn = permutation(all, &mut stream(seed, "trial-rows", 0));
        drawn.truncate(rows.unwrap_or(all));
        drawn.sort_unstable();
        let mut train = Vec::new();
        let mut predict = Vec::new();
        for spec in &specs {
            let tensor = view.train.activations.get(spec)?;
            train.push(if drawn.len() < all {
                tensor.gather(&drawn)
            } else {
                tensor
            });
            predict.push(view.predict.activations.get(spec)?);
        }
        let rows: Vec<&Row> = drawn.iter().map(|&row| &view.train.rows[row]).collect();
        let weak = drawn.iter().map(|&row| view.weak[row] as f32).collect();
        Ok(Self {
            kind: view.about.kind,
            train,
            predict,
            weak,
            groups: number_groups(&rows),
        })
    }
}

/// Groups in the order of their first rows.
fn number_groups(rows: &[&Row]) -> Vec<u32> {
    let mut numbers = HashMap::new();
    rows.iter()
        .map(|row| {
            let next = numbers.len() as u32;
            *numbers.entry(&row.group).or_insert(next)
        })
        .collect()
}

/// What a cheap trial is judged by. No field needs any truth.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Diagnostics {
    /// Train rows used.
    pub train_rows: usize,
    /// Rows predicted.
    pub predicted_rows: usize,
    /// Share of train rows on which the method's label is the weak one.
    pub weak_agreement: f64,
    /// Share of predicted rows with label 1.
    pub positive_rate: f64,
    /// Share of train rows with weight after all refinements, mean over feature sets.
    pub kept_share: f64,
    /// Share of train rows whose final label a linear probe predicts from other folds (3 folds).
    pub cross_validated: f64,
    /// Mean loss of the students on what they were trained on.
    pub train_loss: f64,
    /// Students averaged.
    pub students: usize,
}

/// The predictions of one run.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// One label per row to predict.
    pub labels: Vec<Label>,
    /// What the labels were cut from: one number per row, above 0 for label 1.
    pub scores: Vec<f32>,
    /// See [`Diagnostics`].
    pub diagnostics: Diagnostics,
}

/// Runs a recipe that [`Recipe::validate`] accepts. The same arguments give the same outcome.
#[must_use]
pub fn run(recipe: &Recipe, task: &Task, seed: Seed) -> Outcome {
    let sets = feature_sets(recipe, task);
    let elicited = OnceCell::new();
    let elicit = || -> Elicited {
        elicited
            .get_or_init(|| best_search(recipe, &sets, seed))
            .clone()
    };
    let mut members = Vec::new();
    let (mut kept, mut validated, mut loss) = (0.0, 0.0, 0.0);
    for (index, set) in sets.iter().enumerate() {
        let own_seed = seed.derive("feature-set", index as u64);
        let symmetrise = recipe.predict.symmetrise;
        let bench = Bench::new(
            set,
            &task.weak,
            &task.groups,
            &recipe.features,
            &recipe.student,
            symmetrise,
            own_seed,
        );
        let mut labelled = first_labels(recipe.labels, &bench, &recipe.student, &elicit);
        for (place, part) in recipe.refine.iter().enumerate() {
            refine(
                *part,
                place,
                &bench,
                &recipe.student,
                &mut labelled,
                &elicit,
            );
        }
        kept += share(labelled.kept());
        validated += cross_validated(&bench, &labelled, recipe.student.c);
        for bag in 0..recipe.ensemble.bags {
            let fitted = bench.fit(
                &recipe.student,
                &bagged(recipe, &labelled, own_seed, bag),
                bench.seed("student", bag),
            );
            loss += fitted.loss;
            let model = match recipe.evolve {
                Some(spec) => evolve(fitted.model, spec, &set.train, bench.seed("evolve", bag)),
                None => fitted.model,
            };
            members.push(Member::of(&bench, &model));
        }
    }
    let (mut train, mut scores) = combine(recipe.ensemble.combine, &members);
    if recipe.predict.threshold == Threshold::Balanced {
        let middle = median(&train);
        train
            .iter_mut()
            .chain(&mut scores)
            .for_each(|z| *z -= middle);
    }
    let count = sets.len().max(1) as f64;
    let agree = train
        .iter()
        .zip(&task.weak)
        .map(|(&z, &p)| (z > 0.0) == (p > 0.5));
    let diagnostics = Diagnostics {
        train_rows: task.weak.len(),
        predicted_rows: scores.len(),
        weak_agreement: share(agree),
        positive_rate: share(scores.iter().map(|&z| z > 0.0)),
        kept_share: kept / count,
        cross_validated: validated / count,
        train_loss: loss / members.len().max(1) as f64,
        students: members.len(),
    };
    let labels = scores.iter().map(|&z| Label::from(z > 0.0)).collect();
    Outcome {
        labels,
        scores,
        diagnostics,
    }
}

/// One set over all depths side by side, or one for each.
fn feature_sets(recipe: &Recipe, task: &Task) -> Vec<FeatureSet> {
    let build = |train: &[Tensor], predict: &[Tensor]| {
        FeatureSet::build(&recipe.features, task.kind, train, predict)
    };
    if recipe.ensemble.over_layers {
        task.train
            .chunks(1)
            .zip(task.predict.chunks(1))
            .map(|(t, p)| build(t, p))
            .collect()
    } else {
        vec![build(&task.train, &task.predict)]
    }
}

/// Searches every feature set and keeps the lowest loss, as the study's CCS keeps the best layer.
fn best_search(recipe: &Recipe, sets: &[FeatureSet], seed: Seed) -> Elicited {
    let restarts = match recipe.labels {
        Labels::Consistency { restarts, .. } => restarts,
        _ => 4,
    };
    let found = sets
        .iter()
        .enumerate()
        .map(|(index, set)| search(&set.train, restarts, seed.derive("elicit", index as u64)));
    found
        .min_by(|a, b| a.loss.total_cmp(&b.loss))
        .unwrap_or(Elicited {
            loss: f64::INFINITY,
            logits: Vec::new(),
        })
}

/// The bootstrap sample of one bag; the rows themselves where there is only one.
fn bagged(recipe: &Recipe, labelled: &Labelled, seed: Seed, bag: usize) -> Labelled {
    let mut sample = labelled.clone();
    if recipe.ensemble.bags > 1 {
        let mut rng = stream(seed, "bag", bag as u64);
        let counts = bootstrap_counts(sample.weights.len(), &mut rng);
        sample
            .weights
            .iter_mut()
            .zip(counts)
            .for_each(|(w, count)| *w *= count);
    }
    sample
}

/// One student's logits.
struct Member {
    train: Vec<f32>,
    predict: Vec<f32>,
}

impl Member {
    fn of(bench: &Bench, model: &Model) -> Self {
        Self {
            train: bench.train_logits(model),
            predict: bench.predict_logits(model),
        }
    }
}

/// Share of each end that [`Combine::TrimmedLogit`] leaves out.
const TRIM: f64 = 0.15;

/// Scores of train rows and of rows to predict. With one member: its logits.
fn combine(how: Combine, members: &[Member]) -> (Vec<f32>, Vec<f32>) {
    let scale = |member: &Member| {
        let square = member.train.iter().map(|z| f64::from(z * z)).sum::<f64>();
        let size = (square / member.train.len().max(1) as f64).sqrt();
        if size > 1e-12 && members.len() > 1 {
            (1.0 / size) as f32
        } else {
            1.0
        }
    };
    let side = |pick: fn(&Member) -> &Vec<f32>| -> Vec<f32> {
        let rows = members.first().map_or(0, |member| pick(member).len());
        let scales: Vec<f32> = members.iter().map(scale).collect();
        let mut values = vec![0.0; members.len()];
        (0..rows)
            .map(|row| {
                for ((value, member), scale) in values.iter_mut().zip(members).zip(&scales) {
                    let z = pick(member)[row];
                    *value = match how {
                        Combine::MeanLogit | Combine::TrimmedLogit => z * scale,
                        Combine::MeanProbability => sigmoid(f64::from(z)) as f32,
                    };
                }
                match how {
                    Combine::MeanLogit => mean(&values),
                    Combine::TrimmedLogit => {
                        values.sort_by(f32::total_cmp);
                        let cut = (TRIM * values.len() as f64) as usize;
                        mean(&values[cut..values.len() - cut])
                    }
                    Combine::MeanProbability => logit(f64::from(mean(&values))) as f32,
                }
            })
            .collect()
    };
    (side(|member| &member.train), side(|member| &member.predict))
}

fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len().max(1) as f32
}

fn share(flags: impl IntoIterator<Item = bool>) -> f64 {
    let (mut yes, mut all) = (0usize, 0usize);
    for flag in flags {
        yes += usize::from(flag);
        all += 1;
    }
    yes as f64 / all.max(1) as f64
}

fn cross_validated(bench: &Bench, labelled: &Labelled, c: f64) -> f64 {
    let spec = Student {
        c,
        ..Student::default()
    };
    let logits = bench.out_of_fold(&spec, labelled, 3, "diagnostics");
    let kept = labelled.kept();
    let rows = logits
        .iter()
        .zip(&labelled.targets)
        .zip(kept)
        .filter(|(_, kept)| *kept);
    share(rows.map(|((&z, &y), _)| (z > 0.0) == (y > 0.5)))
}
