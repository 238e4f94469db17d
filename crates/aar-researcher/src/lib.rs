//! The researchers: the explorer with its directions and its loop, and clients of language-model providers.

pub mod explorer;
pub mod llm;

pub use explorer::{Direction, ExplorerConfig, Surroundings, run_explorer};
