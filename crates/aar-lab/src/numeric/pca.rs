//! The leading principal components, by block power iteration on the covariance.

use super::Matrix;
use super::kernel::{axpy, dot};
use super::random::normal;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Vectors iterated beyond those wanted: they take up the slow convergence at the edge.
const SPARE: usize = 12;
const MOST_ITERATIONS: usize = 64;
/// Relative change of the wanted eigenvalues at which the iteration ends.
const TOLERANCE: f64 = 1e-6;

/// Directions of largest variance.
#[derive(Clone, Debug)]
pub struct Pca {
    /// `width × components`, orthonormal columns, by falling variance. The element of largest
    /// size in each column is positive, so that signs do not depend on the start.
    pub directions: Matrix,
    /// Eigenvalues of the Gram matrix, one per component.
    pub values: Vec<f64>,
}

impl Pca {
    /// The `wanted` leading eigenvectors of a Gram matrix `XᵀX` (X centred by the caller); fewer
    /// if the matrix is smaller.
    ///
    /// Source: subspace iteration with Rayleigh–Ritz (Golub and Van Loan 2013, *Matrix
    /// Computations*, section 8.2.4), from a fixed random start.
    #[must_use]
    pub fn of_gram(gram: &Matrix, wanted: usize) -> Self {
        let n = gram.rows();
        let wanted = wanted.min(n);
        let block = (wanted + SPARE).min(n);
        let mut rng = ChaCha8Rng::seed_from_u64(0x5eed);
        // One basis vector per row, so that vectors are contiguous.
        let start = (0..block * n).map(|_| normal(&mut rng) as f32).collect();
        let mut basis = Matrix::new(block, n, start);
        let mut values = vec![0.0; block];
        for iteration in 0..MOST_ITERATIONS {
            basis = basis.times(gram);
            orthonormalise(&mut basis);
            if iteration % 8 != 7 && iteration + 1 != MOST_ITERATIONS {
                continue;
            }
            let image = basis.times(gram);
            let (ritz, rotation) = symmetric_eigen(&image.times_transposed(&basis));
            basis = rotation.times(&basis);
            let change = (0..wanted)
                .map(|i| (ritz[i] - values[i]).abs())
                .fold(0.0, f64::max);
            values = ritz;
            if change <= TOLERANCE * values[0].abs() {
                break;
            }
        }
        let mut directions = Matrix::zeros(n, wanted);
        for c in 0..wanted {
            let row = basis.row(c);
            let peak = row.iter().fold(
                0.0f32,
                |peak, &v| if v.abs() > peak.abs() { v } else { peak },
            );
            let sign = if peak < 0.0 { -1.0 } else { 1.0 };
            for (r, &value) in row.iter().enumerate() {
                directions.row_mut(r)[c] = sign * value;
            }
        }
        values.truncate(wanted);
        Self { directions, values }
    }
}

/// Gram–Schmidt on rows, each twice ("twice is enough"); a row that vanishes becomes zero.
fn orthonormalise(basis: &mut Matrix) {
    let width = basis.cols();
    for row in 0..basis.rows() {
        let (done, rest) = basis.data_mut().split_at_mut(row * width);
        let vector = &mut rest[..width];
        let size = dot(vector, vector).sqrt();
        for _ in 0..2 {
            for other in done.chunks_exact(width) {
                axpy(-dot(other, vector), other, vector);
            }
        }
        let length = dot(vector, vector).sqrt();
        let keep = length > 1e-6 * size && length.is_finite();
        vector
            .iter_mut()
            .for_each(|v| *v = if keep { *v / length } else { 0.0 });
    }
}

/// Eigenvalues by falling size and eigenvectors as rows, by cyclic Jacobi rotations (Golub and Van
/// Loan 2013, section 8.5).
fn symmetric_eigen(matrix: &Matrix) -> (Vec<f64>, Matrix) {
    let n = matrix.rows();
    let mut a: Vec<f64> = matrix.data().iter().map(|&v| f64::from(v)).collect();
    let mut vectors = vec![0.0; n * n];
    for i in 0..n {
        vectors[i * n + i] = 1.0;
        for j in 0..i {
            let mean = (a[i * n + j] + a[j * n + i]) / 2.0;
            (a[i * n + j], a[j * n + i]) = (mean, mean);
        }
    }
    let total: f64 = a.iter().map(|v| v * v).sum();
    for _ in 0..30 {
        let off: f64 = (0..n)
            .flat_map(|i| (0..i).map(move |j| (i, j)))
            .map(|(i, j)| a[i * n + j].powi(2))
            .sum();
        if off <= 1e-20 * total {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut vectors, n, p, q);
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[j * n + j].total_cmp(&a[i * n + i]));
    let values = order.iter().map(|&i| a[i * n + i]).collect();
    let rows = order
        .iter()
        .flat_map(|&i| vectors[i * n..(i + 1) * n].iter().map(|&v| v as f32));
    (values, Matrix::new(n, n, rows.collect()))
}

/// Rotates the plane of `p` and `q` so that their shared element becomes 0.
fn rotate(a: &mut [f64], vectors: &mut [f64], n: usize, p: usize, q: usize) {
    let shared = a[p * n + q];
    if shared.abs() < 1e-300 {
        return;
    }
    let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * shared);
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let t = if theta == 0.0 { 1.0 } else { t };
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    for k in 0..n {
        let (x, y) = (a[k * n + p], a[k * n + q]);
        a[k * n + p] = c * x - s * y;
        a[k * n + q] = s * x + c * y;
    }
    for k in 0..n {
        let (x, y) = (a[p * n + k], a[q * n + k]);
        a[p * n + k] = c * x - s * y;
        a[q * n + k] = s * x + c * y;
        let (x, y) = (vectors[p * n + k], vectors[q * n + k]);
        vectors[p * n + k] = c * x - s * y;
        vectors[q * n + k] = s * x + c * y;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_axes_of_a_known_covariance() {
        let n = 40;
        let mut gram = Matrix::zeros(n, n);
        for i in 0..n {
            gram.row_mut(i)[i] = 1.0 + (n - i) as f32;
        }
        let pca = Pca::of_gram(&gram, 5);
        for c in 0..5 {
            assert!(
                (pca.values[c] - (1.0 + (n - c) as f64)).abs() < 1e-3,
                "{:?}",
                pca.values
            );
            assert!((pca.directions.row(c)[c] - 1.0).abs() < 1e-3);
        }
        assert_eq!(Pca::of_gram(&gram, 100).directions.cols(), n);
    }

    #[test]
    fn a_matrix_of_low_rank_gives_finite_directions() {
        let mut gram = Matrix::zeros(20, 20);
        gram.row_mut(3)[3] = 2.0;
        let pca = Pca::of_gram(&gram, 8);
        assert!(pca.directions.data().iter().all(|v| v.is_finite()));
        assert!((pca.values[0] - 2.0).abs() < 1e-5);
    }
}
