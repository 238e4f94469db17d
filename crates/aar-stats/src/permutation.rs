//! Sign-flip tests: could this difference be as large if its sign were a coin's?

use crate::bootstrap::generator;
use crate::error::at_least;
use crate::{Crossed, StatsError};
use rand::RngExt;

/// Up to this many differences all 2^n signs are tried; beyond, a sample of them.
const EXACT: usize = 16;

/// Signs that are drawn where there are too many to try all: p is then known to 0.003 around 0.05.
const DRAWS: usize = 10_000;

/// Two p-values of a sign-flip test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SignFlip {
    /// One-sided, for "above 0": the share of signs that give a sum at least as large.
    pub p_positive: f64,
    /// Two-sided: the share of signs that give a sum at least as far from 0.
    pub p_two_sided: f64,
    /// The smallest p that `p_positive` can be: 2^−n where all signs are tried.
    pub smallest: f64,
}

/// Sign-flip permutation test of paired differences: under the null hypothesis each of them is
/// as likely to have the other sign.
///
/// Exact up to 16 differences; above, 10,000 signs drawn from `seed`, with 1 added above and below
/// so that the p-value is valid (Phipson & Smyth 2010, "Permutation p-values should never be
/// zero", Statistical Applications in Genetics and Molecular Biology 9(1), article 39). With n
/// differences no p is below 2^−n: five can never be significant at 2.5 %, one-sided (1/32), and
/// 16 reach 0.000015.
///
/// Source: Fisher 1935, "The Design of Experiments", section 21.
///
/// # Errors
/// [`StatsError::TooFew`] without differences, [`StatsError::NotFinite`].
pub fn sign_flip(differences: &[f64], seed: u64) -> Result<SignFlip, StatsError> {
    at_least("differences", 1, differences.len())?;
    if let Some(&bad) = differences.iter().find(|d| !d.is_finite()) {
        return Err(StatsError::NotFinite(bad));
    }
    let observed: f64 = differences.iter().sum();
    // Sums of the same numbers in another order must tie.
    let margin = 1e-12 * differences.iter().map(|d| d.abs()).sum::<f64>();
    let (mut above, mut beyond) = (0u32, 0u32);
    let mut count = |sum: f64| {
        above += u32::from(sum >= observed - margin);
        beyond += u32::from(sum.abs() >= observed.abs() - margin);
    };
    let sum_with = |signs: &mut dyn FnMut() -> bool| -> f64 {
        differences
            .iter()
            .map(|&d| if signs() { -d } else { d })
            .sum()
    };
    let (tried, known) = if differences.len() <= EXACT {
        let all = 1u32 << differences.len();
        for mut signs in 0..all {
            count(sum_with(&mut || {
                let minus = signs & 1 == 1;
                signs >>= 1;
                minus
            }));
        }
        (all, 0)
    } else {
        let mut random = generator(seed);
        for _ in 0..DRAWS {
            count(sum_with(&mut || random.random_bool(0.5)));
        }
        (DRAWS as u32, 1)
    };
    let share = |found: u32| f64::from(found + known) / f64::from(tried + known);
    Ok(SignFlip {
        p_positive: share(above),
        p_two_sided: share(beyond),
        smallest: 1.0 / f64::from(tried + known),
    })
}

impl Crossed {
    /// [`sign_flip`] of the differences of seeds: do seeds agree on the sign, *on these items*?
    ///
    /// Assumes that a seed's difference is symmetric about 0, and nothing about its distribution.
    /// It says nothing about other items: two methods that differ by the luck of these items
    /// differ so for every seed. Use it beside [`Crossed::estimate`], not instead.
    ///
    /// # Errors
    /// None for a table that exists.
    pub fn flip_seeds(&self, seed: u64) -> Result<SignFlip, StatsError> {
        let mut sums = vec![0.0; self.seeds];
        for group in self.sums.chunks_exact(self.seeds) {
            for (total, &sum) in sums.iter_mut().zip(group) {
                *total += f64::from(sum);
            }
        }
        sign_flip(&sums, seed)
    }

    /// [`sign_flip`] of the differences of groups of items: do items agree on the sign, *for these
    /// seeds*? The counterpart of [`Crossed::flip_seeds`], with its limits the other way round.
    ///
    /// # Errors
    /// None for a table that exists.
    pub fn flip_groups(&self, seed: u64) -> Result<SignFlip, StatsError> {
        let sums: Vec<f64> = self
            .sums
            .chunks_exact(self.seeds)
            .map(|group| group.iter().map(|&sum| f64::from(sum)).sum())
            .collect();
        sign_flip(&sums, seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_signs_of_few_differences() {
        // Of the 8 sums of ±1 ±2 ±3, one is 6, and two are at least 4.
        let flip = |d: &[f64]| sign_flip(d, 1).unwrap();
        assert_eq!(flip(&[1.0, 2.0, 3.0]).p_positive, 0.125);
        assert_eq!(flip(&[1.0, 2.0, 3.0]).p_two_sided, 0.25);
        assert_eq!(flip(&[-1.0, 2.0, 3.0]).p_positive, 0.25);
        assert_eq!(flip(&[0.0, 0.0]).p_positive, 1.0);
        assert_eq!(flip(&[0.1; 16]).p_positive, 1.0 / 65536.0);
    }

    /// Darwin's maize: Fisher 1935, section 21, finds 863 of 32,768 sums as far out or further on
    /// the one side, 1,726 on both.
    #[test]
    fn fishers_own_example() {
        let inches = [
            49.0, -67.0, 8.0, 16.0, 6.0, 23.0, 28.0, 41.0, 14.0, 29.0, 56.0, 24.0, 75.0, 60.0,
            -48.0,
        ];
        let flip = sign_flip(&inches, 1).unwrap();
        assert_eq!(flip.p_positive, 863.0 / 32768.0);
        assert_eq!(flip.p_two_sided, 1726.0 / 32768.0);
        // Twice the same data, for the drawn signs: 30 differences, known to three decimals.
        let drawn = sign_flip(&[inches, inches].concat(), 1).unwrap();
        assert!((drawn.p_positive - 0.0036).abs() < 0.003, "{drawn:?}");
        assert_eq!(drawn, sign_flip(&[inches, inches].concat(), 1).unwrap());
    }

    #[test]
    fn refuses_nothing_and_infinity() {
        assert!(sign_flip(&[], 1).is_err());
        assert!(sign_flip(&[1.0, f64::NAN], 1).is_err());
    }
}
