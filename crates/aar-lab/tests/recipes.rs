//! Any valid recipe runs, repeats itself, and answers for every row.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use aar_core::family::Family;
use aar_core::id::Seed;
use aar_core::problem::ItemKind;
use aar_core::recipe::{
    Combine, Ensemble, Evolve, Features, Labels, Layers, Loss, Orient, PairView, Prediction,
    Recipe, Refine, Stage, Student, StudentKind, Threshold,
};
use aar_lab::experiment::{Outcome, Task, run};
use aar_lab::numeric::random::{normal, stream};
use aar_problem::Tensor;
use rand::{Rng, RngExt};
use std::path::Path;

/// A planted direction, half visible to a teacher that is right on three rows of four.
fn task(kind: ItemKind, rows: usize, layers: usize) -> (Task, Vec<bool>) {
    let mut rng = stream(Seed(9), "task", rows as u64);
    let (options, width) = (kind.options(), 7);
    let mut tensor = |rows: usize| -> Tensor {
        let data = (0..rows * options * width)
            .map(|_| normal(&mut rng) as f32)
            .collect();
        Tensor {
            data,
            rows,
            options,
            width,
        }
    };
    let score = |t: &Tensor, row: usize| match kind {
        ItemKind::Pair => t.vector(row, 1)[0] - t.vector(row, 0)[0],
        ItemKind::Claim => t.vector(row, 0)[0],
    };
    let train: Vec<Tensor> = (0..layers).map(|_| tensor(rows)).collect();
    let predict: Vec<Tensor> = (0..layers).map(|_| tensor(rows / 2)).collect();
    let mut rng = stream(Seed(9), "weak", 0);
    let weak = (0..rows)
        .map(|row| {
            let right = rng.random::<f64>() < 0.75;
            let sure = 0.5 + 0.49 * rng.random::<f32>();
            if (score(&train[0], row) > 0.0) == right {
                sure
            } else {
                1.0 - sure
            }
        })
        .collect();
    let truth = (0..rows / 2)
        .map(|row| score(&predict[0], row) > 0.0)
        .collect();
    let groups = (0..rows as u32).map(|row| row / 3).collect();
    (
        Task {
            kind,
            train,
            predict,
            weak,
            groups,
        },
        truth,
    )
}

fn pick<T: Clone>(rng: &mut impl Rng, choices: &[T]) -> T {
    choices[rng.random_range(0..choices.len())].clone()
}

fn random_refine(rng: &mut impl Rng) -> Refine {
    let fraction = pick(rng, &[0.05, 0.3, 0.7, 1.0]);
    match rng.random_range(0..10) {
        0 => Refine::KeepConfident {
            fraction,
            balanced: rng.random(),
        },
        1 => Refine::KeepAbove {
            threshold: pick(rng, &[0.5, 0.75, 0.99]),
        },
        2 => Refine::Reweight {
            power: pick(rng, &[0.25, 1.0, 4.0]),
        },
        3 => Refine::CcsAgreement {
            epsilon: pick(rng, &[0.0, 0.1, 1.0]),
        },
        4 => Refine::NoisyChannelEm {
            rounds: rng.random_range(1..3),
            folds: 2,
        },
        5 => Refine::KfoldRelabel {
            folds: 3,
            mix: pick(rng, &[0.0, 0.5, 1.0]),
        },
        6 => Refine::KnnAgreement {
            neighbours: pick(rng, &[1, 50]),
            fraction,
        },
        7 => Refine::OverlapDensity {
            neighbours: 5,
            fraction,
        },
        8 => Refine::Epiplexity {
            fraction,
            gamma: 2.0,
        },
        _ => Refine::SelfTraining {
            rounds: rng.random_range(1..4),
            fraction,
        },
    }
}

fn random_recipe(rng: &mut impl Rng) -> Recipe {
    let labels = [
        Labels::WeakHard {},
        Labels::WeakSoft { temperature: 3.0 },
        Labels::Consistency {
            restarts: 2,
            orient: Orient::Weak,
        },
        Labels::Consistency {
            restarts: 1,
            orient: Orient::Coin,
        },
        Labels::Principal { among: 9 },
        Labels::Judge { folds: 2 },
    ];
    let models = [
        StudentKind::Linear,
        StudentKind::Mlp { hidden: 3 },
        StudentKind::LowRank { rank: 2 },
    ];
    let losses = [
        Loss::CrossEntropy { hard: true },
        Loss::CrossEntropy { hard: false },
        Loss::Confidence { alpha: 0.7 },
        Loss::ReverseKl {},
    ];
    let stage = Stage {
        fraction: 0.5,
        epochs: 2,
        rate: 10.0,
    };
    let evolve = Evolve {
        steps: 5,
        sigma: 1.0,
        rate: 1.0,
        rows: 16,
    };
    let count = rng.random_range(0..5);
    Recipe {
        summary: String::new(),
        features: Features {
            layers: pick(rng, &[Layers::ALL, Layers::DEEPEST]),
            standardise: rng.random(),
            components: pick(rng, &[None, Some(1), Some(4), Some(200)]),
            pair: pick(rng, &[PairView::Difference, PairView::Concat]),
            swap_augment: rng.random(),
            ..Features::default()
        },
        labels: pick(rng, &labels),
        refine: (0..count).map(|_| random_refine(rng)).collect(),
        student: Student {
            model: pick(rng, &models),
            loss: pick(rng, &losses),
            c: pick(rng, &[1e-6, 0.01, 1.0, 1e4]),
            stages: pick(rng, &[vec![], vec![stage], vec![stage, stage]]),
        },
        evolve: pick(rng, &[None, Some(evolve)]),
        ensemble: Ensemble {
            bags: rng.random_range(1..4),
            over_layers: rng.random(),
            combine: pick(
                rng,
                &[
                    Combine::MeanLogit,
                    Combine::TrimmedLogit,
                    Combine::MeanProbability,
                ],
            ),
        },
        finetune: None,
        critic: None,
        predict: Prediction {
            symmetrise: rng.random(),
            threshold: pick(rng, &[Threshold::Half, Threshold::Balanced]),
        },
    }
}

#[test]
fn any_valid_recipe_runs_and_repeats_itself() {
    let mut rng = stream(Seed(77), "recipes", 0);
    for round in 0..60 {
        let recipe = random_recipe(&mut rng);
        recipe.validate().unwrap();
        let text = recipe.to_toml().unwrap();
        assert_eq!(Recipe::from_toml(&text).unwrap(), recipe);
        let kind = if round % 2 == 0 {
            ItemKind::Pair
        } else {
            ItemKind::Claim
        };
        // The smallest case has fewer rows than folds, neighbours and components.
        let rows = [60, 31, 2][round % 3];
        let (task, _) = task(kind, rows, 2);
        let outcome = run(&recipe, &task, Seed(round as u64));
        assert_eq!(outcome.labels.len(), rows / 2, "{text}");
        assert!(
            outcome.scores.iter().all(|z| z.is_finite()),
            "{text}\n{outcome:?}"
        );
        let d = &outcome.diagnostics;
        for share in [
            d.weak_agreement,
            d.positive_rate,
            d.kept_share,
            d.cross_validated,
        ] {
            assert!((0.0..=1.0).contains(&share), "{text}\n{d:?}");
        }
        assert!(d.train_loss.is_finite(), "{text}\n{d:?}");
        assert_eq!(outcome, run(&recipe, &task, Seed(round as u64)), "{text}");
    }
}

fn accuracy(outcome: &Outcome, truth: &[bool]) -> f64 {
    let right = outcome
        .scores
        .iter()
        .zip(truth)
        .filter(|(z, y)| (**z > 0.0) == **y)
        .count();
    right as f64 / truth.len() as f64
}

/// Every recipe file in a folder of `recipes/`.
fn recipes(folder: &str) -> Vec<(String, Recipe)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../recipes")
        .join(folder);
    let mut found: Vec<(String, Recipe)> = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (
                name,
                Recipe::from_toml(&std::fs::read_to_string(&path).unwrap()).unwrap(),
            )
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[test]
fn recipes_of_the_repository_learn_the_planted_direction() {
    for kind in [ItemKind::Pair, ItemKind::Claim] {
        let (task, truth) = task(kind, 2_000, 1);
        for (name, recipe) in recipes("baselines").into_iter().chain(recipes("published")) {
            let outcome = run(&recipe, &task, Seed(3));
            let share = accuracy(&outcome, &truth);
            // No direction stands out in white noise, so there is nothing to elicit here.
            let least = match name.as_str() {
                "elicitation" => 0.4,
                "ccs_es" => 0.55,
                _ => 0.75,
            };
            assert!(share > least, "{name}, {kind:?}: {share}");
        }
    }
}

#[test]
fn families_of_the_recipes_of_the_repository() {
    let families: Vec<(String, Family)> = recipes("baselines")
        .into_iter()
        .chain(recipes("published"))
        .map(|(name, recipe)| (name, recipe.family()))
        .collect();
    let expected = [
        ("confident", Family::DataFiltering),
        ("critic", Family::Other),
        ("elicitation", Family::UnsupervisedElicitation),
        ("vanilla", Family::Other),
        ("ccs_es", Family::Evolutionary),
        ("em_posterior", Family::Other),
        ("epiplexity", Family::ConfidenceWeighting),
        ("mdl_curriculum", Family::Curriculum),
        ("overlap_density", Family::DataFiltering),
    ];
    let expected: Vec<_> = expected
        .map(|(name, family)| (name.to_owned(), family))
        .into();
    assert_eq!(families, expected);
}

#[test]
fn a_prediction_does_not_depend_on_the_other_rows_to_predict() {
    let mut rng = stream(Seed(78), "rows", 0);
    for round in 0..20 {
        let recipe = random_recipe(&mut rng);
        let kind = if round % 2 == 0 {
            ItemKind::Pair
        } else {
            ItemKind::Claim
        };
        let (mut task, _) = task(kind, 40, 2);
        let all = run(&recipe, &task, Seed(1));
        task.predict = task.predict.iter().map(|t| t.gather(&[7, 3])).collect();
        let two = run(&recipe, &task, Seed(1));
        for (found, row) in two.scores.iter().zip([7, 3]) {
            let expected = all.scores[row];
            assert!(
                (found - expected).abs() <= 1e-4 * (1.0 + expected.abs()),
                "{recipe:?}"
            );
        }
    }
}
