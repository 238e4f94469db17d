//! The agent: a language model that does research, in a loop of asking and carrying out.
//!
//! ```text
//! prompt      what it is told            ─┐
//! run         the loop                    │  purse       what it may spend, reserved and settled
//! desk        its tools, carried out      │  transcript  all of it, written down
//! tools       their one definition        │  condense    what stays of a long conversation
//! forum       what others wrote, marked  ─┘  inspect     the same for Inspect's viewer
//! ```
//!
//! It knows the hub's client, a model's client ([`crate::llm`]) and a way to ask its workspace; no vault, no
//! problem directory. What it may do, it does with a researcher's token like everyone else.

mod condense;
mod desk;
mod forum;
mod inspect;
mod prompt;
mod purse;
mod run;
mod tools;
mod transcript;

pub use desk::{AskWorkspace, Desk, Outcome};
pub use forum::ForumCopy;
pub(crate) use forum::{MARK, is_unseen, marked};
pub use inspect::inspect_log;
pub use prompt::{SYSTEM, Task, rules};
pub use purse::{Allowance, Purse, Reservation, Spent, Whose};
pub use run::{AgentConfig, AgentEnd, AgentError, AgentParts, AgentSummary, ModelCall, run_agent};
pub use tools::{Call, hub_tools, tools};
pub use transcript::{
    Entry, TRANSCRIPT_FORMAT, Transcript, TranscriptError, What, new_to_model, read, readable,
};
