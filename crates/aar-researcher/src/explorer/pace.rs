//! How fast to spend: over the whole time, and nothing that cannot be answered in time.

use aar_hub::api::BudgetView;
use std::fmt;
use std::time::Duration;

/// The share of evaluations that may be spent ahead of an even pace, so that the first ideas need not wait.
const HEAD_START: f64 = 0.15;
/// The longest pause before looking again: the forum may have news by then.
const LONGEST_PAUSE: f64 = 5.0;
/// With less time than this share of a usual evaluation, its answer would come too late for the forum.
const LEAST_SHARE: f64 = 0.5;

/// Why an explorer ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It was told to stop.
    Stopped,
    /// The study takes no new work.
    Closing,
    /// It has used up its budget.
    Spent,
    /// It found no recipe that nobody had tried.
    Exhausted,
    /// Whatever it tried failed.
    Stuck,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "stopped",
            Self::Closing => "the study closes",
            Self::Spent => "the budget is spent",
            Self::Exhausted => "nothing new came to mind",
            Self::Stuck => "nothing worked any more",
        })
    }
}

/// What to do next.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Next {
    /// Work; `progress` goes from 0 at the start to 1 at the end of time or budget.
    Work { progress: f64 },
    /// Wait, because the evaluations would be gone before the time is.
    Wait(Duration),
    /// End.
    End(End),
}

/// The spending plan of one explorer.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Pace {
    /// Seconds that were left when it began.
    whole: f64,
    /// Seconds that an evaluation usually takes, from asking to answer; 0 until one ended.
    usual: f64,
    /// Spread evaluations over the time?
    spread: bool,
}

impl Pace {
    pub(super) fn new(first: &BudgetView, spread: bool) -> Self {
        Self {
            whole: first.seconds_left.max(1e-3),
            usual: 0.0,
            spread,
        }
    }

    /// Learns how long an evaluation took.
    pub(super) fn learn(&mut self, seconds: f64) {
        self.usual = match self.usual {
            0.0 => seconds,
            usual => 0.7 * usual + 0.3 * seconds,
        };
    }

    /// Decides from the hub's latest answer about budgets.
    pub(super) fn next(&self, now: &BudgetView) -> Next {
        if now.closing || now.seconds_left < LEAST_SHARE * self.usual {
            return Next::End(End::Closing);
        }
        let allowed = now.budget.evaluations as f64;
        let left = now.evaluations_left() as f64;
        if left < 1.0 || now.compute_seconds_left() <= 0.0 {
            return Next::End(End::Spent);
        }
        if now.evaluation_wait_seconds > 0.0 {
            let pause = now.evaluation_wait_seconds.min(LONGEST_PAUSE);
            return Next::Wait(Duration::from_secs_f64(pause));
        }
        let used = allowed - left;
        let elapsed = (1.0 - now.seconds_left / self.whole).clamp(0.0, 1.0);
        // An evaluation is due as soon as the even pace, with its head start, has room for it.
        let due = ((used + 1.0) / allowed - HEAD_START).max(0.0);
        if self.spread && elapsed < due && used > 0.0 {
            let pause = ((due - elapsed) * self.whole).min(LONGEST_PAUSE);
            return Next::Wait(Duration::from_secs_f64(pause));
        }
        let spent = now.spent.compute_seconds / now.budget.compute_seconds;
        let progress = elapsed.max(used / allowed).max(spent).clamp(0.0, 1.0);
        Next::Work { progress }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aar_core::budget::{Budget, Spent};

    fn view(evaluations: u64, seconds_left: f64) -> BudgetView {
        BudgetView {
            budget: Budget {
                evaluations: 20,
                experiments: 40,
                compute_seconds: 100.0,
                ..Budget::default()
            },
            spent: Spent {
                evaluations,
                ..Spent::default()
            },
            reserved_evaluations: 0,
            reserved_experiments: 0,
            team_evaluations_left: 100,
            evaluation_wait_seconds: 0.0,
            closing: false,
            seconds_left,
        }
    }

    #[test]
    fn evaluations_are_spread_over_the_time_with_a_head_start() {
        let pace = Pace::new(&view(0, 100.0), true);
        assert_eq!(pace.next(&view(0, 100.0)), Next::Work { progress: 0.0 });
        assert!(matches!(pace.next(&view(2, 100.0)), Next::Work { .. }));
        assert_eq!(
            pace.next(&view(4, 100.0)),
            Next::Wait(Duration::from_secs(5))
        );
        assert_eq!(pace.next(&view(10, 50.0)), Next::Work { progress: 0.5 });
        let hasty = Pace::new(&view(0, 100.0), false);
        assert_eq!(hasty.next(&view(10, 100.0)), Next::Work { progress: 0.5 });
    }

    #[test]
    fn it_waits_for_its_turn_and_ends_with_the_teams_budget() {
        let pace = Pace::new(&view(0, 100.0), false);
        let mut fast = view(3, 90.0);
        fast.evaluation_wait_seconds = 2.5;
        let pause = Duration::from_millis(2_500);
        assert_eq!(pace.next(&fast), Next::Wait(pause));
        let mut shared = view(3, 90.0);
        shared.team_evaluations_left = 0;
        assert_eq!(pace.next(&shared), Next::End(End::Spent));
    }

    #[test]
    fn it_ends_with_the_time_or_the_budget() {
        let mut pace = Pace::new(&view(0, 100.0), true);
        pace.learn(10.0);
        assert_eq!(pace.next(&view(3, 2.0)), Next::End(End::Closing));
        assert_eq!(pace.next(&view(20, 50.0)), Next::End(End::Spent));
        let mut broke = view(3, 50.0);
        broke.spent.compute_seconds = 100.0;
        assert_eq!(pace.next(&broke), Next::End(End::Spent));
        let mut closing = view(3, 50.0);
        closing.closing = true;
        assert_eq!(pace.next(&closing), Next::End(End::Closing));
    }
}
