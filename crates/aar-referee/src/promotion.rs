//! When a replicated row becomes the incumbent.

use crate::board::{BoardError, RankTruth, ReadBlob, correctness, gain};
use aar_core::board::{Group, Replication};
use aar_core::id::ProblemId;
use aar_stats::CorrectMatrix;
use std::collections::BTreeMap;

/// The rule by which a replicated row becomes the incumbent, for the report.
pub const PROMOTION_RULE: &str = "A row is promoted if the 95 % interval of its paired gain over \
    the incumbent, on the same sealed rows and the same fresh teachers, lies above zero. The first \
    incumbent is the best established baseline on those rows.";

/// Does `claimed` become the incumbent on `problem`, after the replications `before` it?
///
/// # Errors
/// If earlier predictions cannot be read or do not pair up with the claimed ones.
pub(crate) fn is_promoted(
    claimed: &CorrectMatrix,
    problem: &ProblemId,
    before: &[Replication],
    truths: &BTreeMap<ProblemId, RankTruth>,
    read: ReadBlob<'_>,
) -> Result<bool, BoardError> {
    let Some((incumbent, matrix)) = incumbent(problem, before, truths, read)? else {
        return Ok(true);
    };
    let Some(truth) = truths.get(problem) else {
        let (replication, problem) = (incumbent.id.0, problem.clone());
        return Err(BoardError::UnknownProblem {
            replication,
            problem,
        });
    };
    let gain = gain(claimed, &matrix, truth).map_err(|source| BoardError::Statistics {
        method: incumbent.method.clone(),
        problem: problem.clone(),
        source,
    })?;
    Ok(gain.low > 0.0)
}

/// The last promoted row; at the start the best baseline on the sealed rows.
fn incumbent<'a>(
    problem: &ProblemId,
    before: &'a [Replication],
    truths: &BTreeMap<ProblemId, RankTruth>,
    read: ReadBlob<'_>,
) -> Result<Option<(&'a Replication, CorrectMatrix)>, BoardError> {
    let here = || before.iter().filter(|one| one.problem == *problem);
    if let Some(last) = here().rev().find(|one| one.promoted) {
        return Ok(Some((last, correctness(last, truths, read)?)));
    }
    let mut best: Option<(&Replication, CorrectMatrix)> = None;
    for baseline in here().filter(|one| one.group == Group::Baseline) {
        let matrix = correctness(baseline, truths, read)?;
        if best
            .as_ref()
            .is_none_or(|(_, best)| matrix.accuracy() > best.accuracy())
        {
            best = Some((baseline, matrix));
        }
    }
    Ok(best)
}
