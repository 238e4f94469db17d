//! Rounding a share down without a rounding error.

use crate::StatsError;

/// `part / whole` rounded down to a multiple of `1 / steps`, in `[0, 1]`.
///
/// Computed on integers, so a share that lies exactly on a step stays there: 290 of 500 floored
/// to 100 steps is 0.58, where floating point makes `(0.58 * 100).floor() / 100` into 0.57. The
/// result is the `f64` nearest to the step, so it prints as `0.58`. With `steps` = 100 and the
/// counts of a [`CorrectMatrix`](crate::CorrectMatrix) this is the `floored` feedback.
///
/// # Errors
/// [`StatsError::Share`] if `whole` is 0 or less than `part`; [`StatsError::TooFew`] for 0 steps.
pub fn floor_share(part: u64, whole: u64, steps: u32) -> Result<f64, StatsError> {
    crate::error::at_least("steps", 1, steps as usize)?;
    if whole == 0 || part > whole {
        return Err(StatsError::Share { part, whole });
    }
    // At most `steps`, so it fits both types; the product needs the wider one.
    let step = u128::from(part) * u128::from(steps) / u128::from(whole);
    Ok(step as f64 / f64::from(steps))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn exact_on_every_boundary() {
        // Through floating point, several of these 101 steps fall to the one below.
        for percent in 0..=100 {
            let step = percent as f64 / 100.0;
            assert_eq!(floor_share(percent * 100, 10_000, 100), Ok(step));
            if percent < 100 {
                assert_eq!(floor_share(percent * 100 + 99, 10_000, 100), Ok(step));
            }
        }
        assert_ne!((0.58f64 * 100.0).floor() / 100.0, 0.58);
    }

    #[test]
    fn refuses_what_is_no_share() {
        assert!(floor_share(1, 0, 100).is_err());
        assert!(floor_share(3, 2, 100).is_err());
        assert!(floor_share(1, 2, 0).is_err());
        assert_eq!(floor_share(u64::MAX, u64::MAX, u32::MAX), Ok(1.0));
    }

    proptest! {
        #[test]
        fn below_the_share_by_less_than_a_step(
            whole in 1..1_000_000u64,
            share in 0.0..=1.0f64,
            steps in 1..10_000u32,
        ) {
            let part = (whole as f64 * share) as u64;
            let floored = floor_share(part, whole, steps).unwrap();
            let exact = part as f64 / whole as f64;
            prop_assert!(floored <= exact + 1e-12);
            prop_assert!(exact - floored < 1.0 / f64::from(steps) + 1e-12);
        }
    }
}
