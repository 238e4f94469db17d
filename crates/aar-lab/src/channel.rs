//! A latent true label behind a noisy teacher, fitted by expectation–maximisation.
//!
//! The study's "EM posterior" (report §4.2): the weak label `t` of a row with features `f` and
//! latent label `y` is drawn with `P(t = 1 | y = 1) = σ(a·f + a₀)` and `P(t = 1 | y = 0) = σ(b·f +
//! b₀)`; `y` has the prior `σ(m)` of the strong model's mean margin `m`. The channel is fitted by
//! the marginal likelihood of the weak labels (Dempster, Laird and Rubin 1977, with logistic
//! regressions as M step).

use crate::loss::{PointLoss, logit, sigmoid};
use crate::numeric::Matrix;
use crate::numeric::lbfgs::Stop;
use crate::student::{Examples, Preconditioner, fit_linear};

/// Log-odds around which the constants are shrunk: a teacher that is right three times in four.
/// Without a starting belief in the teacher the two channels can change places.
const TRUST: f64 = 1.098_612_288_668_109_8;
/// Penalty on the channel's weights, constants included, as `C`.
const CHANNEL_C: f64 = 1.0;
/// Rounds of expectation and maximisation; the fit changes little after about ten.
pub const EM_ROUNDS: usize = 20;
/// Each M step starts where the last one ended, so a few iterations do (generalised EM, Dempster,
/// Laird and Rubin 1977, section 3).
const STOP: Stop = Stop {
    tolerance: 1e-4,
    iterations: 20,
};

/// One channel's log-odds per row.
fn offsets(features: &Matrix, weights: &[f64], trust: f64) -> Vec<f64> {
    (0..features.rows())
        .map(|row| {
            let own = features
                .row(row)
                .iter()
                .zip(weights)
                .map(|(&f, w)| f64::from(f) * w);
            trust + own.sum::<f64>()
        })
        .collect()
}

/// Log-odds of the latent label of each row, given the weak labels.
///
/// `features` has a last column of ones for the constants, which are penalised around `TRUST`
/// like the weights around 0. `prior` holds log-odds.
#[must_use]
pub fn posterior(features: &Matrix, weak: &[bool], prior: &[f32], rounds: usize) -> Vec<f32> {
    let precondition = Preconditioner::new(features, CHANNEL_C);
    let width = features.cols();
    let mut channels = [vec![0.0; width], vec![0.0; width]];
    let expect = |channels: &[Vec<f64>; 2]| -> Vec<f32> {
        let hit = offsets(features, &channels[0], TRUST);
        let slip = offsets(features, &channels[1], -TRUST);
        let rows = weak.iter().zip(prior).zip(hit.iter().zip(&slip));
        rows.map(|((&t, &prior), (&hit, &slip))| {
            let sign = if t { 1.0 } else { -1.0 };
            let ratio =
                sigmoid(sign * hit).max(1e-300).ln() - sigmoid(sign * slip).max(1e-300).ln();
            (f64::from(prior) + ratio) as f32
        })
        .collect()
    };
    for _ in 0..rounds {
        let belief: Vec<f32> = expect(&channels)
            .iter()
            .map(|&z| sigmoid(f64::from(z)) as f32)
            .collect();
        for (side, channel) in channels.iter_mut().enumerate() {
            let weights: Vec<f32> = belief
                .iter()
                .map(|&q| if side == 0 { q } else { 1.0 - q })
                .collect();
            let trust = if side == 0 { TRUST } else { -TRUST };
            *channel = maximise(features, weak, &weights, trust, channel, &precondition);
        }
    }
    expect(&channels)
}

/// Logistic regression with a fixed offset: without an intercept the constant stays where it
/// starts, and so is the offset; the column of ones moves it, under penalty.
fn maximise(
    features: &Matrix,
    weak: &[bool],
    weights: &[f32],
    trust: f64,
    start: &[f64],
    precondition: &Preconditioner,
) -> Vec<f64> {
    let targets: Vec<f32> = weak.iter().map(|&t| f32::from(t)).collect();
    let examples = Examples {
        x: features,
        targets: &targets,
        weights,
        sureness: &targets,
        intercept: false,
    };
    let mut parameters: Vec<f64> = start.iter().copied().chain([trust]).collect();
    let shifted = Some(parameters.as_slice());
    let (model, _) = fit_linear(
        examples,
        PointLoss::CrossEntropy,
        CHANNEL_C,
        STOP,
        precondition,
        shifted,
    );
    parameters = model.parameters;
    parameters.pop();
    parameters
}

/// Tempers log-odds: unsure posteriors (near 1/2) are halved, sure ones sharpened by half.
///
/// "Tempered adaptively, sharp when confident" (report §4.2); the constants are ours.
#[must_use]
pub fn temper(z: f32) -> f32 {
    let sureness = (2.0 * sigmoid(f64::from(z)) - 1.0).abs() as f32;
    z * (0.5 + sureness)
}

/// The report's four channel features of a row, and the constant: weak confidence, mean margin,
/// standard deviation of margins, agreement of the mean margin's sign with the weak label.
///
/// `margins` holds one logit per row for each view of the strong model.
#[must_use]
pub fn channel_features(weak: &[f32], margins: &[Vec<f32>]) -> (Matrix, Vec<f32>) {
    let views = margins.len().max(1) as f32;
    let mut features = Matrix::zeros(weak.len(), 5);
    let mut means = Vec::with_capacity(weak.len());
    for (row, &p) in weak.iter().enumerate() {
        let mean = margins.iter().map(|m| m[row]).sum::<f32>() / views;
        let square = margins.iter().map(|m| (m[row] - mean).powi(2)).sum::<f32>() / views;
        let agree = if (mean > 0.0) == (p > 0.5) { 1.0 } else { -1.0 };
        let sureness = (logit(f64::from(p)).abs() / 4.0) as f32;
        features
            .row_mut(row)
            .copy_from_slice(&[sureness, mean, square.sqrt(), agree, 1.0]);
        means.push(mean);
    }
    (features, means)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::random::{normal, stream};
    use aar_core::id::Seed;
    use rand::RngExt;

    #[test]
    fn the_posterior_beats_both_prior_and_teacher() {
        let mut rng = stream(Seed(2), "channel", 0);
        let n = 2_000;
        let (mut truth, mut weak, mut prior) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..n {
            let y = rng.random::<f64>() < 0.5;
            truth.push(y);
            weak.push(if rng.random::<f64>() < 0.7 { y } else { !y });
            let side = if y { 1.0 } else { -1.0 };
            prior.push((side * 0.6 + normal(&mut rng)) as f32);
        }
        let soft: Vec<f32> = weak.iter().map(|&t| if t { 0.8 } else { 0.2 }).collect();
        let (features, _) = channel_features(&soft, std::slice::from_ref(&prior));
        let found = posterior(&features, &weak, &prior, EM_ROUNDS);
        let right = |z: &[f32]| {
            z.iter()
                .zip(&truth)
                .filter(|(z, y)| (**z > 0.0) == **y)
                .count()
        };
        let teacher = weak.iter().zip(&truth).filter(|(t, y)| t == y).count();
        assert!(
            right(&found) >= right(&prior).max(teacher),
            "{} {teacher}",
            right(&found)
        );
    }

    #[test]
    fn tempering_keeps_signs_and_sharpens_the_sure() {
        assert!(temper(0.1) < 0.1 && temper(4.0) > 4.0 && temper(-4.0) < -4.0);
    }
}
