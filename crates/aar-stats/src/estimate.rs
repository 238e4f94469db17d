//! A number with its interval, and the Student-t arithmetic behind it.

use crate::StatsError;
use crate::error::{at_least, proper_level, same_length};
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Beyond this many degrees of freedom the t distribution is taken as if it had this many: its
/// 0.975 quantile is then 0.012 % above the normal one, and statrs loses digits further out.
const MAX_FREEDOM: f64 = 10_000.0;

/// A point estimate with a symmetric Student-t interval at the level that was asked for.
///
/// The interval is not clipped to the range of the quantity. A standard error of 0 means that the
/// data do not vary at all, as with a method that is always right; the interval then has no
/// width, which says nothing about what other data would show.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Estimate {
    /// The estimate itself.
    pub value: f64,
    /// Lower end of the interval, at most `value`.
    pub low: f64,
    /// Upper end of the interval, at least `value`.
    pub high: f64,
    /// Estimated standard deviation of `value` over repetitions, at least 0.
    pub std_error: f64,
    /// Degrees of freedom of the t distribution, above 0, not always whole.
    pub freedom: f64,
}

impl Estimate {
    /// `value` ± t · `std_error`.
    pub(crate) fn student(
        value: f64,
        std_error: f64,
        freedom: f64,
        level: f64,
    ) -> Result<Self, StatsError> {
        proper_level(level)?;
        let reach = std_error * student(freedom).inverse_cdf(0.5 + level / 2.0);
        Ok(Self {
            value,
            low: value - reach,
            high: value + reach,
            std_error,
            freedom,
        })
    }

    /// `value` with a variance that is a sum of estimated ones, each given with its degrees of
    /// freedom; there must be one at least. The sum has Σ(v)² / Σ(v² / freedom) of them
    /// (Satterthwaite 1946, Biometrics Bulletin 2(6), 110–114).
    pub(crate) fn satterthwaite(
        value: f64,
        variances: &[(f64, f64)],
        level: f64,
    ) -> Result<Self, StatsError> {
        let sum: f64 = variances.iter().map(|(v, _)| v).sum();
        let freedom = if sum > 0.0 {
            sum * sum / variances.iter().map(|(v, f)| v * v / f).sum::<f64>()
        } else {
            variances[0].1
        };
        Self::student(value, sum.sqrt(), freedom, level)
    }

    /// One-sided p-value for "the true value is above 0": P(T ≥ value / std_error), in `[0, 1]`.
    ///
    /// Agrees with the interval: below 0.025 exactly when a 95 % interval lies above 0. Without
    /// any variation it is 0 for a positive value and 1 otherwise.
    pub fn p_positive(&self) -> f64 {
        if self.std_error > 0.0 {
            student(self.freedom).sf(self.value / self.std_error)
        } else if self.value > 0.0 {
            0.0
        } else {
            1.0
        }
    }

    /// Two-sided p-value for "the true value is not 0": P(|T| ≥ |value| / std_error), in `[0, 1]`.
    ///
    /// Below 0.05 exactly when a 95 % interval leaves out 0.
    pub fn p_two_sided(&self) -> f64 {
        let mirrored = Self {
            value: self.value.abs(),
            ..*self
        };
        (2.0 * mirrored.p_positive()).min(1.0)
    }
}

/// The standard t distribution with `freedom` > 0 degrees of freedom.
pub(crate) fn student(freedom: f64) -> StudentsT {
    StudentsT::new(0.0, 1.0, freedom.min(MAX_FREEDOM)).expect("positive degrees of freedom")
}

/// Mean of independent values, such as one accuracy per seed, with its Student-t interval.
///
/// For values of seeds on a fixed set of items this says what *other seeds on these items* would
/// give. What other items would give too is [`Crossed::estimate`](crate::Crossed::estimate).
///
/// Source: Student 1908, "The probable error of a mean", Biometrika 6(1), 1–25.
///
/// # Errors
/// [`StatsError::TooFew`] below two values, [`StatsError::NotFinite`], [`StatsError::Level`].
pub fn mean_estimate(values: &[f64], level: f64) -> Result<Estimate, StatsError> {
    at_least("values", 2, values.len())?;
    if let Some(&bad) = values.iter().find(|v| !v.is_finite()) {
        return Err(StatsError::NotFinite(bad));
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    Estimate::student(mean, (variance / n).sqrt(), n - 1.0, level)
}

/// How much methods lose from dev to rank: the mean of `dev - rank` over methods, with its
/// Student-t interval. Positive when dev figures flattered.
///
/// Methods of one study descend from each other, so the interval is narrower than it should be.
///
/// # Errors
/// As [`mean_estimate`]; [`StatsError::Length`] if the two differ in length.
pub fn shrinkage(dev: &[f64], rank: &[f64], level: f64) -> Result<Estimate, StatsError> {
    same_length("rank values", dev.len(), rank.len())?;
    let lost: Vec<f64> = dev.iter().zip(rank).map(|(dev, rank)| dev - rank).collect();
    mean_estimate(&lost, level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `scipy.stats.t.ppf(0.975, df)` and `scipy.stats.t.sf(1.7, df)`, scipy 1.17.1.
    const T_TABLE: [(f64, f64, f64); 6] = [
        (1.0, 12.706204736175, 0.169253027330333),
        (4.0, 2.776445105198, 0.082177470635025),
        (4.37, 2.686148100041, 0.079133893374312),
        (15.0, 2.131449545560, 0.054883105500668),
        (120.0, 1.979930405082, 0.045860731890302),
        (5999.0, 1.960359507427, 0.044591381355412),
    ];

    #[test]
    fn t_quantiles_and_tails_match_scipy() {
        for (freedom, quantile, tail) in T_TABLE {
            let unit = Estimate::student(1.7, 1.0, freedom, 0.95).unwrap();
            assert!(
                (unit.high - 1.7 - quantile).abs() < 1e-9,
                "quantile at {freedom}"
            );
            assert!((unit.p_positive() - tail).abs() < 1e-9, "tail at {freedom}");
        }
        let normal = Estimate::student(0.0, 1.0, f64::INFINITY, 0.95).unwrap();
        assert!((normal.high - 1.959964).abs() < 3e-4);
    }

    #[test]
    fn mean_of_students_own_sleep_data() {
        // Student 1908, illustration I: additional hours of sleep, paired over ten patients; the
        // interval is that of `t.test(extra ~ group, sleep, paired = TRUE)` in R's manual.
        let first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
        let second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];
        let estimate = shrinkage(&first, &second, 0.95).unwrap();
        assert!((estimate.value + 1.58).abs() < 1e-12);
        assert!((estimate.low + 2.4598858).abs() < 1e-6);
        assert!((estimate.high + 0.7001142).abs() < 1e-6);
        assert!((estimate.p_positive() - (1.0 - 0.002833 / 2.0)).abs() < 1e-6);
    }

    #[test]
    fn refuses_bad_values_and_levels() {
        assert!(mean_estimate(&[1.0], 0.95).is_err());
        assert!(mean_estimate(&[1.0, f64::NAN], 0.95).is_err());
        assert!(shrinkage(&[1.0, 2.0], &[1.0], 0.95).is_err());
        for level in [0.0, 1.0, -0.5, f64::NAN] {
            assert!(matches!(
                mean_estimate(&[1.0, 2.0], level),
                Err(StatsError::Level(_))
            ));
        }
    }

    #[test]
    fn without_variation_the_sign_decides() {
        let constant = |value| mean_estimate(&[value; 3], 0.95).unwrap();
        assert_eq!(constant(0.5).p_positive(), 0.0);
        assert_eq!(constant(0.0).p_positive(), 1.0);
        assert_eq!(constant(0.5).low, 0.5);
    }

    proptest! {
        #[test]
        fn interval_holds_the_value_and_widens_with_the_level(
            values in prop::collection::vec(-1.0..1.0f64, 2..40),
        ) {
            let narrow = mean_estimate(&values, 0.90).unwrap();
            let wide = mean_estimate(&values, 0.99).unwrap();
            prop_assert!(wide.low <= narrow.low && narrow.low <= narrow.value);
            prop_assert!(narrow.value <= narrow.high && narrow.high <= wide.high);
            let above = mean_estimate(&values, 0.95).unwrap();
            prop_assert_eq!(above.p_positive() < 0.025, above.low > 0.0);
        }
    }
}
