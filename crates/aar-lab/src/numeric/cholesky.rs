//! Cholesky factors of a shifted Gram matrix, used to precondition logistic regression.

use super::Matrix;
use super::kernel::{axpy, dot};
use gemm::Parallelism;

/// Columns of one panel.
const PANEL: usize = 48;

/// The lower factor `L` of a symmetric positive definite matrix `A = L Lᵀ`.
#[derive(Clone, Debug)]
pub struct Cholesky {
    size: usize,
    /// Row-major, lower triangle; stored short because only approximate solutions are asked of it.
    factor: Vec<f32>,
}

impl Cholesky {
    /// Factors `scale · gram + ridge · I`. None if that is not numerically positive definite.
    ///
    /// Factored in double precision by panels (right-looking), so that most of the work is one
    /// GEMM per panel.
    #[must_use]
    pub fn of_shifted(gram: &Matrix, scale: f64, ridge: f64) -> Option<Self> {
        let n = gram.rows();
        let mut a: Vec<f64> = gram
            .data()
            .iter()
            .map(|&value| scale * f64::from(value))
            .collect();
        for i in 0..n {
            a[i * n + i] += ridge;
        }
        let mut start = 0;
        while start < n {
            let end = (start + PANEL).min(n);
            factor_panel(&mut a, n, start, end)?;
            update_trailing(&mut a, n, start, end);
            start = end;
        }
        Some(Self {
            size: n,
            factor: a.iter().map(|&value| value as f32).collect(),
        })
    }

    /// Replaces `b` by the solution of `A x = b`, to single precision.
    pub fn solve(&self, b: &mut [f32]) {
        let n = self.size;
        for i in 0..n {
            let row = &self.factor[i * n..i * n + i + 1];
            b[i] = (b[i] - dot(&row[..i], &b[..i])) / row[i];
        }
        for i in (0..n).rev() {
            let row = &self.factor[i * n..i * n + i + 1];
            b[i] /= row[i];
            let (rest, last) = b.split_at_mut(i);
            axpy(-last[0], &row[..i], rest);
        }
    }
}

/// Factors the columns `start..end` of all rows from `start` on.
fn factor_panel(a: &mut [f64], n: usize, start: usize, end: usize) -> Option<()> {
    let mut pivots = [0.0; PANEL * PANEL];
    for j in start..end {
        for i in j..end {
            let sum: f64 = (start..j).map(|k| a[i * n + k] * a[j * n + k]).sum();
            let value = a[i * n + j] - sum;
            if i > j {
                a[i * n + j] = value / a[j * n + j];
            } else if value > 0.0 && value.is_finite() {
                a[i * n + j] = value.sqrt();
            } else {
                return None;
            }
        }
    }
    let width = end - start;
    for j in 0..width {
        pivots[j * PANEL..][..=j].copy_from_slice(&a[(start + j) * n + start..][..=j]);
    }
    for i in end..n {
        let row = &mut a[i * n + start..i * n + end];
        for j in 0..width {
            let pivot = &pivots[j * PANEL..=j * PANEL + j];
            let sum: f64 = row[..j].iter().zip(pivot).map(|(x, y)| x * y).sum();
            row[j] = (row[j] - sum) / pivot[j];
        }
    }
    Some(())
}

/// Subtracts the panel's outer product from what is right of and below it.
fn update_trailing(a: &mut [f64], n: usize, start: usize, end: usize) {
    let (rest, width) = (n - end, end - start);
    if rest == 0 {
        return;
    }
    let mut panel = Vec::with_capacity(rest * width);
    for i in end..n {
        panel.extend_from_slice(&a[i * n + start..i * n + end]);
    }
    let trailing = &mut a[end * n + end..];
    assert!(
        trailing.len() >= (rest - 1) * n + rest,
        "the trailing block lies within the matrix"
    );
    // SAFETY: `panel` holds rest · width elements and is read as rest × width and its transpose;
    // the assertion shows that the rest × rest block with row stride n ends within `trailing`,
    // which is borrowed uniquely and does not overlap `panel`.
    unsafe {
        gemm::gemm(
            rest,
            rest,
            width,
            trailing.as_mut_ptr(),
            1,
            n as isize,
            true,
            panel.as_ptr(),
            1,
            width as isize,
            panel.as_ptr(),
            width as isize,
            1,
            1.0,
            -1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solves_what_it_factored() {
        let n = 131;
        let data = (0..2 * n * n)
            .map(|i| ((i * 7919 % 1013) as f32 / 506.0) - 1.0)
            .collect();
        let gram = Matrix::new(2 * n, n, data).gram();
        let factor = Cholesky::of_shifted(&gram, 0.25, 3.0).unwrap();
        let x: Vec<f32> = (0..n).map(|i| (i as f32).sin()).collect();
        let mut b: Vec<f32> = gram
            .apply(&x)
            .iter()
            .zip(&x)
            .map(|(g, x)| 0.25 * g + 3.0 * x)
            .collect();
        factor.solve(&mut b);
        for (found, expected) in b.iter().zip(&x) {
            assert!((found - expected).abs() < 1e-3, "{found} {expected}");
        }
    }

    #[test]
    fn refuses_what_is_not_positive() {
        let gram = Matrix::new(2, 2, vec![1.0, 2.0, 2.0, 1.0]);
        assert!(Cholesky::of_shifted(&gram, 1.0, 0.0).is_none());
        assert!(Cholesky::of_shifted(&gram, 1.0, f64::NAN).is_none());
    }
}
