//! Why there is no reply, and what to do about it.

use super::client::Attempt;
use std::time::Duration;
use thiserror::Error;

/// What is wrong before anything was sent.
#[derive(Debug, Error)]
pub enum SetupError {
    /// No usable key.
    #[error("{origin} {why}; put a provider's key there")]
    Key {
        /// A variable's or a file's name.
        origin: String,
        /// What is wrong with it.
        why: String,
    },
    /// Not an address that a provider can have.
    #[error(
        "the endpoint {url} {why}; expected something like https://api.anthropic.com or http://127.0.0.1:8000/v1"
    )]
    Url {
        /// What was given, without a password that it may hold.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// A price table cannot be used.
    #[error("{file}: {why}")]
    Prices {
        /// Which table.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// No price for a model.
    #[error(
        "model {model} has no price; add it to a price table of your own, or choose one of: {known}"
    )]
    UnknownModel {
        /// Its name.
        model: String,
        /// All names that have one.
        known: String,
    },
}

/// Why a call gave no reply. No text in it holds the key.
#[derive(Debug, Error)]
pub enum AskError {
    /// 401: the provider does not take the key.
    #[error(
        "{url} does not take {key}: {message} (give a valid key; a key can expire or be revoked while a study runs)"
    )]
    KeyRefused {
        /// What was asked.
        url: String,
        /// Where the key came from.
        key: String,
        /// The provider's words.
        message: String,
    },
    /// 403: the key may not do this.
    #[error(
        "{url} forbids this: {message} (the key lacks a permission, or the provider blocks this place)"
    )]
    Forbidden {
        /// What was asked.
        url: String,
        /// The provider's words.
        message: String,
    },
    /// The account has no money or quota left.
    #[error("the account at {url} has nothing left to spend: {message}")]
    OutOfCredit {
        /// What was asked.
        url: String,
        /// The provider's words.
        message: String,
    },
    /// The provider has no such model.
    #[error(
        "{url} has no model {model}: {message} (check the model's name, and that the server has loaded it)"
    )]
    UnknownModel {
        /// What was asked.
        url: String,
        /// The model.
        model: String,
        /// The provider's words.
        message: String,
    },
    /// The conversation is longer than the model's context window. Shorten it; asking again does not help.
    #[error("the conversation is too long for the model: {message}")]
    ContextOverflow {
        /// The provider's words.
        message: String,
    },
    /// The provider finds fault with the request.
    #[error("{url} refused the request with status {status}: {message}")]
    Refused {
        /// What was asked.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The provider's words.
        message: String,
    },
    /// The request asks for something that the model's card rules out. Nothing was sent.
    #[error("model {model} cannot do this: {why}")]
    Unsupported {
        /// The model.
        model: String,
        /// What was asked of it.
        why: String,
    },
    /// The answer is not one of a provider of this kind.
    #[error("the answer of {url} cannot be read: {why} (is this the address of a model provider?)")]
    Protocol {
        /// What was asked.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// The provider sent more than is read.
    #[error("the answer of {url} is too large: more than {limit}")]
    TooLarge {
        /// What was asked.
        url: String,
        /// Which bound.
        limit: String,
    },
    /// The endpoint could not be reached, or stayed overloaded, or broke off again and again.
    #[error("{url} gave no reply (tries: {tries}); the last time: {why}")]
    GaveUp {
        /// What was asked.
        url: String,
        /// How often.
        tries: u32,
        /// What happened the last time.
        why: String,
    },
    /// The provider asks for a longer pause than is waited.
    #[error("{url} asks for a pause of {} s: {message}", pause.as_secs())]
    ComeBackLater {
        /// What was asked.
        url: String,
        /// How long.
        pause: Duration,
        /// The provider's words.
        message: String,
    },
    /// The call took longer than its total time.
    #[error("{url} had not replied after {} s, all tries together", limit.as_secs())]
    TimedOut {
        /// What was asked.
        url: String,
        /// The total time.
        limit: Duration,
    },
    /// The caller said stop.
    #[error("stopped")]
    Stopped,
}

/// A failed call: why, and what was tried before. Attempts that broke off may have cost money.
#[derive(Debug, Error)]
#[error("{error}")]
pub struct AskFailed {
    /// Why there is no reply.
    #[source]
    pub error: AskError,
    /// The tries that failed and were followed by another, and the last one if it began a reply.
    pub attempts: Vec<Attempt>,
}
