//! The command line as people use it: whole studies, verification, bad input, methods of any kind.

#![allow(clippy::unwrap_used)]

mod agents;
mod audits;
mod bad_input;
mod board;
mod budgets;
mod cases;
mod compare;
mod doctor;
mod import;
mod methods;
mod program;
mod redteam;
mod secrecy;
mod shipped;
mod study;
mod texts;
#[path = "../../../aar-referee/tests/it/tiny.rs"]
mod tiny;
mod unsafe_run;
mod verify;
mod workspaces;
