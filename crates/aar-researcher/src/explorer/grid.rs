//! The values that an explorer tries for a quantity.
//!
//! A coarse grid, because dev feedback is coarse: values closer together than these could not be told apart,
//! and on a grid two explorers with the same thought make the same recipe, which is then evaluated once.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

/// Shares of rows.
pub(super) const SHARES: &[f64] = &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
/// Inverse strengths of the L2 penalty.
pub(super) const PENALTIES: &[f64] = &[
    1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 10.0,
];
/// Powers of a weight or a rank.
pub(super) const POWERS: &[f64] = &[0.5, 1.0, 2.0, 3.0, 4.0];
/// Temperatures of the teacher.
pub(super) const TEMPERATURES: &[f64] = &[0.3, 0.5, 1.0, 2.0, 4.0];
/// Parts of a mixture.
pub(super) const MIXES: &[f64] = &[0.2, 0.35, 0.5, 0.65, 0.8, 1.0];
/// Least confidences.
pub(super) const THRESHOLDS: &[f64] = &[0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9];
/// Lengths of steps relative to a length.
pub(super) const STEP_SIZES: &[f64] = &[0.01, 0.03, 0.1, 0.3];
/// Factors of a learning rate.
pub(super) const RATES: &[f64] = &[0.1, 0.3, 1.0, 3.0];

/// Principal components.
pub(super) const COMPONENTS: &[usize] = &[4, 8, 16, 32, 64, 128, 256];
/// Ranks of a low-rank student.
pub(super) const RANKS: &[usize] = &[1, 2, 3, 4, 6, 8, 16];
/// Units of a hidden layer.
pub(super) const UNITS: &[usize] = &[4, 8, 16, 32];
/// Students in an ensemble.
pub(super) const BAGS: &[usize] = &[1, 3, 5, 8, 12, 16];
/// Parts for cross-fitting.
pub(super) const FOLDS: &[usize] = &[2, 3, 5, 8];
/// Rounds of training on one's own labels.
pub(super) const ROUNDS: &[usize] = &[1, 2, 3, 5, 8];
/// Rounds of expectation and maximisation.
pub(super) const EM_ROUNDS: &[usize] = &[1, 2, 3];
/// Nearest neighbours.
pub(super) const NEIGHBOURS: &[usize] = &[3, 5, 10, 20, 40];
/// Components that are looked at for one that agrees with the teacher.
pub(super) const AMONG: &[usize] = &[2, 4, 8, 16, 32];
/// Starts of a search.
pub(super) const RESTARTS: &[usize] = &[2, 4, 8];
/// Passes over the rows.
pub(super) const EPOCHS: &[usize] = &[1, 3, 6, 12, 25];
/// Steps of an evolution strategy.
pub(super) const EVOLVE_STEPS: &[usize] = &[10, 30, 60, 120];
/// Rows for one fitness.
pub(super) const EVOLVE_ROWS: &[usize] = &[100, 300, 1_000];

/// A neighbour on the grid: one place up or down, sometimes two. Always another value than `now`.
pub(super) fn near<T: Copy + PartialOrd>(grid: &[T], now: T, rng: &mut ChaCha8Rng) -> T {
    let here = grid.iter().take_while(|value| **value < now).count();
    let stride = if rng.random_bool(0.25) { 2 } else { 1 };
    let up = grid.get(here + stride).or(grid.last());
    let down = grid.get(here.saturating_sub(stride));
    let (first, second) = if rng.random_bool(0.5) {
        (up, down)
    } else {
        (down, up)
    };
    let other = |value: &&T| **value != now;
    *first.filter(other).or(second.filter(other)).unwrap_or(&now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    #[test]
    fn a_neighbour_is_on_the_grid_close_by_and_never_the_same() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for _ in 0..200 {
            for (place, &value) in COMPONENTS.iter().enumerate() {
                let next = near(COMPONENTS, value, &mut rng);
                let found = COMPONENTS.iter().position(|v| *v == next).unwrap();
                assert!(found != place && found.abs_diff(place) <= 2);
            }
            // A value off the grid comes back to it.
            assert!(PENALTIES.contains(&near(PENALTIES, 0.02, &mut rng)));
            assert!(PENALTIES.contains(&near(PENALTIES, 99.0, &mut rng)));
        }
    }
}
