//! A provider on loopback that speaks the wire formats (messages, chat completions, responses) and plays a script, for tests and for people
//! (`examples/fake_provider.rs`). It is strict where the real ones are: keys, models, the pairing of tool calls and
//! results, thinking that must come back unchanged, cache breakpoints. `scripts/check_fake_provider.py` drives it with the
//! official SDKs, so that it is known to be faithful.

mod anthropic;
mod cache;
mod openai;
mod responses;
mod script;
mod server;

pub(crate) use script::{Fault, Say, Script, Turn};
pub(crate) use server::Fake;
