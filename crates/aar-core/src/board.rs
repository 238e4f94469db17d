//! The verified board: rows that only replications can make.

use crate::audit::Profile;
use crate::case::Withdrawn;
use crate::digest::Digest;
use crate::family::Family;
use crate::id::{CaseId, Name, ProblemId, ReplicationId, Seed, SnapshotId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Which part of the board a row belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Found by this study's researchers.
    Study,
    /// One of the four established baselines.
    Baseline,
    /// One of the published methods; never shown to the explorers.
    Published,
}

/// A test of a claimed row against the incumbent.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Decision {
    /// Which of the study's tests it was, counted from 1. A replication that failed tested nothing
    /// and has no number.
    pub number: u64,
    /// One-sided p-value for "better than the incumbent", paired over items and seeds.
    pub p: f64,
    /// The level that error control gives this test.
    pub level: f64,
}

impl Decision {
    /// Is the row better than the incumbent?
    #[must_use]
    pub fn promotes(&self) -> bool {
        self.p <= self.level
    }
}

/// The raw result of one replication, enough to recompute its row from store and vault.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Replication {
    /// Its number.
    pub id: ReplicationId,
    /// What was run.
    pub snapshot: SnapshotId,
    /// The method's name.
    pub method: Name,
    /// The group of its row.
    pub group: Group,
    /// Its family, derived.
    pub family: Family,
    /// The problem it ran on; the main problem or a transfer problem.
    pub problem: ProblemId,
    /// The fresh teacher seeds, in the order of `outputs`.
    pub seeds: Vec<Seed>,
    /// For each seed, the stored predictions: one byte `0` or `1` for each rank row, in row order.
    pub outputs: Vec<Digest>,
    /// Did the row replace the incumbent? Always false for baselines, published and transfer rows.
    pub promoted: bool,
    /// The test behind that; none for baselines, published and transfer rows.
    pub decision: Option<Decision>,
}

/// One row of the board as people and scripts read it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BoardRow {
    /// The method's name.
    pub method: Name,
    /// The snapshot that was replicated.
    pub snapshot: SnapshotId,
    /// Its family.
    pub family: Family,
    /// The problem.
    pub problem: ProblemId,
    /// Mean accuracy over seeds on rank.
    pub accuracy: f64,
    /// PGR of that mean, with the problem's rank anchors.
    pub pgr: f64,
    /// Lower end of the 95 % interval of `pgr`, over items and seeds; anchor error is not in it.
    pub ci_low: f64,
    /// Upper end.
    pub ci_high: f64,
    /// How many teacher seeds.
    pub seeds: usize,
    /// Paired PGR difference from the best baseline on the same rows and seeds; none for that baseline itself.
    pub gain: Option<f64>,
    /// Lower end of the 95 % interval of `gain`.
    pub gain_ci_low: Option<f64>,
    /// Upper end.
    pub gain_ci_high: Option<f64>,
    /// `gain` shrunk towards the mean gain of the study's rows on this problem, by as much of their
    /// differences as is noise; none for baselines and published methods.
    pub shrunk_gain: Option<f64>,
    /// Lower end of the 95 % interval of `shrunk_gain`.
    pub shrunk_gain_ci_low: Option<f64>,
    /// Upper end.
    pub shrunk_gain_ci_high: Option<f64>,
    /// Its rank in its group on this problem, from 1. A row shares the rank of the best row from
    /// which its paired difference cannot be told: whose 95 % interval contains 0.
    pub rank: usize,
    /// Did it become the incumbent when it was replicated?
    pub promoted: bool,
    /// The test of it against the incumbent; none for baselines, published and transfer rows.
    pub decision: Option<Decision>,
    /// What its audit says; none if there was none. A promoted row with a profile is *verified*.
    pub profile: Option<Profile>,
}

/// The verified board in its three groups, best first within a problem.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Board {
    /// This study's methods.
    pub verified: Vec<BoardRow>,
    /// The four established baselines.
    pub baselines: Vec<BoardRow>,
    /// The published methods.
    pub published: Vec<BoardRow>,
    /// This study's methods that a disqualified case took off the board.
    #[serde(default)]
    pub withdrawn: Vec<WithdrawnRow>,
    /// Verified rows that were made from a withdrawn snapshot, at any remove.
    #[serde(default)]
    pub marked: Vec<Mark>,
}

/// A row that is not on the board any more, with the case that says why.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct WithdrawnRow {
    /// The case.
    pub case: CaseId,
    /// The row as it stood.
    #[serde(flatten)]
    pub row: BoardRow,
}

/// A descendant of a withdrawn snapshot. It keeps its rows: its author may not have known.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mark {
    /// The snapshot on the board.
    pub snapshot: SnapshotId,
    /// The case that withdrew what it descends from.
    pub case: CaseId,
}

impl Board {
    /// The board without what was withdrawn, which is listed apart.
    #[must_use]
    pub fn without(mut self, withdrawn: &Withdrawn) -> Self {
        let rows = std::mem::take(&mut self.verified);
        for row in rows {
            match withdrawn.snapshots.get(&row.snapshot) {
                Some(&case) => self.withdrawn.push(WithdrawnRow { case, row }),
                None => self.verified.push(row),
            }
        }
        let mut seen = BTreeSet::new();
        for row in &self.verified {
            if let Some(&case) = withdrawn.descendants.get(&row.snapshot)
                && seen.insert(row.snapshot)
            {
                let snapshot = row.snapshot;
                self.marked.push(Mark { snapshot, case });
            }
        }
        self
    }
}
