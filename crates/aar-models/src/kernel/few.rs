//! Products of few rows with a large matrix, as in generating one token at a time. There, `gemm` would spend most of the time
//! on laying the matrix out anew; here it is read once, as it lies.

use pulp::{Arch, Simd, WithSimd};

use super::share;

/// Rows of each operand that one tile takes: with sixteen sums, every number that is read is used four times.
const TILE: usize = 4;

/// `out += scale · x Wᵀ`: `x` has rows of `inputs` numbers, `w` too, and rows of `out`, `stride` apart, get a number for each
/// row of `w`. On one machine each number's bits depend on its two rows alone, whatever stands beside them.
pub(crate) fn add_few(
    threads: usize,
    out: &mut [f32],
    stride: usize,
    x: &[f32],
    w: &[f32],
    inputs: usize,
    scale: f32,
) {
    let (rows, outputs) = (x.len() / inputs, w.len() / inputs);
    // A row for each output, so that threads write to places of their own.
    let mut turned = vec![0.0; outputs * rows];
    share(threads, outputs, &mut turned, rows, |run, out| {
        Arch::new().dispatch(Dots {
            x,
            w: &w[run.start * inputs..run.end * inputs],
            inputs,
            out,
        });
    });
    for (o, numbers) in turned.chunks_exact(rows).enumerate() {
        for (r, v) in numbers.iter().enumerate() {
            out[r * stride + o] += scale * v;
        }
    }
}

/// The dot products of all rows of `w` with all rows of `x`.
struct Dots<'a> {
    x: &'a [f32],
    w: &'a [f32],
    inputs: usize,
    /// A row for each row of `w`.
    out: &'a mut [f32],
}

impl WithSimd for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, w, inputs, out } = self;
        let (rows, outputs) = (x.len() / inputs, w.len() / inputs);
        for o in (0..outputs).step_by(TILE) {
            for r in (0..rows).step_by(TILE) {
                let (w, x) = (&w[o * inputs..], &x[r * inputs..]);
                let out = &mut out[o * rows + r..];
                if o + TILE <= outputs && r + TILE <= rows {
                    tile::<S, TILE>(simd, x, w, inputs, out, rows);
                    continue;
                }
                for i in 0..TILE.min(outputs - o) {
                    for j in 0..TILE.min(rows - r) {
                        let (w, x) = (&w[i * inputs..], &x[j * inputs..]);
                        tile::<S, 1>(simd, x, w, inputs, &mut out[i * rows + j..], rows);
                    }
                }
            }
        }
    }
}

/// The dot products of `N` rows with `N` rows.
#[inline(always)]
fn tile<S: Simd, const N: usize>(
    simd: S,
    x: &[f32],
    w: &[f32],
    inputs: usize,
    out: &mut [f32],
    stride: usize,
) {
    let x: [(&[S::f32s], &[f32]); N] =
        std::array::from_fn(|row| S::as_simd_f32s(&x[row * inputs..][..inputs]));
    let w: [(&[S::f32s], &[f32]); N] =
        std::array::from_fn(|row| S::as_simd_f32s(&w[row * inputs..][..inputs]));
    let vectors = x[0].0.len();
    // Of the same length, which the compiler can then count on.
    let xs = x.map(|row| &row.0[..vectors]);
    let ws = w.map(|row| &row.0[..vectors]);
    let mut sums = [[simd.splat_f32s(0.0); N]; N];
    for k in 0..vectors {
        // Whole arrays at a time, so that the sums stay in registers.
        let x: [S::f32s; N] = std::array::from_fn(|j| xs[j][k]);
        let w: [S::f32s; N] = std::array::from_fn(|i| ws[i][k]);
        sums = std::array::from_fn(|i| {
            std::array::from_fn(|j| simd.mul_add_f32s(x[j], w[i], sums[i][j]))
        });
    }
    for (i, (sums, w)) in sums.iter().zip(w).enumerate() {
        for (j, (&sum, x)) in sums.iter().zip(x).enumerate() {
            let mut total = simd.reduce_sum_f32s(sum);
            for (a, b) in x.1.iter().zip(w.1) {
                total += a * b;
            }
            out[i * stride + j] = total;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dot_products_and_do_not_depend_on_their_company() {
        let number = |i: usize| ((i * 7919) % 1013) as f32 / 500.0 - 1.0;
        for (inputs, outputs, rows) in [(576, 70, 16), (40, 9, 7), (8, 33, 1), (100, 200, 33)] {
            let x: Vec<f32> = (0..rows * inputs).map(number).collect();
            let w: Vec<f32> = (0..outputs * inputs).map(|i| number(i + 3)).collect();
            let alone = |r: usize, o: usize| {
                let mut out = [1.0];
                let (x, w) = (&x[r * inputs..][..inputs], &w[o * inputs..][..inputs]);
                add_few(1, &mut out, 1, x, w, inputs, 0.5);
                let terms = x.iter().zip(w).map(|(&a, &b)| f64::from(a) * f64::from(b));
                let want = 1.0 + 0.5 * terms.sum::<f64>();
                assert!(
                    (f64::from(out[0]) - want).abs() < 1e-4,
                    "{} for {want}",
                    out[0]
                );
                out[0]
            };
            for threads in [1, 3] {
                let stride = outputs + 2;
                let mut out = vec![1.0; rows * stride];
                add_few(threads, &mut out, stride, &x, &w, inputs, 0.5);
                for (r, out) in out.chunks_exact(stride).enumerate() {
                    for (o, &got) in out[..outputs].iter().enumerate() {
                        assert_eq!(got, alone(r, o), "row {r}, output {o}");
                    }
                    assert_eq!(out[outputs..], [1.0; 2]);
                }
            }
        }
    }
}
