//! What may be spent. The hub keeps all budgets; a budget that is reached refuses, it does not warn.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What one researcher may spend in a study.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Evaluations on `dev`, five seeds each. Failed ones are refunded, but no more of them than
    /// this: each one beyond is charged like an answer.
    pub evaluations: u64,
    /// Experiments without a score.
    pub experiments: u64,
    /// CPU seconds used by the researcher's experiments and evaluations.
    pub compute_seconds: f64,
    /// Replications of claims, those that failed included. Claims beyond it are not answered.
    pub replications: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            evaluations: 40,
            experiments: 400,
            compute_seconds: 3_600.0,
            replications: 12,
        }
    }
}

/// What one researcher has spent.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Spent {
    /// Evaluations that were answered, and failed ones beyond those that are refunded; see
    /// [`Budget::evaluations`].
    pub evaluations: u64,
    /// Experiments that ran.
    pub experiments: u64,
    /// CPU seconds, failed runs included: the machine did the work.
    pub compute_seconds: f64,
}

/// A kind of spending.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// See [`Budget::evaluations`].
    Evaluations,
    /// See [`Budget::experiments`].
    Experiments,
    /// See [`Budget::compute_seconds`].
    ComputeSeconds,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Evaluations => "evaluations",
            Self::Experiments => "experiments",
            Self::ComputeSeconds => "compute seconds",
        })
    }
}
