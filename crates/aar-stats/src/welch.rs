//! Differences between two sets of seeds that do not pair up.

use crate::error::same_length;
use crate::{Crossed, Estimate, StatsError, mean_estimate};

/// Mean of `first` minus mean of `second`, two independent samples whose variances may differ,
/// with Welch's interval.
///
/// Source: Welch 1947, "The generalization of 'Student's' problem when several different
/// population variances are involved", Biometrika 34(1/2), 28–35, with the degrees of freedom of
/// Satterthwaite 1946.
///
/// # Errors
/// [`StatsError::TooFew`] below two values on either side, [`StatsError::NotFinite`],
/// [`StatsError::Level`].
pub fn welch(first: &[f64], second: &[f64], level: f64) -> Result<Estimate, StatsError> {
    let [a, b] = [mean_estimate(first, level)?, mean_estimate(second, level)?];
    let variances = [a, b].map(|one| (one.std_error.powi(2), one.freedom));
    Estimate::satterthwaite(a.value - b.value, &variances, level)
}

impl Crossed {
    /// The mean of this table minus that of `other`, where both are accuracies on the same items
    /// but of seeds that have nothing to do with each other.
    ///
    /// Items pair up and seeds do not: Welch's variance over seeds, and beside it that of the
    /// difference over groups of items. With M the mean squares of [`Crossed::estimate`],
    ///
    /// ```text
    /// variance = M_seeds,a / (Sa G) + M_seeds,b / (Sb G) + max(V − M_both,a / (Sa G) − M_both,b / (Sb G), 0)
    /// ```
    ///
    /// where V is the variance of the mean over groups of the difference of their linearised means.
    /// V holds each table's interaction once, and so do its mean squares of seeds; it is therefore
    /// taken off once, as in Hillis 2007 for one table. Degrees of freedom: Satterthwaite's, of the
    /// three terms with Sa − 1, Sb − 1 and G − 1. `tests/coverage.rs` simulates it.
    ///
    /// # Errors
    /// [`StatsError::Length`] if the tables have other groups, [`StatsError::Level`].
    pub fn unpaired(&self, other: &Crossed, level: f64) -> Result<Estimate, StatsError> {
        same_length("groups of items", self.sizes.len(), other.sizes.len())?;
        if let Some((&expected, &found)) = self.sizes.iter().zip(&other.sizes).find(|(a, b)| a != b)
        {
            same_length("items of a group", expected as usize, found as usize)?;
        }
        let (a, b) = (self.mean_squares(), other.mean_squares());
        let groups = self.sizes.len() as f64;
        let squares: f64 = a
            .group_means
            .iter()
            .zip(&b.group_means)
            .map(|(a, b)| (a - b).powi(2))
            .sum();
        let items = squares / (groups - 1.0) / groups - a.both_variance() - b.both_variance();
        let variances = [
            (a.seed_variance(), self.seeds as f64 - 1.0),
            (b.seed_variance(), other.seeds as f64 - 1.0),
            (items.max(0.0), groups - 1.0),
        ];
        Estimate::satterthwaite(self.mean() - other.mean(), &variances, level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CorrectMatrix, Groups};

    fn table(rows: &[&[u8]], groups: &Groups) -> Crossed {
        let rows: Vec<Vec<bool>> = rows
            .iter()
            .map(|row| row.iter().map(|&bit| bit == 1).collect())
            .collect();
        Crossed::accuracy(&CorrectMatrix::from_rows(&rows).unwrap(), groups).unwrap()
    }

    #[test]
    fn unpaired_needs_the_same_groups() {
        let two = Groups::from_keys(&[0, 0, 1, 1]);
        let one = table(&[&[1, 0, 1, 0], &[1, 1, 1, 0]], &two);
        let uneven = table(
            &[&[1, 0, 1, 0], &[1, 1, 1, 0]],
            &Groups::from_keys(&[0, 1, 1, 1]),
        );
        let more = table(&[&[1, 0, 1], &[1, 1, 1]], &Groups::singletons(3));
        assert!(one.unpaired(&uneven, 0.95).is_err());
        assert!(one.unpaired(&more, 0.95).is_err());
        assert!(welch(&[1.0], &[1.0, 2.0], 0.95).is_err());
    }

    #[test]
    fn where_items_do_not_vary_it_is_welch_over_seeds() {
        // Each seed is right on all items or on none: nothing but seeds varies.
        let groups = Groups::singletons(3);
        let rows = |right: &[u8]| -> Vec<[u8; 3]> { right.iter().map(|&bit| [bit; 3]).collect() };
        let (a, b) = (rows(&[1, 1, 0, 1]), rows(&[0, 1, 0]));
        let of = |rows: &[[u8; 3]]| {
            table(
                &rows.iter().map(|row| row.as_slice()).collect::<Vec<_>>(),
                &groups,
            )
        };
        let found = of(&a).unpaired(&of(&b), 0.95).unwrap();
        let seeds = welch(&[1.0, 1.0, 0.0, 1.0], &[0.0, 1.0, 0.0], 0.95).unwrap();
        assert!((found.low - seeds.low).abs() < 1e-9 && (found.high - seeds.high).abs() < 1e-9);
    }
}
