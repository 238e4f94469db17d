//! RMSNorm, forward and backward: `y = x / sqrt(mean(x²) + eps) · w`, row by row.
//!
//! Source: Zhang and Sennrich 2019, "Root mean square layer normalization", equation 4. With
//! `s = 1 / sqrt(mean(x²) + eps)` and rows of `d` numbers the gradients are
//! `dx = s (w ∘ dy) − x s³ (w ∘ dy · x) / d` and `dw = Σ dy ∘ x s` over the rows.

use pulp::Arch;

use crate::kernel::{share, sum_of};

/// The norm of each row of `x` into `out`.
pub(super) fn forward(threads: usize, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let d = weight.len();
    share(threads, out.len() / d, out, d, |rows, out| {
        let x = &x[rows.start * d..rows.end * d];
        Arch::new().dispatch(|| {
            for (row, out) in x.chunks_exact(d).zip(out.chunks_exact_mut(d)) {
                let scale = inverse(row, eps);
                for ((o, &v), &w) in out.iter_mut().zip(row).zip(weight) {
                    *o = v * scale * w;
                }
            }
        });
    });
}

/// Adds the gradient by `x` to `dx`, row by row.
pub(super) fn backward(
    threads: usize,
    x: &[f32],
    weight: &[f32],
    eps: f32,
    dy: &[f32],
    dx: &mut [f32],
) {
    let d = weight.len();
    share(threads, dx.len() / d, dx, d, |rows, dx| {
        let part = rows.start * d..rows.end * d;
        let rows = x[part.clone()]
            .chunks_exact(d)
            .zip(dy[part].chunks_exact(d));
        Arch::new().dispatch(|| {
            for ((x, dy), dx) in rows.zip(dx.chunks_exact_mut(d)) {
                backward_row(x, weight, eps, dy, dx, true);
            }
        });
    });
}

/// The norm of one row in place.
#[inline(always)]
pub(super) fn forward_row(x: &mut [f32], weight: &[f32], eps: f32) {
    let scale = inverse(x, eps);
    for (v, &w) in x.iter_mut().zip(weight) {
        *v = *v * scale * w;
    }
}

/// The gradient by one row, written to or added to `dx`.
#[inline(always)]
pub(super) fn backward_row(
    x: &[f32],
    weight: &[f32],
    eps: f32,
    dy: &[f32],
    dx: &mut [f32],
    add: bool,
) {
    let scale = inverse(x, eps);
    let mut along = 0.0;
    for ((&v, &w), &g) in x.iter().zip(weight).zip(dy) {
        along += v * w * g;
    }
    let pull = along * scale * scale * scale / x.len() as f32;
    for (((o, &v), &w), &g) in dx.iter_mut().zip(x).zip(weight).zip(dy) {
        let gradient = scale * w * g - v * pull;
        *o = if add { *o + gradient } else { gradient };
    }
}

/// Adds the gradient by the weight, over all rows of `x`, to `dw`.
pub(super) fn backward_weight(x: &[f32], eps: f32, dy: &[f32], dw: &mut [f32]) {
    let d = dw.len();
    for (x, dy) in x.chunks_exact(d).zip(dy.chunks_exact(d)) {
        let scale = inverse(x, eps);
        for ((o, &v), &g) in dw.iter_mut().zip(x).zip(dy) {
            *o += g * v * scale;
        }
    }
}

#[inline(always)]
fn inverse(row: &[f32], eps: f32) -> f32 {
    1.0 / (sum_of(row, |v| v * v) / row.len() as f32 + eps).sqrt()
}
