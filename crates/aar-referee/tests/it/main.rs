//! The board and its verification, on a run whose every figure is known beforehand.

#![allow(clippy::unwrap_used)]

mod figures;
mod recompute;
mod run;
mod tiny;
