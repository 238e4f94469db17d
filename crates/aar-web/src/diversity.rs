//! How many kinds of idea were alive, and how involved ideas were, over time.
//!
//! The study's measure (study facts, section 4.3): the Shannon entropy of families over the agents
//! active at a time, one family for each agent, points with fewer than five agents dropped, and a
//! 90 % interval by resampling agents. Here a time is one of twelve equal bins of the researchers'
//! time, an agent is active in a bin if an evaluation of its ended there, and its family is that of
//! the last such evaluation.

use crate::account::Account;
use aar_core::family::Family;
use aar_core::id::Name;
use aar_stats::{Bootstrap, Estimate, entropy_over_agents, mean_estimate};
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
    /// How many labelled findings about methods were posted.
    pub(crate) ideas: usize,
    /// Their mean complexity, 1 to 10; none with fewer than two.
    pub(crate) complexity: Option<Estimate>,
    /// The highest dev PGR that was told until its end.
    pub(crate) best_dev: Option<f64>,
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
    let mut best_dev: Option<f64> = None;
    // The very first moment belongs to the first bin; else a bin has its end, not its start.
    let inside = |at: u64| at <= to && (at > from || number == 0);
    for evaluation in &account.evaluations {
        let at = evaluation.at.saturating_sub(start);
        if at <= to {
            let told = evaluation.pgr.filter(|pgr| pgr.is_finite());
            best_dev = best_dev.into_iter().chain(told).max_by(f64::total_cmp);
        }
        let family = account.family(evaluation.researcher, evaluation.snapshot);
        let Some(family) = family.filter(|_| inside(at)) else {
            continue;
        };
        latest.insert(evaluation.researcher, family);
        if let Some(place) = Family::ALL.iter().position(|&one| one == family) {
            evaluations[place] += 1;
        }
    }
    let posted = account
        .findings
        .iter()
        .filter(|finding| finding.snapshot.is_some() && inside(finding.at.saturating_sub(start)));
    let ideas: Vec<f64> = posted
        .filter_map(|finding| finding.label)
        .map(|(label, _)| f64::from(u8::from(label.complexity)))
        .collect();
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
        ideas: ideas.len(),
        complexity: mean_estimate(&ideas, LEVEL).ok(),
        best_dev,
    }
}
