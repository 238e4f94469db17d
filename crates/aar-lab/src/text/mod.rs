//! The study's protocol on language models: rows as texts, labels as tokens.
//!
//! [`example`] writes rows, [`tuning`] trains a model on them and reads its label probabilities,
//! [`zero_shot`] asks an untrained one, [`source`] finds models, [`method`] runs a recipe with `[finetune]`. [`anchors`] is trusted: it
//! trains weak teachers and ceilings on labels; so is [`critic`], whose judge learns from them. Nothing here runs inside a sandbox.

pub mod anchors;
pub mod critic;
mod error;
pub mod example;
pub mod method;
pub mod source;
pub mod tuning;
pub mod zero_shot;

pub use error::TextError;

/// A language model, run by whichever engine was chosen.
pub type Model = aar_models::LanguageModel<Box<dyn aar_models::Engine>>;
