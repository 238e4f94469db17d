//! Why an explorer gave up.

use aar_hub::ClientError;
use thiserror::Error;

/// A fault that an explorer cannot work around. Everything else it notes and goes on.
#[derive(Debug, Error)]
pub enum ExplorerError {
    /// The hub could not be reached, or failed again and again.
    #[error("the hub gave no answer in {tries} tries: {source}")]
    Unreachable {
        /// How often it was asked.
        tries: u32,
        /// What happened the last time.
        source: ClientError,
    },
    /// The hub refuses everything, because the token is not valid or not a researcher's.
    #[error("the hub does not take this researcher: {0}")]
    NotTaken(ClientError),
    /// The hub refused one request. The explorer's loop handles these; they never leave it.
    #[error(transparent)]
    Refused(ClientError),
}

impl ExplorerError {
    /// Does the study take no new work any more?
    #[must_use]
    pub fn is_closing(&self) -> bool {
        matches!(self, Self::Refused(error) if error.is_closing())
    }

    /// Is a budget spent?
    #[must_use]
    pub fn is_budget(&self) -> bool {
        matches!(self, Self::Refused(error) if error.is_budget())
    }
}
