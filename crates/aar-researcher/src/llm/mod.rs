//! Clients of language-model providers: one conversation, two wire formats, one call.
//!
//! [`Client::ask`] sends a conversation and streams one reply. What it promises:
//!
//! - **Replay is verbatim.** A reply is kept as blocks; thinking stays opaque, with its signature, and goes back in its
//!   place ([`Block::Thinking`]). Providers refuse a conversation in which it was changed.
//! - **A call ends.** A stream that falls silent is cut and asked again; overload, rate limits and broken connections are
//!   tried again with growing pauses, or after the pause that the provider asks for; a wrong key or an unknown model is
//!   not. Everything that is read is bounded, because a provider may be anyone's server ([`Limits`]).
//! - **Money is known.** [`Reply::usage`] and [`Attempt::usage`] are the provider's figures by kind; [`Card::cost`] prices
//!   them from a dated table, [`Card::upper_bound`] before anything is sent. A model without a price is refused.
//! - **The key stays here.** [`Key`] never prints, and every text that comes back from outside is searched for it before
//!   it becomes an error.
//!
//! Time is passed in ([`Clock`]), and the jitter of pauses comes from a seed.
//!
//! The wire formats are the Anthropic Messages API (<https://platform.claude.com/docs/en/api/messages>) and OpenAI's chat
//! completions (<https://developers.openai.com/api/reference/chat-completions>), the latter as vLLM, llama.cpp and Ollama
//! speak it too. There is no agent loop here: what to say next is its caller's business.

mod anthropic;
mod client;
mod clock;
mod conversation;
mod error;
mod http;
mod key;
mod meter;
mod openai;
mod prices;
mod sse;
mod wire;

pub use client::{Attempt, Client, Event, Limits, Patience, Reply, Request};
pub use clock::{Clock, SystemClock};
pub use conversation::{Block, Message, Role, StopReason, Tool, ToolChoice, ToolInput, Usage};
pub use error::{AskError, AskFailed, SetupError};
pub(crate) use http::{Api, Part};
pub use http::{Endpoint, Wire};
pub use key::Key;
pub(crate) use meter::{Meter, Metered};
pub use prices::{Card, LongPrompts, Money, Price, PriceTable, Rates, Thinking};
