//! The study's protocol on language models: rows as texts, labels as tokens.
//!
//! [`example`] writes rows, [`loss`] has what is minimised, [`tuning`] trains a model on rows and reads its label probabilities,
//! [`zero_shot`] asks an untrained one, [`source`] finds models, [`shown`] those that a sandbox was given, [`method`] runs a recipe
//! with `[finetune]`. Trusted are [`anchors`], which trains weak teachers and ceilings on labels, [`critic`], whose judge learns from
//! them, and [`states`], a model's states of sealed rows.

pub mod anchors;
pub mod critic;
mod error;
pub mod example;
pub mod loss;
pub mod method;
pub mod shown;
pub mod source;
pub mod states;
pub mod tuning;
pub mod zero_shot;

pub use error::TextError;

/// A language model, run by whichever engine was chosen.
pub type Model = aar_models::LanguageModel<Box<dyn aar_models::Engine>>;
