//! Shrinkage: what the best of many rows is worth once its luck is taken off.

use crate::error::proper_level;
use crate::{Estimate, StatsError};

/// Moves several estimates towards their mean by as much as their spread is noise.
///
/// The best of many rows is there partly because it was lucky. If true values are normal around a
/// mean μ with variance τ², the best guess of one is not its estimate θ̂ but
/// `μ + B (θ̂ − μ)` with `B = τ² / (τ² + s²)`, s its standard error. τ² is estimated from how much
/// more the rows spread than their standard errors explain; if they do not, all get the common mean: that
/// is what the data say then. Returned in the order given, each with a normal interval (`freedom`
/// infinite) of variance
///
/// ```text
/// B s² + (1 − B)² var(μ̂) + 2 / (k − 3) (1 − B)² w (θ̂ − μ̂)²,   w = (mean s² + τ²) / (s² + τ²)
/// ```
///
/// whose last term is for not knowing τ² (k rows; for k ≤ 3 its factor is taken as 2). In the
/// simulations of `tests/shrinkage.rs` a 95 % interval of the best of 2 to 50 rows covers its truth
/// 94 to 99.9 % of the time, and its excess of half a standard error to two and a half falls to a
/// tenth of that or less with ten rows and more. Over all rows the intervals cover 91 to 99 % of
/// the time with up to 20 rows; 88 % with 50 whose τ is below half a standard error, since τ² is
/// then often estimated as 0.
///
/// A row without variation (standard error 0) stays as it is and tells nothing about the others;
/// so does a single row.
///
/// **Assumes that rows err independently.** What all rows share, such as the luck of common items,
/// does not show in their spread, so with it τ² comes out too small and everything is moved too far. Give
/// gains that are paired with one reference, whose shared part has cancelled, rather than accuracies.
///
/// Sources: DerSimonian & Laird 1986, "Meta-analysis in clinical trials", Controlled Clinical
/// Trials 7(3), 177–188, for τ² and μ; Morris 1983, "Parametric empirical Bayes inference: theory
/// and applications", Journal of the American Statistical Association 78, 47–55, for the rest.
///
/// # Errors
/// [`StatsError::NotFinite`], [`StatsError::Level`].
pub fn shrink(rows: &[Estimate], level: f64) -> Result<Vec<Estimate>, StatsError> {
    proper_level(level)?;
    let figures = rows.iter().flat_map(|row| [row.value, row.std_error]);
    if let Some(bad) = figures.into_iter().find(|figure| !figure.is_finite()) {
        return Err(StatsError::NotFinite(bad));
    }
    let noisy: Vec<&Estimate> = rows.iter().filter(|row| row.std_error > 0.0).collect();
    if noisy.len() < 2 {
        return Ok(rows.to_vec());
    }
    let k = noisy.len() as f64;
    let spread = between_rows(&noisy);
    let total: f64 = noisy
        .iter()
        .map(|row| 1.0 / (spread + row.std_error.powi(2)))
        .sum();
    let mean = weighted_mean(&noisy, |row| 1.0 / (spread + row.std_error.powi(2)));
    let noise = noisy.iter().map(|row| row.std_error.powi(2)).sum::<f64>() / k;
    let unknown = 2.0 / (k - 3.0).max(1.0);
    rows.iter()
        .map(|row| {
            if row.std_error == 0.0 {
                return Ok(*row);
            }
            let variance = row.std_error.powi(2);
            let kept = spread / (spread + variance);
            let moved = (1.0 - kept).powi(2);
            let scale = (noise + spread) / (variance + spread);
            let away = row.value - mean;
            let of_shrunk = kept * variance + moved / total + unknown * moved * scale * away * away;
            Estimate::student(mean + kept * away, of_shrunk.sqrt(), f64::INFINITY, level)
        })
        .collect()
}

/// τ² of DerSimonian and Laird: what Cochran's Q has beyond its expectation without it.
fn between_rows(rows: &[&Estimate]) -> f64 {
    let weight = |row: &Estimate| row.std_error.powi(-2);
    let mean = weighted_mean(rows, weight);
    let total: f64 = rows.iter().map(|row| weight(row)).sum();
    let squares: f64 = rows.iter().map(|row| weight(row).powi(2)).sum();
    let q: f64 = rows
        .iter()
        .map(|row| weight(row) * (row.value - mean).powi(2))
        .sum();
    let expected = rows.len() as f64 - 1.0;
    ((q - expected) / (total - squares / total)).max(0.0)
}

fn weighted_mean(rows: &[&Estimate], weight: impl Fn(&Estimate) -> f64) -> f64 {
    let total: f64 = rows.iter().map(|row| weight(row)).sum();
    rows.iter().map(|row| weight(row) * row.value).sum::<f64>() / total
}
