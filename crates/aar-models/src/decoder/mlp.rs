//! SwiGLU, forward and backward: of each row `[gate | up]` the row `silu(gate) ∘ up`, half as wide.
//!
//! Source: Shazeer 2020, "GLU variants improve transformer", equation 6. With `σ = 1 / (1 + e^(−gate))` the gradients
//! are `dup = dy gate σ` and `dgate = dy up σ (1 + gate (1 − σ))`.

use pulp::Arch;

use crate::kernel::{exp, share};

/// `out = silu(gate) ∘ up`, rows `width` wide.
pub(super) fn forward(threads: usize, gate_up: &[f32], width: usize, out: &mut [f32]) {
    share(threads, out.len() / width, out, width, |rows, out| {
        let x = &gate_up[2 * width * rows.start..2 * width * rows.end];
        Arch::new().dispatch(|| {
            for (row, out) in x.chunks_exact(2 * width).zip(out.chunks_exact_mut(width)) {
                let (gate, up) = row.split_at(width);
                for ((o, &g), &u) in out.iter_mut().zip(gate).zip(up) {
                    *o = g / (1.0 + exp(-g)) * u;
                }
            }
        });
    });
}

/// The gradient by `gate_up`, written over it: nothing needs it any more.
pub(super) fn backward(threads: usize, gate_up: &mut [f32], width: usize, dy: &[f32]) {
    let rows = gate_up.len() / (2 * width);
    share(threads, rows, gate_up, 2 * width, |rows, x| {
        let dy = &dy[width * rows.start..width * rows.end];
        Arch::new().dispatch(|| {
            for (row, dy) in x.chunks_exact_mut(2 * width).zip(dy.chunks_exact(width)) {
                let (gate, up) = row.split_at_mut(width);
                for ((g, u), &dy) in gate.iter_mut().zip(up).zip(dy) {
                    let sigmoid = 1.0 / (1.0 + exp(-*g));
                    let through = dy * *u * sigmoid * (1.0 + *g * (1.0 - sigmoid));
                    *u = dy * *g * sigmoid;
                    *g = through;
                }
            }
        });
    });
}
