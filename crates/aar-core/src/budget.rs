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

/// How fast one researcher may ask for evaluations: a token bucket that is full when the study opens.
///
/// Each evaluation that is answered, or waits for its answer, takes one token; a failed one gives its token
/// back, as if it had never been asked for. The limit is on how fast dev answers can be collected, not on
/// how many: that is [`Budget::evaluations`].
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationRate {
    /// How many tokens the bucket holds, 1 or more: evaluations that may be asked for at once.
    pub burst: u64,
    /// How many tokens come back in an hour of the study, more than 0.
    pub per_hour: f64,
}

impl Default for EvaluationRate {
    fn default() -> Self {
        Self {
            burst: 100,
            per_hour: 1_000.0,
        }
    }
}

impl EvaluationRate {
    /// Seconds from `now` until there is a whole token, 0 if there is one. `taken` holds the moments at which
    /// tokens were taken, oldest first; all times are milliseconds of one clock, and a clock that goes back
    /// fills nothing.
    #[must_use]
    pub fn wait_seconds(&self, opened: u64, taken: &[u64], now: u64) -> f64 {
        let full = self.burst as f64;
        let fill = |(tokens, last): (f64, u64), at: u64| {
            let hours = at.saturating_sub(last) as f64 / 3_600_000.0;
            ((tokens + self.per_hour * hours).min(full), last.max(at))
        };
        let bucket = taken.iter().fold((full, opened), |bucket, &at| {
            let (tokens, last) = fill(bucket, at);
            (tokens - 1.0, last)
        });
        let (tokens, _) = fill(bucket, now);
        (1.0 - tokens).max(0.0) / self.per_hour * 3_600.0
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
    /// See [`Study::team_evaluations`](crate::study::Study::team_evaluations).
    TeamEvaluations,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Evaluations => "evaluations",
            Self::Experiments => "experiments",
            Self::ComputeSeconds => "compute seconds",
            Self::TeamEvaluations => "evaluations of all researchers together",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    #[test]
    fn a_bucket_empties_at_once_and_fills_with_the_hours() {
        let rate = EvaluationRate {
            burst: 2,
            per_hour: 4.0,
        };
        let open = 10 * HOUR;
        assert_eq!(rate.wait_seconds(open, &[], open), 0.0);
        assert_eq!(rate.wait_seconds(open, &[open], open), 0.0);
        // Both are gone: a quarter of an hour brings the next one, whatever came before the burst.
        let two = [open, open];
        assert_eq!(rate.wait_seconds(open, &two, open), 900.0);
        assert_eq!(rate.wait_seconds(open, &two, open + HOUR / 8), 450.0);
        assert_eq!(rate.wait_seconds(open, &two, open + HOUR / 4), 0.0);
        // A day of rest saves up no more than the bucket holds.
        let day = open + 24 * HOUR;
        assert_eq!(rate.wait_seconds(open, &[day, day], day), 900.0);
    }

    #[test]
    fn a_clock_that_goes_back_fills_nothing() {
        let rate = EvaluationRate {
            burst: 1,
            per_hour: 1.0,
        };
        let back = rate.wait_seconds(HOUR, &[2 * HOUR], HOUR);
        assert_eq!(back, 3_600.0);
    }
}
