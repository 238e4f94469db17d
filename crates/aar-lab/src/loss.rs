//! What one example costs: functions of a logit `z` and a target probability `y`.

use serde::Serialize;

/// Probabilities are kept this far from 0 and 1 where their logarithm is taken.
pub const CLIP: f64 = 1e-3;

/// The logistic function.
#[must_use]
pub fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// Inverse of [`sigmoid`], with probabilities clipped by [`CLIP`].
#[must_use]
pub fn logit(p: f64) -> f64 {
    let p = p.clamp(CLIP, 1.0 - CLIP);
    (p / (1.0 - p)).ln()
}

/// Entropy of a coin in nats; 0 at the ends.
#[must_use]
pub fn entropy(p: f64) -> f64 {
    let term = |q: f64| if q > 0.0 { -q * q.ln() } else { 0.0 };
    term(p) + term(1.0 - p)
}

/// ln(1 + eᶻ) without overflow.
fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

/// The loss of one example.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum PointLoss {
    /// `−y ln q − (1 − y) ln(1 − q)` with `q = sigmoid(z)`.
    CrossEntropy,
    /// `KL(q ‖ y) = q ln(q/y) + (1 − q) ln((1 − q)/(1 − y))`, with `y` clipped by [`CLIP`].
    ReverseKl,
}

impl PointLoss {
    /// Value and derivative with respect to `z`.
    #[must_use]
    pub fn at(self, z: f64, y: f64) -> (f64, f64) {
        let q = sigmoid(z);
        match self {
            Self::CrossEntropy => (softplus(z) - y * z, q - y),
            Self::ReverseKl => {
                let y = y.clamp(CLIP, 1.0 - CLIP);
                let cross = -q * y.ln() - (1.0 - q) * (1.0 - y).ln();
                (cross - entropy(q), q * (1.0 - q) * (z - logit(y)))
            }
        }
    }
}

/// The targets of Burns' auxiliary confidence loss: `(1 − α) · y + α · [z > t]`, with the threshold
/// `t` such that the student's hardened predictions have the class balance of the labels.
///
/// Cross-entropy is linear in its target, so the sum of the two terms of the paper is the
/// cross-entropy with this mixture. Source: Burns et al. 2023 (arXiv 2312.09390), appendix A.4.
#[must_use]
pub fn confidence_targets(
    targets: &[f32],
    logits: &[f32],
    weights: &[f32],
    alpha: f64,
) -> Vec<f32> {
    let total: f32 = weights.iter().sum();
    let positive: f32 = targets.iter().zip(weights).map(|(y, w)| y * w).sum();
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&i, &j| logits[j].total_cmp(&logits[i]).then(i.cmp(&j)));
    let alpha = alpha as f32;
    let mut mixed = vec![0.0; targets.len()];
    let mut above = 0.0;
    for row in order {
        // The row whose weight straddles the threshold belongs to the side of its middle.
        let hard = above + weights[row] / 2.0 < positive && total > 0.0;
        above += weights[row];
        mixed[row] = (1.0 - alpha) * targets[row] + if hard { alpha } else { 0.0 };
    }
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_agree_with_differences() {
        for loss in [PointLoss::CrossEntropy, PointLoss::ReverseKl] {
            for z in [-8.0, -1.3, 0.0, 0.7, 5.0] {
                for y in [0.0, 0.2, 0.5, 0.93, 1.0] {
                    let step = 1e-5;
                    let numeric = (loss.at(z + step, y).0 - loss.at(z - step, y).0) / (2.0 * step);
                    let slope = loss.at(z, y).1;
                    assert!(
                        (numeric - slope).abs() < 1e-6,
                        "{loss:?} {z} {y}: {numeric} {slope}"
                    );
                }
            }
        }
    }

    #[test]
    fn extreme_logits_stay_finite() {
        for loss in [PointLoss::CrossEntropy, PointLoss::ReverseKl] {
            for z in [-1e6, 1e6] {
                let (value, slope) = loss.at(z, 1.0);
                assert!(value.is_finite() && slope.is_finite());
            }
        }
    }

    #[test]
    fn hardened_predictions_keep_the_balance_of_the_labels() {
        let targets = [1.0, 1.0, 0.0, 0.0];
        let mixed = confidence_targets(&targets, &[3.0, 1.0, 2.0, 0.5], &[1.0; 4], 0.25);
        assert_eq!(mixed, [1.0, 0.75, 0.25, 0.0]);
    }
}
