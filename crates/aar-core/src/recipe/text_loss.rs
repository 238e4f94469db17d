//! What a language model minimises.

use super::{Expression, Loss};
use serde::{Deserialize, Serialize};

/// What a language model minimises where it says the label. Everything else that it is to say (the
/// rest of a label of several tokens, the end) is always learnt by cross-entropy.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(from = "TextLossForm", into = "TextLossForm")]
pub enum TextLoss {
    /// One that students on frozen states have, too.
    Named(Loss),
    /// A formula over one row.
    Expression(Expression),
}

impl Default for TextLoss {
    fn default() -> Self {
        Self::Named(Loss::default())
    }
}

/// [`TextLoss`] as it is written: all kinds side by side.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum TextLossForm {
    CrossEntropy { hard: bool },
    Confidence { alpha: f64 },
    ReverseKl {},
    Expression { value: Expression },
}

impl From<TextLossForm> for TextLoss {
    fn from(form: TextLossForm) -> Self {
        Self::Named(match form {
            TextLossForm::CrossEntropy { hard } => Loss::CrossEntropy { hard },
            TextLossForm::Confidence { alpha } => Loss::Confidence { alpha },
            TextLossForm::ReverseKl {} => Loss::ReverseKl {},
            TextLossForm::Expression { value } => return Self::Expression(value),
        })
    }
}

impl From<TextLoss> for TextLossForm {
    fn from(loss: TextLoss) -> Self {
        match loss {
            TextLoss::Named(Loss::CrossEntropy { hard }) => Self::CrossEntropy { hard },
            TextLoss::Named(Loss::Confidence { alpha }) => Self::Confidence { alpha },
            TextLoss::Named(Loss::ReverseKl {}) => Self::ReverseKl {},
            TextLoss::Expression(value) => Self::Expression { value },
        }
    }
}
