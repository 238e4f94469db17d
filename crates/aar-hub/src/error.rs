//! Why the hub refused, in words for the one who asked.

use crate::ledger::LedgerError;
use crate::store::StoreError;
use aar_core::access::Scope;
use aar_core::budget::{EvaluationRate, Resource};
use thiserror::Error;

/// What the hub's operations return.
pub type Result<T> = std::result::Result<T, HubError>;

/// A refusal or a fault.
#[derive(Debug, Error)]
pub enum HubError {
    /// There was no token, or nobody holds it.
    #[error("no valid token")]
    Unauthorised,
    /// The token's scope does not cover this.
    #[error("a token of scope {scope} may not do this")]
    Forbidden {
        /// The token's scope.
        scope: Scope,
    },
    /// The thing that was named does not exist, or not for the one who asked.
    #[error("there is no {what}")]
    NotFound {
        /// Kind and name of the thing.
        what: String,
    },
    /// The request contradicts what has already happened.
    #[error("{0}")]
    Conflict(String),
    /// The study takes no new work.
    #[error("the study is closing and takes no new {what}")]
    Closing {
        /// What was asked for.
        what: &'static str,
    },
    /// A limit on size was passed.
    #[error("{what} is too large: {found}, at most {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// A value is not acceptable.
    #[error("{0}")]
    Invalid(String),
    /// A budget is spent.
    #[error("the budget of {resource} is spent: {used} of {budget} used or reserved")]
    Budget {
        /// Which budget.
        resource: Resource,
        /// How much is used or reserved.
        used: f64,
        /// How much there is.
        budget: f64,
    },
    /// A researcher asks for evaluations faster than the study lets it.
    #[error(
        "too fast: {} evaluations at once and {} an hour may be asked for; the next one in {seconds:.0} seconds",
        rate.burst,
        rate.per_hour
    )]
    Rate {
        /// How fast one may ask.
        rate: EvaluationRate,
        /// How long to wait.
        seconds: f64,
    },
    /// Too many requests wait for an end.
    #[error("{limit} requests with wait_ms are waiting already, and no more may")]
    Busy {
        /// How many may wait.
        limit: usize,
    },
    /// The ledger could not be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The index could not be read or written.
    #[error("the index hub.sqlite failed: {0}")]
    Index(#[from] rusqlite::Error),
    /// A value in the index or the ledger could not be read back.
    #[error("unreadable record: {0}")]
    Record(String),
    /// A file or a random source of the machine failed.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl HubError {
    /// What the one who asked can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unauthorised => "send the header `Authorization: Bearer TOKEN`",
            Self::Forbidden { .. } => "ask the study's owner for a token of another scope",
            Self::NotFound { .. } => "check the number or digest; list what there is first",
            Self::Conflict(_) => "read the current state and ask for something else",
            Self::Closing { .. } => "finish your notes; results so far stand",
            Self::TooLarge { .. } => "send less",
            Self::Invalid(_) => "correct the request and send it again; nothing was spent",
            Self::Busy { .. } => "wait for one of their answers, or ask without wait_ms",
            Self::Rate { .. } => {
                "GET /api/v1/budget shows evaluation_wait_seconds; experiments need not wait"
            }
            Self::Budget { .. } => "GET /api/v1/budget shows what is left",
            _ => "this is the hub's fault; its log says more",
        }
    }

    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unauthorised => "unauthorised",
            Self::Forbidden { .. } => "forbidden",
            Self::NotFound { .. } => "not_found",
            Self::Conflict(_) => "conflict",
            Self::Closing { .. } => "closing",
            Self::TooLarge { .. } => "too_large",
            Self::Invalid(_) => "invalid",
            Self::Budget { .. } => "budget",
            Self::Rate { .. } => "rate",
            Self::Busy { .. } => "busy",
            _ => "internal",
        }
    }

    pub(crate) fn not_found(what: impl Into<String>) -> Self {
        Self::NotFound { what: what.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    pub(crate) fn record(error: impl std::fmt::Display) -> Self {
        Self::Record(error.to_string())
    }

    pub(crate) fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io {
            what: what.into(),
            source,
        }
    }
}
