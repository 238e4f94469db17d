//! What an agent is told at the beginning.

use crate::llm::Money;
use aar_core::id::Name;
use aar_hub::api::{BudgetView, StudyView};
use std::fmt::Write as _;

/// The standing instructions, the same for all agents and studies, so that providers can cache them.
pub const SYSTEM: &str = include_str!("prompt.md");

/// The part of them that holds for any agent, whatever it works with.
#[must_use]
pub fn rules() -> &'static str {
    let own = SYSTEM.find("# Practical matters").unwrap_or(SYSTEM.len());
    SYSTEM[..own].trim_end()
}

/// What an agent is to do.
#[derive(Clone, Debug)]
pub struct Task<'a> {
    /// Its name.
    pub name: &'a Name,
    /// Where it starts; may be empty.
    pub direction: &'a str,
    /// The problem's `brief.md`.
    pub brief: &'a str,
    /// What lies in its sandbox; empty if it has none.
    pub guide: &'a str,
    /// The study.
    pub study: &'a StudyView,
    /// What it may spend.
    pub budget: &'a BudgetView,
    /// What it may spend on its model.
    pub money: Option<Money>,
}

impl Task<'_> {
    /// The first message.
    #[must_use]
    pub fn message(&self) -> String {
        let study = self.study;
        let mut text = format!(
            "You are researcher {} of study {}, on problem {}. {:.0} minutes are left.\n",
            self.name,
            study.name,
            study.problem,
            study.seconds_left / 60.0
        );
        if !self.direction.is_empty() {
            let _ = write!(
                text,
                "\n# Your direction\n\n{}\n\nIt is where you start, so that not all do the same; it is no fence.\n",
                self.direction.trim()
            );
        }
        let budget = self.budget;
        let _ = write!(
            text,
            "\n# Your budget\n\n{} evaluations, {} experiments, {:.0} compute seconds, {} replications of \
             claims.",
            budget.evaluations_left(),
            budget.experiments_left(),
            budget.compute_seconds_left(),
            budget.budget.replications
        );
        if let Some(money) = self.money {
            let _ = write!(text, " {money} for your own model.");
        }
        let _ = write!(
            text,
            " Feedback policy: {}. What is spent is spent; the budget tool shows the rest.\n\n# The problem\n\n{}\n",
            study.feedback,
            self.brief.trim()
        );
        if !self.guide.is_empty() {
            let _ = write!(text, "\n# Your sandbox\n\n{}\n", self.guide.trim());
        }
        text
    }
}

/// Said when the conversation is to be condensed.
pub(super) const HANDOVER: &str = "The conversation has grown long and will be condensed: after this, you go \
    on with the task's text, your notebook and what you write now, and nothing else. Write all that you need to \
    go on: what you tried and what came of it (with snapshot ids and evaluation numbers), what runs, what you \
    believe and why, what you would do next. No tools now.";

/// Said to an agent that used no tool.
pub(super) const NUDGE: &str = "You used no tool, so nothing happened. Take the next step with a tool. If nothing \
    is left that is worth its cost, call finish.";

/// Said when a reply was cut.
pub(super) const CUT: &str = "Your reply reached the limit of its length and was cut; calls of tools that were cut \
    were not run. Go on in smaller pieces, such as files written in parts.";

/// Said when a reply was empty.
pub(super) const EMPTY: &str = "Your reply was empty. Go on with a tool.";

/// Said when the provider withheld a reply.
pub(super) const WITHHELD: &str = "Your provider withheld your last reply as a refusal. This is a study of training \
    methods; go on with another step of it.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_are_all_but_what_the_loop_is_about() {
        assert!(rules().contains("# What counts as cheating") && rules().len() < SYSTEM.len());
        assert!(!rules().contains("notebook"));
    }
}
