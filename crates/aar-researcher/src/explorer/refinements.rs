//! Adding refinements to a recipe and tuning those that it has.

use super::grid::{self, near};
use aar_core::recipe::Refine;
use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;

/// More steps than this explain nothing that fewer do not.
const MOST_STEPS: usize = 4;
/// How often a step comes from what the direction likes, if it likes any.
const TASTE: f64 = 0.7;

/// One of each kind, with the middling numbers that a search can leave in either direction.
pub(super) const ALL: [Refine; 10] = [
    Refine::KeepConfident {
        fraction: 0.5,
        balanced: true,
    },
    Refine::KeepAbove { threshold: 0.7 },
    Refine::Reweight { power: 1.0 },
    Refine::CcsAgreement { epsilon: 0.3 },
    Refine::NoisyChannelEm {
        rounds: 1,
        folds: 5,
    },
    Refine::KfoldRelabel { folds: 5, mix: 0.5 },
    Refine::KnnAgreement {
        neighbours: 10,
        fraction: 0.7,
    },
    Refine::OverlapDensity {
        neighbours: 20,
        fraction: 0.7,
    },
    Refine::Epiplexity {
        fraction: 0.5,
        gamma: 1.0,
    },
    Refine::SelfTraining {
        rounds: 2,
        fraction: 0.5,
    },
];

/// Puts a step of a kind that is not there yet at a random place.
pub(super) fn add(steps: &mut Vec<Refine>, palette: &[Refine], rng: &mut ChaCha8Rng) {
    if steps.len() >= MOST_STEPS {
        return;
    }
    let liked = !palette.is_empty() && rng.random_bool(TASTE);
    let source = if liked { palette } else { &ALL };
    let Some(&step) = source.choose(rng) else {
        return;
    };
    if steps.iter().all(|present| present.name() != step.name()) {
        steps.insert(rng.random_range(0..=steps.len()), step);
    }
}

/// Changes a number of one step; now and then, exchanges two neighbouring steps instead.
pub(super) fn tune(steps: &mut [Refine], rng: &mut ChaCha8Rng) {
    if steps.is_empty() {
        return;
    }
    let place = rng.random_range(0..steps.len());
    if place > 0 && rng.random_bool(0.2) {
        steps.swap(place - 1, place);
    } else {
        tune_one(&mut steps[place], rng);
    }
}

fn tune_one(step: &mut Refine, rng: &mut ChaCha8Rng) {
    let first = rng.random_bool(0.5);
    match step {
        Refine::KeepConfident { fraction, balanced } => {
            if rng.random_bool(0.2) {
                *balanced ^= true;
            } else {
                *fraction = near(grid::SHARES, *fraction, rng);
            }
        }
        Refine::KeepAbove { threshold } => *threshold = near(grid::THRESHOLDS, *threshold, rng),
        Refine::Reweight { power } => *power = near(grid::POWERS, *power, rng),
        Refine::CcsAgreement { epsilon } => *epsilon = near(grid::SHARES, *epsilon, rng),
        Refine::NoisyChannelEm { rounds, .. } if first => {
            *rounds = near(grid::EM_ROUNDS, *rounds, rng);
        }
        Refine::NoisyChannelEm { folds, .. } => *folds = near(grid::FOLDS, *folds, rng),
        Refine::KfoldRelabel { folds, .. } if first => *folds = near(grid::FOLDS, *folds, rng),
        Refine::KfoldRelabel { mix, .. } => *mix = near(grid::MIXES, *mix, rng),
        Refine::KnnAgreement { neighbours, .. } | Refine::OverlapDensity { neighbours, .. }
            if first =>
        {
            *neighbours = near(grid::NEIGHBOURS, *neighbours, rng);
        }
        Refine::KnnAgreement { fraction, .. } | Refine::OverlapDensity { fraction, .. } => {
            *fraction = near(grid::SHARES, *fraction, rng);
        }
        Refine::Epiplexity { fraction, .. } if first => {
            *fraction = near(grid::SHARES, *fraction, rng);
        }
        Refine::Epiplexity { gamma, .. } => *gamma = near(grid::POWERS, *gamma, rng),
        Refine::SelfTraining { rounds, .. } if first => *rounds = near(grid::ROUNDS, *rounds, rng),
        Refine::SelfTraining { fraction, .. } => *fraction = near(grid::SHARES, *fraction, rng),
    }
}
