//! The researchers: the explorer, which needs no language model; agents, which are one; the clients of
//! providers that agents ask; and MCP, by which any other agent comes in.

pub mod agent;
pub mod explorer;
pub mod llm;
pub mod mcp;

pub use explorer::{Direction, ExplorerConfig, Surroundings, run_explorer};
