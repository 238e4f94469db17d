//! How much of what dev promised was left on sealed rows.

use crate::account::Account;
use crate::facts::on_problem;
use aar_core::board::{Board, BoardRow};
use aar_stats::{Estimate, shrinkage};

/// Dev feedback beside the verified figure, for each method that has both.
pub(crate) struct Shrink<'a> {
    pub(crate) pairs: Vec<Pair<'a>>,
    /// The mean of dev − verified; none with fewer than two pairs.
    pub(crate) mean: Option<Estimate>,
}

/// One method's two figures.
pub(crate) struct Pair<'a> {
    /// The row's place on the board, counted from 1.
    pub(crate) place: usize,
    pub(crate) dev: f64,
    pub(crate) row: &'a BoardRow,
}

impl<'a> Shrink<'a> {
    pub(crate) fn of(account: &Account<'a>, board: &'a Board) -> Self {
        let rows = on_problem(&board.verified, &account.main().id)
            .into_iter()
            .zip(1..);
        let pair = |(row, place): (&'a BoardRow, usize)| {
            Some(Pair {
                place,
                dev: account.best_feedback(row.snapshot)?,
                row,
            })
        };
        let pairs: Vec<_> = rows
            .filter(|(row, _)| row.pgr.is_finite())
            .filter_map(pair)
            .collect();
        let dev: Vec<f64> = pairs.iter().map(|pair| pair.dev).collect();
        let rank: Vec<f64> = pairs.iter().map(|pair| pair.row.pgr).collect();
        Self {
            mean: shrinkage(&dev, &rank, 0.95).ok(),
            pairs,
        }
    }
}
