//! Every attack against every scoring rule, on the rows of freshly drawn studies.

use crate::builtin;
use crate::commands::tell;
use aar_core::id::{Secret, Seed};
use aar_problem::draw_builtin;
use aar_problem::generate::BuiltinProblem;
use aar_redteam::scoring::{BUDGETS, Cell, Family, Policy, Table, Theft, steal};
use anyhow::{Context, Result};

/// Plays all attacks on `seeds` drawn studies of `problem`.
pub(crate) fn measure(problem: BuiltinProblem, seeds: u64) -> Result<Vec<Cell>> {
    let bundle = builtin::bundle(problem)?;
    let mut table = Table::default();
    for index in 0..seeds {
        let secret = Secret::of_seed(Seed(index));
        let (splits, salt) = (secret.derive(problem.name(), 0), secret.bytes("salt"));
        let parts = draw_builtin(problem, &bundle, splits, salt)
            .with_context(|| format!("drawing {}", problem.name()))?;
        let theft = Theft::prepare(&parts, secret.derive("teachers", 0))?;
        let carrier = theft.rank_pgr(&theft.field().honest());
        for family in Family::ALL {
            for policy in Policy::ALL {
                for evaluations in BUDGETS {
                    let seed = secret.derive("attacker", 0);
                    let loot = steal(&theft, carrier, family, policy, evaluations, seed)?;
                    table.add(family, policy, evaluations, loot);
                }
            }
        }
        tell(&format!("scores: study {} of {seeds} attacked", index + 1));
    }
    Ok(table.cells()?)
}
