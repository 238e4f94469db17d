//! Linear probes: logistic regression and its relatives, trained to the optimum.

use super::{Examples, Model, Shape};
use crate::loss::PointLoss;
use crate::numeric::Matrix;
use crate::numeric::cholesky::Cholesky;
use crate::numeric::kernel::{axpy, dot};
use crate::numeric::lbfgs::{Ended, Stop, minimise};
use std::sync::OnceLock;

/// Rows whose gradients are summed in single precision before they join the double sum.
const BLOCK: usize = 128;

/// What all fits on the same columns share: the Gram matrix, and the Cholesky factor of the upper
/// bound of the Hessian, `XᵀX/4n + I/Cn` (Böhning and Lindsay 1988, "Monotonicity of
/// quadratic-approximation algorithms", section 4). Made when first needed.
///
/// With it L-BFGS needs 10 to 20 passes over the data where it needs hundreds without, because the
/// Hessian of logistic regression differs from the bound by the factors `4 p (1 − p)` alone, while
/// hidden states themselves are ill-conditioned.
#[derive(Debug)]
pub struct Preconditioner {
    gram: Matrix,
    rows: usize,
    c: f64,
    factor: OnceLock<Option<Cholesky>>,
}

impl Preconditioner {
    /// For fits with penalty `c` on rows like those of `x`.
    #[must_use]
    pub fn new(x: &Matrix, c: f64) -> Self {
        Self::of_gram(x.gram(), x.rows(), c)
    }

    /// The same from a Gram matrix over `rows` rows.
    #[must_use]
    pub fn of_gram(gram: Matrix, rows: usize, c: f64) -> Self {
        Self {
            gram,
            rows,
            c,
            factor: OnceLock::new(),
        }
    }

    /// `XᵀX`.
    #[must_use]
    pub fn gram(&self) -> &Matrix {
        &self.gram
    }

    fn factor(&self) -> Option<&Cholesky> {
        let make = || {
            let n = self.rows.max(1) as f64;
            Cholesky::of_shifted(&self.gram, 0.25 / n, 1.0 / (self.c * n))
        };
        self.factor.get_or_init(make).as_ref()
    }

    /// Multiplies by the approximate inverse Hessian; the constant's curvature is 1/4.
    fn apply(&self, vector: &mut [f64]) {
        let Some(factor) = self.factor() else {
            return;
        };
        let (constant, weights) = vector
            .split_last_mut()
            .expect("a constant after the weights");
        let mut short: Vec<f32> = weights.iter().map(|&v| v as f32).collect();
        factor.solve(&mut short);
        weights
            .iter_mut()
            .zip(short)
            .for_each(|(v, s)| *v = f64::from(s));
        *constant *= 4.0;
    }
}

/// Weights in single precision, and the constant.
pub(super) fn split(parameters: &[f64]) -> (Vec<f32>, f32) {
    let (constant, weights) = parameters
        .split_last()
        .expect("a constant after the weights");
    (
        weights.iter().map(|&w| w as f32).collect(),
        *constant as f32,
    )
}

/// Minimises `Σ wᵢ ℓ(zᵢ, yᵢ) / Σ wᵢ + |β|² / (2 C Σ wᵢ)` over weights β and a free constant.
///
/// This is the objective of scikit-learn's `LogisticRegression(C=c, solver="lbfgs")` with
/// `sample_weight`, and `stop.tolerance` bounds the same gradient as its `tol`. Without any weight
/// the answer is 0.
#[must_use]
pub fn fit_linear(
    examples: Examples,
    loss: PointLoss,
    c: f64,
    stop: Stop,
    precondition: &Preconditioner,
    start: Option<&[f64]>,
) -> (Model, Ended) {
    let width = examples.x.cols();
    let mut parameters = start.map_or_else(|| vec![0.0; width + 1], <[f64]>::to_vec);
    let evaluate =
        |p: &[f64], gradient: &mut [f64]| objective(p, examples, loss, c, None, gradient);
    let ended = minimise(&mut parameters, stop, evaluate, |v| precondition.apply(v));
    (
        Model {
            shape: Shape::Linear,
            parameters,
        },
        ended,
    )
}

/// The objective of [`fit_linear`] and its gradient, over all rows or the rows named.
///
/// Each row is read once: its logit, its slope and its share of the gradient while it is in cache.
pub(super) fn objective(
    parameters: &[f64],
    examples: Examples,
    loss: PointLoss,
    c: f64,
    rows: Option<&[usize]>,
    gradient: &mut [f64],
) -> f64 {
    let width = examples.x.cols();
    let (weights, constant) = split(parameters);
    let mut part = vec![0.0f32; width];
    gradient.fill(0.0);
    let (mut value, mut total, mut constant_slope) = (0.0, 0.0, 0.0);
    let count = rows.map_or(examples.x.rows(), <[usize]>::len);
    for index in 0..count {
        let row = rows.map_or(index, |rows| rows[index]);
        let weight = f64::from(examples.weights[row]);
        if weight > 0.0 {
            let x = examples.x.row(row);
            let z = f64::from(dot(x, &weights) + constant);
            let (at, slope) = loss.at(z, f64::from(examples.targets[row]));
            value += weight * at;
            total += weight;
            constant_slope += weight * slope;
            axpy((weight * slope) as f32, x, &mut part);
        }
        if index % BLOCK == BLOCK - 1 || index + 1 == count {
            for (sum, value) in gradient.iter_mut().zip(&mut part) {
                *sum += f64::from(std::mem::take(value));
            }
        }
    }
    if total == 0.0 {
        return 0.0;
    }
    // In a batch the penalty has its share of the whole objective, so that batches average to it.
    let ridge = 1.0
        / (c * if rows.is_some() {
            examples.total()
        } else {
            total
        });
    for (slope, &weight) in gradient.iter_mut().zip(&parameters[..width]) {
        *slope = *slope / total + ridge * weight;
    }
    gradient[width] = if examples.intercept {
        constant_slope / total
    } else {
        0.0
    };
    let square: f64 = parameters[..width].iter().map(|w| w * w).sum();
    value / total + ridge * square / 2.0
}
