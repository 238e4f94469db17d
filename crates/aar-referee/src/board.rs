//! The verified board, recomputed from replications, stored predictions and true labels.
//!
//! `aar board`, the report and `aar verify` all call [`board`], so that none of them can show a
//! figure that the others would not.

use crate::audit::{Shortcut, profile};
use aar_core::audit::Audit;
use aar_core::board::{Board, BoardRow, Group, Replication};
use aar_core::digest::Digest;
use aar_core::id::{Name, ProblemId};
use aar_core::row::Label;
use aar_stats::{Anchors, CorrectMatrix, Crossed, Estimate, Groups, StatsError, shrink};
use std::collections::BTreeMap;
use thiserror::Error;

/// What is true on the rank split of one problem.
#[derive(Clone, Debug)]
pub struct RankTruth {
    /// True labels in row order.
    pub labels: Vec<Label>,
    /// The group of each row.
    pub groups: Groups,
    /// Weak and ceiling accuracy on these rows.
    pub anchors: Anchors,
    /// What known shortcuts would answer.
    pub shortcuts: Vec<Shortcut>,
}

/// Why a board could not be computed.
#[derive(Debug, Error)]
pub enum BoardError {
    /// A replication names a problem that the study does not have.
    #[error("replication {replication} names problem {problem}, which the study does not have")]
    UnknownProblem {
        /// The replication's number.
        replication: u64,
        /// The problem it names.
        problem: ProblemId,
    },
    /// Stored predictions do not fit the problem.
    #[error("predictions {output} of {method} on {problem}: {why}")]
    Predictions {
        /// The stored predictions.
        output: Digest,
        /// The method.
        method: Name,
        /// The problem.
        problem: ProblemId,
        /// What is wrong with them.
        why: String,
    },
    /// Too few seeds or groups for an interval.
    #[error("{method} on {problem}: {source}")]
    Statistics {
        /// The method.
        method: Name,
        /// The problem.
        problem: ProblemId,
        /// What the statistics need.
        source: StatsError,
    },
}

/// Reads stored bytes; an error is a sentence.
pub type ReadBlob<'a> = &'a dyn Fn(Digest) -> Result<Vec<u8>, String>;

/// Which predictions of one replication were right.
///
/// # Errors
/// If the problem is unknown, or stored predictions are missing or malformed.
pub(crate) fn correctness(
    replication: &Replication,
    truths: &BTreeMap<ProblemId, RankTruth>,
    read: ReadBlob<'_>,
) -> Result<CorrectMatrix, BoardError> {
    let truth = truth_of(replication, truths)?;
    let mut rows = Vec::with_capacity(replication.outputs.len());
    for &output in &replication.outputs {
        rows.push(decode(output, replication, read)?);
    }
    CorrectMatrix::score(&rows, &truth.labels).map_err(|source| statistics(replication, source))
}

/// Stored predictions of one seed of a replication, or of its audit.
///
/// # Errors
/// If they are missing or malformed.
pub(crate) fn decode(
    output: Digest,
    replication: &Replication,
    read: ReadBlob<'_>,
) -> Result<Vec<Label>, BoardError> {
    let refuse = |why: String| BoardError::Predictions {
        output,
        method: replication.method.clone(),
        problem: replication.problem.clone(),
        why,
    };
    decode_labels(&read(output).map_err(refuse)?).map_err(refuse)
}

/// The board that the replications make, best first within each problem, with the profiles that
/// their audits make.
///
/// The gain of a row is its paired difference from the best baseline on the same problem: the
/// baseline with the highest mean accuracy on the same rows and seeds.
///
/// # Errors
/// See [`BoardError`].
pub fn board(
    replications: &[Replication],
    audits: &[Audit],
    truths: &BTreeMap<ProblemId, RankTruth>,
    read: ReadBlob<'_>,
) -> Result<Board, BoardError> {
    let mut scored = Vec::with_capacity(replications.len());
    for replication in replications {
        scored.push((replication, correctness(replication, truths, read)?));
    }
    scored.sort_by(|(a, x), (b, y)| {
        let problem = a.problem.cmp(&b.problem);
        problem.then(y.accuracy().total_cmp(&x.accuracy()))
    });
    let mut gains: BTreeMap<ProblemId, Vec<(usize, Estimate)>> = BTreeMap::new();
    let mut leaders: BTreeMap<(Group, ProblemId), Leader<'_>> = BTreeMap::new();
    let mut board = Board::default();
    for (replication, correct) in &scored {
        let best = scored
            .iter()
            .filter(|(other, _)| {
                other.group == Group::Baseline && other.problem == replication.problem
            })
            .max_by(|(_, a), (_, b)| a.accuracy().total_cmp(&b.accuracy()));
        let rival = best.filter(|(other, matrix)| {
            other.id != replication.id
                && other.seeds == replication.seeds
                && matrix.items() == correct.items()
        });
        let truth = truth_of(replication, truths)?;
        let refuse = |source| statistics(replication, source);
        let gain = rival.map(|(_, rival)| gain(correct, rival, truth));
        let gain = gain.transpose().map_err(refuse)?;
        let leader = leaders
            .entry((replication.group, replication.problem.clone()))
            .or_insert(Leader {
                rank: 1,
                above: 0,
                row: correct,
            });
        let mut row = row(replication, correct, gain, truth).map_err(refuse)?;
        row.rank = leader.rank_of(correct, truth);
        if let Some(audit) = audits.iter().find(|one| one.replication == replication.id) {
            row.profile = Some(profile(audit, replication, truths, read)?);
        }
        if let (Group::Study, Some(gain)) = (replication.group, gain) {
            let gains = gains.entry(replication.problem.clone()).or_default();
            gains.push((board.verified.len(), gain));
        }
        match replication.group {
            Group::Study => board.verified.push(row),
            Group::Baseline => board.baselines.push(row),
            Group::Published => board.published.push(row),
        }
    }
    for (problem, gains) in gains {
        let (places, gains): (Vec<usize>, Vec<Estimate>) = gains.into_iter().unzip();
        let shrunk = shrink(&gains, 0.95).map_err(|source| BoardError::Statistics {
            method: board.verified[places[0]].method.clone(),
            problem,
            source,
        })?;
        for (place, shrunk) in places.into_iter().zip(shrunk) {
            let row = &mut board.verified[place];
            row.shrunk_gain = Some(shrunk.value);
            row.shrunk_gain_ci_low = Some(shrunk.low);
            row.shrunk_gain_ci_high = Some(shrunk.high);
        }
    }
    Ok(board)
}

/// The best row of those that share a rank, and how many rows stand above the next one.
struct Leader<'a> {
    rank: usize,
    above: usize,
    row: &'a CorrectMatrix,
}

impl<'a> Leader<'a> {
    /// The rank of the next row, which is not better than the leader: the leader's if the two
    /// cannot be told apart. Otherwise it leads the next rank, and so does one that ran on other
    /// seeds, with which there is no paired comparison.
    fn rank_of(&mut self, row: &'a CorrectMatrix, truth: &RankTruth) -> usize {
        self.above += 1;
        if gain(self.row, row, truth).is_ok_and(|ahead| ahead.low <= 0.0) {
            return self.rank;
        }
        (self.rank, self.row) = (self.above, row);
        self.rank
    }
}

/// The paired PGR difference of two methods on the same rows and seeds.
///
/// # Errors
/// If rows or seeds do not pair up.
pub(crate) fn gain(
    method: &CorrectMatrix,
    other: &CorrectMatrix,
    truth: &RankTruth,
) -> Result<Estimate, StatsError> {
    let difference = Crossed::difference(method, other, &truth.groups)?;
    Ok(truth.anchors.gain_of(&difference.estimate(0.95)?))
}

fn row(
    replication: &Replication,
    correct: &CorrectMatrix,
    gain: Option<Estimate>,
    truth: &RankTruth,
) -> Result<BoardRow, StatsError> {
    let pgr = truth
        .anchors
        .pgr_of(&Crossed::accuracy(correct, &truth.groups)?.estimate(0.95)?);
    Ok(BoardRow {
        method: replication.method.clone(),
        snapshot: replication.snapshot,
        family: replication.family,
        problem: replication.problem.clone(),
        accuracy: correct.accuracy(),
        pgr: pgr.value,
        ci_low: pgr.low,
        ci_high: pgr.high,
        seeds: replication.seeds.len(),
        gain: gain.map(|g| g.value),
        gain_ci_low: gain.map(|g| g.low),
        gain_ci_high: gain.map(|g| g.high),
        shrunk_gain: None,
        shrunk_gain_ci_low: None,
        shrunk_gain_ci_high: None,
        rank: 1,
        promoted: replication.promoted,
        decision: replication.decision,
        profile: None,
    })
}

pub(crate) fn truth_of<'a>(
    replication: &Replication,
    truths: &'a BTreeMap<ProblemId, RankTruth>,
) -> Result<&'a RankTruth, BoardError> {
    truths
        .get(&replication.problem)
        .ok_or_else(|| BoardError::UnknownProblem {
            replication: replication.id.0,
            problem: replication.problem.clone(),
        })
}

pub(crate) fn statistics(replication: &Replication, source: StatsError) -> BoardError {
    BoardError::Statistics {
        method: replication.method.clone(),
        problem: replication.problem.clone(),
        source,
    }
}

/// Stored predictions: one byte `0` or `1` for each row.
fn decode_labels(bytes: &[u8]) -> Result<Vec<Label>, String> {
    let decode = |(row, byte): (usize, &u8)| match byte {
        b'0' => Ok(Label::Zero),
        b'1' => Ok(Label::One),
        other => Err(format!("row {row} holds byte {other}, expected 0 or 1")),
    };
    bytes.iter().enumerate().map(decode).collect()
}
