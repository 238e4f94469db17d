//! Labels from the strong model alone: directions that are consistent and confident.

use crate::features::{View, whitened};
use crate::loss::{logit, sigmoid};
use crate::numeric::Matrix;
use crate::numeric::kernel::{axpy, dot};
use crate::numeric::lbfgs::{Stop, minimise};
use crate::numeric::random::{normal, stream};
use aar_core::id::Seed;

/// Principal components that are searched. In all dimensions at once almost any direction can be
/// made confident on a few thousand rows.
const COMPONENTS: usize = 32;
/// Weight decay of the search, on unit-variance components (Burns et al. 2022 use 0.01).
const DECAY: f64 = 0.01;
const STOP: Stop = Stop {
    tolerance: 1e-5,
    iterations: 200,
};

/// What a search without labels found.
#[derive(Clone, Debug, PartialEq)]
pub struct Elicited {
    /// The lowest loss of all restarts.
    pub loss: f64,
    /// One logit per train row, shifted so that their median is 0; the sign is arbitrary.
    pub logits: Vec<f32>,
}

/// Searches from `restarts` random starts and keeps the lowest loss.
///
/// For pairs the two orders are the contrast pair of [`ccs`]. A claim has no second view, so there
/// the loss is [`confident_and_balanced`].
#[must_use]
pub fn search(train: &View, restarts: usize, seed: Seed) -> Elicited {
    let (plain, swapped) = whitened(train, COMPONENTS);
    let mut best: Option<(f64, Vec<f64>)> = None;
    for restart in 0..restarts {
        let mut rng = stream(seed, "elicit", restart as u64);
        let mut parameters: Vec<f64> = (0..=plain.cols())
            .map(|_| normal(&mut rng) / (plain.cols() as f64 + 1.0).sqrt())
            .collect();
        let evaluate = |p: &[f64], gradient: &mut [f64]| {
            let value = match &swapped {
                Some(swapped) => ccs(p, &plain, swapped, gradient),
                None => confident_and_balanced(p, &plain, gradient),
            };
            decay(value, p, gradient)
        };
        let ended = minimise(&mut parameters, STOP, evaluate, |_| {});
        if best.as_ref().is_none_or(|(loss, _)| ended.value < *loss) {
            best = Some((ended.value, parameters));
        }
    }
    let (loss, parameters) = best.unwrap_or_else(|| (f64::INFINITY, vec![0.0; plain.cols() + 1]));
    let at = |x: &Matrix| logits(&parameters, x);
    let mut logits = at(&plain);
    if let Some(swapped) = &swapped {
        logits
            .iter_mut()
            .zip(at(swapped))
            .for_each(|(z, back)| *z = (*z - back) / 2.0);
    }
    let middle = median(&logits);
    logits.iter_mut().for_each(|z| *z -= middle);
    Elicited { loss, logits }
}

fn decay(value: f64, parameters: &[f64], gradient: &mut [f64]) -> f64 {
    gradient
        .iter_mut()
        .zip(parameters)
        .for_each(|(g, p)| *g += DECAY * p);
    value + DECAY * parameters.iter().map(|p| p * p).sum::<f64>() / 2.0
}

fn logits(parameters: &[f64], x: &Matrix) -> Vec<f32> {
    let (constant, weights) = parameters
        .split_last()
        .expect("a constant after the weights");
    let weights: Vec<f32> = weights.iter().map(|&w| w as f32).collect();
    (0..x.rows())
        .map(|row| dot(x.row(row), &weights) + *constant as f32)
        .collect()
}

/// Adds `slope · (x, 1)` to a gradient.
fn add_row(slope: f64, x: &[f32], sums: &mut [f32]) {
    let (constant, weights) = sums.split_last_mut().expect("a constant after the weights");
    axpy(slope as f32, x, weights);
    *constant += slope as f32;
}

/// The contrast-consistent search loss and its gradient: the mean over rows of
/// `(p − (1 − q))² + min(p, q)²`, `p` and `q` being the probe's probabilities of label 1 for a pair
/// and for the pair swapped.
///
/// Source: Burns et al. 2022, "Discovering latent knowledge in language models without
/// supervision" (arXiv 2212.03827), section 2.2, with the two orders of a pair as contrast pair.
pub fn ccs(parameters: &[f64], plain: &Matrix, swapped: &Matrix, gradient: &mut [f64]) -> f64 {
    let n = plain.rows().max(1) as f64;
    let (forward, back) = (logits(parameters, plain), logits(parameters, swapped));
    let mut sums = vec![0.0; parameters.len()];
    let mut value = 0.0;
    for row in 0..plain.rows() {
        let (p, q) = (
            sigmoid(f64::from(forward[row])),
            sigmoid(f64::from(back[row])),
        );
        let consistency = p + q - 1.0;
        let least = p.min(q);
        value += consistency * consistency + least * least;
        let (mut by_p, mut by_q) = (2.0 * consistency, 2.0 * consistency);
        if p <= q {
            by_p += 2.0 * least;
        } else {
            by_q += 2.0 * least;
        }
        add_row(by_p * p * (1.0 - p) / n, plain.row(row), &mut sums);
        add_row(by_q * q * (1.0 - q) / n, swapped.row(row), &mut sums);
    }
    gradient
        .iter_mut()
        .zip(sums)
        .for_each(|(g, s)| *g = f64::from(s));
    value / n
}

/// Mean entropy of single predictions minus the entropy of the mean prediction, and its gradient:
/// low for a direction that is sure of every row and splits the rows in halves.
///
/// Source: Krause, Perona and Gomes 2010, "Discriminative clustering by regularized information
/// maximization", equation 3 for two classes.
pub fn confident_and_balanced(parameters: &[f64], x: &Matrix, gradient: &mut [f64]) -> f64 {
    let n = x.rows().max(1) as f64;
    let z = logits(parameters, x);
    let p: Vec<f64> = z.iter().map(|&z| sigmoid(f64::from(z))).collect();
    let mean = p.iter().sum::<f64>() / n;
    let value = information(&p);
    let pull = if mean > 0.0 && mean < 1.0 {
        (mean / (1.0 - mean)).ln()
    } else {
        logit(mean)
    };
    let mut sums = vec![0.0; parameters.len()];
    for (row, (&z, &p)) in z.iter().zip(&p).enumerate() {
        let slope = p * (1.0 - p) * (pull - f64::from(z)) / n;
        add_row(slope, x.row(row), &mut sums);
    }
    gradient
        .iter_mut()
        .zip(sums)
        .for_each(|(g, s)| *g = f64::from(s));
    -value
}

/// Mutual information of row and label, `H(mean p) − mean H(p)`, in nats.
#[must_use]
pub fn information(p: &[f64]) -> f64 {
    let n = p.len().max(1) as f64;
    let mean = p.iter().sum::<f64>() / n;
    crate::loss::entropy(mean) - p.iter().map(|&p| crate::loss::entropy(p)).sum::<f64>() / n
}

/// The middle of the numbers; 0 of none.
#[must_use]
pub fn median(values: &[f32]) -> f32 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// Signs that turn `logits` towards most of the weak labels: −1 if most disagree.
#[must_use]
pub fn towards(weak: &[f32], logits: &[f32]) -> f32 {
    let agree = weak
        .iter()
        .zip(logits)
        .filter(|(w, z)| (**w > 0.5) == (**z > 0.0))
        .count();
    if 2 * agree < weak.len() { -1.0 } else { 1.0 }
}

/// The principal component whose halves agree best with the weak labels: unit-variance scores as
/// logits, turned towards the labels.
#[must_use]
pub fn principal(train: &View, weak: &[f32], among: usize) -> Vec<f32> {
    let (scores, _) = whitened(train, among);
    let column = |c: usize| -> Vec<f32> {
        let values: Vec<f32> = (0..scores.rows()).map(|row| scores.row(row)[c]).collect();
        let middle = median(&values);
        values.iter().map(|v| v - middle).collect()
    };
    let agreement = |values: &[f32]| {
        let agree = weak
            .iter()
            .zip(values)
            .filter(|(w, z)| (**w > 0.5) == (**z > 0.0))
            .count();
        agree.abs_diff(weak.len() - agree)
    };
    let mut best = (0, vec![0.0; weak.len()]);
    for c in 0..scores.cols() {
        let values = column(c);
        let found = agreement(&values);
        if c == 0 || found > best.0 {
            best = (found, values);
        }
    }
    let sign = towards(weak, &best.1);
    best.1.iter().map(|v| sign * v).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rows: usize, width: usize, index: u64) -> Matrix {
        let mut rng = stream(Seed(11), "sample", index);
        Matrix::new(
            rows,
            width,
            (0..rows * width).map(|_| normal(&mut rng) as f32).collect(),
        )
    }

    #[test]
    fn gradients_agree_with_differences() {
        let (a, b) = (sample(60, 4, 0), sample(60, 4, 1));
        let parameters = [0.4, -0.8, 0.1, 0.6, 0.2];
        let check = |objective: &dyn Fn(&[f64], &mut [f64]) -> f64| {
            let (mut gradient, mut scratch) = ([0.0; 5], [0.0; 5]);
            objective(&parameters, &mut gradient);
            for i in 0..5 {
                let mut moved = parameters;
                moved[i] += 1e-3;
                let up = objective(&moved, &mut scratch);
                moved[i] -= 2e-3;
                let down = objective(&moved, &mut scratch);
                let numeric = (up - down) / 2e-3;
                assert!(
                    (numeric - gradient[i]).abs() < 2e-3,
                    "{i}: {numeric} {}",
                    gradient[i]
                );
            }
        };
        check(&|p, g| ccs(p, &a, &b, g));
        check(&|p, g| confident_and_balanced(p, &a, g));
    }

    #[test]
    fn finds_two_clusters() {
        let mut x = sample(400, 6, 2);
        for row in 0..400 {
            x.row_mut(row)[3] += if row % 2 == 0 { 4.0 } else { -4.0 };
        }
        let found = search(
            &View {
                plain: x,
                swapped: None,
            },
            4,
            Seed(1),
        );
        let sign = found.logits[0].signum();
        let right = (0..400)
            .filter(|&r| (found.logits[r] * sign > 0.0) == (r % 2 == 0))
            .count();
        assert!(right > 390, "{right}");
    }
}
