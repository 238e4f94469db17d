//! The researchers: the explorer, which needs no language model; agents, which are one; the clients of
//! providers that agents ask; reviews of ideas and methods; and MCP, by which any other agent comes in.

pub mod agent;
pub mod explorer;
pub mod llm;
pub mod mcp;
pub mod review;

pub use explorer::{Direction, ExplorerConfig, Surroundings, run_explorer};
