//! The researchers: the explorer, which needs no language model; agents, which are one; the clients of
//! providers that agents ask; reviews of ideas and methods; MCP, by which any other agent comes in; and the ways out
//! of the sandbox of one that runs as a command.

pub mod agent;
pub mod explorer;
pub mod harness;
pub mod llm;
pub mod mcp;
pub mod review;

pub use explorer::{Direction, ExplorerConfig, Surroundings, run_explorer};
