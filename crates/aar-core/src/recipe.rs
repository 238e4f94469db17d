//! `recipe.toml`: a declarative method for the built-in lab.
//!
//! A recipe is a line of parts: features → label source → refinements → student → evolution →
//! ensemble → prediction. Every part works with every other, so that recipes can be mutated and
//! recombined freely. All fields have defaults; the empty recipe is the study's naive baseline.

mod bounds;
mod expression;
mod parts;
mod text_loss;

pub use bounds::{MAX_FITS, RecipeError};
pub use expression::{Expression, ExpressionError, Slopes, Variables};
pub use parts::{
    Combine, Critic, EngineName, Ensemble, Evolve, Features, FineTune, Grpo, Imitation, Judging,
    Labels, Layers, Loss, NamedLayers, Orient, PairView, Prediction, Refine, Stage, Student,
    StudentKind, TextForm, Threshold, Tuned, Writing,
};
pub use text_loss::TextLoss;

use crate::family::Family;
use crate::parse;
use serde::{Deserialize, Serialize};

/// A whole method, from hidden states and weak labels to predictions.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// One paragraph for people; never read by the lab.
    pub summary: String,
    /// What the student sees of the strong model.
    pub features: Features,
    /// Where the first labels come from.
    pub labels: Labels,
    /// What happens to the labels and weights, in order, before the student is trained.
    pub refine: Vec<Refine>,
    /// What is trained, and on what loss.
    pub student: Student,
    /// Optional search by selection over the trained student's parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evolve: Option<Evolve>,
    /// How many students are averaged, and how.
    pub ensemble: Ensemble,
    /// How logits become labels.
    pub predict: Prediction,
    /// Train the strong language model itself, not a student on its frozen states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finetune: Option<FineTune>,
    /// Labels of a judge that is helped by a trained critic, for `finetune`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub critic: Option<Critic>,
}

impl Recipe {
    /// Reads and checks a recipe.
    ///
    /// # Errors
    /// [`RecipeError::Parse`] names the line, [`RecipeError::Field`] the field that is out of bounds.
    pub fn from_toml(text: &str) -> Result<Self, RecipeError> {
        let recipe: Self = parse::toml(text).map_err(RecipeError::Parse)?;
        recipe.validate()?;
        Ok(recipe)
    }

    /// The recipe as TOML that [`Recipe::from_toml`] reads back.
    ///
    /// # Errors
    /// Only if a number cannot be written in TOML, which [`Recipe::validate`] excludes.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// The study's family of idea that this recipe belongs to: the first of these that holds.
    ///
    /// 1. `evolve` is there: evolutionary.
    /// 2. The labels are elicited by consistency, or zero-shot: unsupervised elicitation.
    /// 3. The student has stages: curriculum.
    /// 4. Refinements, looked at as a set: self-training rounds → self-training; k-fold relabelling
    ///    → distillation (a student learns from a student); a filter (confidence, neighbours,
    ///    overlap density) → data filtering; weights or smoothing by confidence (reweighting,
    ///    agreement with CCS, epiplexity) → confidence weighting.
    ///    Noisy-channel EM, judge labels and critic training are none of the study's kinds → other.
    /// 5. Labels from one principal component: model internal.
    /// 6. A loss other than cross-entropy: loss function.
    /// 7. More than one student: ensemble.
    /// 8. Principal components or a low-rank student: model internal.
    /// 9. Otherwise: other (so is the naive baseline).
    ///
    /// What changes the *source of knowledge* thus goes before what changes how it is learnt.
    #[must_use]
    pub fn family(&self) -> Family {
        if self.evolve.is_some() {
            return Family::Evolutionary;
        }
        let zero_shot = self.finetune.as_ref().is_some_and(|tuned| tuned.zero_shot);
        if zero_shot || matches!(self.labels, Labels::Consistency { .. }) {
            return Family::UnsupervisedElicitation;
        }
        if !self.student.stages.is_empty() {
            return Family::Curriculum;
        }
        if let Some(family) = self.family_of_refinements() {
            return family;
        }
        match self.labels {
            Labels::Principal { .. } => return Family::ModelInternal,
            Labels::Judge { .. } => return Family::Other,
            _ => {}
        }
        let text_loss = self.finetune.as_ref().map(|tuned| &tuned.loss);
        let plain = |loss: &Loss| matches!(loss, Loss::CrossEntropy { .. });
        let text_plain = |loss: &TextLoss| matches!(loss, TextLoss::Named(loss) if plain(loss));
        if !plain(&self.student.loss) || !text_loss.is_none_or(text_plain) {
            Family::LossFunction
        } else if self.ensemble.bags > 1 || self.ensemble.over_layers {
            Family::Ensemble
        } else if self.features.components.is_some()
            || matches!(self.student.model, StudentKind::LowRank { .. })
        {
            Family::ModelInternal
        } else {
            Family::Other
        }
    }

    fn family_of_refinements(&self) -> Option<Family> {
        let has = |test: fn(&Refine) -> bool| self.refine.iter().any(test);
        if has(|r| matches!(r, Refine::SelfTraining { .. })) {
            Some(Family::SelfTraining)
        } else if has(|r| matches!(r, Refine::NoisyChannelEm { .. })) {
            Some(Family::Other)
        } else if has(|r| matches!(r, Refine::KfoldRelabel { .. })) {
            Some(Family::Distillation)
        } else if has(Refine::is_filter) {
            Some(Family::DataFiltering)
        } else if self.refine.is_empty() {
            None
        } else {
            Some(Family::ConfidenceWeighting)
        }
    }

    /// Do the weak labels influence the predictions at all?
    ///
    /// Critic training learns from a judge and reads none. Elicitation whose orientation is chosen by agreement with the weak labels takes one bit from
    /// the teacher and so counts as using it.
    #[must_use]
    pub fn uses_teacher(&self) -> bool {
        if self.critic.is_some() || self.finetune.as_ref().is_some_and(|tuned| tuned.zero_shot) {
            return false;
        }
        let labels = match self.labels {
            Labels::Consistency { orient, .. } => orient == Orient::Weak,
            _ => true,
        };
        labels || self.refine.iter().any(Refine::reads_weak_labels)
    }

    /// How many parts the recipe has beyond those of the naive baseline; 0 for the baseline itself.
    #[must_use]
    pub fn complexity(&self) -> usize {
        let naive = Self::default();
        let differs = [
            self.features.layers != naive.features.layers,
            self.features.components.is_some(),
            self.features.swap_augment,
            self.labels != naive.labels,
            self.student.model != naive.student.model,
            self.student.loss != naive.student.loss,
            self.evolve.is_some(),
            self.ensemble.bags > 1,
            self.ensemble.over_layers,
            self.predict != naive.predict,
            self.finetune.is_some(),
            (self.finetune.as_ref()).is_some_and(|tuned| tuned.loss != TextLoss::default()),
            self.critic.is_some(),
        ];
        let changed = differs.iter().filter(|&&changed| changed).count();
        changed + self.refine.len() + self.student.stages.len()
    }
}

#[cfg(test)]
mod tests;
