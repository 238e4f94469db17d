//! Resampling: the two-way bootstrap of a crossed table.

use crate::error::{at_least, proper_level};
use crate::estimate::student;
use crate::{Crossed, StatsError};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use statrs::distribution::{ContinuousCDF, Normal};

/// The least number of bootstrap replicates that is accepted; 2,000 is a good number.
pub const MIN_REPLICATES: usize = 100;

/// What resampling says about a statistic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    /// The statistic on the data as they are.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Standard deviation over replicates.
    pub std_error: f64,
    /// One-sided p-value for "the true value is above 0", in `(0, 1]`: how often replicates
    /// exceed `value` by at least `value`. With few replicates, or few seeds, it cannot be small.
    pub p_positive: f64,
}

impl Bootstrap {
    /// Percentile interval (Efron & Tibshirani 1993, "An Introduction to the Bootstrap", section
    /// 13.3), with `freedom` the expanded one of Hesterberg 2015. The p-value moves the bootstrap
    /// distribution so that its null hypothesis holds (Efron & Tibshirani, section 16.4); adding 1
    /// above and below keeps it from 0 (Davison & Hinkley 1997, "Bootstrap Methods and their
    /// Application", section 4.2).
    pub(crate) fn summarise(
        value: f64,
        mut replicates: Vec<f64>,
        level: f64,
        freedom: Option<f64>,
    ) -> Result<Self, StatsError> {
        proper_level(level)?;
        at_least("bootstrap replicates", MIN_REPLICATES, replicates.len())?;
        replicates.sort_by(f64::total_cmp);
        // A normal tail and the t tail that is as far out.
        let normal = Normal::standard();
        let tail = (1.0 - level) / 2.0;
        let tail = freedom.map_or(tail, |f| normal.cdf(student(f).inverse_cdf(tail)));
        // Without the margin a tie could fall on either side of `>=` by rounding.
        let beyond = replicates
            .iter()
            .filter(|&&r| r - value >= value - 1e-12)
            .count();
        let share = (beyond as f64 + 1.0) / (replicates.len() as f64 + 1.0);
        let p_positive = match freedom {
            Some(f) if share < 1.0 => student(f).cdf(normal.inverse_cdf(share)),
            _ => share,
        };
        Ok(Self {
            value,
            low: quantile(&replicates, tail),
            high: quantile(&replicates, 1.0 - tail),
            std_error: deviation(&replicates),
            p_positive,
        })
    }
}

/// Quantile by linear interpolation, definition 7 of Hyndman & Fan 1996, "Sample quantiles in
/// statistical packages", The American Statistician 50(4), 361–365; numpy's default.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let position = share * (sorted.len() - 1) as f64;
    let below = position as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (position - below as f64) * (sorted[above] - sorted[below])
}

/// The generator behind every bootstrap here. ChaCha gives the same numbers on every platform.
pub(crate) fn generator(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

impl Crossed {
    /// Bootstrap of the mean, paired and clustered as the table is: draws seeds with replacement
    /// and, independently, groups of items with replacement, and keeps every cell where a drawn
    /// seed meets a drawn group (the pigeonhole bootstrap).
    ///
    /// Deterministic given `seed`. Costs replicates × groups × seeds additions.
    ///
    /// **Made valid at few seeds in two steps.** By itself this bootstrap sees only (S − 1) / S of
    /// the variance between S seeds, counts the interaction of seeds and items three times, and has
    /// normal tails. So the replicates are scaled about their mean to the standard error of
    /// [`Crossed::estimate`], and the interval is taken at the quantiles Φ(∓t) instead of Φ(∓z),
    /// with t and its degrees of freedom from there too; the p-value is widened in the same way.
    /// What is left to the bootstrap is the shape: skewed where the data are. In the simulations of
    /// `tests/coverage.rs` a 95 % interval covers 92 to 95.5 % of the time with five seeds and 94
    /// to 96 % with 16, as the analytic one does. (Without the steps it was 84 % with five seeds
    /// where seeds decide, and over 99 % where the interaction does.)
    ///
    /// **Fails** where the standard error does: below about 20 groups, and where nearly all
    /// predictions are right. With two or three seeds it is too short (77 % and 88 % where seeds
    /// decide): Φ(−t) then asks for means more extreme than so few seeds can give.
    /// [`Crossed::estimate`] has no such limit and remains the interval to report.
    ///
    /// Sources: Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2), 386–411;
    /// Hesterberg 2015, "What teachers should know about the bootstrap", The American Statistician
    /// 69(4), 371–386, for the expanded percentile interval.
    ///
    /// # Errors
    /// [`StatsError::TooFew`] below [`MIN_REPLICATES`], [`StatsError::Level`].
    pub fn bootstrap(
        &self,
        replicates: usize,
        level: f64,
        seed: u64,
    ) -> Result<Bootstrap, StatsError> {
        let analytic = self.estimate(level)?;
        let mut means = self.pigeonhole(replicates, seed);
        let centre = means.iter().sum::<f64>() / replicates as f64;
        let raw = deviation(&means);
        let scale = if raw > 0.0 {
            analytic.std_error / raw
        } else {
            0.0
        };
        for mean in &mut means {
            // About their own mean: it differs from the table's by the noise of drawing alone.
            *mean = analytic.value + scale * (*mean - centre);
        }
        Bootstrap::summarise(analytic.value, means, level, Some(analytic.freedom))
    }

    /// Means of tables whose seeds and groups are drawn with replacement.
    fn pigeonhole(&self, replicates: usize, seed: u64) -> Vec<f64> {
        let mut random = generator(seed);
        let groups = self.sizes.len() as u32;
        let mut seed_sums = vec![0i64; self.seeds];
        let means = (0..replicates).map(|_| {
            seed_sums.fill(0);
            let mut items = 0u64;
            for _ in 0..groups {
                let group = random.random_range(0..groups) as usize;
                items += u64::from(self.sizes[group]);
                let sums = &self.sums[group * self.seeds..][..self.seeds];
                for (total, &sum) in seed_sums.iter_mut().zip(sums) {
                    *total += i64::from(sum);
                }
            }
            let drawn = |_| seed_sums[random.random_range(0..self.seeds as u32) as usize];
            let sum: i64 = (0..self.seeds).map(drawn).sum();
            sum as f64 / (self.seeds as f64 * items as f64)
        });
        means.collect()
    }
}

/// Standard deviation of at least two values.
fn deviation(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CorrectMatrix, Groups};

    /// 6 seeds × 40 items with hard items, weak seeds and noise.
    fn table(groups: &Groups) -> Crossed {
        let mut random = generator(3);
        let mut right = |seed: usize, item: usize| {
            let chance = 0.9 - 0.05 * seed as f64 - 0.01 * item as f64;
            random.random_bool(chance)
        };
        let rows: Vec<Vec<bool>> = (0..6)
            .map(|seed| (0..40).map(|item| right(seed, item)).collect())
            .collect();
        Crossed::accuracy(&CorrectMatrix::from_rows(&rows).unwrap(), groups).unwrap()
    }

    #[test]
    fn standard_error_is_the_pigeonhole_one() {
        // With groups of one item the bootstrap variance has a closed form in the sums of
        // squares, since multinomial counts have covariance (1 if same) − 1 / number.
        let table = table(&Groups::singletons(40));
        let (seeds, items, mean) = (6.0, 40.0, table.mean());
        let cells = |f: &dyn Fn(f64) -> f64| table.sums.iter().map(|&y| f(f64::from(y))).sum();
        let all: f64 = cells(&|y| (y - mean).powi(2));
        let by_item: f64 = table
            .sums
            .chunks_exact(6)
            .map(|item| seeds * (f64::from(item.iter().sum::<i32>()) / seeds - mean).powi(2))
            .sum();
        let by_seed: f64 = (0..6)
            .map(|seed| table.sums.iter().skip(seed).step_by(6).sum::<i32>())
            .map(|sum| items * (f64::from(sum) / items - mean).powi(2))
            .sum();
        let both = all - by_item - by_seed;
        let cells = seeds * items;
        let variance = (by_seed / seeds + by_item / items + both / cells) / cells;
        // 20,000 replicates know a standard deviation to half a percent.
        let raw = deviation(&table.pigeonhole(20_000, 5));
        assert!((raw / variance.sqrt() - 1.0).abs() < 0.02);
        let found = table.bootstrap(20_000, 0.95, 5).unwrap();
        assert_eq!(found.value, mean);
        assert!(found.low < mean && mean < found.high);
    }

    #[test]
    fn deterministic_and_different_by_seed() {
        let keys: Vec<usize> = (0..40).map(|item| item / 3).collect();
        let table = table(&Groups::from_keys(&keys));
        let one = table.bootstrap(200, 0.95, 1).unwrap();
        assert_eq!(one, table.bootstrap(200, 0.95, 1).unwrap());
        assert_ne!(one, table.bootstrap(200, 0.95, 2).unwrap());
        assert!(table.bootstrap(99, 0.95, 1).is_err());
        assert!(table.bootstrap(100, 0.0, 1).is_err());
    }

    #[test]
    fn quantiles_match_numpy() {
        // numpy.quantile([1, 2, 4, 8], [0, 0.025, 0.5, 0.9, 1])
        for (share, expected) in [
            (0.0, 1.0),
            (0.025, 1.075),
            (0.5, 3.0),
            (0.9, 6.8),
            (1.0, 8.0),
        ] {
            assert!((quantile(&[1.0, 2.0, 4.0, 8.0], share) - expected).abs() < 1e-12);
        }
    }
}
