//! When a replicated row becomes the incumbent.

use crate::board::{BoardError, RankTruth, ReadBlob, correctness, gain};
use aar_core::board::{Decision, Group, Replication};
use aar_core::id::ProblemId;
use aar_stats::{AlphaSpending, CorrectMatrix};
use std::collections::BTreeMap;

/// The chance that a study promotes any row that is not better than the incumbent it replaced.
pub const PROMOTION_ALPHA: f64 = 0.05;

/// The rule by which a replicated row becomes the incumbent, for the report.
pub const PROMOTION_RULE: &str = "A row is promoted if a one-sided paired test over items and \
    teacher seeds finds it better than the incumbent, on the same sealed rows and the same fresh \
    teachers. Error control is alpha-spending: the j-th test of a study is made at the level \
    0.05 j^(-3/2) / zeta(3/2), so the chance of any false promotion in the whole study is at most \
    0.05. The first incumbent is the best established baseline on those rows.";

/// The number of the next test. A withdrawn row's test was made all the same, so all
/// replications of the study count; one that failed tested nothing.
pub(crate) fn next_number(replications: &[Replication]) -> u64 {
    let numbers = replications.iter().filter_map(|one| one.decision);
    numbers.map(|one| one.number).max().unwrap_or(0) + 1
}

/// Test `number`: is `claimed` better than the incumbent on `problem` that the replications
/// `before` it left?
///
/// Without any incumbent there is nothing to be better than, and p is 0.
///
/// # Errors
/// If earlier predictions cannot be read or do not pair up with the claimed ones.
pub(crate) fn decide(
    claimed: &CorrectMatrix,
    problem: &ProblemId,
    before: &[Replication],
    number: u64,
    truths: &BTreeMap<ProblemId, RankTruth>,
    read: ReadBlob<'_>,
) -> Result<Decision, BoardError> {
    let refuse = |method: &aar_core::id::Name, source| BoardError::Statistics {
        method: method.clone(),
        problem: problem.clone(),
        source,
    };
    let Some((incumbent, matrix)) = incumbent(problem, before, truths, read)? else {
        return Ok(Decision {
            number,
            p: 0.0,
            level: PROMOTION_ALPHA,
        });
    };
    let Some(truth) = truths.get(problem) else {
        let (replication, problem) = (incumbent.id.0, problem.clone());
        return Err(BoardError::UnknownProblem {
            replication,
            problem,
        });
    };
    let spending = AlphaSpending::new(PROMOTION_ALPHA).map_err(|e| refuse(&incumbent.method, e))?;
    let gain = gain(claimed, &matrix, truth).map_err(|e| refuse(&incumbent.method, e))?;
    Ok(Decision {
        number,
        p: gain.p_positive(),
        level: spending.level(number),
    })
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
