//! The scorer as an attacker meets it: a vector goes in, an answer comes out, and it is counted.

use aar_stats::{Anchors, CorrectMatrix, Groups, Ladder, StatsError, floor_share};
use serde::Serialize;
use std::collections::BTreeMap;

/// A rule by which vectors are answered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The exact accuracy, as in the study's released code.
    Exact,
    /// The accuracy rounded down to 0.01.
    Floored,
    /// One Ladder for all names.
    Ladder,
    /// A Ladder for each name: what happens where names are free and the state is not shared.
    LadderEach,
}

impl Policy {
    /// All of them, weakest first.
    pub const ALL: [Self; 4] = [Self::Exact, Self::Floored, Self::LadderEach, Self::Ladder];

    /// The name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Floored => "floored",
            Self::Ladder => "ladder",
            Self::LadderEach => "ladder-each",
        }
    }
}

/// What an attacker is told.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Answer {
    /// An accuracy, exact or rounded down.
    Value(f64),
    /// Better than the leader, with the new accuracy rounded down.
    Improved(f64),
    /// Nothing else.
    NotImproved,
}

impl Answer {
    /// A number that is higher for a better answer; answers of one rule can be compared by it.
    #[must_use]
    pub fn level(self) -> f64 {
        match self {
            Self::Value(value) => value,
            Self::Improved(_) => 1.0,
            Self::NotImproved => 0.0,
        }
    }
}

/// The rows that are attacked. Attackers get the margins; labels and leader are the scorer's.
#[derive(Clone, Debug)]
pub struct Field {
    /// The truth.
    pub labels: Vec<bool>,
    /// An honest predictor's logit for each row: above 0 it says 1, near 0 it is unsure.
    pub margins: Vec<f64>,
    /// Where a Ladder starts: the naive baseline, one row per seed.
    pub leader: CorrectMatrix,
    /// Which rows belong together.
    pub groups: Groups,
    /// Between which accuracies PGR measures.
    pub anchors: Anchors,
}

impl Field {
    /// What the honest predictor says.
    #[must_use]
    pub fn honest(&self) -> Vec<bool> {
        self.margins.iter().map(|&margin| margin > 0.0).collect()
    }

    /// Right answers in a vector.
    #[must_use]
    pub fn right(&self, vector: &[bool]) -> usize {
        let pairs = vector.iter().zip(&self.labels);
        pairs.filter(|(guess, label)| guess == label).count()
    }

    /// Share of right answers in a vector.
    #[must_use]
    pub fn accuracy(&self, vector: &[bool]) -> f64 {
        self.right(vector) as f64 / self.labels.len().max(1) as f64
    }
}

/// What answers an attacker: a scoring rule alone, or a live study.
pub trait Oracle {
    /// The honest predictor's logits, which the attacker computed itself.
    fn margins(&self) -> &[f64];

    /// Questions left.
    fn left(&self) -> usize;

    /// Asks for a vector's score under a name; none when no question is left.
    fn ask(&mut self, name: u64, vector: &[bool]) -> Option<Answer>;
}

/// One attacker's visit: it ends when its evaluations are used up.
#[derive(Debug)]
pub struct Game<'a> {
    field: &'a Field,
    policy: Policy,
    ladders: BTreeMap<u64, Ladder>,
    left: usize,
    fault: Option<StatsError>,
}

impl<'a> Game<'a> {
    /// A game of `evaluations` questions.
    #[must_use]
    pub fn new(field: &'a Field, policy: Policy, evaluations: usize) -> Self {
        Self {
            field,
            policy,
            ladders: BTreeMap::new(),
            left: evaluations,
            fault: None,
        }
    }

    /// Why the scorer itself failed, if it did: then the game says nothing.
    ///
    /// # Errors
    /// What the statistics could not be computed from.
    pub fn end(self) -> Result<(), StatsError> {
        self.fault.map_or(Ok(()), Err)
    }

    fn answer(&mut self, name: u64, vector: &[bool]) -> Result<Answer, StatsError> {
        let field = self.field;
        let correct = CorrectMatrix::score(&[vector], &field.labels)?;
        let name = match self.policy {
            Policy::Exact => return Ok(Answer::Value(correct.accuracy())),
            Policy::Floored => {
                let floored = floor_share(correct.correct(), correct.total(), 100)?;
                return Ok(Answer::Value(floored));
            }
            Policy::Ladder => 0,
            Policy::LadderEach => name,
        };
        let ladder = self
            .ladders
            .entry(name)
            .or_insert_with(|| Ladder::new(field.leader.clone()));
        let released = ladder.submit(correct, &field.groups)?;
        Ok(released.map_or(Answer::NotImproved, Answer::Improved))
    }
}

impl Oracle for Game<'_> {
    fn margins(&self) -> &[f64] {
        &self.field.margins
    }

    fn left(&self) -> usize {
        self.left
    }

    fn ask(&mut self, name: u64, vector: &[bool]) -> Option<Answer> {
        self.left = self.left.checked_sub(1)?;
        let answer = self.answer(name, vector);
        answer.map_err(|fault| self.fault = Some(fault)).ok()
    }
}
