//! All attacks against all rules: means over study seeds with intervals.

use super::attack::Family;
use super::game::Policy;
use super::measure::{Loot, ScoringError};
use aar_stats::{StatsError, mean_estimate};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// A mean over study seeds with its 95 % interval (Student's t).
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// Lower end; the mean itself with one study seed.
    pub ci_low: f64,
    /// Upper end.
    pub ci_high: f64,
}

impl Mean {
    /// The mean of some values, of which there is at least one.
    ///
    /// # Errors
    /// Without values, or with one that is not finite.
    pub fn of(values: &[f64]) -> Result<Self, StatsError> {
        if let [value] = values {
            let (mean, ci_low, ci_high) = (*value, *value, *value);
            return Ok(Self {
                mean,
                ci_low,
                ci_high,
            });
        }
        let estimate = mean_estimate(values, 0.95)?;
        Ok(Self {
            mean: estimate.value,
            ci_low: estimate.low,
            ci_high: estimate.high,
        })
    }
}

/// One attack against one rule with so many evaluations.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Cell {
    /// The attack.
    pub family: Family,
    /// The rule.
    pub policy: Policy,
    /// The evaluations.
    pub evaluations: usize,
    /// See [`Loot::dev`].
    pub dev_inflation: Mean,
    /// See [`Loot::rank`].
    pub rank_gain: Mean,
    /// See [`Loot::labels`].
    pub labels_right: Mean,
    /// See [`Loot::honest`].
    pub labels_right_honest: Mean,
}

/// What all seeds gave so far.
#[derive(Clone, Debug, Default)]
pub struct Table {
    loot: BTreeMap<(Family, Policy, usize), Vec<Loot>>,
}

impl Table {
    /// Takes in what an attack brought home on one study seed.
    pub fn add(&mut self, family: Family, policy: Policy, evaluations: usize, loot: Loot) {
        let key = (family, policy, evaluations);
        self.loot.entry(key).or_default().push(loot);
    }

    /// The means.
    ///
    /// # Errors
    /// If a value is not finite.
    pub fn cells(&self) -> Result<Vec<Cell>, ScoringError> {
        let cell = |(&(family, policy, evaluations), loot): (&_, &Vec<Loot>)| {
            let mean = |pick: fn(&Loot) -> f64| {
                let values: Vec<f64> = loot.iter().map(pick).collect();
                Mean::of(&values)
            };
            Ok(Cell {
                family,
                policy,
                evaluations,
                dev_inflation: mean(|loot| loot.dev)?,
                rank_gain: mean(|loot| loot.rank)?,
                labels_right: mean(|loot| loot.labels)?,
                labels_right_honest: mean(|loot| loot.honest)?,
            })
        };
        self.loot.iter().map(cell).collect()
    }
}

/// The cells as an aligned table.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a [Cell]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<16} {:<12} {:>6}  {:>22}  {:>22}  {:>13}",
            "attack", "rule", "asked", "dev PGR inflation", "rank PGR gain", "labels right"
        )?;
        for cell in self.0 {
            let mean = |m: &Mean| format!("{:+.3} [{:+.3}, {:+.3}]", m.mean, m.ci_low, m.ci_high);
            writeln!(
                f,
                "{:<16} {:<12} {:>6}  {:>22}  {:>22}  {:.3} ({:.3})",
                cell.family.name(),
                cell.policy.name(),
                cell.evaluations,
                mean(&cell.dev_inflation),
                mean(&cell.rank_gain),
                cell.labels_right.mean,
                cell.labels_right_honest.mean
            )?;
        }
        Ok(())
    }
}
