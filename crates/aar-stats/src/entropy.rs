//! Diversity of ideas.

use crate::bootstrap::generator;
use crate::error::at_least;
use crate::{Bootstrap, StatsError};
use rand::RngExt;
use std::collections::HashMap;
use std::hash::Hash;

/// Shannon entropy of counts in bits, `-Σ p log2 p`, in `[0, log2(number of counts)]`.
///
/// Zero counts add nothing; without any count above 0 the entropy is 0. This is the plug-in
/// estimate, which on n draws from K kinds lies about (K − 1) / (2 n ln 2) bits too low (Miller
/// 1955, "Note on the bias of information estimates"): compare only at about equal n.
///
/// Source: Shannon 1948, "A mathematical theory of communication", section 6.
pub fn entropy_bits(counts: &[u64]) -> f64 {
    let total = counts.iter().map(|&count| count as f64).sum::<f64>();
    let term = |&count: &u64| {
        let share = count as f64 / total;
        share * share.log2()
    };
    // From 0.0 rather than by negation, so that one kind alone gives 0 and not -0.
    counts
        .iter()
        .filter(|&&count| count > 0)
        .fold(0.0, |bits, count| bits - term(count))
}

/// Entropy in bits of the families over agents, one family per active agent, with a percentile
/// interval by resampling agents.
///
/// The original study does this with a level of 0.90 and drops points with fewer than five agents
/// (study facts, section 4.3). A resample never has a family that the data lack and often misses
/// one, so the interval leans low and may end below the estimate's true value.
/// [`Bootstrap::p_positive`] has no use here. Deterministic given `seed`.
///
/// # Errors
/// [`StatsError::TooFew`] without agents or with too few replicates, [`StatsError::Level`].
pub fn entropy_over_agents<F: Eq + Hash>(
    families: &[F],
    replicates: usize,
    level: f64,
    seed: u64,
) -> Result<Bootstrap, StatsError> {
    at_least("agents", 1, families.len())?;
    // Families by number of first appearance: sums must not depend on the order of a hash map.
    let mut numbers = HashMap::new();
    let family: Vec<usize> = families
        .iter()
        .map(|family| {
            let next = numbers.len();
            *numbers.entry(family).or_insert(next)
        })
        .collect();
    let mut counts = vec![0; numbers.len()];
    let mut entropy = |agents: &mut dyn Iterator<Item = usize>| {
        counts.fill(0);
        agents.for_each(|agent| counts[family[agent]] += 1);
        entropy_bits(&counts)
    };

    let agents = family.len();
    let value = entropy(&mut (0..agents));
    let mut random = generator(seed);
    let resampled = (0..replicates)
        .map(|_| entropy(&mut (0..agents).map(|_| random.random_range(0..agents as u32) as usize)))
        .collect();
    Bootstrap::summarise(value, resampled, level, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_entropies() {
        assert_eq!(entropy_bits(&[]), 0.0);
        assert_eq!(entropy_bits(&[0, 0]), 0.0);
        assert_eq!(entropy_bits(&[7, 0]).to_bits(), 0.0f64.to_bits());
        assert_eq!(entropy_bits(&[5, 5, 5, 5]), 2.0);
        // Cover & Thomas 2006, "Elements of Information Theory", example 1.1.2: 2 bits.
        assert_eq!(entropy_bits(&[32, 16, 8, 4, 1, 1, 1, 1]), 2.0);
        // scipy.stats.entropy([3, 1, 1, 4], base=2)
        assert!((entropy_bits(&[3, 1, 1, 4]) - 1.7527152789797047).abs() < 1e-12);
    }

    #[test]
    fn interval_over_agents() {
        let families = ["a", "b", "c", "d", "a", "b", "c", "e", "f"];
        let found = entropy_over_agents(&families, 2000, 0.90, 1).unwrap();
        assert!((found.value - entropy_bits(&[2, 2, 2, 1, 1, 1])).abs() < 1e-12);
        assert!(0.0 < found.low && found.low < found.high && found.high <= 6f64.log2());
        assert_eq!(
            found,
            entropy_over_agents(&families, 2000, 0.90, 1).unwrap()
        );

        let alike = entropy_over_agents(&["a"; 9], 100, 0.90, 1).unwrap();
        assert_eq!((alike.value, alike.low, alike.high), (0.0, 0.0, 0.0));
        assert!(entropy_over_agents::<u8>(&[], 100, 0.90, 1).is_err());
    }

    proptest! {
        #[test]
        fn bounded_and_blind_to_order(mut counts in prop::collection::vec(0..50u64, 1..12)) {
            let bits = entropy_bits(&counts);
            prop_assert!(bits >= 0.0 && bits <= (counts.len() as f64).log2() + 1e-12);
            counts.sort();
            prop_assert!((entropy_bits(&counts) - bits).abs() < 1e-9);
        }
    }
}
