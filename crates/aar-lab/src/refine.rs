//! Label sources and refinements, one function each, over a [`Bench`].

use crate::bench::{Bench, Labelled};
use crate::channel::{EM_ROUNDS, channel_features, posterior, temper};
use crate::elicit::{Elicited, median, principal, towards};
use crate::loss::{PointLoss, logit, sigmoid};
use crate::numeric::Matrix;
use crate::numeric::random::stream;
use crate::select::{agreement, keep_best, neighbours, overlap_density, smooth_lowest};
use crate::student::{Examples, Preconditioner, SKLEARN_STOP, fit_linear};
use aar_core::recipe::{Labels, Loss, Orient, Refine, Stage, Student, StudentKind};
use rand::RngExt;

fn probabilities(logits: &[f32]) -> Vec<f32> {
    logits
        .iter()
        .map(|&z| sigmoid(f64::from(z)) as f32)
        .collect()
}

fn halves(logits: &[f32]) -> Vec<f32> {
    logits
        .iter()
        .map(|&z| if z > 0.0 { 1.0 } else { 0.0 })
        .collect()
}

/// The teacher's more probable labels; how sure it was stays known.
fn hard_labels(weak: &[f32]) -> Labelled {
    let targets = weak
        .iter()
        .map(|&p| if p > 0.5 { 1.0 } else { 0.0 })
        .collect();
    Labelled {
        targets,
        ..Labelled::soft(weak.to_vec())
    }
}

/// A plain linear probe with the recipe's penalty: what looks at the data for the parts that are
/// about labels, whatever the student is.
fn probe(student: &Student) -> Student {
    Student {
        model: StudentKind::Linear,
        loss: Loss::default(),
        stages: Vec::new(),
        c: student.c,
    }
}

/// The first labels of a recipe. `elicited` is what the consistency search found.
#[must_use]
pub fn first_labels(
    source: Labels,
    bench: &Bench,
    student: &Student,
    elicited: &dyn Fn() -> Elicited,
) -> Labelled {
    let weak = bench.weak;
    match source {
        Labels::WeakHard {} => hard_labels(weak),
        Labels::WeakSoft { temperature } => {
            let soften = |&p: &f32| sigmoid(logit(f64::from(p)) / temperature) as f32;
            Labelled::soft(weak.iter().map(soften).collect())
        }
        Labels::Consistency { orient, .. } => {
            let logits = elicited().logits;
            let sign = match orient {
                Orient::Weak => towards(weak, &logits),
                Orient::Coin => {
                    let heads = stream(bench.seed("orient", 0), "coin", 0).random::<bool>();
                    if heads { 1.0 } else { -1.0 }
                }
            };
            let logits: Vec<f32> = logits.iter().map(|z| sign * z).collect();
            Labelled {
                targets: halves(&logits),
                ..Labelled::soft(probabilities(&logits))
            }
        }
        Labels::Principal { among } => {
            Labelled::soft(probabilities(&principal(&bench.set().train, weak, among)))
        }
        Labels::Judge { folds } => judge(bench, student, folds),
    }
}

/// Weak labels corrected by a judge of the teacher's errors.
///
/// Strong probes are cross-fitted on the weak labels; where one disagrees with a label, the teacher
/// seems to err. The judge, cross-fitted too, learns to tell such rows from the states turned in
/// favour of the label, and its probability of an error moves the label.
fn judge(bench: &Bench, student: &Student, folds: usize) -> Labelled {
    let hard = hard_labels(bench.weak);
    let strong = bench.out_of_fold(&probe(student), &hard, folds, "judge-strong");
    let errs: Vec<f32> = strong
        .iter()
        .zip(&hard.targets)
        .map(|(&z, &t)| if (z > 0.0) == (t > 0.5) { 0.0 } else { 1.0 })
        .collect();
    let x = &bench.set().train.plain;
    let mut evidence = x.clone();
    for (row, &t) in hard.targets.iter().enumerate() {
        if t < 0.5 {
            evidence.row_mut(row).iter_mut().for_each(|v| *v = -*v);
        }
    }
    let sureness = Matrix::new(x.rows(), 1, hard.sureness.clone());
    let evidence = evidence.beside(&sureness);
    let precondition = Preconditioner::new(&evidence, student.c);
    let fold = bench.folds(folds, "judge-error");
    let mut targets = vec![0.0; x.rows()];
    for part in 0..folds {
        let weights: Vec<f32> = fold
            .iter()
            .map(|&own| if own == part { 0.0 } else { 1.0 })
            .collect();
        let examples = Examples {
            x: &evidence,
            targets: &errs,
            weights: &weights,
            sureness: &hard.sureness,
            intercept: true,
        };
        let loss = PointLoss::CrossEntropy;
        let (model, _) = fit_linear(examples, loss, student.c, SKLEARN_STOP, &precondition, None);
        let wrong = probabilities(&model.logits(&evidence));
        for row in (0..x.rows()).filter(|&row| fold[row] == part) {
            let t = hard.targets[row];
            targets[row] = t * (1.0 - wrong[row]) + (1.0 - t) * wrong[row];
        }
    }
    Labelled::soft(targets)
}

/// Applies one refinement; `index` is its place in the recipe.
pub fn refine(
    part: Refine,
    index: usize,
    bench: &Bench,
    student: &Student,
    labelled: &mut Labelled,
    elicited: &dyn Fn() -> Elicited,
) {
    let weak = bench.weak;
    let purpose = format!("{}-{index}", part.name());
    match part {
        Refine::KeepConfident { fraction, balanced } => {
            let scores: Vec<f64> = weak.iter().map(|&p| f64::from((p - 0.5).abs())).collect();
            let classes = balanced.then(|| labelled.classes());
            keep_best(&mut labelled.weights, &scores, fraction, classes.as_deref());
        }
        Refine::KeepAbove { threshold } => {
            for (weight, &p) in labelled.weights.iter_mut().zip(weak) {
                if f64::from(p.max(1.0 - p)) <= threshold {
                    *weight = 0.0;
                }
            }
        }
        Refine::Reweight { power } => {
            for (weight, &sure) in labelled.weights.iter_mut().zip(&labelled.sureness) {
                *weight *= sure.powf(power as f32);
            }
        }
        Refine::CcsAgreement { epsilon } => ccs_agreement(bench, labelled, &elicited(), epsilon),
        Refine::NoisyChannelEm { rounds, folds } => {
            noisy_channel(bench, student, labelled, rounds, folds, &purpose);
        }
        Refine::KfoldRelabel { folds, mix } => {
            let found = probabilities(&bench.out_of_fold(student, labelled, folds, &purpose));
            let mix = mix as f32;
            for (target, q) in labelled.targets.iter_mut().zip(found) {
                *target = (1.0 - mix) * *target + mix * q;
            }
            labelled.sureness = labelled
                .targets
                .iter()
                .map(|p| (2.0 * p - 1.0).abs())
                .collect();
        }
        Refine::KnnAgreement {
            neighbours: count,
            fraction,
        } => {
            let near = neighbours(&bench.set().train.plain, &labelled.kept(), count);
            let shares = agreement(&near, &labelled.classes());
            // Shares tie often; the surer label goes first.
            let scores: Vec<f64> = shares
                .iter()
                .zip(&labelled.sureness)
                .map(|(s, c)| s + 1e-3 * f64::from(*c))
                .collect();
            keep_best(&mut labelled.weights, &scores, fraction, None);
        }
        Refine::OverlapDensity {
            neighbours: count,
            fraction,
        } => {
            let near = neighbours(&bench.set().train.plain, &labelled.kept(), count);
            let hard = Labelled {
                weights: labelled.weights.clone(),
                ..hard_labels(weak)
            };
            let logits = bench.out_of_fold(&probe(student), &hard, 5, &purpose);
            let learnable: Vec<f64> = logits
                .iter()
                .zip(&hard.targets)
                .map(|(&z, &t)| sigmoid(f64::from(if t > 0.5 { z } else { -z })))
                .collect();
            let scores = overlap_density(&learnable, weak, &near);
            let classes = hard.classes();
            keep_best(&mut labelled.weights, &scores, fraction, Some(&classes));
        }
        Refine::Epiplexity { fraction, gamma } => {
            epiplexity(bench, student, labelled, fraction, gamma, &purpose);
        }
        Refine::SelfTraining { rounds, fraction } => {
            for round in 0..rounds {
                let model = bench
                    .fit(student, labelled, bench.seed(&purpose, round))
                    .model;
                let logits = bench.train_logits(&model);
                self_label(labelled, &logits, fraction);
            }
        }
    }
}

/// Weights of CCS + evolution strategy (report §4.2): the larger confidence where the weak label
/// and the elicited one agree, ε times the smaller where they do not. Confidence is `|2p − 1|`.
fn ccs_agreement(bench: &Bench, labelled: &mut Labelled, elicited: &Elicited, epsilon: f64) {
    let sign = towards(bench.weak, &elicited.logits);
    for (row, &p) in bench.weak.iter().enumerate() {
        let z = sign * elicited.logits[row];
        let own = (2.0 * sigmoid(f64::from(z)) - 1.0).abs() as f32;
        let teacher = (2.0 * p - 1.0).abs();
        let factor = if (z > 0.0) == (p > 0.5) {
            own.max(teacher)
        } else {
            epsilon as f32 * own.min(teacher)
        };
        labelled.weights[row] *= factor;
    }
}

/// Logits scaled to a root mean square of 1. How large a probe's logits are says more about its
/// penalty than about what it knows; and a prior near one half leaves the two channels free to
/// change places, which turns every label round.
fn unit_size(mut logits: Vec<f32>) -> Vec<f32> {
    let square = logits.iter().map(|z| z * z).sum::<f32>() / logits.len().max(1) as f32;
    let scale = if square > 1e-12 {
        square.sqrt().recip()
    } else {
        0.0
    };
    logits.iter_mut().for_each(|z| *z *= scale);
    logits
}

/// EM posterior: margins of cross-fitted probes stand for the report's zero-shot margins under
/// several templates; two kinds of probe on two partitions are four views. Later rounds take the
/// margins of students trained on the posteriors.
fn noisy_channel(
    bench: &Bench,
    student: &Student,
    labelled: &mut Labelled,
    rounds: usize,
    folds: usize,
    purpose: &str,
) {
    let low_rank = Student {
        model: StudentKind::LowRank { rank: 4 },
        ..probe(student)
    };
    let weak: Vec<bool> = bench.weak.iter().map(|&p| p > 0.5).collect();
    for round in 0..rounds {
        let views = if round == 0 {
            [probe(student), low_rank.clone()]
        } else {
            [student.clone(), probe(student)]
        };
        let mut margins = Vec::new();
        for (view, spec) in views.iter().enumerate() {
            let name = format!("{purpose}-{round}-{view}");
            margins.push(unit_size(bench.out_of_fold(spec, labelled, folds, &name)));
        }
        let (features, means) = channel_features(bench.weak, &margins);
        let found = posterior(&features, &weak, &means, EM_ROUNDS);
        labelled.targets = found
            .iter()
            .map(|&z| sigmoid(f64::from(temper(z))) as f32)
            .collect();
        labelled.sureness = labelled
            .targets
            .iter()
            .map(|p| (2.0 * p - 1.0).abs())
            .collect();
    }
}

/// Out-of-fold labels of the strong model (K = 2); a probe is run on them, and what it comes to
/// learn of a row between its first epoch and its last decides how much that row's label counts.
fn epiplexity(
    bench: &Bench,
    student: &Student,
    labelled: &mut Labelled,
    fraction: f64,
    gamma: f64,
    purpose: &str,
) {
    let found = probabilities(&bench.out_of_fold(&probe(student), labelled, 2, purpose));
    labelled.targets = found;
    let loss_after = |epochs: usize| -> Vec<f64> {
        let stages = vec![Stage {
            fraction: 1.0,
            epochs,
            rate: 1.0,
        }];
        let spec = Student {
            stages,
            ..probe(student)
        };
        let model = bench.fit(&spec, labelled, bench.seed(purpose, 100)).model;
        let logits = bench.train_logits(&model);
        let rows = logits.iter().zip(&labelled.targets);
        rows.map(|(&z, &y)| PointLoss::CrossEntropy.at(f64::from(z), f64::from(y)).0)
            .collect()
    };
    let (first, last) = (loss_after(1), loss_after(8));
    let scores: Vec<f64> = first.iter().zip(&last).map(|(a, b)| a - b).collect();
    labelled.targets = smooth_lowest(&labelled.targets, &scores, fraction, gamma);
    labelled.sureness = labelled
        .targets
        .iter()
        .map(|p| (2.0 * p - 1.0).abs())
        .collect();
}

/// The student's surest rows, from both ends of its logits alike, with its own labels. Rows that
/// were left out before may come back.
fn self_label(labelled: &mut Labelled, logits: &[f32], fraction: f64) {
    let middle = median(logits);
    let centred: Vec<f32> = logits.iter().map(|z| z - middle).collect();
    labelled.targets = halves(&centred);
    labelled.sureness = centred.iter().map(|&z| (z / 2.0).tanh().abs()).collect();
    labelled.weights.fill(1.0);
    let scores: Vec<f64> = centred.iter().map(|z| f64::from(z.abs())).collect();
    let classes = labelled.classes();
    keep_best(&mut labelled.weights, &scores, fraction, Some(&classes));
}
