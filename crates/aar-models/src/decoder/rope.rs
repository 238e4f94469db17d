//! Rotary position embedding, forward and backward.
//!
//! Source: Su et al. 2021, "RoFormer", section 3.2; as in the released models, pair `i` of a head is its numbers `i` and
//! `i + head / 2`. A rotation's gradient is the rotation back.

use std::f64::consts::TAU;

use crate::config::Rope;
use crate::kernel::share;

/// How far each pair turns at each row's position.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    pairs: usize,
    /// Cosine and sine, pair after pair, row after row.
    turns: Vec<(f32, f32)>,
}

impl Turns {
    /// For heads `head` wide at the given positions.
    pub(super) fn new(rope: &Rope, head: usize, positions: &[usize]) -> Self {
        let frequencies = frequencies(rope, head);
        let mut turns = Vec::with_capacity(positions.len() * frequencies.len());
        for &position in positions {
            turns.extend(frequencies.iter().map(|frequency| {
                let (sin, cos) = (position as f64 * frequency).sin_cos();
                (cos as f32, sin as f32)
            }));
        }
        Self {
            pairs: head / 2,
            turns,
        }
    }

    /// Turns the first `width` numbers of each row of `x`, whole heads, rows `stride` apart; `back` undoes it.
    pub(super) fn apply(
        &self,
        threads: usize,
        x: &mut [f32],
        width: usize,
        stride: usize,
        back: bool,
    ) {
        let rows = self.turns.len() / self.pairs;
        share(threads, rows, &mut x[..rows * stride], stride, |rows, x| {
            let turns = self.turns[rows.start * self.pairs..].chunks_exact(self.pairs);
            for (row, turns) in x.chunks_exact_mut(stride).zip(turns) {
                for head in row[..width].chunks_exact_mut(2 * self.pairs) {
                    let (first, second) = head.split_at_mut(self.pairs);
                    for ((a, b), &(cos, sin)) in first.iter_mut().zip(second).zip(turns) {
                        let sin = if back { -sin } else { sin };
                        (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
                    }
                }
            }
        });
    }
}

/// Radians that each pair turns by a position.
fn frequencies(rope: &Rope, head: usize) -> Vec<f64> {
    let plain = (0..head / 2).map(|pair| rope.base.powf(-2.0 * pair as f64 / head as f64));
    let Some(scaling) = rope.scaling else {
        return plain.collect();
    };
    plain
        .map(|frequency| {
            // 0 where the wavelength is over context / low, 1 where it is under context / high.
            let turns = scaling.context * frequency / TAU;
            let kept = ((turns - scaling.low) / (scaling.high - scaling.low)).clamp(0.0, 1.0);
            frequency * (kept + (1.0 - kept) / scaling.factor)
        })
        .collect()
}
