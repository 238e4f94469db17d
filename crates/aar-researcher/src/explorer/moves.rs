//! Changing one part of a recipe.

use super::blend::tidy;
use super::grid::{self, near};
use super::refinements;
use super::texts;
use aar_core::problem::Pooling;
use aar_core::recipe::{
    Combine, Evolve, Labels, Layers, Loss, Orient, PairView, Recipe, Refine, Stage, StudentKind,
    Threshold,
};
use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;

/// The part of a recipe that a mutation changes. Where a language model is fine-tuned, the student is which
/// weights are trained, regularisation the learning rate, and the curriculum how often rows are seen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Move {
    /// Which depths are read, and how tokens were pooled.
    Layers,
    /// Principal components, scaling, how a pair becomes a vector.
    Representation,
    /// Both orders of a pair, in training or in prediction.
    Symmetry,
    /// Where the first labels come from.
    LabelSource,
    /// One more refinement of labels and weights.
    AddRefinement,
    /// One refinement less.
    DropRefinement,
    /// A number of one refinement, or the order of two.
    TuneRefinement,
    /// What is trained.
    Student,
    /// What it minimises.
    Loss,
    /// How strongly it is held back.
    Regularisation,
    /// In what order it sees rows.
    Curriculum,
    /// Search by selection after training.
    Evolution,
    /// How many students are averaged.
    Ensemble,
    /// Above which logit the label is 1.
    Threshold,
}

impl Move {
    /// All moves.
    pub const ALL: [Self; 14] = [
        Self::Layers,
        Self::Representation,
        Self::Symmetry,
        Self::LabelSource,
        Self::AddRefinement,
        Self::DropRefinement,
        Self::TuneRefinement,
        Self::Student,
        Self::Loss,
        Self::Regularisation,
        Self::Curriculum,
        Self::Evolution,
        Self::Ensemble,
        Self::Threshold,
    ];

    /// The move in words, as the notebook and findings use them.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Layers => "layers",
            Self::Representation => "representation",
            Self::Symmetry => "symmetry",
            Self::LabelSource => "label source",
            Self::AddRefinement => "one more refinement",
            Self::DropRefinement => "one refinement less",
            Self::TuneRefinement => "tuned refinement",
            Self::Student => "student",
            Self::Loss => "loss",
            Self::Regularisation => "regularisation",
            Self::Curriculum => "curriculum",
            Self::Evolution => "evolution",
            Self::Ensemble => "ensemble",
            Self::Threshold => "threshold",
        }
    }
}

/// Heavier recipes are left alone: in the time of one of them, the team evaluates several others.
const MOST_FITS: usize = 64;
/// How often a move is tried before it is given up, e.g. dropping a refinement where there is none.
const TRIES: usize = 8;

/// Makes the move. The result is valid, tidy and another recipe; none if the move cannot be made here.
/// `palette` holds the refinements that the direction likes.
pub(super) fn mutate(
    recipe: &Recipe,
    kind: Move,
    palette: &[Refine],
    rng: &mut ChaCha8Rng,
) -> Option<Recipe> {
    let before = tidy(recipe.clone());
    (0..TRIES).find_map(|_| {
        let mut changed = before.clone();
        change(&mut changed, kind, palette, rng);
        let changed = tidy(changed);
        (changed != before && affordable(&changed)).then_some(changed)
    })
}

/// Is the recipe valid, and light enough to be worth its time?
pub(super) fn affordable(recipe: &Recipe) -> bool {
    recipe.validate().is_ok() && recipe.fits() <= MOST_FITS
}

fn change(recipe: &mut Recipe, kind: Move, palette: &[Refine], rng: &mut ChaCha8Rng) {
    if recipe.finetune.is_some() {
        return texts::change(recipe, kind, rng);
    }
    match kind {
        Move::Layers => change_layers(recipe, rng),
        Move::Representation => change_representation(recipe, rng),
        Move::Symmetry => match rng.random_range(0..2) {
            0 => recipe.features.swap_augment ^= true,
            _ => recipe.predict.symmetrise ^= true,
        },
        Move::LabelSource => recipe.labels = other_labels(recipe.labels, rng),
        Move::AddRefinement => refinements::add(&mut recipe.refine, palette, rng),
        Move::DropRefinement => {
            if !recipe.refine.is_empty() {
                recipe
                    .refine
                    .remove(rng.random_range(0..recipe.refine.len()));
            }
        }
        Move::TuneRefinement => refinements::tune(&mut recipe.refine, rng),
        Move::Student => recipe.student.model = other_student(recipe.student.model, rng),
        Move::Loss => recipe.student.loss = other_loss(recipe.student.loss, rng),
        Move::Regularisation => {
            recipe.student.c = near(grid::PENALTIES, recipe.student.c, rng);
        }
        Move::Curriculum => change_stages(&mut recipe.student.stages, rng),
        Move::Evolution => recipe.evolve = other_evolution(recipe.evolve, rng),
        Move::Ensemble => change_ensemble(recipe, rng),
        Move::Threshold => {
            recipe.predict.threshold = match recipe.predict.threshold {
                Threshold::Half => Threshold::Balanced,
                Threshold::Balanced => Threshold::Half,
            };
        }
    }
}

fn change_layers(recipe: &mut Recipe, rng: &mut ChaCha8Rng) {
    let features = &mut recipe.features;
    match rng.random_range(0..8) {
        0 => {
            features.pooling = match features.pooling {
                Pooling::Last => Pooling::Mean,
                Pooling::Mean => Pooling::Last,
            };
        }
        1 | 2 => features.layers = Layers::MIDDLE,
        3 => features.layers = Layers::DEEPEST,
        4 | 5 => {
            features.layers = Layers::ALL;
            recipe.ensemble.over_layers = true;
        }
        _ => {
            features.layers = Layers::ALL;
            recipe.ensemble.over_layers = false;
        }
    }
}

fn change_representation(recipe: &mut Recipe, rng: &mut ChaCha8Rng) {
    let features = &mut recipe.features;
    match rng.random_range(0..8) {
        0 => features.standardise ^= true,
        1 => {
            features.pair = match features.pair {
                PairView::Difference => PairView::Concat,
                PairView::Concat => PairView::Difference,
            };
        }
        2 => features.components = None,
        _ => {
            let now = features.components.unwrap_or(64);
            features.components = Some(near(grid::COMPONENTS, now, rng));
        }
    }
}

fn other_labels(now: Labels, rng: &mut ChaCha8Rng) -> Labels {
    let tuned = match now {
        Labels::WeakHard {} => Labels::WeakSoft { temperature: 1.0 },
        Labels::WeakSoft { temperature } => Labels::WeakSoft {
            temperature: near(grid::TEMPERATURES, temperature, rng),
        },
        Labels::Consistency { restarts, orient } => Labels::Consistency {
            restarts: near(grid::RESTARTS, restarts, rng),
            orient,
        },
        Labels::Principal { among } => Labels::Principal {
            among: near(grid::AMONG, among, rng),
        },
        Labels::Judge { folds } => Labels::Judge {
            folds: near(grid::FOLDS, folds, rng),
        },
    };
    // A coin for the sign would waste every second seed, so elicited labels always ask the teacher.
    let fresh = [
        Labels::WeakHard {},
        Labels::WeakSoft { temperature: 1.0 },
        Labels::Consistency {
            restarts: 4,
            orient: Orient::Weak,
        },
        Labels::Principal { among: 8 },
        Labels::Judge { folds: 5 },
    ];
    match fresh.choose(rng) {
        Some(&other) if rng.random_bool(0.6) => other,
        _ => tuned,
    }
}

fn other_student(now: StudentKind, rng: &mut ChaCha8Rng) -> StudentKind {
    let tuned = match now {
        StudentKind::Linear => StudentKind::LowRank { rank: 2 },
        StudentKind::LowRank { rank } => StudentKind::LowRank {
            rank: near(grid::RANKS, rank, rng),
        },
        StudentKind::Mlp { hidden } => StudentKind::Mlp {
            hidden: near(grid::UNITS, hidden, rng),
        },
    };
    match rng.random_range(0..8) {
        0..4 => tuned,
        4 | 5 => StudentKind::LowRank { rank: 4 },
        6 => StudentKind::Mlp { hidden: 8 },
        _ => StudentKind::Linear,
    }
}

fn other_loss(now: Loss, rng: &mut ChaCha8Rng) -> Loss {
    let alpha = match now {
        Loss::Confidence { alpha } => near(&[0.1, 0.25, 0.5, 0.75], alpha, rng),
        _ => 0.25,
    };
    let choices = [
        Loss::CrossEntropy { hard: false },
        Loss::CrossEntropy { hard: true },
        Loss::Confidence { alpha },
        Loss::Confidence { alpha },
        Loss::ReverseKl {},
    ];
    choices.choose(rng).copied().unwrap_or(now)
}

fn change_stages(stages: &mut Vec<Stage>, rng: &mut ChaCha8Rng) {
    let fresh = Stage {
        fraction: *grid::SHARES.choose(rng).unwrap_or(&0.5),
        epochs: 6,
        rate: 1.0,
    };
    match rng.random_range(0..4) {
        0 if !stages.is_empty() => {
            stages.pop();
        }
        1 => stages.insert(0, fresh),
        2 if stages.is_empty() => stages.push(Stage {
            fraction: 1.0,
            ..fresh
        }),
        _ => match stages.len() {
            0 => stages.push(fresh),
            count => {
                let stage = &mut stages[rng.random_range(0..count)];
                match rng.random_range(0..3) {
                    0 => stage.fraction = near(grid::SHARES, stage.fraction, rng),
                    1 => stage.epochs = near(grid::EPOCHS, stage.epochs, rng),
                    _ => stage.rate = near(grid::RATES, stage.rate, rng),
                }
            }
        },
    }
}

fn other_evolution(now: Option<Evolve>, rng: &mut ChaCha8Rng) -> Option<Evolve> {
    let Some(mut evolve) = now else {
        return Some(Evolve {
            steps: 30,
            sigma: 0.1,
            rate: 0.1,
            rows: 300,
        });
    };
    match rng.random_range(0..5) {
        0 => return None,
        1 => evolve.steps = near(grid::EVOLVE_STEPS, evolve.steps, rng),
        2 => evolve.sigma = near(grid::STEP_SIZES, evolve.sigma, rng),
        3 => evolve.rate = near(grid::STEP_SIZES, evolve.rate, rng),
        _ => evolve.rows = near(grid::EVOLVE_ROWS, evolve.rows, rng),
    }
    Some(evolve)
}

fn change_ensemble(recipe: &mut Recipe, rng: &mut ChaCha8Rng) {
    let ensemble = &mut recipe.ensemble;
    match rng.random_range(0..6) {
        0 | 1 if !ensemble.over_layers => {
            ensemble.over_layers = true;
            recipe.features.layers = Layers::ALL;
        }
        0 => ensemble.over_layers = false,
        1 => {
            let choices = [
                Combine::MeanLogit,
                Combine::TrimmedLogit,
                Combine::MeanProbability,
            ];
            ensemble.combine = *choices.choose(rng).unwrap_or(&ensemble.combine);
        }
        _ => ensemble.bags = near(grid::BAGS, ensemble.bags, rng),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explorer::directions::Direction;
    use aar_core::study::Directions;
    use rand::SeedableRng as _;

    /// A chain of random moves from a direction's first recipe.
    fn chain(seed: u64, length: usize) -> Vec<(Move, Recipe)> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let direction = Direction::assign(Directions::Study, seed as usize);
        let mut recipe = direction.starts()[0].clone();
        let mut made = Vec::new();
        for _ in 0..length {
            let kind = *Move::ALL.choose(&mut rng).unwrap();
            if let Some(next) = mutate(&recipe, kind, direction.palette(), &mut rng) {
                assert_ne!(next, tidy(recipe), "{kind:?} changed nothing");
                recipe = next;
                made.push((kind, recipe.clone()));
            }
        }
        made
    }

    #[test]
    fn any_chain_of_moves_gives_valid_recipes() {
        for seed in 0..60 {
            let made = chain(seed, 60);
            assert!(made.len() > 40, "moves seldom apply: {}", made.len());
            for (kind, recipe) in made {
                recipe
                    .validate()
                    .unwrap_or_else(|why| panic!("{kind:?}: {why}"));
                let text = recipe.to_toml().unwrap();
                assert_eq!(Recipe::from_toml(&text).unwrap(), recipe);
            }
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_moves() {
        assert_eq!(chain(5, 40), chain(5, 40));
        assert_ne!(chain(5, 40), chain(14, 40));
    }

    #[test]
    fn every_move_can_be_made_from_the_naive_recipe_except_those_that_need_a_refinement() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for kind in Move::ALL {
            let made = mutate(&Recipe::default(), kind, &[], &mut rng);
            let needs_one = matches!(kind, Move::DropRefinement | Move::TuneRefinement);
            assert_eq!(made.is_none(), needs_one, "{kind:?}");
        }
    }
}
