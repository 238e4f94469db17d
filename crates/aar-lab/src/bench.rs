//! One feature set with everything that the parts of a recipe share on it.

use crate::features::FeatureSet;
use crate::numeric::Matrix;
use crate::numeric::random::{folds, stream};
use crate::student::{Examples, Fitted, Model, Preconditioner, fit};
use aar_core::id::Seed;
use aar_core::recipe::{Features, Student, StudentKind};

/// The current labels of all train rows.
#[derive(Clone, PartialEq, Debug)]
pub struct Labelled {
    /// Probability of label 1.
    pub targets: Vec<f32>,
    /// At least 0; rows of weight 0 are left out.
    pub weights: Vec<f32>,
    /// How sure each label is, in `[0, 1]`; kept apart because hard labels no longer tell.
    pub sureness: Vec<f32>,
}

impl Labelled {
    /// Labels whose sureness is their distance from a coin, `|2p − 1|`.
    #[must_use]
    pub fn soft(targets: Vec<f32>) -> Self {
        let sureness = targets.iter().map(|p| (2.0 * p - 1.0).abs()).collect();
        Self {
            weights: vec![1.0; targets.len()],
            targets,
            sureness,
        }
    }

    /// The more probable label of each row.
    #[must_use]
    pub fn classes(&self) -> Vec<bool> {
        self.targets.iter().map(|&p| p > 0.5).collect()
    }

    /// Which rows are not left out.
    #[must_use]
    pub fn kept(&self) -> Vec<bool> {
        self.weights.iter().map(|&w| w > 0.0).collect()
    }
}

/// Students are trained here; swap augmentation and symmetrised logits happen out of sight.
pub struct Bench<'a> {
    set: &'a FeatureSet,
    /// The teacher's probabilities of label 1.
    pub weak: &'a [f32],
    groups: &'a [u32],
    augment: bool,
    symmetrise: bool,
    /// Train rows above their swapped copies, where augmentation needs them both.
    doubled: Option<Matrix>,
    precondition: Preconditioner,
    seed: Seed,
}

impl<'a> Bench<'a> {
    /// Prepares one feature set; `weak` and `groups` have one element per train row.
    #[must_use]
    pub fn new(
        set: &'a FeatureSet,
        weak: &'a [f32],
        groups: &'a [u32],
        features: &Features,
        student: &Student,
        symmetrise: bool,
        seed: Seed,
    ) -> Self {
        let swapped = set.train.swapped.as_ref().filter(|_| features.swap_augment);
        let linear = !matches!(student.model, StudentKind::Mlp { .. });
        let doubled = swapped
            .filter(|_| !(set.antisymmetric && linear))
            .map(|swapped| set.train.plain.above(swapped));
        let x = doubled.as_ref().unwrap_or(&set.train.plain);
        let precondition = Preconditioner::new(x, student.c);
        let augment = swapped.is_some();
        Self {
            set,
            weak,
            groups,
            augment,
            symmetrise,
            doubled,
            precondition,
            seed,
        }
    }

    /// The features.
    #[must_use]
    pub fn set(&self) -> &FeatureSet {
        self.set
    }

    /// The seed of one purpose within this feature set.
    #[must_use]
    pub fn seed(&self, purpose: &str, index: usize) -> Seed {
        self.seed.derive(purpose, index as u64)
    }

    /// Trains a student on labelled train rows.
    #[must_use]
    pub fn fit(&self, spec: &Student, labelled: &Labelled, seed: Seed) -> Fitted {
        let Labelled {
            targets,
            weights,
            sureness,
        } = labelled;
        let Some(doubled) = &self.doubled else {
            let x = &self.set.train.plain;
            // Swapping negates the features, so both orders constrain a linear probe alike, as
            // long as it has no constant.
            let intercept = !(self.augment && self.set.antisymmetric);
            let examples = Examples {
                x,
                targets,
                weights,
                sureness,
                intercept,
            };
            return fit(spec, examples, &self.precondition, seed);
        };
        let both = |values: &[f32], swap: fn(f32) -> f32, same: fn(f32) -> f32| -> Vec<f32> {
            values
                .iter()
                .map(|&v| same(v))
                .chain(values.iter().map(|&v| swap(v)))
                .collect()
        };
        let targets = both(targets, |y| 1.0 - y, |y| y);
        let weights = both(weights, |w| w / 2.0, |w| w / 2.0);
        let sureness = both(sureness, |s| s, |s| s);
        let examples = Examples {
            x: doubled,
            targets: &targets,
            weights: &weights,
            sureness: &sureness,
            intercept: true,
        };
        fit(spec, examples, &self.precondition, seed)
    }

    /// Logits of train rows, symmetrised if the recipe predicts so.
    #[must_use]
    pub fn train_logits(&self, model: &Model) -> Vec<f32> {
        self.logits(
            model,
            &self.set.train.plain,
            self.set.train.swapped.as_ref(),
        )
    }

    /// Logits of the rows to predict, symmetrised if the recipe predicts so.
    #[must_use]
    pub fn predict_logits(&self, model: &Model) -> Vec<f32> {
        self.logits(
            model,
            &self.set.predict.plain,
            self.set.predict.swapped.as_ref(),
        )
    }

    fn logits(&self, model: &Model, plain: &Matrix, swapped: Option<&Matrix>) -> Vec<f32> {
        let mut logits = model.logits(plain);
        if let Some(swapped) = swapped.filter(|_| self.symmetrise) {
            let back = model.logits(swapped);
            logits
                .iter_mut()
                .zip(back)
                .for_each(|(z, back)| *z = (*z - back) / 2.0);
        }
        logits
    }

    /// Logits of all train rows, each from a student that saw no row of its fold. Rows that share
    /// a group share a fold.
    #[must_use]
    pub fn out_of_fold(
        &self,
        spec: &Student,
        labelled: &Labelled,
        count: usize,
        purpose: &str,
    ) -> Vec<f32> {
        let fold = self.folds(count, purpose);
        let mut logits = vec![0.0; self.weak.len()];
        for part in 0..count {
            let mut rest = labelled.clone();
            for (weight, &own) in rest.weights.iter_mut().zip(&fold) {
                if own == part {
                    *weight = 0.0;
                }
            }
            let model = self.fit(spec, &rest, self.seed(purpose, part + 1)).model;
            let found = self.train_logits(&model);
            for (row, _) in fold.iter().enumerate().filter(|(_, own)| **own == part) {
                logits[row] = found[row];
            }
        }
        logits
    }

    /// The fold of each train row.
    #[must_use]
    pub fn folds(&self, count: usize, purpose: &str) -> Vec<usize> {
        folds(
            self.groups,
            count,
            &mut stream(self.seed(purpose, 0), "folds", 0),
        )
    }
}
