//! Nine thinkers on a planted landscape, without a hub: is the team sample-efficient?

use super::*;
use aar_core::id::{FindingId, Name};
use aar_core::recipe::{Labels, Refine};
use aar_core::study::Directions;

/// A dev PGR with a good region that no start lies in: several parts must come together.
fn landscape(recipe: &Recipe) -> f64 {
    let features = &recipe.features;
    let relabelled = has(recipe, |r| matches!(r, Refine::KfoldRelabel { .. }));
    let gains = [
        (recipe.ensemble.over_layers, 0.15),
        (
            features
                .components
                .is_some_and(|count| (16..=64).contains(&count)),
            0.06,
        ),
        (recipe.student.c <= 0.003, 0.06),
        (recipe.predict.symmetrise, 0.04),
        (relabelled, 0.08),
        // These two go together, or not at all.
        (
            relabelled && has(recipe, |r| matches!(r, Refine::KnnAgreement { .. })),
            0.06,
        ),
        (
            has(recipe, |r| matches!(r, Refine::SelfTraining { .. })),
            -0.1,
        ),
        (recipe.evolve.is_some(), -0.15),
        (
            matches!(
                recipe.labels,
                Labels::Consistency { .. } | Labels::Principal { .. }
            ),
            -0.2,
        ),
    ];
    let gain: f64 = gains
        .iter()
        .filter(|(there, _)| *there)
        .map(|(_, gain)| gain)
        .sum();
    0.1 + gain
}

const TOP: f64 = 0.55;

fn has(recipe: &Recipe, kind: fn(&Refine) -> bool) -> bool {
    recipe.refine.iter().any(kind)
}

/// What the hub would answer: the truth, the same noise for the same recipe, and the floor.
fn answer(recipe: &Recipe) -> f64 {
    let bits = blend::fingerprint(recipe).as_bytes()[0];
    let noise = (f64::from(bits) / 255.0 - 0.5) * 0.12;
    let step = 0.07;
    ((landscape(recipe) + noise) / step).floor() * step
}

/// The truth about what a team of nine would name as its best after `rounds` evaluations each.
fn team(directions: Directions, study: u64, rounds: usize) -> f64 {
    let name = |i: usize| -> Name { format!("r{i}").parse().unwrap() };
    let thinker = |i| {
        Thinker::new(
            Direction::assign(directions, i),
            Seed(study * 100 + i as u64),
        )
    };
    let mut thinkers: Vec<Thinker> = (0..9).map(thinker).collect();
    let mut archives: Vec<Archive> = (0..9).map(|i| Archive::new(name(i))).collect();
    for round in 0..rounds {
        let progress = round as f64 / rounds as f64;
        for i in 0..9 {
            archives[i].refit();
            let Some(idea) = thinkers[i].think(&archives[i], progress) else {
                continue;
            };
            assert!(!archives[i].knows(&idea.recipe));
            let pgr = answer(&idea.recipe);
            thinkers[i].learn(&idea, &archives[i], Some(Answer::Value(pgr)));
            for archive in &mut archives {
                let place = archive.place(&idea.recipe, &name(i));
                let entry = archive.entry_mut(place);
                entry.answer = Some(Answer::Value(pgr));
                entry.finding = Some(FindingId(1));
            }
        }
    }
    archives[0].refit();
    let best = archives[0].best(Whose::Any).unwrap();
    landscape(&archives[0].entry(best).recipe)
}

#[test]
fn fourteen_evaluations_each_bring_a_team_most_of_the_way() {
    let found: Vec<f64> = (0..4)
        .map(|study| team(Directions::Study, study, 14))
        .collect();
    let mean = found.iter().sum::<f64>() / found.len() as f64;
    assert!(mean > 0.9 * TOP, "{found:?}");
}

#[test]
fn an_undirected_team_gets_there_too() {
    let found: Vec<f64> = (0..4)
        .map(|study| team(Directions::None, study, 14))
        .collect();
    let mean = found.iter().sum::<f64>() / found.len() as f64;
    assert!(mean > 0.75 * TOP, "{found:?}");
}

#[test]
fn the_same_seed_has_the_same_ideas() {
    let ideas = |seed| {
        let mut thinker = Thinker::new(Direction::assign(Directions::Study, 3), Seed(seed));
        let mut archive = Archive::new("ada".parse().unwrap());
        let mut made = Vec::new();
        for _ in 0..6 {
            let idea = thinker.think(&archive, 0.3).unwrap();
            let place = archive.place(&idea.recipe, &"ada".parse().unwrap());
            archive.entry_mut(place).answer = Some(Answer::Value(answer(&idea.recipe)));
            archive.refit();
            made.push(idea);
        }
        made
    };
    assert_eq!(ideas(1), ideas(1));
    assert_ne!(ideas(1), ideas(2));
}
