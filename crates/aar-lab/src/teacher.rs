//! Trusted: weak teachers, trained on true labels of the teacher split. Methods never run this.

use crate::features::{FeatureSet, View};
use crate::loss::{PointLoss, sigmoid};
use crate::numeric::random::{permutation, stream};
use crate::student::{Examples, Model, Preconditioner, SKLEARN_STOP, fit_linear};
use aar_core::id::Seed;
use aar_core::problem::{ItemKind, Split};
use aar_core::recipe::Features;
use aar_core::row::Label;
use aar_problem::{Problem, ProblemError, Tensor};

/// Strength of the teacher's penalty per label, `1 / (C · labels)`: light enough that the teacher is
/// over-confident, like the study's (mean confidence .77 to .93 at 59 % accuracy).
const PENALTY: f64 = 0.01;

/// A weak teacher: a logistic probe on the weak model's features.
#[derive(Clone, Debug)]
pub struct Teacher {
    kind: ItemKind,
    /// The teacher's own labelled features; centre and scale of every other split are theirs.
    labelled: Tensor,
    model: Model,
}

/// Pairs are the difference of their options, and the teacher has learnt both orders of each: it
/// has no preference for a position.
fn features() -> Features {
    Features {
        swap_augment: true,
        ..Features::default()
    }
}

impl Teacher {
    /// Trains the teacher that `seed` names, on `labels` rows of the teacher split that the seed
    /// draws.
    ///
    /// # Errors
    /// When the weak features cannot be read.
    pub fn train(problem: &Problem, seed: Seed) -> Result<Self, ProblemError> {
        let count = problem.teacher()?.labels;
        let weak = problem.weak_features(Split::Teacher)?;
        let labels = problem.labels(Split::Teacher);
        Ok(Self::fit(problem.about().kind, &weak, labels, count, seed))
    }

    /// The same from features and labels at hand; `count` labels are used, or all if there are
    /// fewer.
    #[must_use]
    pub fn fit(kind: ItemKind, weak: &Tensor, labels: &[Label], count: usize, seed: Seed) -> Self {
        let mut drawn = permutation(labels.len(), &mut stream(seed, "teacher-labels", 0));
        drawn.truncate(count);
        let labelled = weak.gather(&drawn);
        let own = std::slice::from_ref(&labelled);
        let set = FeatureSet::build(&features(), kind, own, &[]);
        let targets: Vec<f32> = drawn
            .iter()
            .map(|&row| labels[row].as_f64() as f32)
            .collect();
        let weights = vec![1.0; drawn.len()];
        let examples = Examples {
            x: &set.train.plain,
            targets: &targets,
            weights: &weights,
            sureness: &weights,
            intercept: !set.antisymmetric,
        };
        let c = 1.0 / (PENALTY * drawn.len().max(1) as f64);
        let precondition = Preconditioner::new(&set.train.plain, c);
        let loss = PointLoss::CrossEntropy;
        let (model, _) = fit_linear(examples, loss, c, SKLEARN_STOP, &precondition, None);
        Self {
            kind,
            labelled,
            model,
        }
    }

    /// Probabilities of label 1 for rows with these weak features.
    #[must_use]
    pub fn probabilities(&self, weak: &Tensor) -> Vec<f64> {
        let (own, asked) = (
            std::slice::from_ref(&self.labelled),
            std::slice::from_ref(weak),
        );
        let View { plain, .. } = FeatureSet::build(&features(), self.kind, own, asked).predict;
        self.model
            .logits(&plain)
            .iter()
            .map(|&z| sigmoid(f64::from(z)))
            .collect()
    }

    /// Probabilities of label 1 for a split: for `train` these are the weak labels of methods.
    ///
    /// # Errors
    /// When the weak features cannot be read.
    pub fn soft_labels(&self, problem: &Problem, split: Split) -> Result<Vec<f64>, ProblemError> {
        Ok(self.probabilities(&problem.weak_features(split)?))
    }

    /// On which rows of a split the more probable label is the true one.
    ///
    /// # Errors
    /// When the weak features cannot be read.
    pub fn correct(&self, problem: &Problem, split: Split) -> Result<Vec<bool>, ProblemError> {
        let p = self.soft_labels(problem, split)?;
        let rows = p.iter().zip(problem.labels(split));
        Ok(rows
            .map(|(&p, &label)| Label::from(p > 0.5) == label)
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::random::normal;

    fn rows(kind: ItemKind, count: usize, seed: u64) -> (Tensor, Vec<Label>) {
        let mut rng = stream(Seed(seed), "rows", 0);
        let options = kind.options();
        let data: Vec<f32> = (0..count * options * 5)
            .map(|_| normal(&mut rng) as f32)
            .collect();
        let tensor = Tensor {
            data,
            rows: count,
            options,
            width: 5,
        };
        let score = |row| match kind {
            ItemKind::Pair => tensor.vector(row, 1)[2] - tensor.vector(row, 0)[2],
            ItemKind::Claim => tensor.vector(row, 0)[2],
        };
        let labels = (0..count)
            .map(|row| Label::from(score(row) > 0.0))
            .collect();
        (tensor, labels)
    }

    #[test]
    fn a_teacher_learns_and_its_seed_draws_its_labels() {
        for kind in [ItemKind::Pair, ItemKind::Claim] {
            let (tensor, labels) = rows(kind, 300, 1);
            let (fresh, truth) = rows(kind, 500, 2);
            let teacher = Teacher::fit(kind, &tensor, &labels, 80, Seed(4));
            let p = teacher.probabilities(&fresh);
            let right = p
                .iter()
                .zip(&truth)
                .filter(|(p, y)| Label::from(**p > 0.5) == **y)
                .count();
            assert!(right > 400, "{right}");
            let other = Teacher::fit(kind, &tensor, &labels, 80, Seed(5));
            assert_ne!(p, other.probabilities(&fresh));
            assert_eq!(
                p,
                Teacher::fit(kind, &tensor, &labels, 80, Seed(4)).probabilities(&fresh)
            );
        }
    }

    #[test]
    fn a_teacher_of_pairs_has_no_preference_for_a_position() {
        let (tensor, labels) = rows(ItemKind::Pair, 200, 3);
        let teacher = Teacher::fit(ItemKind::Pair, &tensor, &labels, 100, Seed(1));
        let mut swapped = tensor.clone();
        for row in swapped.data.chunks_exact_mut(10) {
            row.rotate_left(5);
        }
        for (p, q) in teacher
            .probabilities(&tensor)
            .iter()
            .zip(teacher.probabilities(&swapped))
        {
            assert!((p + q - 1.0).abs() < 1e-5);
        }
    }
}
