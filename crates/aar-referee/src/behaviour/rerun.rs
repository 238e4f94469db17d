//! Running an evaluation again, later, and comparing.

use aar_core::id::{EvaluationId, Secret};
use aar_core::row::Label;

/// One evaluation in so many is run again.
const ONE_IN: u64 = 5;
/// Same inputs and seed, same predictions; a share of rows is forgiven, for sums that threads add up
/// in another order.
const TOLERANCE: f64 = 0.01;
/// Below this agreement the code gave another answer, not the same one with rounding.
const DIFFERENT: f64 = 0.9;

/// What comparing two runs of the same code on the same seed says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reproduction {
    /// The same, within 1 % of the rows.
    Same,
    /// Close: code that forgot to fix its own random numbers. Worth a look, and no proof.
    Close,
    /// Not the same output: agreement below 0.9. Twice, on two seeds, this is a proof.
    Different,
}

/// Is this evaluation among the share, one in five, that is run again? Nobody without the study's
/// secret can tell beforehand. All that claim to be better are covered by replication anyway.
#[must_use]
pub fn choose_share(secret: &Secret, evaluation: EvaluationId) -> bool {
    secret
        .derive("rerun", evaluation.0)
        .0
        .is_multiple_of(ONE_IN)
}

/// The share of rows on which two runs agree, and what that means. Runs of different length do not
/// agree at all.
#[must_use]
pub fn compare(recorded: &[Label], again: &[Label]) -> (f64, Reproduction) {
    if recorded.len() != again.len() || recorded.is_empty() {
        return (0.0, Reproduction::Different);
    }
    let same = recorded.iter().zip(again).filter(|(a, b)| a == b).count();
    let agreement = same as f64 / recorded.len() as f64;
    let verdict = if agreement >= 1.0 - TOLERANCE {
        Reproduction::Same
    } else if agreement >= DIFFERENT {
        Reproduction::Close
    } else {
        Reproduction::Different
    };
    (agreement, verdict)
}
