//! What critic training begins with and what it gives.

use super::Stage;
use super::grpo::Rewarded;
use super::writing::Critique;
use crate::text::method::TextRun;
use crate::text::source::ModelName;
use crate::text::tuning::Lengths;
use aar_core::problem::ItemKind;
use aar_core::row::Label;
use aar_models::train::Record;
use aar_problem::Row;
use serde::Serialize;
use std::path::PathBuf;

/// What a run learns from and predicts.
#[derive(Clone, Copy, Debug)]
pub struct CriticTask<'a> {
    /// Pairs or claims.
    pub kind: ItemKind,
    /// Rows that the judge learns from.
    pub teacher: &'a [Row],
    /// Their true labels.
    pub truth: &'a [Label],
    /// Rows that the judge labels and the student learns from.
    pub train: &'a [Row],
    /// Rows to predict.
    pub predict: &'a [Row],
}

/// Which models are trained, and where a run keeps its work.
#[derive(Clone, Debug)]
pub struct CriticRun {
    /// The strong model, seed and rows: most of train, and most of `teacher`.
    pub text: TextRun,
    /// The first critic and the judge.
    pub weak: ModelName,
    /// Where finished steps are kept. It must be as secret as the vault.
    pub work: PathBuf,
}

/// What can be said of a run without any truth.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct CriticDiagnostics {
    /// Rows of `teacher` that the judge learnt from.
    pub teacher_rows: usize,
    /// Train rows there were, after the limit.
    pub train_rows: usize,
    /// Those that the judge could read, and the student learnt from.
    pub kept_rows: usize,
    /// Critiques that the strong model was to imitate.
    pub imitated: usize,
    /// Share of empty critiques: of these, of train before the critic was rewarded, and after.
    pub empty: [f64; 3],
    /// Mean reward of the first step and of the last.
    pub reward: [f64; 2],
    /// Share of groups of samples from which nothing could be learnt, for all were worth the same.
    pub flat: f64,
    /// The divergence before the last step, for each token.
    pub kl: f64,
    /// Share of train to which the judge gives label 1: before the critic was rewarded, and after.
    pub judge_positive: [f64; 2],
    /// Share of train that the judge labels the same before and after.
    pub judge_unmoved: f64,
    /// Share of the rows to predict of which judge and student say the same.
    pub judge_agrees: f64,
    /// Rows of judge and student that were cut to the greatest length, or left out for it.
    pub lengths: Lengths,
    /// Rows predicted.
    pub predicted_rows: usize,
    /// Share of label 1 among them.
    pub positive_rate: f64,
    /// The loss of the student's last step.
    pub last_loss: f64,
    /// What makes the result doubtful.
    pub warnings: Vec<String>,
}

/// The predictions of a run, and what there was on the way.
#[derive(Clone, PartialEq, Debug)]
pub struct CriticOutcome {
    /// One label for each row to predict.
    pub labels: Vec<Label>,
    /// What the judge itself says of them, with critiques from before the critic was rewarded, and after.
    pub judge: [Vec<Label>; 2],
    /// Train rows by number with the label that the student learnt.
    pub train: Vec<(usize, Label)>,
    /// The losses of imitation, judge and student.
    pub curves: [(Stage, Vec<Record>); 3],
    /// The steps of GRPO.
    pub rewards: Vec<Rewarded>,
    /// See [`CriticDiagnostics`].
    pub diagnostics: CriticDiagnostics,
}

impl CriticDiagnostics {
    /// Says what makes the result doubtful.
    pub(super) fn warn(&mut self) {
        let mut warn = |holds: bool, what: &str| {
            if holds {
                self.warnings.push(what.to_owned());
            }
        };
        warn(
            self.flat == 1.0,
            "all critiques of each group were worth the same, so the critic learnt nothing from the judge",
        );
        let one_sided = |share: f64| share == 0.0 || share == 1.0;
        warn(
            one_sided(self.judge_positive[1]),
            "the judge gives all of train the same label, so the student has nothing to tell apart",
        );
        warn(
            one_sided(self.positive_rate),
            "the student gives all rows the same label",
        );
        warn(
            self.empty[2] > 0.5,
            "more than half of the rewarded critic's critiques are empty",
        );
    }
}

pub(super) fn empty(critiques: &[Critique]) -> f64 {
    let empty = critiques.iter().filter(|one| one.text.is_empty()).count();
    empty as f64 / critiques.len().max(1) as f64
}

pub(super) fn positive(labels: &[Label]) -> f64 {
    let ones = labels.iter().filter(|label| **label == Label::One).count();
    ones as f64 / labels.len().max(1) as f64
}

pub(super) fn same(one: &[Label], other: &[Label]) -> f64 {
    let same = one.iter().zip(other).filter(|(a, b)| a == b).count();
    same as f64 / one.len().max(1) as f64
}
