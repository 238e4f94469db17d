//! Dense row-major `f32` matrices on the `gemm` crate.

use gemm::Parallelism;

/// `rows × cols` numbers, row after row.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Matrix {
    rows: usize,
    cols: usize,
    data: Vec<f32>,
}

/// Columns of one block of [`Matrix::gram`]: large enough for the GEMM to run at full speed.
const GRAM_BLOCK: usize = 192;

impl Matrix {
    /// A matrix of zeros.
    #[must_use]
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self {
            rows,
            cols,
            data: vec![0.0; rows * cols],
        }
    }

    /// A matrix over `data`, row after row.
    ///
    /// # Panics
    /// If `data` does not hold `rows · cols` numbers.
    #[must_use]
    pub fn new(rows: usize, cols: usize, data: Vec<f32>) -> Self {
        assert_eq!(data.len(), rows * cols, "a {rows} × {cols} matrix");
        Self { rows, cols, data }
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// All numbers, row after row.
    #[must_use]
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// All numbers, row after row.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// One row.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.cols..(row + 1) * self.cols]
    }

    /// One row.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.data[row * self.cols..(row + 1) * self.cols]
    }

    /// The rows named, in that order.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let mut data = Vec::with_capacity(rows.len() * self.cols);
        for &row in rows {
            data.extend_from_slice(self.row(row));
        }
        Self {
            rows: rows.len(),
            cols: self.cols,
            data,
        }
    }

    /// This matrix on top of another of the same width.
    #[must_use]
    pub fn above(&self, below: &Self) -> Self {
        assert_eq!(self.cols, below.cols, "columns of stacked matrices");
        let data = [self.data.as_slice(), below.data.as_slice()].concat();
        Self {
            rows: self.rows + below.rows,
            cols: self.cols,
            data,
        }
    }

    /// This matrix to the left of another of the same height.
    #[must_use]
    pub fn beside(&self, right: &Self) -> Self {
        assert_eq!(self.rows, right.rows, "rows of joined matrices");
        let mut data = Vec::with_capacity(self.data.len() + right.data.len());
        for row in 0..self.rows {
            data.extend_from_slice(self.row(row));
            data.extend_from_slice(right.row(row));
        }
        Self {
            rows: self.rows,
            cols: self.cols + right.cols,
            data,
        }
    }

    /// `self · other`.
    #[must_use]
    pub fn times(&self, other: &Self) -> Self {
        assert_eq!(self.cols, other.rows, "inner dimension of a product");
        let mut product = Self::zeros(self.rows, other.cols);
        let (left, right) = (Operand::of(self), Operand::of(other));
        multiply(
            (self.rows, other.cols, self.cols),
            left,
            right,
            &mut product.data,
        );
        product
    }

    /// `self · otherᵀ`.
    #[must_use]
    pub fn times_transposed(&self, other: &Self) -> Self {
        assert_eq!(self.cols, other.cols, "inner dimension of a product");
        let mut product = Self::zeros(self.rows, other.rows);
        let (left, right) = (Operand::of(self), Operand::of(other).transposed());
        multiply(
            (self.rows, other.rows, self.cols),
            left,
            right,
            &mut product.data,
        );
        product
    }

    /// `selfᵀ · other`.
    #[must_use]
    pub fn transposed_times(&self, other: &Self) -> Self {
        assert_eq!(self.rows, other.rows, "inner dimension of a product");
        let mut product = Self::zeros(self.cols, other.cols);
        let (left, right) = (Operand::of(self).transposed(), Operand::of(other));
        multiply(
            (self.cols, other.cols, self.rows),
            left,
            right,
            &mut product.data,
        );
        product
    }

    /// `self · vector`, one number per row.
    #[must_use]
    pub fn apply(&self, vector: &[f32]) -> Vec<f32> {
        (0..self.rows)
            .map(|row| super::kernel::dot(self.row(row), vector))
            .collect()
    }

    /// `selfᵀ · self`, symmetric; only its upper blocks are computed.
    #[must_use]
    pub fn gram(&self) -> Self {
        let mut gram = Self::zeros(self.cols, self.cols);
        let starts: Vec<usize> = (0..self.cols).step_by(GRAM_BLOCK).collect();
        for (index, &i) in starts.iter().enumerate() {
            let height = GRAM_BLOCK.min(self.cols - i);
            for &j in &starts[index..] {
                let width = GRAM_BLOCK.min(self.cols - j);
                let mut block = vec![0.0; height * width];
                let left = Operand::columns(self, i).transposed();
                multiply(
                    (height, width, self.rows),
                    left,
                    Operand::columns(self, j),
                    &mut block,
                );
                for (r, line) in block.chunks_exact(width).enumerate() {
                    for (c, &value) in line.iter().enumerate() {
                        gram.data[(i + r) * self.cols + j + c] = value;
                        gram.data[(j + c) * self.cols + i + r] = value;
                    }
                }
            }
        }
        gram
    }
}

/// A strided view of numbers, for [`multiply`].
#[derive(Clone, Copy)]
struct Operand<'a> {
    data: &'a [f32],
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Operand<'a> {
    fn of(matrix: &'a Matrix) -> Self {
        Self::columns(matrix, 0)
    }

    /// The columns from `first` on.
    fn columns(matrix: &'a Matrix, first: usize) -> Self {
        let first = first.min(matrix.data.len());
        Self {
            data: &matrix.data[first..],
            row_stride: matrix.cols,
            col_stride: 1,
        }
    }

    fn transposed(self) -> Self {
        Self {
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    /// Does an `rows × cols` view stay within the data?
    fn covers(&self, rows: usize, cols: usize) -> bool {
        let last =
            rows.saturating_sub(1) * self.row_stride + cols.saturating_sub(1) * self.col_stride;
        last < self.data.len()
    }
}

/// `out = left · right` for sizes `(m, n, k)`; `out` is `m × n`, row after row.
fn multiply((m, n, k): (usize, usize, usize), left: Operand, right: Operand, out: &mut [f32]) {
    assert_eq!(out.len(), m * n, "size of a product");
    if out.is_empty() || k == 0 {
        return;
    }
    assert!(
        left.covers(m, k) && right.covers(k, n),
        "operands of a product"
    );
    // SAFETY: `covers` has checked that every element that the strides reach lies in its slice,
    // `out` holds m · n elements, and as a unique borrow it overlaps neither operand.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            false,
            left.data.as_ptr(),
            left.col_stride as isize,
            left.row_stride as isize,
            right.data.as_ptr(),
            right.col_stride as isize,
            right.row_stride as isize,
            0.0,
            1.0,
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

    fn sample(rows: usize, cols: usize) -> Matrix {
        let data = (0..rows * cols)
            .map(|i| ((i * 37 % 23) as f32 - 11.0) / 7.0)
            .collect();
        Matrix::new(rows, cols, data)
    }

    fn close(a: &Matrix, b: &Matrix) {
        assert_eq!((a.rows(), a.cols()), (b.rows(), b.cols()));
        for (x, y) in a.data().iter().zip(b.data()) {
            assert!((x - y).abs() < 1e-3, "{x} {y}");
        }
    }

    #[test]
    fn products_agree_with_sums() {
        let (a, b) = (sample(7, 5), sample(5, 3));
        let mut expected = Matrix::zeros(7, 3);
        for i in 0..7 {
            for j in 0..3 {
                expected.row_mut(i)[j] = (0..5).map(|k| a.row(i)[k] * b.row(k)[j]).sum();
            }
        }
        close(&a.times(&b), &expected);
        let transposed = |m: &Matrix| {
            let mut t = Matrix::zeros(m.cols(), m.rows());
            for i in 0..m.rows() {
                for j in 0..m.cols() {
                    t.row_mut(j)[i] = m.row(i)[j];
                }
            }
            t
        };
        close(&a.times_transposed(&transposed(&b)), &expected);
        close(&transposed(&a).transposed_times(&b), &expected);
        let wide = sample(31, 400);
        close(&wide.gram(), &wide.transposed_times(&wide));
        let column: Vec<f32> = b.data().iter().step_by(3).copied().collect();
        for (x, y) in a
            .apply(&column)
            .iter()
            .zip(expected.data().iter().step_by(3))
        {
            assert!((x - y).abs() < 1e-4);
        }
    }

    #[test]
    fn empty_matrices_multiply() {
        assert_eq!(Matrix::zeros(0, 4).times(&sample(4, 2)).rows(), 0);
        assert_eq!(sample(3, 0).gram().rows(), 0);
        assert_eq!(sample(2, 0).times(&sample(0, 2)), Matrix::zeros(2, 2));
    }
}
