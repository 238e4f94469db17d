//! Linear maps with their LoRA adapters, forward and backward.
//!
//! Maps of the same input lie one under the other and are one product: queries, keys and values; gate and up. An
//! adapter (Hu et al. 2021, "LoRA", section 4.1) adds `scale · (x Aᵀ) Bᵀ` to the outputs of one of them.

use super::parameter::Parameter;
use crate::kernel::{View, fill_rows, shared_matmul};
use crate::pack::Rows;

/// One or more maps of the same input.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Linear {
    pub(crate) inputs: usize,
    /// `outputs × inputs`; its pieces are the maps.
    pub(crate) weight: Parameter,
    /// As many numbers as outputs, or no pieces.
    pub(crate) bias: Parameter,
    /// One for each map, in their order.
    pub(crate) adapters: Vec<Option<Adapter>>,
}

/// The low-rank update of one map.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Adapter {
    /// `rank × inputs`.
    pub(crate) a: Parameter,
    /// `outputs × rank`.
    pub(crate) b: Parameter,
}

impl Adapter {
    fn rank(&self) -> usize {
        self.a.pieces.iter().map(|p| p.1).sum()
    }
}

impl Linear {
    /// Outputs of all maps together.
    pub(super) fn outputs(&self) -> usize {
        self.weight.pieces.iter().map(|p| p.1).sum()
    }

    /// Adapters with the first column and the number of columns of their map.
    fn adapters(&self) -> impl Iterator<Item = (usize, usize, usize, &Adapter)> {
        let mut next = 0;
        let maps = self.weight.pieces.iter().map(move |p| {
            let at = next;
            next += p.1;
            (at, p.1)
        });
        maps.zip(&self.adapters)
            .enumerate()
            .filter_map(|(map, ((at, width), adapter))| Some((map, at, width, adapter.as_ref()?)))
    }

    /// `y = x Wᵀ + bias`, or `y += …`; rows of `x` and `y` are dense.
    pub(super) fn forward(
        &self,
        threads: usize,
        scale: f32,
        x: &[f32],
        rows: Rows,
        y: &mut [f32],
        mut add: bool,
    ) {
        let outputs = self.outputs();
        let y = &mut y[..rows.padded * outputs];
        if !self.bias.data.is_empty() {
            fill_rows(y, &self.bias.data);
            add = true;
        }
        let x = View::dense(x, rows.padded, self.inputs);
        let weight = View::dense(&self.weight.data, outputs, self.inputs).transposed();
        shared_matmul(threads, y, outputs, x, weight, 1.0, add);
        for (_, at, width, adapter) in self.adapters() {
            let rank = adapter.rank();
            let mut low = vec![0.0; rows.padded * rank];
            let a = View::dense(&adapter.a.data, rank, self.inputs).transposed();
            shared_matmul(threads, &mut low, rank, x, a, 1.0, false);
            let b = View::dense(&adapter.b.data, width, rank).transposed();
            let low = View::dense(&low, rows.padded, rank);
            shared_matmul(threads, &mut y[at..], outputs, low, b, scale, true);
        }
    }

    /// Adds the gradients of what is trained to `gradients`; writes that of `x` into `dx`, if it is wanted.
    #[expect(
        clippy::too_many_arguments,
        reason = "two of the three gradients have a buffer of their own"
    )]
    pub(super) fn backward(
        &self,
        threads: usize,
        scale: f32,
        x: &[f32],
        rows: Rows,
        dy: &[f32],
        gradients: &mut Linear,
        mut dx: Option<&mut [f32]>,
    ) {
        let outputs = self.outputs();
        let live = rows.live;
        let (x_live, dy_live) = (
            View::dense(x, live, self.inputs),
            View::dense(dy, live, outputs),
        );
        if gradients.weight.is_trained() {
            let (out, inputs) = (&mut gradients.weight.data, self.inputs);
            shared_matmul(
                threads,
                out,
                inputs,
                dy_live.transposed(),
                x_live,
                1.0,
                true,
            );
        }
        if gradients.bias.is_trained() {
            for row in dy[..live * outputs].chunks_exact(outputs) {
                for (g, &v) in gradients.bias.data.iter_mut().zip(row) {
                    *g += v;
                }
            }
        }
        if let Some(dx) = &mut dx {
            let dy = View::dense(dy, rows.padded, outputs);
            let weight = View::dense(&self.weight.data, outputs, self.inputs);
            shared_matmul(threads, dx, self.inputs, dy, weight, 1.0, false);
        }
        for (map, at, width, adapter) in self.adapters() {
            let rank = adapter.rank();
            let part = |rows| View::rows(&dy[at..], rows, width, outputs);
            let a = View::dense(&adapter.a.data, rank, self.inputs);
            let b = View::dense(&adapter.b.data, width, rank);
            let mut dlow = vec![0.0; rows.padded * rank];
            shared_matmul(threads, &mut dlow, rank, part(rows.padded), b, scale, false);
            if let Some(dx) = &mut dx {
                let dlow = View::dense(&dlow, rows.padded, rank);
                shared_matmul(threads, dx, self.inputs, dlow, a, 1.0, true);
            }
            let Some(Some(into)) = gradients.adapters.get_mut(map) else {
                continue;
            };
            if into.a.is_trained() {
                let dlow = View::dense(&dlow, live, rank).transposed();
                let (out, inputs) = (&mut into.a.data, self.inputs);
                shared_matmul(threads, out, inputs, dlow, x_live, 1.0, true);
            }
            if into.b.is_trained() {
                let mut low = vec![0.0; rows.padded * rank];
                let x = View::dense(x, rows.padded, self.inputs);
                shared_matmul(threads, &mut low, rank, x, a.transposed(), 1.0, false);
                let low = View::dense(&low, live, rank);
                let dy = part(live).transposed();
                shared_matmul(threads, &mut into.b.data, rank, dy, low, scale, true);
            }
        }
    }

    /// Adds each adapter's product to its map and removes it.
    pub(crate) fn merge(&mut self, threads: usize, scale: f32) {
        let mut weight = std::mem::take(&mut self.weight.data);
        let inputs = self.inputs;
        for (_, at, width, adapter) in self.adapters() {
            let rank = adapter.rank();
            let a = View::dense(&adapter.a.data, rank, inputs);
            let b = View::dense(&adapter.b.data, width, rank);
            shared_matmul(
                threads,
                &mut weight[at * inputs..],
                inputs,
                b,
                a,
                scale,
                true,
            );
        }
        self.weight.data = weight;
        self.adapters.iter_mut().for_each(|adapter| *adapter = None);
    }

    /// The same form with zeros where `weights` or `adapters` are trained.
    pub(super) fn like(&self, weights: bool, adapters: bool) -> Self {
        let copy = |adapter: &Adapter| Adapter {
            a: adapter.a.like(adapters),
            b: adapter.b.like(adapters),
        };
        Self {
            inputs: self.inputs,
            weight: self.weight.like(weights),
            bias: self.bias.like(weights),
            adapters: self.adapters.iter().map(|a| a.as_ref().map(copy)).collect(),
        }
    }

    /// All its parameters, to look at.
    pub(super) fn views(&self) -> impl Iterator<Item = &Parameter> {
        let adapters = self.adapters.iter().flatten();
        [&self.weight, &self.bias]
            .into_iter()
            .chain(adapters.flat_map(|adapter| [&adapter.a, &adapter.b]))
    }

    /// All its parameters, to change them.
    pub(super) fn parameters(&mut self) -> impl Iterator<Item = &mut Parameter> {
        let adapters = self.adapters.iter_mut().flatten();
        [&mut self.weight, &mut self.bias]
            .into_iter()
            .chain(adapters.flat_map(|adapter| [&mut adapter.a, &mut adapter.b]))
    }
}
