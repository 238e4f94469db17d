//! The command line as people use it: whole studies, verification, bad input, methods of any kind.

#![allow(clippy::unwrap_used)]

mod agents;
mod audits;
mod bad_input;
mod bench;
mod board;
mod budgets;
mod cases;
mod compare;
mod doctor;
#[path = "../../../aar-researcher/tests/it/fake/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the provider's own tests use more of it"
)]
mod fake;
mod import;
mod methods;
mod program;
mod redteam;
mod reviews;
mod secrecy;
mod shipped;
mod students;
mod study;
mod texts;
#[path = "../../../aar-referee/tests/it/tiny.rs"]
mod tiny;
mod unsafe_run;
mod verify;
mod workspaces;
