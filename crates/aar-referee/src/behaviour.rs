//! Audits of behaviour: what the record of a study says about how its researchers work.
//!
//! Each detector is a pure function of recorded evaluations and gives [`Signal`]s, whose weights
//! are calibrated on the evaluations of finished studies (`docs/cases.md` has the figures, and
//! `cargo run --release -p aar-referee --example behaviour -- RUN…` makes them). No detector here
//! disqualifies alone: a signal is weak until others join it. The exception is an output that its
//! own code does not give again, see [`compare`].

mod code;
mod gap;
mod outputs;
mod rerun;
#[cfg(test)]
mod tests;

pub use code::{Tried, picked_seeds, prying};
pub use gap::{Scored, dev_rank_gap};
pub use outputs::{block_difference, implausible, near_duplicate, uncorrelated};
pub use rerun::{Reproduction, choose_share, compare};

use aar_core::case::Suspicion;
use aar_core::id::{Name, SnapshotId};
use aar_core::row::Label;
use aar_hub::snapshot::Files;

/// An answered evaluation as it was recorded.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// Who asked for it.
    pub researcher: Name,
    /// What was run.
    pub snapshot: SnapshotId,
    /// What it was made from.
    pub parents: Vec<SnapshotId>,
    /// Its files.
    pub files: Files,
    /// For each seed the predictions, in the order of the rows' ids. Ids are content hashes, so
    /// rows that an honest change moves lie scattered.
    pub outputs: Vec<Vec<Label>>,
}

/// A suspicion of one snapshot.
#[derive(Clone, PartialEq, Debug)]
pub struct Signal {
    /// What is suspected.
    pub suspicion: Suspicion,
    /// The weight of the evidence in nats.
    pub weight: f64,
    /// What was seen.
    pub evidence: String,
}

/// What is odd about an evaluation, given all `earlier` ones of the study, oldest first.
#[must_use]
pub fn examine(latest: &Evaluated, earlier: &[Evaluated]) -> Vec<Signal> {
    let detectors = [near_duplicate, uncorrelated, block_difference, implausible];
    let seen = detectors
        .iter()
        .filter_map(|detector| detector(latest, earlier));
    seen.chain(prying(&latest.files)).collect()
}
