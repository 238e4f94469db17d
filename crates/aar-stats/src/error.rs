//! What can be wrong with the input of a statistic.

use thiserror::Error;

/// Why a statistic could not be computed.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum StatsError {
    /// Anchors that do not span a gap inside `[0, 1]`.
    #[error(
        "anchors must satisfy 0 <= weak < ceiling <= 1, found weak = {weak}, ceiling = {ceiling}"
    )]
    Anchors {
        /// The weak accuracy that was given.
        weak: f64,
        /// The ceiling accuracy that was given.
        ceiling: f64,
    },
    /// Fewer of something than the statistic needs.
    #[error("{what}: at least {needed} needed, found {found}")]
    TooFew {
        /// What is being counted, in the plural.
        what: &'static str,
        /// The least number that works.
        needed: usize,
        /// The number that was given.
        found: usize,
    },
    /// Two things that must have the same length do not.
    #[error("{what}: expected {expected}, found {found}")]
    Length {
        /// What is being counted, in the plural.
        what: &'static str,
        /// The length that the other input has.
        expected: usize,
        /// The length that was given.
        found: usize,
    },
    /// A confidence level outside the open interval (0, 1).
    #[error("a confidence level lies strictly between 0 and 1, found {0}")]
    Level(f64),
    /// A value that is NaN or infinite.
    #[error("every value must be finite, found {0}")]
    NotFinite(f64),
    /// A share, such as correct answers of all, whose part exceeds its whole.
    #[error("{part} of {whole} is not a share")]
    Share {
        /// The numerator.
        part: u64,
        /// The denominator.
        whole: u64,
    },
}

/// Refuses `found` of something where a statistic needs more.
pub(crate) fn at_least(what: &'static str, needed: usize, found: usize) -> Result<(), StatsError> {
    if found < needed {
        Err(StatsError::TooFew {
            what,
            needed,
            found,
        })
    } else {
        Ok(())
    }
}

/// Refuses two lengths that differ.
pub(crate) fn same_length(
    what: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), StatsError> {
    if expected == found {
        Ok(())
    } else {
        Err(StatsError::Length {
            what,
            expected,
            found,
        })
    }
}

/// Refuses a confidence level that is not one.
pub(crate) fn proper_level(level: f64) -> Result<(), StatsError> {
    if level > 0.0 && level < 1.0 {
        Ok(())
    } else {
        Err(StatsError::Level(level))
    }
}
