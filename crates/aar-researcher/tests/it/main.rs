//! Explorers at the real hub over loopback, where only compute is played; clients of language models at a fake provider.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod agent;
mod alone;
mod fake;
mod harness;
mod llm;
mod mcp;
mod review;
mod support;
mod team;
