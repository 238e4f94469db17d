//! What a researcher is told about an evaluation.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The rule by which scores on `dev` are coarsened before a researcher sees them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeedbackPolicy {
    /// Mean dev PGR of the accuracy floored to a step of 0.01.
    #[default]
    Floored,
    /// One Ladder for the whole study (Blum and Hardt 2015, arXiv 1502.04585): *improved*, with the
    /// new value floored to a step of 0.01 accuracy, if the mean dev accuracy is above the leader's
    /// by more than 0.01 and by more than two standard errors of the paired difference; otherwise
    /// *not improved* and nothing else. The vanilla baseline leads at the start, and a name is no
    /// fresh start: whoever asks is compared with the same leader.
    Ladder,
}

impl fmt::Display for FeedbackPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Floored => "floored",
            Self::Ladder => "ladder",
        })
    }
}

/// The hub's answer to an evaluation: all that a researcher learns from it.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all = "lowercase")]
pub enum Feedback {
    /// See [`FeedbackPolicy::Floored`].
    Floored {
        /// PGR of the mean dev accuracy after that accuracy was floored to a multiple of 0.01.
        pgr: f64,
    },
    /// See [`FeedbackPolicy::Ladder`].
    Ladder {
        /// If it is better than all before it, the PGR of its mean dev accuracy after that accuracy was floored
        /// to a multiple of 0.01. None is *not improved*: no value, no side, no count.
        improved: Option<f64>,
    },
}

impl Feedback {
    /// The dev PGR that was told, if one was; *not improved* tells none. Of two answers of one study
    /// the one with the greater value is the better one, and one without a value says nothing
    /// against another without one.
    #[must_use]
    pub fn pgr(&self) -> Option<f64> {
        match self {
            Self::Floored { pgr } => Some(*pgr),
            Self::Ladder { improved } => *improved,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_improved_says_nothing_else() {
        let told = Feedback::Ladder { improved: None };
        let json = serde_json::to_string(&told).unwrap();
        assert_eq!(json, r#"{"policy":"ladder","improved":null}"#);
        assert_eq!(serde_json::from_str::<Feedback>(&json).unwrap(), told);
        assert_eq!(told.pgr(), None);
    }
}
