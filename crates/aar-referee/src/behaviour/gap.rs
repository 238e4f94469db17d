//! Better on dev than on sealed rows.

use super::Signal;
use aar_core::case::{Suspicion, weight_of_p};

/// Accuracies of one method on one split.
#[derive(Clone, Debug)]
pub struct Scored {
    /// Accuracy for each seed, 0 to 1.
    pub accuracies: Vec<f64>,
    /// How many rows.
    pub rows: usize,
    /// Half way between the split's weak and ceiling accuracy: splits differ in difficulty.
    pub middle: f64,
}

/// Dev minus rank, in standard errors of items and seeds, is a signal above 3.
///
/// The best of many evaluations looks better on dev than it is, so some gap is honest: in 40
/// replications of recorded studies the largest was 1.3.
#[must_use]
pub fn dev_rank_gap(dev: &Scored, rank: &Scored) -> Option<Signal> {
    let (dev_mean, dev_error) = mean_and_error(dev)?;
    let (rank_mean, rank_error) = mean_and_error(rank)?;
    let gap = (dev_mean - dev.middle) - (rank_mean - rank.middle);
    let error = (dev_error + rank_error).sqrt();
    let z = gap / error;
    // Mills' ratio: φ(z)/z is above the normal tail, by less than a tenth from z = 3 on.
    let tail = (-z * z / 2.0).exp() / (z * (2.0 * std::f64::consts::PI).sqrt());
    (z > 3.0).then(|| Signal {
        suspicion: Suspicion::DevRankGap,
        weight: weight_of_p(tail),
        evidence: format!(
            "dev accuracy is {gap:.3} above rank, beside the splits' difficulty: z = {z:.1}"
        ),
    })
}

/// Mean accuracy and the square of its standard error.
fn mean_and_error(scored: &Scored) -> Option<(f64, f64)> {
    let seeds = scored.accuracies.len() as f64;
    if seeds < 2.0 || scored.rows == 0 {
        return None;
    }
    let mean = scored.accuracies.iter().sum::<f64>() / seeds;
    let square = scored
        .accuracies
        .iter()
        .map(|one| (one - mean).powi(2))
        .sum::<f64>();
    // At least that of one error in all rows, so that perfect scores have an error too.
    let items = (mean * (1.0 - mean)).max(1.0 / scored.rows as f64) / scored.rows as f64;
    Some((mean, items + square / (seeds - 1.0) / seeds))
}
