//! What a recipe may hold. Bounds keep every valid recipe within a sandbox's minute.

use super::{Critic, FineTune, Labels, Layers, Loss, Recipe, Refine, StudentKind, TextLoss, Tuned};
use crate::parse::ParseError;
use std::collections::BTreeSet;
use thiserror::Error;

/// Why a recipe was refused.
#[derive(Clone, PartialEq, Debug, Error)]
pub enum RecipeError {
    /// The text is no recipe.
    #[error(transparent)]
    Parse(ParseError),
    /// A value is out of its bounds.
    #[error("field {field}: found {found}, expected {expected}")]
    Field {
        /// Path of the field, such as `refine[1].fraction`.
        field: String,
        /// What it holds.
        found: String,
        /// What it may hold.
        expected: String,
    },
}

/// The most that one recipe may train, in fits of a linear student.
pub const MAX_FITS: usize = 400;
/// What one fit of an MLP counts.
const MLP_COST: usize = 16;

fn field(name: &str, found: impl ToString, expected: impl Into<String>) -> RecipeError {
    RecipeError::Field {
        field: name.to_owned(),
        found: found.to_string(),
        expected: expected.into(),
    }
}

fn real(name: &str, value: f64, low: f64, high: f64) -> Result<(), RecipeError> {
    if (low..=high).contains(&value) {
        Ok(())
    } else {
        Err(field(name, value, format!("a number from {low} to {high}")))
    }
}

fn whole(name: &str, value: usize, low: usize, high: usize) -> Result<(), RecipeError> {
    if (low..=high).contains(&value) {
        Ok(())
    } else {
        Err(field(
            name,
            value,
            format!("a whole number from {low} to {high}"),
        ))
    }
}

/// A learning rate.
fn rate(name: &str, value: f64) -> Result<(), RecipeError> {
    if value <= 0.0 {
        return Err(field(name, value, "a number above 0"));
    }
    real(name, value, 0.0, 1.0)
}

impl Critic {
    fn validate(&self) -> Result<(), RecipeError> {
        whole(
            "critic.writing.max_tokens",
            self.writing.max_tokens,
            1,
            8192,
        )?;
        if self.writing.top_p <= 0.0 {
            let above = "a number above 0";
            return Err(field("critic.writing.top_p", self.writing.top_p, above));
        }
        real("critic.writing.top_p", self.writing.top_p, 0.0, 1.0)?;
        let imitation = self.imitation;
        whole(
            "critic.imitation.critiques",
            imitation.critiques,
            1,
            100_000,
        )?;
        whole("critic.imitation.epochs", imitation.epochs, 1, 100)?;
        rate("critic.imitation.rate", imitation.rate)?;
        whole("critic.judge.epochs", self.judge.epochs, 1, 100)?;
        rate("critic.judge.rate", self.judge.rate)?;
        whole(
            "critic.judge.max_tokens",
            self.judge.max_tokens,
            16,
            1 << 17,
        )?;
        whole("critic.grpo.steps", self.grpo.steps, 1, 10_000)?;
        whole("critic.grpo.questions", self.grpo.questions, 1, 1024)?;
        whole("critic.grpo.samples", self.grpo.samples, 2, 64)?;
        let critiques = self.grpo.questions * self.grpo.samples;
        whole("critic.grpo (questions times samples)", critiques, 2, 4096)?;
        rate("critic.grpo.rate", self.grpo.rate)?;
        real("critic.grpo.kl", self.grpo.kl, 0.0, 10.0)
    }
}

impl FineTune {
    /// Refuses values that cannot be.
    ///
    /// # Errors
    /// [`RecipeError::Field`] names the first field that is out of bounds.
    pub fn validate(&self) -> Result<(), RecipeError> {
        if let Some(name) = &self.student {
            whole("finetune.student (length)", name.len(), 1, 100)?;
        }
        match self.trained {
            Tuned::Lora { rank } => whole("finetune.trained.rank", rank, 1, 256)?,
            Tuned::LastLayers { layers } => whole("finetune.trained.layers", layers, 1, 1024)?,
        }
        if let TextLoss::Named(loss) = self.loss {
            loss.validate("finetune.loss")?;
        }
        whole("finetune.epochs", self.epochs, 1, 100)?;
        whole("finetune.batch", self.batch, 1, 1024)?;
        rate("finetune.rate", self.rate)?;
        whole("finetune.max_tokens", self.max_tokens, 16, 1 << 17)
    }
}

impl Recipe {
    /// Refuses values that no recipe can have.
    ///
    /// # Errors
    /// [`RecipeError::Field`] names the first field that is out of bounds.
    pub fn validate(&self) -> Result<(), RecipeError> {
        whole("summary (length)", self.summary.len(), 0, 4_000)?;
        self.validate_features()?;
        match self.labels {
            Labels::WeakHard {} => {}
            Labels::WeakSoft { temperature } => {
                real("labels.temperature", temperature, 0.1, 10.0)?;
            }
            Labels::Consistency { restarts, .. } => whole("labels.restarts", restarts, 1, 16)?,
            Labels::Principal { among } => whole("labels.among", among, 1, 64)?,
            Labels::Judge { folds } => whole("labels.folds", folds, 2, 10)?,
        }
        whole("refine (length)", self.refine.len(), 0, 8)?;
        for (index, part) in self.refine.iter().enumerate() {
            part.validate(&format!("refine[{index}]"))?;
        }
        self.validate_student()?;
        if let Some(finetune) = &self.finetune {
            self.validate_finetune(finetune)?;
        }
        if let Some(critic) = &self.critic {
            critic.validate()?;
            self.validate_beside_critic()?;
        }
        if let Some(evolve) = self.evolve {
            whole("evolve.steps", evolve.steps, 1, 500)?;
            real("evolve.sigma", evolve.sigma, 0.001, 1.0)?;
            real("evolve.rate", evolve.rate, 0.001, 1.0)?;
            whole("evolve.rows", evolve.rows, 16, 2_000)?;
        }
        whole("ensemble.bags", self.ensemble.bags, 1, 32)?;
        whole(
            "fits (of one feature set, an MLP counts 16)",
            self.fits(),
            1,
            MAX_FITS,
        )
    }

    fn validate_features(&self) -> Result<(), RecipeError> {
        if let Layers::Listed(list) = &self.features.layers {
            whole("features.layers (length)", list.len(), 1, 16)?;
            if list.iter().collect::<BTreeSet<_>>().len() != list.len() {
                return Err(field(
                    "features.layers",
                    format!("{list:?}"),
                    "each layer once",
                ));
            }
        }
        match self.features.components {
            Some(components) => whole("features.components", components, 1, 256),
            None => Ok(()),
        }
    }

    /// A language model learns labels from texts: parts that work on frozen states have no place.
    fn validate_finetune(&self, finetune: &FineTune) -> Result<(), RecipeError> {
        finetune.validate()?;
        let naive = Self::default();
        let plain = "nothing: with [finetune] there are no frozen states to work on";
        for (name, same) in [
            ("features", self.features == naive.features),
            ("student", self.student == naive.student),
            ("evolve", self.evolve.is_none()),
            ("ensemble", self.ensemble == naive.ensemble),
            ("predict", self.predict == naive.predict),
        ] {
            if !same {
                return Err(field(name, "a part for frozen states", plain));
            }
        }
        if !matches!(self.labels, Labels::WeakHard {} | Labels::WeakSoft { .. }) {
            let known = "weak-hard or weak-soft, with [finetune]";
            return Err(field("labels.kind", "another one", known));
        }
        if finetune.zero_shot && (self.labels != naive.labels || !self.refine.is_empty()) {
            let none = "false beside [labels] or [[refine]]: it replaces weak labels";
            return Err(field("finetune.zero_shot", true, none));
        }
        let known = |part: &Refine| matches!(part, Refine::KeepAbove { .. });
        if let Some(index) = self.refine.iter().position(|part| !known(part)) {
            let name = format!("refine[{index}].kind");
            return Err(field(&name, "another one", "keep-above, with [finetune]"));
        }
        Ok(())
    }

    /// The judge's labels replace all others. The critic before it was rewarded is the strong model without
    /// adapters, so there must be some.
    fn validate_beside_critic(&self) -> Result<(), RecipeError> {
        let Some(finetune) = &self.finetune else {
            let needed = "a [finetune] beside it, which says how the student learns";
            return Err(field("critic", "no [finetune]", needed));
        };
        if finetune.zero_shot {
            let one = "false beside [critic]: both are sources of labels";
            return Err(field("finetune.zero_shot", true, one));
        }
        if self.labels != Labels::default() || !self.refine.is_empty() {
            let none = "nothing beside [critic]: its judge labels train";
            return Err(field("labels and refine", "others", none));
        }
        let writes = self
            .critic
            .as_ref()
            .map_or(0, |critic| critic.writing.max_tokens);
        if writes >= finetune.max_tokens {
            let room = format!(
                "fewer than finetune.max_tokens ({}): an answer and its critique go through the model together",
                finetune.max_tokens
            );
            return Err(field("critic.writing.max_tokens", writes, room));
        }
        match finetune.trained {
            Tuned::Lora { .. } => Ok(()),
            Tuned::LastLayers { .. } => {
                let lora = "lora beside [critic]: it is compared with itself without adapters";
                Err(field("finetune.trained.kind", "last-layers", lora))
            }
        }
    }

    fn validate_student(&self) -> Result<(), RecipeError> {
        let student = &self.student;
        match student.model {
            StudentKind::Linear => {}
            StudentKind::Mlp { hidden } => whole("student.model.hidden", hidden, 1, 64)?,
            StudentKind::LowRank { rank } => whole("student.model.rank", rank, 1, 32)?,
        }
        student.loss.validate("student.loss")?;
        real("student.c", student.c, 1e-6, 1e4)?;
        whole("student.stages (length)", student.stages.len(), 0, 4)?;
        for (index, stage) in student.stages.iter().enumerate() {
            let name = |part: &str| format!("student.stages[{index}].{part}");
            real(&name("fraction"), stage.fraction, 0.05, 1.0)?;
            whole(&name("epochs"), stage.epochs, 1, 50)?;
            real(&name("rate"), stage.rate, 0.01, 10.0)?;
        }
        Ok(())
    }

    /// How many students one feature set trains, in units of a linear probe.
    #[must_use]
    pub fn fits(&self) -> usize {
        let refits: usize = self
            .refine
            .iter()
            .map(|part| match *part {
                Refine::NoisyChannelEm { rounds, folds } => rounds * folds * 2,
                Refine::KfoldRelabel { folds, .. } => folds,
                Refine::SelfTraining { rounds, .. } => rounds,
                _ => 0,
            })
            .sum();
        let unit = match self.student.model {
            StudentKind::Mlp { .. } => MLP_COST,
            _ => 1,
        };
        (refits + self.ensemble.bags) * unit
    }
}

impl Loss {
    fn validate(self, path: &str) -> Result<(), RecipeError> {
        match self {
            Self::Confidence { alpha } => real(&format!("{path}.alpha"), alpha, 0.0, 0.9),
            Self::CrossEntropy { .. } | Self::ReverseKl {} => Ok(()),
        }
    }
}

impl Refine {
    fn validate(&self, path: &str) -> Result<(), RecipeError> {
        let name = |part: &str| format!("{path}.{part}");
        let share = |value: f64| real(&name("fraction"), value, 0.05, 1.0);
        match *self {
            Self::KeepConfident { fraction, .. } => share(fraction),
            Self::KeepAbove { threshold } => real(&name("threshold"), threshold, 0.5, 0.99),
            Self::Reweight { power } => real(&name("power"), power, 0.25, 4.0),
            Self::CcsAgreement { epsilon } => real(&name("epsilon"), epsilon, 0.0, 1.0),
            Self::NoisyChannelEm { rounds, folds } => {
                whole(&name("rounds"), rounds, 1, 4)?;
                whole(&name("folds"), folds, 2, 10)
            }
            Self::KfoldRelabel { folds, mix } => {
                whole(&name("folds"), folds, 2, 10)?;
                real(&name("mix"), mix, 0.0, 1.0)
            }
            Self::KnnAgreement {
                neighbours,
                fraction,
            }
            | Self::OverlapDensity {
                neighbours,
                fraction,
            } => {
                whole(&name("neighbours"), neighbours, 1, 50)?;
                share(fraction)
            }
            Self::Epiplexity { fraction, gamma } => {
                share(fraction)?;
                real(&name("gamma"), gamma, 0.5, 4.0)
            }
            Self::SelfTraining { rounds, fraction } => {
                whole(&name("rounds"), rounds, 1, 10)?;
                share(fraction)
            }
        }
    }
}
