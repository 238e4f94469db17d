//! Audits of replicated methods: the same method, teachers and seeds with one thing changed.
//!
//! [`view`](self::view) makes the changed inputs, [`profile`](self::profile) reads out of the
//! outputs what kind of method it is. What is stored in between is enough to make the profile anew.

mod nonsense;
mod profile;
mod shortcut;
mod slices;
mod suspicion;
mod view;

pub(crate) use profile::profile;
pub use shortcut::Shortcut;
pub(crate) use shortcut::shortcuts;
pub use suspicion::suspicions;
pub(crate) use view::ChangedView;
pub use view::half_pool;

/// How many of a replication's seeds are run again. Four show whether a method keeps half of its
/// skill; more would cost as much as the replication for each change. Only permuted states, which must
/// change nothing, are given to all seeds, once an answer of these four has changed: a method that
/// carries weights may dare to use them under few teachers.
pub(crate) const AUDIT_SEEDS: usize = 4;
