//! Trusted: the accuracies between which PGR measures, and what a problem's figures look like.

use crate::bench::{Bench, Labelled};
use crate::features::{FeatureError, FeatureSet, choose};
use crate::student::Model;
use crate::teacher::Teacher;
use aar_core::id::Seed;
use aar_core::problem::{Split, SplitAnchors};
use aar_core::recipe::Recipe;
use aar_core::row::Label;
use aar_problem::{Problem, ProblemError, Tensor};
use aar_stats::{Anchors, CorrectMatrix, Crossed, Estimate, Groups, StatsError};
use serde::Serialize;
use std::collections::BTreeMap;
use thiserror::Error;

/// The splits that have anchors: those that methods are scored on.
pub const ANCHORED: [Split; 2] = [Split::Dev, Split::Rank];

/// Why anchors could not be measured.
#[derive(Debug, Error)]
pub enum AnchorError {
    /// The problem cannot be read.
    #[error(transparent)]
    Problem(#[from] ProblemError),
    /// The problem has no activations for the naive baseline.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// Too few rows or seeds for an interval.
    #[error(transparent)]
    Stats(#[from] StatsError),
}

/// What was measured on one split: one row per seed, one column per item.
#[derive(Clone, Debug)]
pub struct SplitMeasure {
    /// Weak teachers.
    pub weak: CorrectMatrix,
    /// The strong model's naive student of each teacher's hard labels.
    pub vanilla: CorrectMatrix,
    /// The strong model trained on true labels; the same row for every seed.
    pub ceiling: CorrectMatrix,
    /// Which items belong together.
    pub groups: Groups,
}

impl SplitMeasure {
    /// The fixed accuracies of this split.
    #[must_use]
    pub fn anchors(&self) -> SplitAnchors {
        SplitAnchors {
            weak: self.weak.accuracy(),
            ceiling: self.ceiling.accuracy(),
            seeds: self.weak.seeds() as u32,
        }
    }
}

/// Measures teachers, ceiling and naive student on the scored splits.
///
/// Student and ceiling are the default recipe: the same linear probe on the same activations,
/// trained to its only optimum on all train rows. So the ceiling has no seed of its own, and all
/// variation between seeds is that of the teachers.
///
/// # Errors
/// A file that cannot be read, missing activations, or no seeds.
pub fn measure(
    problem: &Problem,
    seeds: &[Seed],
) -> Result<BTreeMap<Split, SplitMeasure>, AnchorError> {
    let labels_used = problem.teacher()?.labels;
    let recipe = Recipe::default();
    let specs = choose(&recipe.features, problem.about().activations())?;
    let read = |split: Split| -> Result<Vec<Tensor>, ProblemError> {
        specs
            .iter()
            .map(|spec| problem.table(split).activations.get(spec))
            .collect()
    };
    let teacher_rows = problem.weak_features(Split::Teacher)?;
    let kind = problem.about().kind;
    let teachers: Vec<Teacher> = seeds
        .iter()
        .map(|&seed| {
            let labels = problem.labels(Split::Teacher);
            Teacher::fit(kind, &teacher_rows, labels, labels_used, seed)
        })
        .collect();
    let train = read(Split::Train)?;
    let weak_train = problem.weak_features(Split::Train)?;
    let truth: Vec<f32> = problem
        .labels(Split::Train)
        .iter()
        .map(|label| label.as_f64() as f32)
        .collect();
    let groups: Vec<u32> = (0..truth.len() as u32).collect();
    let mut students: Option<(Model, Vec<Model>)> = None;
    let mut measures = BTreeMap::new();
    for split in ANCHORED {
        let set = FeatureSet::build(&recipe.features, kind, &train, &read(split)?);
        let symmetrise = recipe.predict.symmetrise;
        let bench = Bench::new(
            &set,
            &truth,
            &groups,
            &recipe.features,
            &recipe.student,
            symmetrise,
            Seed(0),
        );
        let fit = |targets: Vec<f32>| {
            bench
                .fit(&recipe.student, &Labelled::soft(targets), Seed(0))
                .model
        };
        let (ceiling, vanilla) = students.get_or_insert_with(|| {
            let hard = |p: f64| if p > 0.5 { 1.0 } else { 0.0 };
            let naive = |teacher: &Teacher| {
                fit(teacher
                    .probabilities(&weak_train)
                    .into_iter()
                    .map(hard)
                    .collect())
            };
            (fit(truth.clone()), teachers.iter().map(naive).collect())
        });
        let labels = problem.labels(split);
        let score = |model: &Model| -> Vec<bool> {
            let logits = bench.predict_logits(model);
            logits
                .iter()
                .zip(labels)
                .map(|(&z, &label)| Label::from(z > 0.0) == label)
                .collect()
        };
        let weak_features = problem.weak_features(split)?;
        let weak = teachers.iter().map(|teacher| {
            let p = teacher.probabilities(&weak_features);
            p.iter()
                .zip(labels)
                .map(|(&p, &l)| Label::from(p > 0.5) == l)
                .collect::<Vec<bool>>()
        });
        let keys: Vec<&str> = problem
            .table(split)
            .rows
            .iter()
            .map(|row| &*row.group)
            .collect();
        measures.insert(
            split,
            SplitMeasure {
                weak: CorrectMatrix::from_rows(&weak.collect::<Vec<_>>())?,
                vanilla: CorrectMatrix::from_rows(&vanilla.iter().map(score).collect::<Vec<_>>())?,
                ceiling: CorrectMatrix::from_rows(&vec![score(ceiling); seeds.len()])?,
                groups: Groups::from_keys(&keys),
            },
        );
    }
    Ok(measures)
}

/// Only the anchors, for `problem.toml`.
///
/// # Errors
/// As [`measure`].
pub fn measure_anchors(
    problem: &Problem,
    seeds: &[Seed],
) -> Result<BTreeMap<Split, SplitAnchors>, AnchorError> {
    let measures = measure(problem, seeds)?;
    Ok(measures
        .into_iter()
        .map(|(split, measure)| (split, measure.anchors()))
        .collect())
}

/// Figures of one split with intervals over seeds and items.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SplitStats {
    /// Rows scored.
    pub rows: usize,
    /// Teacher seeds.
    pub seeds: usize,
    /// Accuracy of weak teachers.
    pub weak: Estimate,
    /// Accuracy of the ceiling.
    pub ceiling: Estimate,
    /// Ceiling minus weak, paired.
    pub gap: Estimate,
    /// PGR of the naive student, conditional on the anchors; none if there is no gap.
    pub vanilla_pgr: Option<Estimate>,
    /// Accuracy of each teacher.
    pub weak_by_seed: Vec<f64>,
    /// Accuracy of each naive student.
    pub vanilla_by_seed: Vec<f64>,
}

/// The figures of every scored split, at confidence `level`.
///
/// # Errors
/// As [`measure`]; two seeds at least.
pub fn stats(
    problem: &Problem,
    seeds: &[Seed],
    level: f64,
) -> Result<BTreeMap<Split, SplitStats>, AnchorError> {
    let mut stats = BTreeMap::new();
    for (split, measure) in self::measure(problem, seeds)? {
        let estimate = |matrix: &CorrectMatrix| -> Result<Estimate, StatsError> {
            Crossed::accuracy(matrix, &measure.groups)?.estimate(level)
        };
        let anchors = Anchors::new(measure.weak.accuracy(), measure.ceiling.accuracy()).ok();
        let vanilla = estimate(&measure.vanilla)?;
        let gap = Crossed::difference(&measure.ceiling, &measure.weak, &measure.groups)?;
        stats.insert(
            split,
            SplitStats {
                rows: measure.weak.items(),
                seeds: seeds.len(),
                weak: estimate(&measure.weak)?,
                ceiling: estimate(&measure.ceiling)?,
                gap: gap.estimate(level)?,
                vanilla_pgr: anchors.map(|anchors| anchors.pgr_of(&vanilla)),
                weak_by_seed: measure.weak.accuracies(),
                vanilla_by_seed: measure.vanilla.accuracies(),
            },
        );
    }
    Ok(stats)
}
