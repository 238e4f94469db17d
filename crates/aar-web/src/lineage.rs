//! Where a method came from: its snapshot's first parents, back to a root.
//!
//! Researchers who recombine each other's methods give a snapshot dozens of ancestors, which nobody
//! would read. The line of first parents is followed to its root; other parents are named where
//! they join, and the rest is only counted. All parents stand in `methods.csv`.

use crate::account::{Account, Stored};
use aar_core::id::SnapshotId;
use std::collections::BTreeSet;

/// No line is followed further; a study's are far shorter.
const LONGEST: usize = 60;

/// A first parent and the other parents of the same child.
pub(crate) type Step = (SnapshotId, Vec<SnapshotId>);

/// A snapshot's ancestry.
pub(crate) struct Lineage {
    /// The first parent, its first parent and so on.
    pub(crate) steps: Vec<Step>,
    /// How many further ancestors there are.
    pub(crate) others: usize,
}

/// Follows a snapshot's parents.
pub(crate) fn of(account: &Account<'_>, id: SnapshotId) -> Lineage {
    let parents = |id| account.stored(id).map_or(&[][..], |stored| stored.parents);
    let mut shown = BTreeSet::from([id]);
    let mut steps = Vec::new();
    let mut child = id;
    // The bound also ends the circle that a forged ledger could have.
    while let Some((&first, others)) = parents(child).split_first()
        && steps.len() < LONGEST
    {
        shown.insert(first);
        shown.extend(others);
        let others = others.iter().copied().filter(|&other| other != first);
        steps.push((first, others.collect()));
        child = first;
    }
    let mut all = BTreeSet::from([id]);
    let mut open = vec![id];
    while let Some(next) = open.pop() {
        open.extend(parents(next).iter().filter(|parent| all.insert(**parent)));
    }
    Lineage {
        steps,
        others: all.difference(&shown).count(),
    }
}

/// `mix (ada, 1f2e3d4c)`
pub(crate) fn name(account: &Account<'_>, id: SnapshotId) -> String {
    match account.stored(id) {
        Some(Stored { method, author, .. }) => format!("{method} ({author}, {})", id.0.short()),
        None => format!("unknown ({})", id.0.short()),
    }
}

/// One step: the first parent, and with `+` those that were mixed in.
pub(crate) fn step(account: &Account<'_>, (first, others): &Step) -> String {
    let parents = std::iter::once(first).chain(others);
    parents
        .map(|&id| name(account, id))
        .collect::<Vec<_>>()
        .join(" + ")
}

/// The lineage in a line; `<-` goes a generation back.
pub(crate) fn line(account: &Account<'_>, id: SnapshotId) -> String {
    let steps = of(account, id).steps;
    steps
        .iter()
        .map(|one| step(account, one))
        .collect::<Vec<_>>()
        .join(" <- ")
}
