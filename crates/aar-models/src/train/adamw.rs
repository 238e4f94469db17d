//! AdamW and the clipping of gradients, by PyTorch's formulas.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Numbers that one task works on.
const CHUNK: usize = 1 << 16;

/// AdamW with decoupled decay (Loshchilov and Hutter 2019, algorithm 2, as `torch.optim.AdamW` has it).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AdamW {
    /// The learning rate that the schedule scales, above 0.
    pub rate: f64,
    /// How much of the gradients' mean stays from step to step, in [0, 1).
    pub beta1: f64,
    /// How much of their squares' mean stays, in [0, 1).
    pub beta2: f64,
    /// What is added to the root of the squares' mean, above 0.
    pub eps: f64,
    /// Share of a weight that a step at rate 1 takes away; not negative.
    pub decay: f64,
}

impl Default for AdamW {
    /// The study's: rate 1e-4, betas 0.9 and 0.95, no decay.
    fn default() -> Self {
        Self {
            rate: 1e-4,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            decay: 0.0,
        }
    }
}

impl AdamW {
    /// One step at learning rate `rate`, the `step`-th (from 1). Gradients are first multiplied by `clip`.
    #[expect(
        clippy::too_many_arguments,
        reason = "a weight, its gradient, two moments, and the step"
    )]
    pub(super) fn step(
        &self,
        rate: f64,
        step: u64,
        clip: f32,
        weights: &mut [f32],
        gradients: &[f32],
        first: &mut [f32],
        second: &mut [f32],
    ) {
        let t = step as f64;
        let keep = (1.0 - rate * self.decay) as f32;
        let size = (rate / (1.0 - self.beta1.powf(t))) as f32;
        let root = (1.0 - self.beta2.powf(t)).sqrt() as f32;
        let (eps, beta2) = (self.eps as f32, self.beta2 as f32);
        let (new1, new2) = ((1.0 - self.beta1) as f32, (1.0 - self.beta2) as f32);
        weights
            .par_chunks_mut(CHUNK)
            .zip(gradients.par_chunks(CHUNK))
            .zip(first.par_chunks_mut(CHUNK))
            .zip(second.par_chunks_mut(CHUNK))
            .for_each(|(((weights, gradients), first), second)| {
                let moments = first.iter_mut().zip(second);
                for ((w, &g), (m, v)) in weights.iter_mut().zip(gradients).zip(moments) {
                    let g = g * clip;
                    *m += new1 * (g - *m);
                    *v = beta2 * *v + new2 * g * g;
                    *w = *w * keep - size * *m / (v.sqrt() / root + eps);
                }
            });
    }

    pub(super) fn fault(&self) -> Option<&'static str> {
        let share = |beta: f64| (0.0..1.0).contains(&beta);
        if !(self.rate.is_finite() && self.rate > 0.0) {
            Some("the learning rate must be above 0")
        } else if !(share(self.beta1) && share(self.beta2)) {
            Some("both betas must be in [0, 1)")
        } else if !(self.eps.is_finite() && self.eps > 0.0) {
            Some("eps must be above 0")
        } else if !(self.decay.is_finite() && self.decay >= 0.0) {
            Some("the decay must not be negative")
        } else {
            None
        }
    }
}

/// Sum of squares, the same on any number of threads.
pub(super) fn squares(numbers: &[f32]) -> f64 {
    let parts: Vec<f64> = numbers
        .par_chunks(CHUNK)
        .map(|chunk| chunk.iter().map(|&v| f64::from(v) * f64::from(v)).sum())
        .collect();
    parts.iter().sum()
}

/// What gradients of this norm are multiplied with so that it is at most `most` (as `clip_grad_norm_`).
pub(super) fn clip(norm: f64, most: Option<f64>) -> f32 {
    most.map_or(1.0, |most| (most / (norm + 1e-6)).min(1.0) as f32)
}
