//! Who may ask the hub for what.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What the holder of a token may do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Takes part: reads the forum, stores snapshots, asks for runs, posts.
    Researcher,
    /// Reads what a researcher reads; changes nothing.
    ReadOnly,
    /// Reads claims and replications as well.
    Referee,
    /// Reads everything that the hub's HTTP face offers, and decides about cases.
    Admin,
    /// Opens nothing: a decoy that lies where no honest method looks. Its use proves that its
    /// holder looked there.
    Honeytoken,
}

impl Scope {
    /// The word used in the interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Researcher => "researcher",
            Self::ReadOnly => "read_only",
            Self::Referee => "referee",
            Self::Admin => "admin",
            Self::Honeytoken => "honeytoken",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
