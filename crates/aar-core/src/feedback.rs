//! What a researcher is told about an evaluation.

use serde::{Deserialize, Serialize};

/// The rule by which scores on `dev` are coarsened before a researcher sees them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeedbackPolicy {
    /// Mean dev PGR of the accuracy floored to a step of 0.01.
    #[default]
    Floored,
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
}

impl Feedback {
    /// A number by which two answers of one study can be ordered.
    #[must_use]
    pub fn rank_key(&self) -> f64 {
        match self {
            Self::Floored { pgr } => *pgr,
        }
    }
}
