//! Students: what a recipe trains on frozen activations, and how.

mod linear;
mod low_rank;
mod mlp;
mod staged;

pub use linear::{Preconditioner, fit_linear};

use crate::loss::{PointLoss, confidence_targets};
use crate::numeric::Matrix;
use crate::numeric::kernel::dot;
use crate::numeric::lbfgs::Stop;
use aar_core::id::Seed;
use aar_core::recipe::{Loss, Stage, Student, StudentKind};

/// scikit-learn's default tolerance for `LogisticRegression`, on the same quantity: the largest
/// gradient element of the mean loss.
pub const SKLEARN_STOP: Stop = Stop {
    tolerance: 1e-4,
    iterations: 200,
};

/// Training of an MLP without stages of its own.
const MLP_STAGE: Stage = Stage {
    fraction: 1.0,
    epochs: 20,
    rate: 1.0,
};
/// Fixed-point rounds of the confidence loss; its weight rises to α over the first half of them.
const CONFIDENCE_ROUNDS: usize = 4;

/// Training rows with soft labels and weights.
#[derive(Clone, Copy, Debug)]
pub struct Examples<'a> {
    /// One row per example.
    pub x: &'a Matrix,
    /// Probability of label 1, in `[0, 1]`.
    pub targets: &'a [f32],
    /// At least 0; rows of weight 0 are ignored.
    pub weights: &'a [f32],
    /// How sure each target is, in any unit; stages take the surest rows.
    pub sureness: &'a [f32],
    /// May the student have a constant term?
    pub intercept: bool,
}

impl Examples<'_> {
    /// Sum of weights.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.weights.iter().map(|&w| f64::from(w)).sum()
    }
}

/// The form of a trained student.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// Weights, then the constant.
    Linear,
    /// Hidden weights (unit after unit), hidden constants, output weights, constant.
    Mlp {
        /// Hidden tanh units.
        hidden: usize,
    },
}

impl Shape {
    /// Number of parameters on features of this width.
    #[must_use]
    pub fn parameters(self, width: usize) -> usize {
        match self {
            Self::Linear => width + 1,
            Self::Mlp { hidden } => hidden * (width + 2) + 1,
        }
    }
}

/// A trained student.
#[derive(Clone, PartialEq, Debug)]
pub struct Model {
    /// How `parameters` are read.
    pub shape: Shape,
    /// See [`Shape`].
    pub parameters: Vec<f64>,
}

impl Model {
    /// One logit of label 1 per row.
    #[must_use]
    pub fn logits(&self, x: &Matrix) -> Vec<f32> {
        match self.shape {
            Shape::Linear => {
                let (weights, constant) = linear::split(&self.parameters);
                (0..x.rows())
                    .map(|row| dot(x.row(row), &weights) + constant)
                    .collect()
            }
            Shape::Mlp { hidden } => mlp::logits(&self.parameters, hidden, x),
        }
    }
}

/// What was trained and how well it fits.
#[derive(Clone, PartialEq, Debug)]
pub struct Fitted {
    /// The student.
    pub model: Model,
    /// Mean loss on the examples, without the penalty.
    pub loss: f64,
}

/// Trains a student.
///
/// `precondition` must come from the same columns, though not from the same rows; it changes how
/// fast the optimum is found, not where it is. `seed` moves starting points and orders only.
#[must_use]
pub fn fit(
    spec: &Student,
    examples: Examples,
    precondition: &Preconditioner,
    seed: Seed,
) -> Fitted {
    let loss = match spec.loss {
        Loss::ReverseKl {} => PointLoss::ReverseKl,
        Loss::CrossEntropy { .. } | Loss::Confidence { .. } => PointLoss::CrossEntropy,
    };
    let trainer = Trainer {
        spec,
        loss,
        precondition,
        seed,
    };
    match spec.loss {
        Loss::CrossEntropy { hard: true } => {
            let hard: Vec<f32> = examples
                .targets
                .iter()
                .map(|&y| f32::from(y > 0.5))
                .collect();
            trainer.train(
                Examples {
                    targets: &hard,
                    ..examples
                },
                None,
            )
        }
        Loss::CrossEntropy { hard: false } | Loss::ReverseKl {} => trainer.train(examples, None),
        Loss::Confidence { alpha } => {
            let mut fitted = trainer.train(examples, None);
            for round in 1..=CONFIDENCE_ROUNDS {
                let warm = (round as f64 / (CONFIDENCE_ROUNDS as f64 / 2.0)).min(1.0);
                let logits = fitted.model.logits(examples.x);
                let mixed =
                    confidence_targets(examples.targets, &logits, examples.weights, warm * alpha);
                fitted = trainer.train(
                    Examples {
                        targets: &mixed,
                        ..examples
                    },
                    Some(&fitted.model),
                );
            }
            fitted
        }
    }
}

struct Trainer<'a> {
    spec: &'a Student,
    loss: PointLoss,
    precondition: &'a Preconditioner,
    seed: Seed,
}

impl Trainer<'_> {
    /// Trains on one fixed set of targets, from `start` on if the shape has a single optimum.
    fn train(&self, examples: Examples, start: Option<&Model>) -> Fitted {
        let c = self.spec.c;
        let staged = |stages: &[Stage], shape, examples: Examples| {
            staged::fit(shape, examples, self.loss, c, stages, self.seed)
        };
        let stages = self.spec.stages.as_slice();
        let model = match self.spec.model {
            StudentKind::Linear if stages.is_empty() => {
                let start = start.map(|model| model.parameters.as_slice());
                let stop = SKLEARN_STOP;
                fit_linear(examples, self.loss, c, stop, self.precondition, start).0
            }
            StudentKind::Linear => staged(stages, Shape::Linear, examples),
            StudentKind::LowRank { rank } => {
                let space = low_rank::subspace(examples, self.precondition.gram(), rank);
                let inner = examples.x.times(&space);
                let inside = Examples {
                    x: &inner,
                    ..examples
                };
                let small = if stages.is_empty() {
                    let precondition = Preconditioner::new(&inner, c);
                    fit_linear(inside, self.loss, c, SKLEARN_STOP, &precondition, None).0
                } else {
                    staged(stages, Shape::Linear, inside)
                };
                low_rank::lift(&small, &space)
            }
            StudentKind::Mlp { hidden } if stages.is_empty() => {
                staged(&[MLP_STAGE], Shape::Mlp { hidden }, examples)
            }
            StudentKind::Mlp { hidden } => staged(stages, Shape::Mlp { hidden }, examples),
        };
        let loss = mean_loss(&model.logits(examples.x), examples, self.loss);
        Fitted { model, loss }
    }
}

/// Weighted mean of the losses; 0 without examples.
fn mean_loss(logits: &[f32], examples: Examples, loss: PointLoss) -> f64 {
    let rows = logits.iter().zip(examples.targets).zip(examples.weights);
    let sum: f64 = rows
        .map(|((&z, &y), &w)| f64::from(w) * loss.at(f64::from(z), f64::from(y)).0)
        .sum();
    sum / examples.total().max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests;
