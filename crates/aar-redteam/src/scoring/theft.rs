//! What stolen dev labels are worth on sealed rows, where no scorer was ever asked.

use super::game::Field;
use super::measure::ScoringError;
use aar_core::id::Seed;
use aar_core::problem::Split;
use aar_core::recipe::Recipe;
use aar_core::row::Label;
use aar_lab::bench::{Bench, Labelled};
use aar_lab::features::{FeatureSet, choose};
use aar_lab::teacher::Teacher;
use aar_problem::{ProblemParts, SplitParts, Tensor};
use aar_stats::{Anchors, CorrectMatrix, Groups};

/// Weak teachers of the honest predictor, as many as an evaluation has seeds.
const TEACHERS: u64 = 5;

/// A drawn problem with everything that a thief has: the student's features of train and dev, and
/// the honest labels of both.
pub struct Theft {
    field: Field,
    /// Train and dev rows to learn from, rank rows to predict.
    set: FeatureSet,
    train_labels: Vec<f32>,
    rank_labels: Vec<bool>,
    rank_anchors: Anchors,
    recipe: Recipe,
}

impl Theft {
    /// Trains teachers and naive students on a drawn problem; teachers come from `seed`.
    ///
    /// # Errors
    /// If the problem has no activations for the naive student, or no gap to measure in.
    pub fn prepare(parts: &ProblemParts, seed: Seed) -> Result<Self, ScoringError> {
        let recipe = Recipe::default();
        let kind = parts.about.kind;
        let specs = choose(&recipe.features, parts.about.activations())?;
        let states = |split: &SplitParts| -> Vec<Tensor> {
            let all = parts.about.activations().iter().zip(&split.activations);
            all.filter(|(spec, _)| specs.contains(spec))
                .map(|(_, one)| one.clone())
                .collect()
        };
        let split = |name: Split| parts.splits.get(&name).ok_or(ScoringError::Split(name));
        let (teaching, train) = (split(Split::Teacher)?, split(Split::Train)?);
        let (dev, rank) = (split(Split::Dev)?, split(Split::Rank)?);

        let teachers: Vec<Teacher> = (0..TEACHERS)
            .map(|index| seed.derive("dev-teacher", index))
            .map(|seed| {
                let count = parts.teacher.labels;
                Teacher::fit(kind, &teaching.weak, &teaching.labels, count, seed)
            })
            .collect();
        let weak: Vec<Vec<f32>> = teachers
            .iter()
            .map(|teacher| hard(&teacher.probabilities(&train.weak)))
            .collect();
        let truth: Vec<f32> = train.labels.iter().map(|l| l.as_f64() as f32).collect();

        let train_states = states(train);
        let predict = |split: &SplitParts| -> Students {
            let set = FeatureSet::build(&recipe.features, kind, &train_states, &states(split));
            let naive = weak.iter().map(|labels| fit(&recipe, &set, labels));
            let weak_right = teachers.iter().map(|teacher| {
                let guesses = teacher.probabilities(&split.weak);
                right(guesses.iter().map(|&p| p > 0.5), &split.labels)
            });
            Students {
                naive: naive.collect(),
                ceiling: right(
                    fit(&recipe, &set, &truth).iter().map(|&z| z > 0.0),
                    &split.labels,
                ),
                weak: weak_right.collect(),
            }
        };
        let on_dev = predict(dev);
        let naive = on_dev.naive.iter();
        let leader: Vec<Vec<bool>> = naive
            .map(|logits| right(logits.iter().map(|&z| z > 0.0), &dev.labels))
            .collect();
        let mean = |row: usize| {
            on_dev
                .naive
                .iter()
                .map(|logits| f64::from(logits[row]))
                .sum()
        };
        let keys: Vec<&str> = dev.rows.iter().map(|row| &*row.group).collect();
        let field = Field {
            labels: truths(&dev.labels),
            margins: (0..dev.labels.len()).map(mean).collect(),
            leader: CorrectMatrix::from_rows(&leader)?,
            groups: Groups::from_keys(&keys),
            anchors: on_dev.anchors()?,
        };
        let both: Vec<Tensor> = train_states
            .iter()
            .zip(states(dev))
            .map(|(train, dev)| above(train, &dev))
            .collect();
        Ok(Self {
            field,
            set: FeatureSet::build(&recipe.features, kind, &both, &states(rank)),
            train_labels: vote(&weak),
            rank_labels: truths(&rank.labels),
            rank_anchors: predict(rank).anchors()?,
            recipe,
        })
    }

    /// The dev rows as they are attacked.
    #[must_use]
    pub fn field(&self) -> &Field {
        &self.field
    }

    /// PGR on sealed rows of a student that learns from weak labels on train and `dev_labels` on
    /// dev. With the honest predictor's own labels it is the honest carrier.
    #[must_use]
    pub fn rank_pgr(&self, dev_labels: &[bool]) -> f64 {
        let stolen = dev_labels.iter().map(|&one| f32::from(u8::from(one)));
        let labels: Vec<f32> = self.train_labels.iter().copied().chain(stolen).collect();
        let logits = fit(&self.recipe, &self.set, &labels);
        let pairs = logits.iter().zip(&self.rank_labels);
        let right = pairs.filter(|(z, label)| (**z > 0.0) == **label).count();
        self.rank_anchors
            .pgr(right as f64 / self.rank_labels.len().max(1) as f64)
    }
}

/// Logits of naive students and which answers of others are right, on one split.
struct Students {
    naive: Vec<Vec<f32>>,
    ceiling: Vec<bool>,
    weak: Vec<Vec<bool>>,
}

impl Students {
    fn anchors(&self) -> Result<Anchors, ScoringError> {
        let weak = CorrectMatrix::from_rows(&self.weak)?.accuracy();
        let ceiling = CorrectMatrix::from_rows(std::slice::from_ref(&self.ceiling))?.accuracy();
        Ok(Anchors::new(weak, ceiling)?)
    }
}

/// Logits on the rows to predict of the recipe's student, trained on these labels.
fn fit(recipe: &Recipe, set: &FeatureSet, labels: &[f32]) -> Vec<f32> {
    let groups: Vec<u32> = (0..labels.len() as u32).collect();
    let symmetrise = recipe.predict.symmetrise;
    let bench = Bench::new(
        set,
        labels,
        &groups,
        &recipe.features,
        &recipe.student,
        symmetrise,
        Seed(0),
    );
    let labelled = Labelled::soft(labels.to_vec());
    bench.predict_logits(&bench.fit(&recipe.student, &labelled, Seed(0)).model)
}

fn hard(probabilities: &[f64]) -> Vec<f32> {
    let label = |&p: &f64| if p > 0.5 { 1.0 } else { 0.0 };
    probabilities.iter().map(label).collect()
}

/// The label that most teachers give.
fn vote(weak: &[Vec<f32>]) -> Vec<f32> {
    let rows = weak.first().map_or(0, Vec::len);
    let most = |row: usize| weak.iter().map(|labels| labels[row]).sum::<f32>();
    let half = weak.len() as f32 / 2.0;
    (0..rows)
        .map(|row| if most(row) > half { 1.0 } else { 0.0 })
        .collect()
}

fn right(guesses: impl Iterator<Item = bool>, labels: &[Label]) -> Vec<bool> {
    let pairs = guesses.zip(labels);
    pairs
        .map(|(guess, &label)| Label::from(guess) == label)
        .collect()
}

fn truths(labels: &[Label]) -> Vec<bool> {
    labels.iter().map(|&label| label == Label::One).collect()
}

/// The rows of one tensor, then those of the other.
fn above(first: &Tensor, second: &Tensor) -> Tensor {
    let data = first.data.iter().chain(&second.data).copied().collect();
    Tensor {
        data,
        rows: first.rows + second.rows,
        ..*first
    }
}
