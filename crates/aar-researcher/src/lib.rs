//! The researchers: the explorer, which needs no language model; agents, which are one; and the clients of
//! providers that agents ask.

pub mod agent;
pub mod explorer;
pub mod llm;

pub use explorer::{Direction, ExplorerConfig, Surroundings, run_explorer};
