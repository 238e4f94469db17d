//! Whole recipes: bringing them into one form, crossing two of them, taking parts away.

use super::moves::affordable;
use super::parts::Parts;
use aar_core::digest::Digest;
use aar_core::recipe::{Combine, Ensemble, Layers, NamedLayers, Recipe, Refine};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

/// Steps that a crossing may leave; more would be a heap, not an idea.
const MOST_STEPS: usize = 4;

/// The one form of a recipe: without its summary and without settings that change nothing, so that two
/// recipes which would predict alike are equal.
pub(super) fn tidy(mut recipe: Recipe) -> Recipe {
    recipe.summary.clear();
    let one_layer = match &mut recipe.features.layers {
        Layers::Named(NamedLayers::All) => false,
        Layers::Named(_) => true,
        Layers::Listed(list) => {
            list.sort_unstable();
            list.len() == 1
        }
    };
    if one_layer {
        recipe.ensemble.over_layers = false;
    }
    if recipe.ensemble.bags == 1 && !recipe.ensemble.over_layers {
        recipe.ensemble.combine = Combine::default();
    }
    recipe
}

/// The digest that names what a recipe does.
pub(super) fn fingerprint(recipe: &Recipe) -> Digest {
    let tidied = tidy(recipe.clone());
    // A recipe always serialises; should that ever change, the debug form names it just as well.
    let text = serde_json::to_string(&tidied).unwrap_or_else(|_| format!("{tidied:?}"));
    Digest::of(text.as_bytes())
}

/// The recipe's parts, for comparing it with others.
pub(super) fn parts(recipe: &Recipe) -> Parts {
    let json = serde_json::to_value(tidy(recipe.clone())).unwrap_or_default();
    Parts::of(&json, "kind")
}

/// A child with some sections of each parent. None if it would only repeat one of them.
pub(super) fn recombine(one: &Recipe, other: &Recipe, rng: &mut ChaCha8Rng) -> Option<Recipe> {
    let (one, other) = (tidy(one.clone()), tidy(other.clone()));
    let mut child = one.clone();
    let mut coin = || rng.random_bool(0.5);
    if coin() {
        child.features.components = other.features.components;
        child.features.standardise = other.features.standardise;
    }
    // Layers and the ensemble over them are one thought.
    if coin() {
        child.features.layers = other.features.layers.clone();
        child.features.pooling = other.features.pooling;
        child.ensemble = other.ensemble;
    }
    if coin() {
        child.features.pair = other.features.pair;
        child.features.swap_augment = other.features.swap_augment;
        child.predict = other.predict;
    }
    if coin() {
        child.labels = other.labels;
    }
    match (coin(), coin()) {
        (true, true) => child.refine = join(&one.refine, &other.refine),
        (true, false) => child.refine.clone_from(&other.refine),
        (false, _) => {}
    }
    if coin() {
        child.student.model = other.student.model;
        child.student.c = other.student.c;
    }
    if coin() {
        child.student.loss = other.student.loss;
        child.student.stages.clone_from(&other.student.stages);
    }
    if coin() {
        child.evolve = other.evolve;
    }
    if coin() && one.finetune.is_some() {
        child.finetune.clone_from(&other.finetune);
    }
    let child = tidy(child);
    (child != one && child != other && affordable(&child)).then_some(child)
}

fn join(first: &[Refine], second: &[Refine]) -> Vec<Refine> {
    let mut steps = first.to_vec();
    for step in second {
        if steps.iter().all(|present| present.name() != step.name()) {
            steps.push(*step);
        }
    }
    steps.truncate(MOST_STEPS);
    steps
}

/// All recipes that lack one part of this one, each with the part's name.
pub(super) fn ablations(recipe: &Recipe) -> Vec<(String, Recipe)> {
    let naive = Recipe::default();
    let full = tidy(recipe.clone());
    let mut without: Vec<(String, Recipe)> = Vec::new();
    let mut drop = |name: &str, change: &dyn Fn(&mut Recipe)| {
        let mut less = full.clone();
        change(&mut less);
        let less = tidy(less);
        if less != full && affordable(&less) {
            without.push((name.to_owned(), less));
        }
    };
    for (place, step) in full.refine.iter().enumerate() {
        drop(step.name(), &|r| {
            r.refine.remove(place);
        });
    }
    drop("principal components", &|r| r.features.components = None);
    drop("swap augmentation", &|r| r.features.swap_augment = false);
    drop("symmetrised prediction", &|r| r.predict.symmetrise = false);
    drop("balanced threshold", &|r| {
        r.predict.threshold = naive.predict.threshold
    });
    drop("label source", &|r| r.labels = naive.labels);
    drop("student", &|r| r.student.model = naive.student.model);
    drop("loss", &|r| r.student.loss = naive.student.loss);
    drop("stages", &|r| r.student.stages.clear());
    drop("evolution", &|r| r.evolve = None);
    drop("bagging", &|r| r.ensemble.bags = 1);
    drop("more than one layer", &|r| {
        r.features.layers = naive.features.layers.clone();
        r.ensemble = Ensemble {
            over_layers: false,
            ..r.ensemble
        };
    });
    without
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explorer::directions::Direction;
    use aar_core::study::Directions;
    use rand::SeedableRng as _;

    fn starts() -> Vec<Recipe> {
        let of = |i| Direction::assign(Directions::Study, i).starts().to_vec();
        (0..9).flat_map(of).collect()
    }

    #[test]
    fn what_changes_nothing_does_not_make_another_recipe() {
        let mut recipe = Recipe {
            summary: "words".to_owned(),
            ..Recipe::default()
        };
        recipe.ensemble.combine = Combine::TrimmedLogit;
        recipe.ensemble.over_layers = true;
        assert_eq!(fingerprint(&recipe), fingerprint(&Recipe::default()));
        recipe.ensemble.bags = 3;
        assert_ne!(fingerprint(&recipe), fingerprint(&Recipe::default()));
    }

    #[test]
    fn children_are_valid_and_every_part_comes_from_a_parent() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut born = 0;
        for one in starts() {
            for other in starts() {
                let Some(child) = recombine(&one, &other, &mut rng) else {
                    continue;
                };
                born += 1;
                child.validate().unwrap();
                assert!([one.labels, other.labels].contains(&child.labels));
                assert!([one.evolve, other.evolve].contains(&child.evolve));
                for step in &child.refine {
                    assert!(one.refine.contains(step) || other.refine.contains(step));
                }
            }
        }
        assert!(born > 200, "{born}");
    }

    #[test]
    fn an_ablation_is_simpler_and_the_naive_recipe_has_none() {
        assert!(ablations(&Recipe::default()).is_empty());
        for recipe in starts() {
            let less = ablations(&recipe);
            assert!(!less.is_empty(), "{recipe:?}");
            for (name, simpler) in less {
                simpler.validate().unwrap();
                assert!(simpler.complexity() <= recipe.complexity(), "{name}");
            }
        }
    }
}
