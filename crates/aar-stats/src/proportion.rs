//! Counts of right and wrong answers: intervals of a share, and McNemar's test.

use crate::StatsError;
use crate::error::proper_level;
use statrs::distribution::{ContinuousCDF, Normal};
use statrs::function::beta::beta_reg;

/// The two ends of an interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Wilson's score interval of a share: covers about as often as it says, also for shares near 0 or
/// 1 and for small counts, on average over the true share but not for every one.
///
/// For items that were sampled independently; for groups of items see
/// [`item_accuracy`](crate::item_accuracy).
///
/// Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference",
/// Journal of the American Statistical Association 22, 209–212; recommended by Brown, Cai &
/// DasGupta 2001, "Interval estimation for a binomial proportion", Statistical Science 16(2).
///
/// # Errors
/// [`StatsError::Share`] if `whole` is 0 or less than `part`, [`StatsError::Level`].
pub fn wilson(part: u64, whole: u64, level: f64) -> Result<Interval, StatsError> {
    proper(part, whole, level)?;
    let z = Normal::standard().inverse_cdf(0.5 + level / 2.0);
    let n = whole as f64;
    let share = part as f64 / n;
    let centre = (share + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let reach = z / (1.0 + z * z / n) * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    Ok(Interval {
        // Exactly 0 and 1 where the formula is, up to rounding.
        low: if part == 0 { 0.0 } else { centre - reach },
        high: if part == whole { 1.0 } else { centre + reach },
    })
}

/// Clopper and Pearson's exact interval of a share: covers at least as often as it says for every
/// true share, and so is longer than [`wilson`]'s.
///
/// Source: Clopper & Pearson 1934, "The use of confidence or fiducial limits illustrated in the
/// case of the binomial", Biometrika 26(4), 404–413.
///
/// # Errors
/// As [`wilson`].
pub fn clopper_pearson(part: u64, whole: u64, level: f64) -> Result<Interval, StatsError> {
    proper(part, whole, level)?;
    let tail = (1.0 - level) / 2.0;
    // The share at which as many right answers, or more, have probability `tail`; and fewer.
    let low = solve(|share| at_least_by_chance(part, whole, share) < tail);
    let high = solve(|share| at_least_by_chance(part + 1, whole, share) < 1.0 - tail);
    Ok(Interval {
        low: if part == 0 { 0.0 } else { low },
        high: if part == whole { 1.0 } else { high },
    })
}

/// The exact McNemar test of two methods on the same items, one prediction each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct McNemar {
    /// One-sided p-value for "the method is better".
    pub p_positive: f64,
    /// Two-sided p-value: twice the smaller tail, at most 1.
    pub p_two_sided: f64,
}

/// McNemar's test from the items on which exactly one of two methods is right: `won` by the method,
/// `lost` to the other. If both are equally good, each such item is a fair coin.
///
/// For items that were sampled independently, and for these very predictions: what other seeds
/// would have given is not in it. Without such items both p-values are 1.
///
/// Source: McNemar 1947, "Note on the sampling error of the difference between correlated
/// proportions or percentages", Psychometrika 12(2), 153–157; exact by the binomial distribution
/// rather than its χ² approximation.
pub fn mcnemar(won: u64, lost: u64) -> McNemar {
    let coins = won.saturating_add(lost);
    let p_positive = at_least_by_chance(won, coins, 0.5);
    let p_negative = at_least_by_chance(lost, coins, 0.5);
    McNemar {
        p_positive,
        p_two_sided: (2.0 * p_positive.min(p_negative)).min(1.0),
    }
}

/// P(X ≥ `part`) for X binomial with `whole` tries of probability `share`: the regularised
/// incomplete beta function I_share(part, whole − part + 1).
fn at_least_by_chance(part: u64, whole: u64, share: f64) -> f64 {
    if part == 0 {
        1.0
    } else if part > whole {
        0.0
    } else {
        beta_reg(part as f64, (whole - part) as f64 + 1.0, share)
    }
}

/// Where `below` turns from true to false on `[0, 1]`, by halving: 60 steps exhaust an `f64`.
fn solve(below: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if below(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

fn proper(part: u64, whole: u64, level: f64) -> Result<(), StatsError> {
    proper_level(level)?;
    if whole == 0 || part > whole {
        return Err(StatsError::Share { part, whole });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_is_no_share() {
        for (part, whole, level) in [(1, 0, 0.95), (3, 2, 0.95), (1, 2, 1.0)] {
            assert!(wilson(part, whole, level).is_err());
            assert!(clopper_pearson(part, whole, level).is_err());
        }
        assert_eq!(
            (mcnemar(0, 0).p_positive, mcnemar(0, 0).p_two_sided),
            (1.0, 1.0)
        );
    }

    proptest! {
        #[test]
        fn intervals_hold_the_share(
            whole in 1..5000u64,
            share in 0.0..=1.0f64,
        ) {
            let part = (whole as f64 * share) as u64;
            let share = part as f64 / whole as f64;
            for one in [wilson(part, whole, 0.95).unwrap(), clopper_pearson(part, whole, 0.95).unwrap()] {
                prop_assert!(0.0 <= one.low && one.low <= share + 1e-12);
                prop_assert!(share <= one.high + 1e-12 && one.high <= 1.0);
            }
        }

        #[test]
        fn the_exact_interval_covers_every_share(whole in 1..60u64, truth in 0.001..0.999f64) {
            let covered: f64 = (0..=whole)
                .filter(|&part| {
                    let one = clopper_pearson(part, whole, 0.9).unwrap();
                    one.low <= truth && truth <= one.high
                })
                .map(|part| at_least_by_chance(part, whole, truth) - at_least_by_chance(part + 1, whole, truth))
                .sum();
            prop_assert!(covered >= 0.9 - 1e-9);
        }
    }
}
