//! One hidden layer of tanh units.

use super::{Examples, Shape};
use crate::loss::PointLoss;
use crate::numeric::Matrix;
use crate::numeric::kernel::dot;
use crate::numeric::random::normal;
use rand::Rng;

/// Parameters as the matrices that the products need.
struct Parts {
    /// `hidden × width`.
    inner: Matrix,
    inner_constants: Vec<f32>,
    outer: Vec<f32>,
    constant: f32,
}

fn parts(parameters: &[f64], hidden: usize, width: usize) -> Parts {
    let short = |from: usize, length: usize| -> Vec<f32> {
        parameters[from..from + length]
            .iter()
            .map(|&v| v as f32)
            .collect()
    };
    let cells = hidden * width;
    Parts {
        inner: Matrix::new(hidden, width, short(0, cells)),
        inner_constants: short(cells, hidden),
        outer: short(cells + hidden, hidden),
        constant: parameters[cells + 2 * hidden] as f32,
    }
}

impl Parts {
    /// `rows × hidden` outputs of the tanh units.
    fn activations(&self, x: &Matrix) -> Matrix {
        let mut units = x.times_transposed(&self.inner);
        for row in 0..units.rows() {
            for (unit, constant) in units.row_mut(row).iter_mut().zip(&self.inner_constants) {
                *unit = (*unit + constant).tanh();
            }
        }
        units
    }
}

/// One logit per row.
pub(super) fn logits(parameters: &[f64], hidden: usize, x: &Matrix) -> Vec<f32> {
    let parts = parts(parameters, hidden, x.cols());
    let units = parts.activations(x);
    (0..x.rows())
        .map(|row| dot(units.row(row), &parts.outer) + parts.constant)
        .collect()
}

/// Starting values of variance 1/fan-in (LeCun et al. 1998, "Efficient BackProp", section 4.6).
pub(super) fn start(hidden: usize, width: usize, rng: &mut impl Rng) -> Vec<f64> {
    let mut parameters = vec![0.0; Shape::Mlp { hidden }.parameters(width)];
    let cells = hidden * width;
    let (inner, outer) = (
        (width as f64).sqrt().recip(),
        (hidden as f64).sqrt().recip(),
    );
    parameters[..cells]
        .iter_mut()
        .for_each(|p| *p = inner * normal(rng));
    parameters[cells + hidden..cells + 2 * hidden]
        .iter_mut()
        .for_each(|p| *p = outer * normal(rng));
    parameters
}

/// Mean loss over the rows named plus `|weights|² / (2 C Σw)` over all rows, and its gradient.
/// Constants are not penalised.
pub(super) fn objective(
    parameters: &[f64],
    hidden: usize,
    examples: Examples,
    loss: PointLoss,
    c: f64,
    rows: &[usize],
    gradient: &mut [f64],
) -> f64 {
    let width = examples.x.cols();
    let cells = hidden * width;
    let parts = parts(parameters, hidden, width);
    let x = examples.x.select(rows);
    let units = parts.activations(&x);
    let total: f64 = rows
        .iter()
        .map(|&row| f64::from(examples.weights[row]))
        .sum();
    gradient.fill(0.0);
    if total == 0.0 {
        return 0.0;
    }
    let mut value = 0.0;
    // The loss's slope at each unit's input.
    let mut slopes = Matrix::zeros(rows.len(), hidden);
    for (index, &row) in rows.iter().enumerate() {
        let weight = f64::from(examples.weights[row]) / total;
        let z = f64::from(dot(units.row(index), &parts.outer) + parts.constant);
        let (at, slope) = loss.at(z, f64::from(examples.targets[row]));
        value += weight * at;
        let slope = weight * slope;
        if examples.intercept {
            gradient[cells + 2 * hidden] += slope;
        }
        for (h, (&unit, target)) in units
            .row(index)
            .iter()
            .zip(slopes.row_mut(index))
            .enumerate()
        {
            gradient[cells + hidden + h] += slope * f64::from(unit);
            *target = slope as f32 * parts.outer[h] * (1.0 - unit * unit);
            gradient[cells + h] += f64::from(*target);
        }
    }
    let inner = slopes.transposed_times(&x);
    gradient[..cells]
        .iter_mut()
        .zip(inner.data())
        .for_each(|(g, &v)| *g += f64::from(v));
    let ridge = 1.0 / (c * examples.total());
    for range in [0..cells, cells + hidden..cells + 2 * hidden] {
        for index in range {
            gradient[index] += ridge * parameters[index];
            value += ridge * parameters[index].powi(2) / 2.0;
        }
    }
    value
}
