//! Reviews by a language model: what kind of idea a finding tells of, and what in a method looks like
//! cheating.
//!
//! ```text
//! ideas     labels a finding               ─┐
//! methods   reads a method                  │  asker    one question: paid for, strictly read
//! excerpt   what is shown of it, marked     │  author   what its author's model did
//! orders    words that are meant for us    ─┘
//! ```
//!
//! Everything that is read was written by whoever may be cheating, so three things hold whatever it says.
//! It is *data*: each line of it stands behind a mark that no text can take away, and nothing in it is
//! invisible. An answer is a call of one tool that fits its schema, or there is none: no half-read answer
//! ever counts as *nothing found*. And what a reviewer accuses somebody of, it must quote: lines that it
//! was not shown are no evidence. Words that try to give the reviewer orders are looked for without any
//! model, so that they are found also where they work.
//!
//! There is no hub, no ledger and no clock here; who calls decides what becomes of an answer.

mod asker;
mod author;
mod excerpt;
mod ideas;
mod methods;
mod orders;

pub use asker::{Asker, NoReview};
pub use author::what_the_author_did;
pub use ideas::{Idea, label, label_usage};
pub use methods::{Material, Review, Rule, Suspected, review, review_usage};
pub use orders::orders;

use std::collections::BTreeMap;

/// The files of a snapshot by path.
pub type Files = BTreeMap<String, Vec<u8>>;
