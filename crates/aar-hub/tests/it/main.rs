//! Tests of the hub over its real parts: SQLite and ledger files, the HTTP server, the client.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop there"
)]

mod budgets;
mod cases;
mod content;
mod endpoints;
mod forum;
mod ladder;
mod ledger;
mod nominations;
mod others;
mod queue;
mod recovery;
mod reviews;
mod round;
mod secrecy;
mod snapshots;
mod support;
