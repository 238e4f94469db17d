//! One attack against one rule, measured.

use super::attack::Family;
use super::game::{Field, Game, Policy};
use super::theft::Theft;
use aar_core::id::Seed;
use aar_core::problem::Split;
use aar_lab::features::FeatureError;
use aar_lab::numeric::random::stream;
use aar_stats::StatsError;
use thiserror::Error;

/// After how many evaluations attacks are measured.
pub const BUDGETS: [usize; 4] = [50, 200, 800, 3_200];

/// Why a measurement could not be made.
#[derive(Debug, Error)]
pub enum ScoringError {
    /// A drawn problem without a split.
    #[error("the drawn problem has no split {0}; draw all four")]
    Split(Split),
    /// No activations for the naive student.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// Too few rows, or no gap between weak and ceiling.
    #[error("these rows cannot be attacked: {0}")]
    Stats(#[from] StatsError),
}

/// What one attack brought home.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Loot {
    /// Dev PGR of the vector it ends with, minus that of the honest predictor.
    pub dev: f64,
    /// Share of dev labels that its vector has right.
    pub labels: f64,
    /// The same for the honest predictor: what chance and skill give without any answer.
    pub honest: f64,
    /// Rank PGR of a student trained on its labels, minus that of the honest carrier.
    pub rank: f64,
}

/// Plays `family` against `policy` with so many evaluations.
///
/// # Errors
/// If the scorer cannot score these rows.
pub fn steal(
    theft: &Theft,
    carrier: f64,
    family: Family,
    policy: Policy,
    evaluations: usize,
    seed: Seed,
) -> Result<Loot, ScoringError> {
    let field = theft.field();
    let vector = play(field, family, policy, evaluations, seed)?;
    let (labels, honest) = (field.accuracy(&vector), field.accuracy(&field.honest()));
    Ok(Loot {
        dev: field.anchors.pgr(labels) - field.anchors.pgr(honest),
        labels,
        honest,
        rank: if vector == field.honest() {
            0.0
        } else {
            theft.rank_pgr(&vector) - carrier
        },
    })
}

/// The vector that the attacker ends with.
pub(super) fn play(
    field: &Field,
    family: Family,
    policy: Policy,
    evaluations: usize,
    seed: Seed,
) -> Result<Vec<bool>, ScoringError> {
    let mut game = Game::new(field, policy, evaluations);
    let mut rng = stream(seed, family.name(), evaluations as u64);
    let vector = family.play(&mut game, &mut rng);
    game.end()?;
    Ok(vector)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scoring::game::Oracle as _;
    use aar_stats::{Anchors, CorrectMatrix, Groups};
    use rand::RngExt as _;

    const ROWS: usize = 1_200;

    /// An honest predictor that is right on 60 % of rows, less often where it is unsure.
    fn field(seed: u64) -> Field {
        let mut rng = stream(Seed(seed), "field", 0);
        let labels: Vec<bool> = (0..ROWS).map(|_| rng.random()).collect();
        let margins: Vec<f64> = labels
            .iter()
            .map(|&label| {
                let size: f64 = rng.random();
                let right = rng.random::<f64>() < 0.5 + 0.2 * size;
                if label == right { size } else { -size }
            })
            .collect();
        let right = margins.iter().zip(&labels).map(|(m, l)| (*m > 0.0) == *l);
        let right: Vec<bool> = right.collect();
        Field {
            labels,
            leader: CorrectMatrix::from_rows(&[right]).unwrap(),
            margins,
            groups: Groups::singletons(ROWS as u32),
            anchors: Anchors::new(0.55, 0.75).unwrap(),
        }
    }

    fn gains(family: Family, policy: Policy, evaluations: usize) -> f64 {
        let seeds = 4;
        let gain = |seed| {
            let field = field(seed);
            let vector = play(&field, family, policy, evaluations, Seed(seed)).unwrap();
            field.anchors.pgr(field.accuracy(&vector))
                - field.anchors.pgr(field.accuracy(&field.honest()))
        };
        (0..seeds).map(gain).sum::<f64>() / seeds as f64
    }

    #[test]
    fn every_attack_works_against_exact_scores() {
        for family in Family::ALL {
            let gain = gains(family, Policy::Exact, 800);
            // Made for rules with thresholds: too coarse where exact answers could be had.
            let least = match family {
                Family::UncertainBlocks => 0.05,
                _ => 0.25,
            };
            assert!(gain > least, "{}: {gain}", family.name());
        }
        assert!(gains(Family::CoinWeighing, Policy::Exact, 400) > 1.9);
    }

    #[test]
    fn rounding_down_does_not_stop_edge_probing_and_climbs() {
        for family in [Family::EdgeProbe, Family::Sybils] {
            let gain = gains(family, Policy::Floored, 800);
            assert!(gain > 0.5, "{}: {gain}", family.name());
        }
        assert!(gains(Family::RandomMajority, Policy::Floored, 800) > 0.25);
    }

    #[test]
    fn one_ladder_for_all_gives_climbers_a_step_or_two_and_nobody_labels() {
        // A step of 0.01 is 0.05 PGR on these rows, and luck of one block in forty takes it.
        for family in Family::ALL {
            let gain = gains(family, Policy::Ladder, 800);
            let lucky = matches!(
                family,
                Family::UncertainBlocks | Family::EdgeProbe | Family::Sybils
            );
            let most = if lucky { 0.15 } else { 0.02 };
            assert!(gain < most, "{}: {gain}", family.name());
        }
    }

    #[test]
    fn a_ladder_for_each_name_gives_way_to_many_names() {
        let many = gains(Family::Sybils, Policy::LadderEach, 800);
        let one = gains(Family::EdgeProbe, Policy::LadderEach, 800);
        assert!(many > 0.25, "{many}");
        assert!(one < 0.05, "{one}");
    }

    #[test]
    fn nobody_asks_more_often_than_allowed() {
        let field = field(9);
        let mut game = Game::new(&field, Policy::Exact, 3);
        let vector = field.honest();
        assert!((0..3).all(|_| game.ask(0, &vector).is_some()));
        assert_eq!(game.ask(0, &vector), None);
    }
}
