//! From predictions to what a researcher is told, and predictions as they are stored.
//!
//! Pure functions, so that `aar verify` recomputes every answer from ledger, store and vault.

use crate::error::{HubError, Result};
use aar_core::feedback::{Feedback, FeedbackPolicy};
use aar_core::row::Label;
use aar_stats::{Anchors, CorrectMatrix, floor_share};

/// The answer to an evaluation: one list of predictions for each seed, in row order. The exact
/// accuracy does not leave this function.
///
/// # Errors
/// If there are no predictions, or a list is not as long as the labels.
pub fn feedback(
    policy: FeedbackPolicy,
    anchors: &Anchors,
    labels: &[Label],
    predictions: &[Vec<Label>],
) -> Result<Feedback> {
    let invalid = |error: aar_stats::StatsError| HubError::invalid(error.to_string());
    let correct = CorrectMatrix::score(predictions, labels).map_err(invalid)?;
    match policy {
        FeedbackPolicy::Floored => {
            let accuracy = floor_share(correct.correct(), correct.total(), 100).map_err(invalid)?;
            Ok(Feedback::Floored {
                pgr: anchors.pgr(accuracy),
            })
        }
    }
}

/// Predictions as they are stored: one byte `0` or `1` for each row.
#[must_use]
pub fn encode(predictions: &[Label]) -> Vec<u8> {
    predictions
        .iter()
        .map(|label| b'0' + u8::from(*label))
        .collect()
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// If a byte is neither `0` nor `1`.
pub fn decode(bytes: &[u8]) -> Result<Vec<Label>> {
    let label = |byte: &u8| match byte {
        b'0' => Ok(Label::Zero),
        b'1' => Ok(Label::One),
        other => Err(HubError::record(format!(
            "byte {other} in stored predictions"
        ))),
    };
    bytes.iter().map(label).collect()
}
