//! Linear probes confined to the few directions that covary most with the labels.

use super::{Examples, Model, Shape};
use crate::numeric::Matrix;
use crate::numeric::kernel::{axpy, dot};

/// An orthonormal basis, `width × rank`, of the Krylov space of `Xᵀy` under the Gram matrix.
///
/// This is the space of partial least squares with one response (Helland 1988, "On the structure
/// of partial least squares regression", section 3): the first direction is the weighted
/// difference of the class means, each further one passes the last through the covariance. Fewer
/// columns where the space is smaller than `rank`.
pub(super) fn subspace(examples: Examples, gram: &Matrix, rank: usize) -> Matrix {
    let width = examples.x.cols();
    let total = examples.total().max(f64::MIN_POSITIVE);
    let pairs = || examples.targets.iter().zip(examples.weights);
    let mean = if examples.intercept {
        pairs().map(|(y, w)| f64::from(y * w)).sum::<f64>() / total
    } else {
        0.5
    };
    let mut next = vec![0.0; width];
    for (row, (&target, &weight)) in pairs().enumerate() {
        axpy(
            weight * (target - mean as f32),
            examples.x.row(row),
            &mut next,
        );
    }
    let mut basis: Vec<Vec<f32>> = Vec::new();
    for _ in 0..rank.min(width) {
        let size = dot(&next, &next).sqrt();
        for _ in 0..2 {
            for other in &basis {
                axpy(-dot(other, &next), other, &mut next);
            }
        }
        let length = dot(&next, &next).sqrt();
        if length <= 1e-4 * size || !length.is_finite() {
            break;
        }
        next.iter_mut().for_each(|v| *v /= length);
        basis.push(next.clone());
        next = gram.apply(&next);
    }
    let mut columns = Matrix::zeros(width, basis.len());
    for (c, vector) in basis.iter().enumerate() {
        for (r, &value) in vector.iter().enumerate() {
            columns.row_mut(r)[c] = value;
        }
    }
    columns
}

/// The linear model on all columns that equals `small` on `x · space`.
pub(super) fn lift(small: &Model, space: &Matrix) -> Model {
    let (weights, constant) = super::linear::split(&small.parameters);
    let mut parameters: Vec<f64> = space.apply(&weights).into_iter().map(f64::from).collect();
    parameters.push(f64::from(constant));
    Model {
        shape: Shape::Linear,
        parameters,
    }
}
