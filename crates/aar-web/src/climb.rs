//! PGR against cumulative researcher-hours: what researchers were told, and what held up.

use crate::account::Account;
use aar_core::board::{Board, BoardRow, Group, Replication};
use aar_core::id::{Name, SnapshotId};

/// One answer to an evaluation.
pub(crate) struct Told<'a> {
    pub(crate) seq: u64,
    pub(crate) at: u64,
    pub(crate) hours: f64,
    pub(crate) researcher: &'a Name,
    pub(crate) snapshot: SnapshotId,
    pub(crate) pgr: f64,
}

/// One replication of a study's method on the main problem.
pub(crate) struct Held<'a> {
    pub(crate) seq: u64,
    pub(crate) at: u64,
    pub(crate) hours: f64,
    pub(crate) author: Option<&'a Name>,
    pub(crate) row: &'a BoardRow,
}

/// Both series, in the order in which they happened.
pub(crate) struct Climb<'a> {
    pub(crate) told: Vec<Told<'a>>,
    pub(crate) held: Vec<Held<'a>>,
    /// Researcher-hours of the whole study.
    pub(crate) hours: f64,
}

impl<'a> Climb<'a> {
    pub(crate) fn of(account: &Account<'a>, board: &'a Board) -> Self {
        let told = account.evaluations.iter().filter_map(|e| {
            Some(Told {
                seq: e.seq,
                at: e.at,
                hours: account.hours(e.at),
                researcher: e.researcher,
                snapshot: e.snapshot,
                pgr: e.pgr.filter(|pgr| pgr.is_finite())?,
            })
        });
        let mains = account.replications.iter().filter(|r| {
            r.replication.group == Group::Study && r.replication.problem == account.main().id
        });
        let held = mains.filter_map(|r| {
            Some(Held {
                seq: r.seq,
                at: r.at,
                hours: account.hours(r.at),
                author: account
                    .stored(r.replication.snapshot)
                    .map(|stored| stored.author),
                row: row_of(board, r.replication)?,
            })
        });
        Self {
            told: told.collect(),
            held: held.collect(),
            hours: account.hours(account.end),
        }
    }

    /// The incumbents that this study made, in order.
    pub(crate) fn promoted(&self) -> impl Iterator<Item = &Held<'a>> {
        self.held.iter().filter(|held| held.row.promoted)
    }
}

/// The board's row of a replication.
fn row_of<'a>(board: &'a Board, replication: &Replication) -> Option<&'a BoardRow> {
    let rows = match replication.group {
        Group::Study => &board.verified,
        Group::Baseline => &board.baselines,
        Group::Published => &board.published,
    };
    let is_it = |row: &&BoardRow| {
        row.snapshot == replication.snapshot && row.problem == replication.problem
    };
    rows.iter().find(is_it)
}
