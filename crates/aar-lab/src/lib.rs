//! Weak-to-strong experiments on frozen activations: features, label sources, refinements,
//! students, teachers and ceilings; and the same on language models that read texts.
//!
//! The binary `aar-lab` is the *method's* half: it reads the public part of a problem and a recipe
//! and writes predictions. `teacher` and `anchors` are the *trusted* half: they read labels, and
//! the binary never calls them.

#[cfg(feature = "models")]
pub use aar_models as models;

pub mod anchors;
pub mod bench;
pub mod bridge;
pub mod builtin;
pub mod channel;
pub mod elicit;
pub mod evolve;
pub mod experiment;
pub mod features;
pub mod loss;
pub mod numeric;
pub mod refine;
pub mod select;
pub mod student;
pub mod teacher;
#[cfg(feature = "models")]
pub mod text;
pub mod workspace;
