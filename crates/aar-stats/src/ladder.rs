//! The Ladder: feedback on dev rows that a climb on those rows cannot use.

use crate::error::same_length;
use crate::{CorrectMatrix, Groups, StatsError, floor_share, item_difference};

/// One leader for all who submit, and the rule by which it changes.
///
/// A candidate is *improved* if and only if its accuracy is above the leader's by more than
/// max([`Ladder::STEP`], two paired standard errors). Only then does it become the leader, and only
/// then is a value released: its accuracy, rounded down to a multiple of the step.
///
/// Source: Blum & Hardt 2015, "The Ladder: a reliable leaderboard for machine learning
/// competitions", ICML (arXiv 1502.04585): section 3, algorithm 1, for the fixed step; section 4,
/// the parameter-free Ladder, for a step made of the standard error of the difference to the
/// leader. Theirs is one standard error, and that is not enough on a thousand rows: changing m
/// answers has a standard error of about √m / n, so any net gain of more than √m passes, and with
/// m = 2 two labels are read. Their theorems promise nothing at this size; what holds is measured
/// in `tests/ladder.rs`.
///
/// **Which standard error?** That of [`item_difference`]: seeds are averaged for each item, and
/// the mean difference varies over groups of items. It has as many degrees of freedom as groups
/// less one, so two of it mean the same at one seed, at 5 and at 16. An error over seeds and items
/// would rest on four degrees of freedom where five seeds matter, and a method no better than
/// the leader would pass 6 % of the time instead of 2 %. The price: luck of the seeds that
/// helps on all items alike can pass as an improvement. It tells nothing about single labels, and a
/// replication with fresh seeds decides about it.
///
/// **What it does not stop.** A change that is neither better nor worse passes 2 % of the time, and
/// what passed was lucky on these rows. Whoever knows items on which every method guesses can
/// change only those and climb a lucky step in every 45 submissions: on 1,200 rows of which
/// 300 are known guesses the best such climb simulated here gained 0.008 accuracy with 40 submissions, 0.023
/// with 800 (exact scores: 0.027 and 0.060; climbs that change answers anywhere: 0 and 0.007, by
/// exact scores up to 0.014 and 0.19). The cap on evaluations stops that, not the Ladder.
#[derive(Clone, Debug)]
pub struct Ladder {
    leader: CorrectMatrix,
}

impl Ladder {
    /// The least gain in accuracy, and the multiple to which what is released is rounded down.
    pub const STEP: f64 = 0.01;

    /// [`Ladder::STEP`] as a whole number of steps, for arithmetic without rounding errors.
    const STEPS: u32 = 100;

    /// A Ladder that starts at `leader`: in a study, the established baseline on dev.
    pub fn new(leader: CorrectMatrix) -> Self {
        Self { leader }
    }

    /// The best so far.
    pub fn leader(&self) -> &CorrectMatrix {
        &self.leader
    }

    /// Compares `candidate` with the leader on the same items; the numbers of seeds may differ.
    ///
    /// If it is improved it becomes the leader and its accuracy, rounded down to 0.01, is returned.
    /// Otherwise nothing changes and the answer is `None`, which must not be made any finer.
    ///
    /// # Errors
    /// [`StatsError::Length`] if candidate, leader and `groups` differ in their items;
    /// [`StatsError::TooFew`] below two groups. The leader then stays.
    pub fn submit(
        &mut self,
        candidate: CorrectMatrix,
        groups: &Groups,
    ) -> Result<Option<f64>, StatsError> {
        same_length(
            "items of a candidate",
            self.leader.items(),
            candidate.items(),
        )?;
        let gain = item_difference(&candidate, &self.leader, groups, 0.95)?;
        let improved = self.above_by_a_step(&candidate) && gain.value > 2.0 * gain.std_error;
        if !improved {
            return Ok(None);
        }
        let released = floor_share(candidate.correct(), candidate.total(), Self::STEPS)?;
        self.leader = candidate;
        Ok(Some(released))
    }

    /// In whole numbers: a gain of exactly one step must not depend on rounding.
    fn above_by_a_step(&self, candidate: &CorrectMatrix) -> bool {
        let [new, all_new, old, all_old] = [
            candidate.correct(),
            candidate.total(),
            self.leader.correct(),
            self.leader.total(),
        ]
        .map(i128::from);
        i128::from(Self::STEPS) * (new * all_old - old * all_new) > all_new * all_old
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One seed on 1,000 items of which the first `right` are right.
    fn first(right: usize) -> CorrectMatrix {
        let row: Vec<bool> = (0..1000).map(|item| item < right).collect();
        CorrectMatrix::from_rows(&[row]).unwrap()
    }

    #[test]
    fn one_step_is_not_enough_and_a_little_more_is() {
        let groups = Groups::singletons(1000);
        let mut ladder = Ladder::new(first(580));
        assert_eq!(ladder.submit(first(590), &groups), Ok(None));
        assert_eq!(ladder.leader(), &first(580));
        // 11 of 1,000 gained and none lost: 3.3 standard errors.
        assert_eq!(ladder.submit(first(591), &groups), Ok(Some(0.59)));
        assert_eq!(ladder.leader(), &first(591));
        assert_eq!(ladder.submit(first(591), &groups), Ok(None));
        assert_eq!(ladder.submit(first(580), &groups), Ok(None));
    }

    #[test]
    fn what_is_within_two_standard_errors_is_no_improvement() {
        let groups = Groups::singletons(1000);
        // 65 won, 45 lost: a gain of 0.02 with a standard error of √110 / 1,000.
        let swapped = |lost: usize, won: usize| {
            let right =
                |item: usize| (lost..600).contains(&item) || (600..600 + won).contains(&item);
            CorrectMatrix::from_rows(&[(0..1000).map(right).collect::<Vec<_>>()]).unwrap()
        };
        let mut ladder = Ladder::new(first(600));
        assert_eq!(ladder.submit(swapped(45, 65), &groups), Ok(None));
        assert_eq!(ladder.submit(swapped(40, 65), &groups), Ok(Some(0.62)));
    }

    #[test]
    fn items_of_one_group_count_once() {
        // 20 items gained at once: 4.5 standard errors if they were independent, one if not.
        let mut ladder = Ladder::new(first(600));
        let keys: Vec<usize> = (0..1000).map(|item| item / 20).collect();
        assert_eq!(
            ladder.submit(first(620), &Groups::from_keys(&keys)),
            Ok(None)
        );
        assert_eq!(
            ladder.submit(first(620), &Groups::singletons(1000)),
            Ok(Some(0.62))
        );
    }

    #[test]
    fn a_refused_candidate_leaves_the_leader() {
        let mut ladder = Ladder::new(first(600));
        let short = CorrectMatrix::from_rows(&[vec![true; 999]]).unwrap();
        assert!(ladder.submit(short, &Groups::singletons(1000)).is_err());
        assert!(ladder.submit(first(900), &Groups::singletons(999)).is_err());
        assert!(
            ladder
                .submit(first(900), &Groups::from_keys(&[0; 1000]))
                .is_err()
        );
        assert_eq!(ladder.leader(), &first(600));
    }
}
