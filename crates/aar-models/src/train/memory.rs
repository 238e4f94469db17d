//! How much memory a run needs, reckoned before it begins.

use serde::Serialize;

use super::{Plan, Trained};
use crate::config::Config;
use crate::decoder::trace::{Route, Trace};
use crate::lora::Lora;
use crate::pack;
use crate::sequence::Sequence;

/// Bytes that a run holds at its peak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// The decoder's weights, adapters included.
    pub weights: u64,
    /// Gradients and the optimiser's two moments.
    pub optimiser: u64,
    /// What forward and backward pass hold for the largest pack.
    pub activations: u64,
    /// States below the lowest trained block, kept from epoch to epoch; 0 where they are computed again.
    pub states: u64,
}

impl Memory {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights + self.optimiser + self.activations + self.states
    }

    /// Reckons it.
    pub(super) fn of(
        config: &Config,
        lora: Option<&Lora>,
        sequences: &[Sequence],
        plan: &Plan,
    ) -> Self {
        let number = size_of::<f32>() as u64;
        let adapters = lora.map_or(0, |lora| lora.parameters(config));
        let trained = match plan.trained {
            Trained::Adapters => adapters,
            Trained::LastBlocks(count) => count * config.block_parameters(),
            Trained::Everything => config.parameters(),
        };
        let weights = (config.parameters() + adapters) as u64 * number;
        let lowest = lowest(config, plan.trained);
        let route = Route {
            threads: 1,
            lowest,
            recompute: plan.recompute,
        };
        // Packs are made of whatever the order brings together, so the worst is assumed.
        let lengths = sequences.iter().map(|s| s.tokens.len());
        let all: usize = lengths.clone().sum();
        let limit = plan.pack_tokens.max(lengths.clone().max().unwrap_or(0));
        let tokens = limit
            .min(largest(lengths, plan.batch))
            .min(pack::most_rows(sequences, plan.pack_tokens));
        let places = sequences.iter().map(|s| s.places.len());
        let places = limit.min(largest(places, plan.batch));
        let activations = Trace::bytes(config, route, tokens, places) as u64;
        let kept = lowest > 0 && plan.epochs > 1;
        Self {
            weights,
            optimiser: 3 * trained as u64 * number,
            activations,
            states: u64::from(kept) * (all * config.width) as u64 * number,
        }
    }
}

/// The sum of the `count` largest numbers.
fn largest(numbers: impl Iterator<Item = usize>, count: usize) -> usize {
    let mut numbers: Vec<usize> = numbers.collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    numbers.iter().take(count).sum()
}

/// The lowest block with something trained in or below it.
pub(super) fn lowest(config: &Config, trained: Trained) -> usize {
    match trained {
        Trained::LastBlocks(count) => config.layers.saturating_sub(count),
        Trained::Adapters | Trained::Everything => 0,
    }
}
