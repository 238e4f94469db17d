//! Explorers at the real hub over loopback; only compute is played.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod alone;
mod support;
mod team;
