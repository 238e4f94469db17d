//! From predictions to what a researcher is told, and predictions as they are stored.
//!
//! Pure functions, so that `aar verify` recomputes every answer from ledger, store and vault.

use crate::error::{HubError, Result};
use aar_core::feedback::{Feedback, FeedbackPolicy};
use aar_core::id::{EvaluationId, SnapshotId};
use aar_core::row::Label;
use aar_stats::{Anchors, CorrectMatrix, Groups, Ladder, StatsError, floor_share};
use std::collections::BTreeSet;

/// What answers are computed from. Only trusted code holds one.
#[derive(Clone)]
pub struct Scorer {
    policy: FeedbackPolicy,
    anchors: Anchors,
    labels: Vec<Label>,
    groups: Groups,
}

impl std::fmt::Debug for Scorer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Labels do not belong in a log.
        f.debug_struct("Scorer")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl Scorer {
    /// A scorer for the main problem's `dev` rows: their true labels and their groups, in row order.
    ///
    /// # Errors
    /// If there are no labels, or not as many groups' entries as labels; and, under
    /// [`FeedbackPolicy::Ladder`], if there are fewer than two groups to compare on.
    pub fn new(
        policy: FeedbackPolicy,
        anchors: Anchors,
        labels: Vec<Label>,
        groups: Groups,
    ) -> Result<Self> {
        if labels.is_empty() {
            return Err(HubError::invalid("there are no dev labels"));
        }
        if groups.items() != labels.len() {
            let (rows, found) = (labels.len(), groups.items());
            let why = format!("{rows} dev rows need {rows} group entries, found {found}");
            return Err(HubError::Invalid(why));
        }
        if policy == FeedbackPolicy::Ladder && groups.count() < 2 {
            let why = "feedback = \"ladder\" needs dev rows of two groups or more, found one";
            return Err(HubError::invalid(why));
        }
        Ok(Self {
            policy,
            anchors,
            labels,
            groups,
        })
    }

    /// The rule that it follows.
    #[must_use]
    pub fn policy(&self) -> FeedbackPolicy {
        self.policy
    }

    /// How many rows a list of predictions has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// The answer to an evaluation: one list of predictions for each seed, in row order. Under
    /// [`FeedbackPolicy::Ladder`] it is compared with the predictions of the leader; without one it
    /// starts the Ladder, so that is for the vanilla baseline alone. The exact accuracy does not leave
    /// this function.
    ///
    /// # Errors
    /// If there are no predictions, or a list is not as long as the labels.
    pub fn feedback(
        &self,
        leader: Option<&[Vec<Label>]>,
        predictions: &[Vec<Label>],
    ) -> Result<Feedback> {
        let invalid = |error: StatsError| HubError::invalid(error.to_string());
        let right = |lists: &[Vec<Label>]| CorrectMatrix::score(lists, &self.labels);
        let correct = right(predictions).map_err(invalid)?;
        let floored = |correct: &CorrectMatrix| {
            let share = floor_share(correct.correct(), correct.total(), 100);
            share.map_err(invalid)
        };
        Ok(match (self.policy, leader) {
            (FeedbackPolicy::Floored, _) => Feedback::Floored {
                pgr: self.anchors.pgr(floored(&correct)?),
            },
            (FeedbackPolicy::Ladder, None) => Feedback::Ladder {
                improved: Some(self.anchors.pgr(floored(&correct)?)),
            },
            (FeedbackPolicy::Ladder, Some(leader)) => {
                let mut ladder = Ladder::new(right(leader).map_err(invalid)?);
                let released = ladder.submit(correct, &self.groups).map_err(invalid)?;
                Feedback::Ladder {
                    improved: released.map(|accuracy| self.anchors.pgr(accuracy)),
                }
            }
        })
    }
}

/// One answered evaluation: all that the Ladder's state depends on.
pub type Answered = (EvaluationId, SnapshotId, Feedback);

/// The evaluation that leads the Ladder: of those that were told a value and whose snapshot was not
/// withdrawn, the one with the greatest value; of equals the one asked for first.
///
/// While nothing is withdrawn that is the last one that was answered *improved*. Withdrawing one
/// gives the lead back to the best that is left, at the latest to the vanilla baseline, and taking
/// the withdrawal back restores it: the state is a function of the record, not of its history.
/// Answers that were told stay as they are, and what was *not improved* beside a withdrawn leader
/// is not raised in silence: nobody would learn of it.
#[must_use]
pub fn leader(
    answered: impl IntoIterator<Item = Answered>,
    withdrawn: &BTreeSet<SnapshotId>,
) -> Option<EvaluationId> {
    let standing = answered
        .into_iter()
        .filter(|(_, snapshot, _)| !withdrawn.contains(snapshot))
        .filter_map(|(evaluation, _, feedback)| Some((feedback.pgr()?, evaluation)));
    standing
        .max_by(|(a, first), (b, second)| a.total_cmp(b).then(second.cmp(first)))
        .map(|(_, evaluation)| evaluation)
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

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: BTreeSet<SnapshotId> = BTreeSet::new();

    fn told(number: u64, improved: Option<f64>) -> Answered {
        let snapshot = SnapshotId(aar_core::digest::Digest::of(&number.to_le_bytes()));
        let feedback = Feedback::Ladder { improved };
        (EvaluationId(number), snapshot, feedback)
    }

    #[test]
    fn the_leader_is_the_last_that_was_improved() {
        assert_eq!(leader([], &NOBODY), None);
        let climb = [
            told(1, Some(0.1)),
            told(4, None),
            told(3, Some(0.3)),
            told(2, Some(0.5)),
            told(5, None),
        ];
        for (seen, led_by) in [(1, 1), (2, 1), (3, 3), (4, 2), (5, 2)] {
            let found = leader(climb[..seen].iter().copied(), &NOBODY);
            assert_eq!(found, Some(EvaluationId(led_by)), "after {seen}");
        }
    }

    #[test]
    fn a_withdrawal_gives_the_lead_back_and_taking_it_back_restores_it() {
        let cheat = told(2, Some(0.5));
        let mut climb = vec![told(1, Some(0.1)), told(3, Some(0.3)), cheat];
        let withdrawn = BTreeSet::from([cheat.1]);
        assert_eq!(leader(climb.clone(), &withdrawn), Some(EvaluationId(3)));
        // Someone passes the honest leader while the cheat is out.
        climb.push(told(4, Some(0.4)));
        assert_eq!(leader(climb.clone(), &withdrawn), Some(EvaluationId(4)));
        assert_eq!(leader(climb, &NOBODY), Some(EvaluationId(2)));
    }

    #[test]
    fn a_scorer_that_cannot_compare_is_refused() {
        let anchors = Anchors::new(0.6, 0.8).unwrap();
        let new = |policy, labels: usize, keys: &[u8]| {
            let labels = vec![Label::One; labels];
            Scorer::new(policy, anchors, labels, Groups::from_keys(keys)).map(|_| ())
        };
        assert!(new(FeedbackPolicy::Ladder, 2, &[1, 2]).is_ok());
        assert!(new(FeedbackPolicy::Floored, 2, &[1, 1]).is_ok());
        for (refused, word) in [
            (new(FeedbackPolicy::Ladder, 2, &[1, 1]), "two groups"),
            (new(FeedbackPolicy::Floored, 2, &[1]), "group entries"),
            (new(FeedbackPolicy::Floored, 0, &[]), "no dev labels"),
        ] {
            let why = refused.unwrap_err().to_string();
            assert!(why.contains(word), "{why}");
        }
    }
}
