//! The researchers: the explorer, its directions and its loop.

pub mod explorer;

pub use explorer::{Direction, ExplorerConfig, Surroundings, run_explorer};
