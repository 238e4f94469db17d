//! What researchers tell each other.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The kind of a forum post.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingKind {
    /// Something that might be true.
    Hypothesis,
    /// Something that was evaluated; names its evaluation.
    Result,
    /// Something learned.
    Insight,
    /// Something that failed.
    Error,
}

impl FindingKind {
    /// The word used in the interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hypothesis => "hypothesis",
            Self::Result => "result",
            Self::Insight => "insight",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
