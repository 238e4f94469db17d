//! The SQLite index: what the ledger's events amount to.

mod apply;
pub(crate) mod read;

pub(crate) use apply::apply;

use crate::error::{HubError, Result};
use aar_core::digest::Digest;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// The index's place in a run directory.
pub(crate) const INDEX_FILE: &str = "hub.sqlite";

/// Landed migrations never change; `user_version` counts how many were applied.
const MIGRATIONS: [&str; 10] = [
    include_str!("../../migrations/0001_index.sql"),
    include_str!("../../migrations/0002_limits.sql"),
    include_str!("../../migrations/0003_nominations.sql"),
    include_str!("../../migrations/0004_answers.sql"),
    include_str!("../../migrations/0005_audits.sql"),
    include_str!("../../migrations/0006_cases.sql"),
    include_str!("../../migrations/0007_used_by_others.sql"),
    include_str!("../../migrations/0008_expiry.sql"),
    include_str!("../../migrations/0009_reviews.sql"),
    include_str!("../../migrations/0010_trial_steps.sql"),
];

/// Opens the index for writing and brings its tables up to date.
pub(crate) fn open_writer(path: &Path) -> Result<Connection> {
    let mut db = Connection::open(path)?;
    db.busy_timeout(Duration::from_secs(10))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    // A power cut may take the last transactions; the ledger, which is synchronous, brings them
    // back.
    db.pragma_update(None, "synchronous", "NORMAL")?;
    let applied: u32 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if applied as usize > MIGRATIONS.len() {
        let why = format!("{INDEX_FILE} was made by a newer version of this program");
        return Err(HubError::Record(why));
    }
    for (number, migration) in (1u32..).zip(MIGRATIONS).skip(applied as usize) {
        let change = db.transaction()?;
        change.execute_batch(migration)?;
        change.pragma_update(None, "user_version", number)?;
        change.commit()?;
    }
    Ok(db)
}

/// Opens a second connection that cannot write, so that reading never waits for a sync.
pub(crate) fn open_reader(path: &Path) -> Result<Connection> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    db.busy_timeout(Duration::from_secs(10))?;
    Ok(db)
}

/// The last entry that was applied: its number and hash.
pub(crate) fn progress(db: &Connection) -> Result<(u64, Digest)> {
    let (seq, head): (i64, String) = db.query_row("SELECT seq, head FROM progress", [], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    let head = if seq == 0 {
        Digest::ZERO
    } else {
        head.parse().map_err(HubError::Record)?
    };
    Ok((unsigned(seq)?, head))
}

/// Notes how far the ledger was applied, in the same transaction as the events themselves.
pub(crate) fn set_progress(db: &Connection, seq: u64, head: Digest) -> Result<()> {
    let head = head.to_string();
    db.execute(
        "UPDATE progress SET seq = ?1, head = ?2",
        (signed(seq)?, head),
    )?;
    Ok(())
}

/// SQLite holds signed integers only.
pub(crate) fn signed(value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|_| HubError::invalid(format!("the number {value} is too large")))
}

pub(crate) fn unsigned(value: i64) -> Result<u64> {
    u64::try_from(value).map_err(HubError::record)
}
