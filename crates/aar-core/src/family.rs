//! The study's eleven kinds of idea (study report §4, idea entropy).

use serde::{Deserialize, Serialize};
use std::fmt;

/// A kind of idea. Derived from the recipe, or assigned by a reviewer; never only self-declared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Train on one's own predictions, in rounds.
    SelfTraining,
    /// Average several students.
    Ensemble,
    /// Train a student on a student.
    Distillation,
    /// Leave examples out.
    DataFiltering,
    /// Weigh examples by how sure some model is.
    ConfidenceWeighting,
    /// Change what the student minimises.
    LossFunction,
    /// Elicit labels from the strong model without the teacher.
    UnsupervisedElicitation,
    /// Change the order or strength in which examples are seen.
    Curriculum,
    /// Use the geometry of the strong model's activations.
    ModelInternal,
    /// Search over parameters by selection.
    Evolutionary,
    /// None of these.
    Other,
}

impl Family {
    /// All families, in the study's order.
    pub const ALL: [Self; 11] = [
        Self::SelfTraining,
        Self::Ensemble,
        Self::Distillation,
        Self::DataFiltering,
        Self::ConfidenceWeighting,
        Self::LossFunction,
        Self::UnsupervisedElicitation,
        Self::Curriculum,
        Self::ModelInternal,
        Self::Evolutionary,
        Self::Other,
    ];

    /// The name used in files and on the board.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SelfTraining => "self-training",
            Self::Ensemble => "ensemble",
            Self::Distillation => "distillation",
            Self::DataFiltering => "data-filtering",
            Self::ConfidenceWeighting => "confidence-weighting",
            Self::LossFunction => "loss-function",
            Self::UnsupervisedElicitation => "unsupervised-elicitation",
            Self::Curriculum => "curriculum",
            Self::ModelInternal => "model-internal",
            Self::Evolutionary => "evolutionary",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
