//! The verified board, recomputed from replications, stored predictions and true labels.
//!
//! `aar board`, the report and `aar verify` all call [`board`], so that none of them can show a
//! figure that the others would not.

use aar_core::board::{Board, BoardRow, Group, Replication};
use aar_core::digest::Digest;
use aar_core::id::{Name, ProblemId};
use aar_core::row::Label;
use aar_stats::{Anchors, CorrectMatrix, Crossed, Estimate, Groups, StatsError};
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
        let refuse = |why: String| BoardError::Predictions {
            output,
            method: replication.method.clone(),
            problem: replication.problem.clone(),
            why,
        };
        rows.push(decode_labels(&read(output).map_err(refuse)?).map_err(refuse)?);
    }
    CorrectMatrix::score(&rows, &truth.labels).map_err(|source| statistics(replication, source))
}

/// The board that the replications make, best first within each problem.
///
/// The gain of a row is its paired difference from the best baseline on the same problem: the
/// baseline with the highest mean accuracy on the same rows and seeds.
///
/// # Errors
/// See [`BoardError`].
pub fn board(
    replications: &[Replication],
    truths: &BTreeMap<ProblemId, RankTruth>,
    read: ReadBlob<'_>,
) -> Result<Board, BoardError> {
    let mut scored = Vec::with_capacity(replications.len());
    for replication in replications {
        scored.push((replication, correctness(replication, truths, read)?));
    }
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
        let row = row(replication, correct, rival.map(|(_, matrix)| matrix), truth)
            .map_err(|source| statistics(replication, source))?;
        match replication.group {
            Group::Study => board.verified.push(row),
            Group::Baseline => board.baselines.push(row),
            Group::Published => board.published.push(row),
        }
    }
    for rows in [
        &mut board.verified,
        &mut board.baselines,
        &mut board.published,
    ] {
        rows.sort_by(|a, b| a.problem.cmp(&b.problem).then(b.pgr.total_cmp(&a.pgr)));
    }
    Ok(board)
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
    rival: Option<&CorrectMatrix>,
    truth: &RankTruth,
) -> Result<BoardRow, StatsError> {
    let pgr = truth
        .anchors
        .pgr_of(&Crossed::accuracy(correct, &truth.groups)?.estimate(0.95)?);
    let gain = rival.map(|rival| gain(correct, rival, truth)).transpose()?;
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
        promoted: replication.promoted,
    })
}

fn truth_of<'a>(
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

fn statistics(replication: &Replication, source: StatsError) -> BoardError {
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
