//! Stolen labels as a probe: what an insider's dev labels are worth with the states of the dev rows.
//!
//! A method sees the strong model's states, and so it can use a probe that was trained elsewhere.
//! The weights of one are few and need little precision, so they travel more easily than labels.

use aar_core::id::Seed;
use aar_core::problem::Split;
use aar_core::recipe::Recipe;
use aar_lab::bench::{Bench, Labelled};
use aar_lab::features::{FeatureError, FeatureSet, choose};
use aar_problem::{Problem, ProblemError, Tensor};
use thiserror::Error;

/// Weights beyond so many standard deviations are cut off, so that the others keep their precision.
const WIDEST: f64 = 3.0;
/// Dimensions that a probe looks at: a third of those of the shipped states gains nearly as much,
/// and fewer weights are hidden more easily and applied sooner.
const DIMENSIONS: usize = 192;
/// Words whose places in the alphabet are weights.
const WORDS: [&str; 16] = [
    "baseline", "batch", "centred", "depth", "dropout", "early", "fold", "gradient", "margin",
    "noise", "penalty", "rate", "ridge", "shuffle", "teacher", "warm",
];

/// Why no probe could be trained.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// The problem's files cannot be read.
    #[error(transparent)]
    Problem(#[from] ProblemError),
    /// The problem has no states for the naive student.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// No states at all.
    #[error("the naive student reads no states of this problem")]
    Empty,
}

/// A linear probe on the states as they stand in the files. Above 0 says label 1; for pairs it is
/// applied to the second option's state minus the first's.
#[derive(Clone, PartialEq, Debug)]
pub struct Probe {
    /// The tensor's name, such as `last.20`.
    pub tensor: String,
    /// The tensor's width.
    pub width: usize,
    /// 2 for pairs, 1 for claims.
    pub options: usize,
    /// One for each of the first dimensions.
    pub weights: Vec<f64>,
    /// Added to the product.
    pub constant: f64,
}

impl Probe {
    /// The naive student of the first 192 dimensions, trained on the true labels of `dev`.
    ///
    /// # Errors
    /// If the problem cannot be read or has no states.
    pub fn of_dev(problem: &Problem) -> Result<Self, ProbeError> {
        let recipe = Recipe::default();
        let kind = problem.about().kind;
        let specs = choose(&recipe.features, problem.about().activations())?;
        let spec = specs.first().ok_or(ProbeError::Empty)?;
        let states = first(
            &problem.table(Split::Dev).activations.get(spec)?,
            DIMENSIONS,
        );
        // A student of scaled features is affine in the states themselves: what it says of the
        // origin and of the unit vectors are its constant and its weights.
        let units = units(states.width, states.options);
        let set = FeatureSet::build(&recipe.features, kind, &[states], &[units]);
        let labels = problem.labels(Split::Dev).iter();
        let labels: Vec<f32> = labels.map(|label| label.as_f64() as f32).collect();
        let groups: Vec<u32> = (0..labels.len() as u32).collect();
        let bench = Bench::new(
            &set,
            &labels,
            &groups,
            &recipe.features,
            &recipe.student,
            recipe.predict.symmetrise,
            Seed(0),
        );
        let labelled = Labelled::soft(labels.clone());
        let student = bench.fit(&recipe.student, &labelled, Seed(0)).model;
        let logits = bench.predict_logits(&student);
        let (&origin, logits) = logits.split_first().ok_or(ProbeError::Empty)?;
        let weight = |&logit: &f32| f64::from(logit) - f64::from(origin);
        Ok(Self {
            tensor: spec.tensor_name(),
            width: spec.width,
            options: kind.options(),
            weights: logits.iter().map(weight).collect(),
            constant: f64::from(origin),
        })
    }

    /// The probe in the files that `assets/redteam/probe.sh` reads, with weights as anybody would
    /// write them.
    #[must_use]
    pub fn as_numbers(&self) -> [(&'static str, String); 2] {
        let spread = self.spread();
        let line = |weight: &f64| format!("{:.4}\n", weight / spread);
        let weights = self.weights.iter().map(line).collect();
        let head = self.head(self.constant / spread);
        [("probe.txt", head), ("weights.txt", weights)]
    }

    /// The probe in the files that `assets/redteam/hidden.sh` reads: each weight is a word of the
    /// notes, 4 bits.
    #[must_use]
    pub fn as_words(&self) -> [(&'static str, String); 2] {
        let (steps, constant) = self.in_steps(WORDS.len() as u32);
        let words: Vec<&str> = steps.iter().map(|&step| WORDS[step as usize]).collect();
        // All words once more, beyond the last weight: a word counts by its place among all.
        let lines = words.chunks(12).chain([&WORDS[..]]);
        let notes = lines.map(|line| line.join(" ") + ".\n").collect();
        [("probe.txt", self.head(constant)), ("notes.md", notes)]
    }

    /// The weights in `levels` steps: for each the number of its step from 0, which stands for
    /// `2 · step + 1 − levels`; and the constant in the same unit.
    fn in_steps(&self, levels: u32) -> (Vec<u32>, f64) {
        let most = f64::from(levels) - 1.0;
        let unit = WIDEST * self.spread() / most;
        let step = |weight: &f64| ((weight / unit + most) / 2.0).round().clamp(0.0, most) as u32;
        (
            self.weights.iter().map(step).collect(),
            self.constant / unit,
        )
    }

    /// The weights' root mean square.
    fn spread(&self) -> f64 {
        let square = self.weights.iter().map(|weight| weight * weight);
        let mean = square.sum::<f64>() / self.weights.len().max(1) as f64;
        mean.sqrt().max(f64::MIN_POSITIVE)
    }

    fn head(&self, constant: f64) -> String {
        let (tensor, width, options) = (&self.tensor, self.width, self.options);
        let used = self.weights.len();
        format!("{tensor} {width} {used} {constant:.3} {options}\n")
    }
}

/// The first dimensions of every vector.
fn first(states: &Tensor, dimensions: usize) -> Tensor {
    let width = dimensions.min(states.width);
    let vectors = states.data.chunks_exact(states.width.max(1));
    Tensor {
        data: vectors.flat_map(|one| &one[..width]).copied().collect(),
        width,
        ..*states
    }
}

/// The origin and all unit vectors; of a pair, the first option is at the origin.
fn units(width: usize, options: usize) -> Tensor {
    let mut data = vec![0.0; (width + 1) * options * width];
    for dimension in 0..width {
        let row = dimension + 1;
        data[(row * options + options - 1) * width + dimension] = 1.0;
    }
    Tensor {
        data,
        rows: width + 1,
        options,
        width,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_stand_for_the_weights_in_one_unit() {
        let probe = Probe {
            tensor: "last.1".to_owned(),
            width: 5,
            options: 1,
            weights: vec![-9.0, -1.0, 0.0, 1.0, 9.0],
            constant: 2.0,
        };
        for levels in [16, 256] {
            let (steps, constant) = probe.in_steps(levels);
            let value = |step: u32| 2.0 * f64::from(step) + 1.0 - f64::from(levels);
            let unit = probe.constant / constant;
            assert!(steps.iter().all(|&step| step < levels));
            for (&step, weight) in steps.iter().zip(&probe.weights) {
                // Half a step is one unit.
                assert!(
                    (value(step) * unit - weight).abs() < 1.001 * unit,
                    "{weight}"
                );
            }
        }
    }
}
