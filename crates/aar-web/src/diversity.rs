//! How many kinds of idea were alive, over time.
//!
//! The study's measure (study facts, section 4.3): the Shannon entropy of families over the agents
//! active at a time, one family for each agent, points with fewer than five agents dropped, and a
//! 90 % interval by resampling agents. Here a time is one of twelve equal bins of the researchers'
//! time, an agent is active in a bin if an evaluation of its ended there, and its family is that of
//! the last such evaluation.

use crate::account::Account;
use aar_core::family::Family;
use aar_core::id::Name;
use aar_stats::{Bootstrap, entropy_over_agents};
use std::collections::BTreeMap;

/// Into how many bins the researchers' time is cut.
pub(crate) const BINS: usize = 12;
/// With fewer agents than this, entropy says more about their number than about their ideas.
pub(crate) const FEWEST_AGENTS: usize = 5;
const REPLICATES: usize = 1_000;
const LEVEL: f64 = 0.90;

/// One stretch of time.
pub(crate) struct Bin {
    /// Milliseconds since the first researcher joined.
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// How many agents were active.
    pub(crate) agents: usize,
    /// In bits; none with too few agents.
    pub(crate) entropy: Option<Bootstrap>,
    /// Evaluations by family, in the order of [`Family::ALL`].
    pub(crate) evaluations: [u64; Family::ALL.len()],
}

/// The bins in order; none if there was no research.
pub(crate) fn bins(account: &Account<'_>) -> Vec<Bin> {
    let (start, end) = account.research();
    let length = end.saturating_sub(start);
    if length == 0 || account.evaluations.is_empty() {
        return Vec::new();
    }
    let edge = |bin: usize| (u128::from(length) * bin as u128 / BINS as u128) as u64;
    (0..BINS)
        .map(|bin| fill(account, start, edge(bin), edge(bin + 1), bin))
        .collect()
}

fn fill(account: &Account<'_>, start: u64, from: u64, to: u64, number: usize) -> Bin {
    let mut evaluations = [0; Family::ALL.len()];
    let mut latest: BTreeMap<&Name, Family> = BTreeMap::new();
    for evaluation in &account.evaluations {
        let at = evaluation.at.saturating_sub(start);
        // The very first moment belongs to the first bin; else a bin has its end, not its start.
        let inside = at <= to && (at > from || number == 0);
        let Some(stored) = account.stored(evaluation.snapshot).filter(|_| inside) else {
            continue;
        };
        latest.insert(evaluation.researcher, stored.family);
        if let Some(place) = Family::ALL
            .iter()
            .position(|&family| family == stored.family)
        {
            evaluations[place] += 1;
        }
    }
    let families: Vec<Family> = latest.into_values().collect();
    let enough = families.len() >= FEWEST_AGENTS;
    let entropy = enough
        .then(|| entropy_over_agents(&families, REPLICATES, LEVEL, number as u64).ok())
        .flatten();
    Bin {
        from,
        to,
        agents: families.len(),
        entropy,
        evaluations,
    }
}
