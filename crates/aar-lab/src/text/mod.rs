//! The study's protocol on language models: rows as texts, labels as tokens.
//!
//! [`example`] writes rows, [`loss`] has what is minimised, [`tuning`] trains a model on rows and reads its label probabilities,
//! [`zero_shot`] asks an untrained one, [`source`] finds models, [`method`] runs a recipe with `[finetune]`. [`anchors`] is trusted: it
//! trains weak teachers and ceilings on labels. Nothing here runs inside a sandbox.

pub mod anchors;
mod error;
pub mod example;
pub mod loss;
pub mod method;
pub mod source;
pub mod tuning;
pub mod zero_shot;

pub use error::TextError;

/// A language model, run by whichever engine was chosen.
pub type Model = aar_models::LanguageModel<Box<dyn aar_models::Engine>>;
