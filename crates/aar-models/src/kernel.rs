//! The arithmetic under all models: matrix products, sharing of rows among threads, sums and functions.
//!
//! Everything here gives the same bits for a row whatever rows lie beside it. Sums run in a fixed
//! order (sixteen lanes, then the lanes), products over a row's own terms only. `pulp` compiles each
//! loop for the vector units that the processor turns out to have; no loop contracts a product and a
//! sum, so that choice does not change a bit either.

mod few;

use std::ops::Range;

pub(crate) use few::add_few;
use gemm::Parallelism;
use pulp::Arch;

/// Fewest rows of a matrix product. Below a few rows `gemm` takes other paths (matrix-vector, or
/// dot products for outputs of at most 256 numbers), which add in another order; with at least this
/// many rows and 16 columns it never does.
pub(crate) const MIN_ROWS: usize = 32;

/// Sixteen running sums: enough for the widest vector unit, and a fixed order of addition.
const LANES: usize = 16;

/// A read-only matrix inside a slice: row `i` begins at `i * stride`.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub data: &'a [f32],
    pub rows: usize,
    pub cols: usize,
    /// Distance between rows, and between the numbers of one row.
    pub strides: (usize, usize),
}

impl<'a> View<'a> {
    /// Rows of `cols` numbers, `stride` apart.
    pub(crate) fn rows(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        Self {
            data,
            rows,
            cols,
            strides: (stride, 1),
        }
    }

    /// A dense matrix.
    pub(crate) fn dense(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::rows(data, rows, cols, cols)
    }

    /// The same numbers with rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        let (row, col) = self.strides;
        Self {
            data: self.data,
            rows: self.cols,
            cols: self.rows,
            strides: (col, row),
        }
    }

    fn span(&self) -> usize {
        span(self.rows, self.cols, self.strides)
    }
}

/// How many numbers a matrix reaches over, from its first to its last.
fn span(rows: usize, cols: usize, strides: (usize, usize)) -> usize {
    if rows == 0 || cols == 0 {
        0
    } else {
        (rows - 1) * strides.0 + (cols - 1) * strides.1 + 1
    }
}

/// `out = scale * a · b`, or `out += …` where `add`; rows of `out` are `out_stride` apart.
///
/// Runs on the calling thread.
///
/// # Panics
/// If the shapes do not fit each other or their slices: always a fault of this crate.
pub(crate) fn matmul(
    out: &mut [f32],
    out_stride: usize,
    a: View<'_>,
    b: View<'_>,
    scale: f32,
    add: bool,
) {
    assert_eq!(a.cols, b.rows, "inner dimensions differ");
    assert!(
        a.span() <= a.data.len() && b.span() <= b.data.len(),
        "operand too short"
    );
    assert!(out_stride >= b.cols, "rows of the result would overlap");
    assert!(
        span(a.rows, b.cols, (out_stride, 1)) <= out.len(),
        "result too short"
    );
    // SAFETY: the asserts above bound every address by the slices' lengths, distinct rows of `out` do
    // not overlap, and `out` is borrowed mutably, so it aliases neither operand.
    unsafe { product(out.as_mut_ptr(), out_stride, a, b, scale, add) }
}

/// The call of `gemm`.
///
/// # Safety
/// The shapes must fit each other and lie inside their slices, and `out` must point to `a.rows` rows of
/// `b.cols` numbers, `out_stride` apart, that nothing else reads or writes meanwhile.
unsafe fn product(
    out: *mut f32,
    out_stride: usize,
    a: View<'_>,
    b: View<'_>,
    scale: f32,
    add: bool,
) {
    // SAFETY: as the caller promises. Lengths of slices fit `isize`.
    unsafe {
        gemm::gemm(
            a.rows,
            b.cols,
            a.cols,
            out,
            1,
            out_stride as isize,
            add,
            a.data.as_ptr(),
            a.strides.1 as isize,
            a.strides.0 as isize,
            b.data.as_ptr(),
            b.strides.1 as isize,
            b.strides.0 as isize,
            1.0,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// [`matmul`] shared out among threads: the rows of the result, or its columns where rows are few. No number's bits
/// depend on how.
pub(crate) fn shared_matmul(
    threads: usize,
    out: &mut [f32],
    out_stride: usize,
    a: View<'_>,
    b: View<'_>,
    scale: f32,
    add: bool,
) {
    let parts = (b.cols / (SMALL_SIDE + 1)).clamp(1, threads);
    if a.rows >= 2 * MIN_ROWS || parts == 1 {
        let least = if b.cols > SMALL_SIDE {
            MIN_ROWS
        } else {
            (SMALL_SIDE + 1).max(SMALL / b.cols.max(1) + 1)
        };
        let threads = threads.min(a.rows / least).max(1);
        return share(threads, a.rows, out, out_stride, |rows, out| {
            let part = View {
                data: &a.data[rows.start * a.strides.0..],
                rows: rows.len(),
                ..a
            };
            matmul(out, out_stride, part, b, scale, add);
        });
    }
    assert!(
        out_stride >= b.cols && span(a.rows, b.cols, (out_stride, 1)) <= out.len(),
        "result too short"
    );
    let start = Start(out.as_mut_ptr());
    rayon::scope(move |scope| {
        for part in 0..parts {
            let (from, to) = (part * b.cols / parts, (part + 1) * b.cols / parts);
            scope.spawn(move |_| {
                let columns = View {
                    data: &b.data[from * b.strides.1..],
                    cols: to - from,
                    ..b
                };
                assert_eq!(a.cols, columns.rows, "inner dimensions differ");
                assert!(
                    a.span() <= a.data.len() && columns.span() <= columns.data.len(),
                    "operand too short"
                );
                // The whole of `start` is captured, not its field, which cannot be sent.
                let start = start;
                // SAFETY: the asserts bound every address by the slices' lengths. Each part writes other columns of
                // `out`, which stays mutably borrowed until all parts are done.
                unsafe { product(start.0.add(from), out_stride, a, columns, scale, add) }
            });
        }
    });
}

/// `gemm` adds up in another order where neither rows nor columns of a result are more than this, so no part of a product
/// is that small unless the whole is.
const SMALL_SIDE: usize = 64;

/// The same for all numbers of a result.
const SMALL: usize = 256;

/// Where a result begins, for threads that write different columns of it.
#[derive(Clone, Copy)]
struct Start(*mut f32);

// SAFETY: what it points to is numbers, and `shared_matmul` gives each thread other ones.
unsafe impl Send for Start {}

/// Cuts a matrix of `rows` rows, `stride` apart, into one run of rows for each thread and works on them at the same
/// time. No run has fewer than [`MIN_ROWS`] rows, unless the matrix itself has.
pub(crate) fn share(
    threads: usize,
    rows: usize,
    out: &mut [f32],
    stride: usize,
    work: impl Fn(Range<usize>, &mut [f32]) + Sync,
) {
    let parts = (rows / MIN_ROWS).clamp(1, threads.max(1));
    if parts == 1 {
        return work(0..rows, out);
    }
    rayon::scope(|scope| {
        let mut rest = out;
        let work = &work;
        for part in 0..parts {
            let run = part * rows / parts..(part + 1) * rows / parts;
            let length = if part + 1 == parts {
                rest.len()
            } else {
                run.len() * stride
            };
            let (mine, others) = rest.split_at_mut(length);
            rest = others;
            scope.spawn(move |_| work(run, mine));
        }
    });
}

/// Adds up `term(x)` over a slice, in the fixed order.
#[inline(always)]
pub(crate) fn sum_of(x: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let mut chunks = x.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane += term(v);
        }
    }
    let mut total = 0.0;
    for &v in chunks.remainder() {
        total += term(v);
    }
    for lane in lanes {
        total += lane;
    }
    total
}

/// The greatest number of a slice, lane by lane so that it vectorises.
#[inline(always)]
fn max_of(x: &[f32]) -> f32 {
    let greater = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = x.chunks_exact(LANES);
    let mut max = chunks
        .remainder()
        .iter()
        .fold(f32::NEG_INFINITY, |a, &b| greater(a, b));
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane = greater(*lane, v);
        }
    }
    for lane in lanes {
        max = greater(max, lane);
    }
    max
}

/// LayerNorm of each row of `x` in place: `(x − mean) / sqrt(variance + eps) * weight + bias`.
pub(crate) fn layer_norm(x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
    let d = weight.len();
    Arch::new().dispatch(|| {
        for row in x.chunks_exact_mut(d) {
            let mean = sum_of(row, |v| v) / d as f32;
            let variance = sum_of(row, |v| (v - mean) * (v - mean)) / d as f32;
            let scale = 1.0 / (variance + eps).sqrt();
            for ((v, &w), &b) in row.iter_mut().zip(weight).zip(bias) {
                *v = (*v - mean) * scale * w + b;
            }
        }
    });
}

/// Sets every row of `x` to `bias`, so that a product added to it carries the bias.
pub(crate) fn fill_rows(x: &mut [f32], bias: &[f32]) {
    for row in x.chunks_exact_mut(bias.len()) {
        row.copy_from_slice(bias);
    }
}

/// The products of two slices' numbers added up, in the fixed order.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (left, right) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let mut total = 0.0;
    for (&x, &y) in left.remainder().iter().zip(right.remainder()) {
        total += x * y;
    }
    for (x, y) in left.zip(right) {
        for ((lane, &x), &y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += x * y;
        }
    }
    for lane in lanes {
        total += lane;
    }
    total
}

/// Adds `bias` to every row of `x`.
pub(crate) fn add_rows(x: &mut [f32], bias: &[f32]) {
    Arch::new().dispatch(|| {
        for row in x.chunks_exact_mut(bias.len()) {
            for (v, &b) in row.iter_mut().zip(bias) {
                *v += b;
            }
        }
    });
}

/// Softmax over the first `len` numbers of `row`; the others become 0.
pub(crate) fn softmax(row: &mut [f32], len: usize) {
    let (live, dead) = row.split_at_mut(len);
    dead.fill(0.0);
    Arch::new().dispatch(|| {
        let max = max_of(live);
        for v in live.iter_mut() {
            *v = exp(*v - max);
        }
        let scale = 1.0 / sum_of(live, |v| v);
        for v in live.iter_mut() {
            *v *= scale;
        }
    });
}

/// GELU in its exact form, `x/2 · (1 + erf(x/√2))`, in place.
pub(crate) fn gelu(x: &mut [f32]) {
    Arch::new().dispatch(|| {
        for v in x.iter_mut() {
            *v = 0.5 * *v * (1.0 + erf(*v * std::f32::consts::FRAC_1_SQRT_2));
        }
    });
}

/// `e^x` to about 2 units in the last place, without a branch, so that loops over it vectorise.
///
/// `x = n ln 2 + r` with integer `n`, a polynomial for `e^r`, and `2^n` written into the exponent.
/// Clamped to the range of normal numbers; NaN stays NaN.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Adding 1.5 · 2^23 rounds to an integer and leaves it in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.3, 88.3);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, the first with few enough bits that its product with n is exact.
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    for c in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ] {
        p = p * r + c;
    }
    let fraction = p * r * r + r + 1.0;
    fraction * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))
}

/// The error function, to about 1e-7: a quotient of polynomials in `x²` on [−3.83, 3.83], beyond
/// which single precision knows only ±1. Coefficients as in XLA's and Eigen's `erf` for f32.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let x = x.clamp(-3.832_507, 3.832_507);
    let s = x * x;
    let mut p = -2.726_142_3e-10;
    for c in [
        2.770_681_4e-8,
        -2.101_024_e-6,
        -5.692_506_4e-5,
        -7.349_906_3e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ] {
        p = p * s + c;
    }
    let mut q = -1.456_607_2e-5;
    for c in [
        -2.133_740_6e-4,
        -1.682_827e-3,
        -7.373_329_e-3,
        -1.426_473_9e-2,
    ] {
        q = q * s + c;
    }
    x * p / q
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_follows_the_standard_library() {
        for i in -8700..8800 {
            let x = i as f32 * 0.01;
            let want = f64::from(x).exp();
            assert!((f64::from(exp(x)) / want - 1.0).abs() < 3e-7, "exp({x})");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NEG_INFINITY) < 2e-38 && exp(f32::NAN).is_nan());
    }

    #[test]
    fn erf_follows_known_values() {
        // Abramowitz & Stegun, table 7.1.
        for (x, want) in [
            (0.0, 0.0),
            (0.1, 0.112_462_92),
            (0.5, 0.520_499_9),
            (1.0, 0.842_700_8),
            (2.0, 0.995_322_3),
            (5.0, 1.0),
        ] {
            assert!((erf(x) - want).abs() < 3e-7, "erf({x}) = {}", erf(x));
            assert!((erf(-x) + want).abs() < 3e-7);
        }
    }

    #[test]
    fn products_with_few_columns_do_not_depend_on_the_threads() {
        let number = |i: usize| ((i * 7919) % 1013) as f32 / 500.0 - 1.0;
        for (k, n) in [(32, 2), (576, 4), (1536, 8), (1536, 64)] {
            for rows in [40, 64, 100, 130, 250, 700] {
                let a: Vec<f32> = (0..rows * k).map(number).collect();
                let b: Vec<f32> = (0..k * n).map(|i| number(i + 5)).collect();
                let product = |threads: usize| {
                    let (a, b) = (View::dense(&a, rows, k), View::dense(&b, n, k).transposed());
                    let mut out = vec![0.0; rows * n];
                    shared_matmul(threads, &mut out, n, a, b, 1.0, false);
                    // The gradient by the right side: few rows, and all rows as terms.
                    let mut turned = vec![0.0; n * k];
                    let left = View::dense(&out, rows, n).transposed();
                    shared_matmul(threads, &mut turned, k, left, a, 1.0, false);
                    (out, turned)
                };
                let one = product(1);
                for threads in [2, 3, 7, 16] {
                    assert!(
                        product(threads) == one,
                        "{threads} threads, {rows} x {k} x {n}"
                    );
                }
            }
        }
    }

    fn transpose(m: View<'_>) -> Vec<f32> {
        let rows = (0..m.cols).flat_map(|c| (0..m.rows).map(move |r| m.data[r * m.cols + c]));
        rows.collect()
    }

    #[test]
    fn a_row_of_a_product_does_not_depend_on_the_others() {
        let number = |i: usize| ((i * 7919) % 1013) as f32 / 500.0 - 1.0;
        for (k, n) in [(576, 960), (1536, 576), (32, 48), (384, 1536)] {
            let b: Vec<f32> = (0..k * n).map(number).collect();
            let a: Vec<f32> = (0..200 * k).map(|i| number(i + 5)).collect();
            let product = |rows: usize| {
                let mut out = vec![0.0; rows * n];
                let (a, b) = (View::dense(&a, rows, k), View::dense(&b, k, n));
                matmul(&mut out, n, a, b, 1.0, false);
                out
            };
            let whole = product(200);
            for rows in [MIN_ROWS, 33, 47, 64, 65, 97, 128, 199] {
                assert_eq!(product(rows), whole[..rows * n], "{rows} rows, {k} x {n}");
                // Nor on the threads that share rows or columns, nor on how the weights lie.
                for threads in [1, 2, 3, 7] {
                    let mut out = vec![0.0; rows * n];
                    let (a, b) = (View::dense(&a, rows, k), View::dense(&b, k, n));
                    shared_matmul(threads, &mut out, n, a, b, 1.0, false);
                    assert_eq!(
                        out,
                        whole[..rows * n],
                        "{threads} threads, {rows} x {k} x {n}"
                    );
                    let turned = transpose(b);
                    let b = View::dense(&turned, n, k).transposed();
                    shared_matmul(threads, &mut out, n, a, b, 1.0, false);
                    assert_eq!(out, whole[..rows * n], "{threads} threads, turned");
                }
            }
        }
    }
}
