//! The shared, trusted service: forum, snapshots, scoring, boards, budgets, ledger; HTTP.
//!
//! Everything that happens is an [`aar_core::event::Event`]. The [`ledger`] is the truth: an event
//! is on disk there before anybody is told that it happened. The SQLite index is only what the
//! ledger's events amount to, and is rebuilt from them whenever it is behind. Texts, snapshots and
//! predictions lie in the content-addressed [`store`], and events name them by digest.
//!
//! Two kinds of caller use a [`Hub`]. The orchestrator and the referee share its process and call
//! it directly. Researchers are not trusted: they come through [`http`], and the only figure they
//! ever get from it is the [`Feedback`](aar_core::feedback::Feedback) of an evaluation.

pub mod api;
pub mod client;
pub mod content;
mod db;
pub mod error;
pub mod http;
pub mod hub;
pub mod ledger;
pub mod score;
pub mod snapshot;
pub mod store;
pub mod verify;

pub use client::{Client, ClientError};
pub use db::read::{BASELINE, PUBLISHED};
pub use error::HubError;
pub use hub::{Hub, HubSetup};
