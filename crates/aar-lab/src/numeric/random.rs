//! Random numbers: one stream per seed and purpose, so that parts do not disturb each other.

use aar_core::id::Seed;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The generator for one purpose under a seed.
#[must_use]
pub fn stream(seed: Seed, purpose: &str, index: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed.derive(purpose, index).0)
}

/// A standard normal number (Box and Muller 1958).
pub fn normal(rng: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

/// `0..n` in random order (Fisher and Yates).
pub fn permutation(n: usize, rng: &mut impl Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for last in (1..n).rev() {
        order.swap(last, rng.random_range(0..=last));
    }
    order
}

/// How often each of `n` rows is in a bootstrap sample of size `n`.
pub fn bootstrap_counts(n: usize, rng: &mut impl Rng) -> Vec<f32> {
    let mut counts = vec![0.0; n];
    for _ in 0..n {
        counts[rng.random_range(0..n)] += 1.0;
    }
    counts
}

/// The fold, in `0..folds`, of each row. Rows of one group share a fold, so that no group is on
/// both sides of a cross-fit; folds differ by at most one group.
pub fn folds(groups: &[u32], folds: usize, rng: &mut impl Rng) -> Vec<usize> {
    let count = groups
        .iter()
        .map(|&group| group as usize + 1)
        .max()
        .unwrap_or(0);
    let order = permutation(count, rng);
    groups
        .iter()
        .map(|&group| order[group as usize] % folds)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_respect_groups_and_are_even() {
        let groups: Vec<u32> = (0..100).map(|row| row / 4).collect();
        let mut rng = stream(Seed(3), "folds", 0);
        let fold = folds(&groups, 5, &mut rng);
        for rows in fold.chunks_exact(4) {
            assert!(rows.iter().all(|f| *f == rows[0]));
        }
        for k in 0..5 {
            assert_eq!(fold.iter().filter(|&&f| f == k).count(), 20);
        }
    }

    #[test]
    fn normal_numbers_have_unit_variance() {
        let mut rng = stream(Seed(1), "normal", 0);
        let draws: Vec<f64> = (0..20_000).map(|_| normal(&mut rng)).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        let square = draws.iter().map(|x| x * x).sum::<f64>() / 20_000.0;
        assert!(
            mean.abs() < 0.03 && (square - 1.0).abs() < 0.04,
            "{mean} {square}"
        );
    }
}
