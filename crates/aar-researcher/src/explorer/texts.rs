//! Recipes that fine-tune a language model: first attempts, and what a move changes in them.
//!
//! A run costs minutes, so there is little to choose from: which labels are learnt, how softly, how long, how
//! fast, and how many weights.

use super::grid::near;
use super::moves::Move;
use aar_core::recipe::{FineTune, Labels, Recipe, Refine, Tuned};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

/// Passes over the rows.
const EPOCHS: &[usize] = &[1, 2, 3, 5, 8, 12, 20];
/// Learning rates.
const RATES: &[f64] = &[1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2];
/// Ranks of adapters.
const RANKS: &[usize] = &[2, 4, 8, 16, 32, 64];
/// Last blocks.
const BLOCKS: &[usize] = &[1, 2, 4, 8];
/// Least confidences.
const THRESHOLDS: &[f64] = &[0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9];
/// Temperatures of the teacher.
const TEMPERATURES: &[f64] = &[0.3, 0.5, 1.0, 2.0, 4.0];

/// The moves that change something here.
pub(super) const MOVES: [Move; 7] = [
    Move::LabelSource,
    Move::AddRefinement,
    Move::DropRefinement,
    Move::TuneRefinement,
    Move::Student,
    Move::Regularisation,
    Move::Curriculum,
];

/// First attempts on a problem whose baselines are trained with `tuning`.
pub(super) fn starts(tuning: &FineTune) -> Vec<Recipe> {
    let plain = Recipe {
        finetune: Some(FineTune {
            zero_shot: false,
            ..tuning.clone()
        }),
        ..Recipe::default()
    };
    let surest = Refine::KeepAbove { threshold: 0.65 };
    vec![
        Recipe {
            labels: Labels::WeakSoft { temperature: 1.0 },
            ..plain.clone()
        },
        Recipe {
            refine: vec![surest],
            ..plain
        },
    ]
}

/// Makes the move, where it has a meaning here.
pub(super) fn change(recipe: &mut Recipe, kind: Move, rng: &mut ChaCha8Rng) {
    let Some(finetune) = &mut recipe.finetune else {
        return;
    };
    match kind {
        Move::LabelSource => {
            recipe.labels = match recipe.labels {
                Labels::WeakSoft { temperature } if rng.random_bool(0.6) => Labels::WeakSoft {
                    temperature: near(TEMPERATURES, temperature, rng),
                },
                Labels::WeakSoft { .. } => Labels::WeakHard {},
                _ => Labels::WeakSoft { temperature: 1.0 },
            };
        }
        Move::AddRefinement if recipe.refine.is_empty() => {
            let threshold = THRESHOLDS[rng.random_range(0..THRESHOLDS.len())];
            recipe.refine.push(Refine::KeepAbove { threshold });
        }
        Move::DropRefinement => recipe.refine.clear(),
        Move::TuneRefinement => {
            for part in &mut recipe.refine {
                if let Refine::KeepAbove { threshold } = part {
                    *threshold = near(THRESHOLDS, *threshold, rng);
                }
            }
        }
        Move::Student => match &mut finetune.trained {
            Tuned::Lora { rank } => *rank = near(RANKS, *rank, rng),
            Tuned::LastLayers { layers } => *layers = near(BLOCKS, *layers, rng),
        },
        Move::Regularisation => finetune.rate = near(RATES, finetune.rate, rng),
        Move::Curriculum => finetune.epochs = near(EPOCHS, finetune.epochs, rng),
        _ => {}
    }
}

/// What is trained, in words.
pub(super) fn describe(finetune: &FineTune) -> String {
    let what = match finetune.trained {
        Tuned::Lora { rank } => format!("adapters of rank {rank}"),
        Tuned::LastLayers { layers } => format!("the last {layers} blocks"),
    };
    let (epochs, rate) = (finetune.epochs, finetune.rate);
    format!("language model ({what}, {epochs} epochs at {rate:e})")
}

#[cfg(test)]
mod tests {
    use super::super::moves::mutate;
    use super::*;
    use rand::SeedableRng as _;
    use rand::seq::IndexedRandom as _;

    #[test]
    fn any_chain_of_moves_gives_recipes_that_fine_tune() {
        for seed in 0..40 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            for start in starts(&FineTune::default()) {
                let (mut recipe, mut made) = (start, 0);
                for _ in 0..40 {
                    let kind = *MOVES.choose(&mut rng).unwrap();
                    if let Some(next) = mutate(&recipe, kind, &[], &mut rng) {
                        assert!(next.finetune.is_some() && next.validate().is_ok());
                        assert_ne!(next, recipe);
                        recipe = next;
                        made += 1;
                    }
                }
                assert!(made > 20, "moves seldom apply: {made}");
            }
        }
    }

    #[test]
    fn moves_for_frozen_states_change_nothing_here() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let start = &starts(&FineTune::default())[0];
        for kind in Move::ALL {
            let made = mutate(start, kind, &[], &mut rng).is_some();
            assert!(MOVES.contains(&kind) || !made, "{kind:?}");
        }
    }

    #[test]
    fn a_description_says_what_is_trained() {
        assert_eq!(
            describe(&FineTune::default()),
            "language model (adapters of rank 32, 5 epochs at 1e-4)"
        );
    }
}
