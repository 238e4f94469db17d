//! Many tests, one promise: the chance that any of them errs stays below one number.

use crate::StatsError;
use crate::error::proper_level;

/// ζ(3/2) = Σ j^(−3/2), the sum of all weights.
const ZETA: f64 = 2.612_375_348_685_488;

/// Error control over a sequence of tests that may go on forever: test j is done at the level
/// α · j^(−3/2) / ζ(3/2).
///
/// All levels together sum to α, so by Bonferroni's inequality the chance of one or more false
/// discoveries in the whole sequence is at most α, *however the tests depend on each other*, as
/// long as each is valid at its own level whatever came before. In a study all promotions are
/// tested on the same sealed rows, against incumbents that earlier tests chose, so their p-values
/// depend on each other in ways nobody knows. Procedures that earn back level with each discovery
/// have more power but need more: LORD and its kin control the false discovery rate for p-values
/// that are independent, or valid given the past of the sequence (Javanmard & Montanari 2018,
/// "Online rules for control of false discovery rate and false discovery exceedance", Annals of
/// Statistics 46(2), 526–554; Ramdas et al. 2017, arXiv 1710.00499, "conditionally
/// super-uniform"), which rows used again do not give; and e-values (Ramdas et al. 2023,
/// "Game-theoretic statistics and safe anytime-valid inference", Statistical Science 38(4)) are
/// valid over a stream of fresh data, which replications on the same rows are not.
///
/// What the guarantee leaves out: a later hypothesis may be chosen because of earlier answers on
/// the same rows, and each answer tells one bit about them. Promotions are few, so this is little,
/// but only fresh rows would make it nothing.
///
/// Source: Foster & Stine 2008, "α-investing: a procedure for sequential control of expected false
/// discoveries", Journal of the Royal Statistical Society B 70(2), 429–444, who call spending
/// without earning back alpha-spending. Any summable weights are valid; the power 3/2 falls slowly
/// enough that the hundredth test still has 1/2,600 of α.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlphaSpending {
    alpha: f64,
}

impl AlphaSpending {
    /// A sequence whose chance of any false discovery is at most `alpha`.
    ///
    /// # Errors
    /// [`StatsError::Level`] unless `0 < alpha < 1`.
    pub fn new(alpha: f64) -> Result<Self, StatsError> {
        proper_level(alpha)?;
        Ok(Self { alpha })
    }

    /// The level of test `test_number`, counted from 1: it finds something if p is at most this.
    /// There is no test 0, and its level is 0.
    pub fn level(&self, test_number: u64) -> f64 {
        if test_number == 0 {
            return 0.0;
        }
        self.alpha * (test_number as f64).powf(-1.5) / ZETA
    }

    /// The sum of the levels of the first `tests` tests, at most `alpha`.
    pub fn spent(&self, tests: u64) -> f64 {
        // Beyond this, what remains is known to 16 digits from three terms of the Euler–Maclaurin
        // formula, and a large number costs no time.
        const SUMMED: u64 = 1000;
        if tests <= SUMMED {
            return (1..=tests).map(|test| self.level(test)).sum();
        }
        let n = tests as f64;
        let rest = 2.0 * n.powf(-0.5) - 0.5 * n.powf(-1.5) + 0.125 * n.powf(-2.5);
        self.alpha * (1.0 - rest / ZETA)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn first_levels_are_known() {
        let spending = AlphaSpending::new(0.05).unwrap();
        // 0.05 / ζ(3/2) = 0.05 / 2.6123753.
        assert!((spending.level(1) - 0.0191397).abs() < 1e-7);
        assert_eq!(spending.level(0), 0.0);
        assert_eq!(spending.spent(0), 0.0);
        assert_eq!(spending.spent(1), spending.level(1));
    }

    #[test]
    fn the_closed_form_continues_the_sum() {
        let spending = AlphaSpending::new(1.0 - 1e-9).unwrap();
        let step = spending.spent(1001) - spending.spent(1000);
        assert!((step - spending.level(1001)).abs() < 1e-14);
        let all = (1..=1_000_000).rev().map(|test| spending.level(test));
        assert!((spending.spent(1_000_000) - all.sum::<f64>()).abs() < 1e-12);
    }

    #[test]
    fn refuses_what_is_no_level() {
        for alpha in [0.0, 1.0, -0.1, f64::NAN] {
            assert!(AlphaSpending::new(alpha).is_err(), "{alpha}");
        }
    }

    proptest! {
        #[test]
        fn never_spends_more_than_alpha(alpha in 1e-6..0.999f64, tests in any::<u64>(), few in 1..3000u64) {
            let spending = AlphaSpending::new(alpha).unwrap();
            for tests in [tests, few] {
                let spent = spending.spent(tests);
                prop_assert!(spent <= alpha && spending.level(tests) <= alpha);
                prop_assert!(spending.spent(tests.saturating_add(1)) >= spent);
            }
            let one_by_one: f64 = (1..=few).map(|test| spending.level(test)).sum();
            prop_assert!((one_by_one - spending.spent(few)).abs() < 1e-12 * alpha.max(1.0));
        }
    }
}
