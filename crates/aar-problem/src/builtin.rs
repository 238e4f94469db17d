//! From a built-in problem's generator and shipped states to a study's own splits.

use crate::bundle::{Bundle, BundleError};
use crate::draw::{DrawError, DrawPlan, draw};
use crate::generate::{
    BuiltinProblem, FactsError, Generated, SplitSizes, generate, generate_fresh,
};
use crate::pool::PoolRow;
use crate::vault::Salt;
use crate::write::ProblemParts;
use aar_core::id::Seed;
use aar_core::problem::{Split, TeacherSpec};
use std::collections::BTreeMap;
use thiserror::Error;

/// Why a built-in problem could not be drawn.
#[derive(Debug, Error)]
pub enum BuiltinError {
    /// The embedded facts are not as the generator needs them.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// The shipped states are damaged or belong to other rows.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The pool does not give the splits.
    #[error(transparent)]
    Draw(#[from] DrawError),
}

impl From<Generated> for PoolRow {
    fn from(Generated { group, item, label }: Generated) -> Self {
        Self {
            group,
            item,
            label,
            consistency_key: None,
        }
    }
}

impl From<SplitSizes> for BTreeMap<Split, usize> {
    fn from(
        SplitSizes {
            teacher,
            train,
            dev,
            rank,
        }: SplitSizes,
    ) -> Self {
        Split::ALL
            .into_iter()
            .zip([teacher, train, dev, rank])
            .collect()
    }
}

/// The pool of a built-in problem as [`Bundle::encode`] and [`draw`] take it.
///
/// # Errors
/// When the embedded facts are malformed.
pub fn builtin_rows(problem: BuiltinProblem) -> Result<Vec<PoolRow>, FactsError> {
    Ok(generate(problem)?.into_iter().map(PoolRow::from).collect())
}

/// The pool of another instance of a built-in problem; see [`generate_fresh`].
///
/// # Errors
/// When the embedded facts are malformed or give too few other rows.
pub fn fresh_rows(problem: BuiltinProblem, seed: Seed) -> Result<Vec<PoolRow>, FactsError> {
    let rows = generate_fresh(problem, seed)?;
    Ok(rows.into_iter().map(PoolRow::from).collect())
}

/// Draws a study's secret splits of a built-in problem, to be written by
/// [`write_problem`](crate::write_problem).
///
/// # Errors
/// When the bundle was not made from this problem's pool.
pub fn draw_builtin(
    problem: BuiltinProblem,
    bundle: &Bundle<'_>,
    seed: Seed,
    salt: Salt,
) -> Result<ProblemParts, BuiltinError> {
    draw_rows(problem, bundle, builtin_rows(problem)?, seed, salt)
}

/// The same for another instance, whose `rows` its bundle was made from. If there are fewer rows
/// than usual, `rank` is the smaller.
///
/// # Errors
/// When the bundle was not made from these rows.
pub fn draw_rows(
    problem: BuiltinProblem,
    bundle: &Bundle<'_>,
    rows: Vec<PoolRow>,
    seed: Seed,
    salt: Salt,
) -> Result<ProblemParts, BuiltinError> {
    let info = bundle.info();
    let pool = bundle.pool(rows)?;
    let teacher = TeacherSpec {
        model: info.weak.name.clone(),
        labels: problem.teacher_labels(),
    };
    let mut sizes = problem.split_sizes();
    let others = sizes.total() - sizes.rank;
    sizes.rank = sizes.rank.min(pool.rows.len().saturating_sub(others));
    let plan = DrawPlan {
        id: info.problem.clone(),
        brief: problem.brief().to_owned(),
        // The generators and their facts are public.
        practice: true,
        hard: problem.is_hard(),
        strong_model: info.strong.name.clone(),
        teacher,
        sizes: sizes.into(),
    };
    Ok(draw(plan, &pool, seed, salt)?)
}
