//! The judge: a weak model that learnt true labels of rows with critiques, and what it pays a critic for.

use super::work::Work;
use super::{Hear, Stage, Told};
use crate::text::example::Wording;
use crate::text::tuning::{Lengths, probabilities, tune};
use crate::text::{Model, TextError};
use aar_core::id::Seed;
use aar_core::problem::ItemKind;
use aar_core::recipe::FineTune;
use aar_core::row::{Item, Label};
use aar_models::train::Record;

/// A judge of rows with critiques.
#[derive(Debug)]
pub struct Judge {
    model: Model,
    kind: ItemKind,
    settings: FineTune,
}

impl Judge {
    /// Trains a weak model on rows with critiques and their true labels; gives the loss of every step too.
    ///
    /// # Errors
    /// If training fails.
    pub fn train(
        mut model: Model,
        kind: ItemKind,
        rows: &[(Item, Label)],
        settings: FineTune,
        seed: Seed,
        work: &Work,
        hear: &mut Hear<'_>,
    ) -> Result<(Self, Vec<Record>, Lengths), TextError> {
        let rows: Vec<(&Item, f64)> = rows.iter().map(|(i, label)| (i, label.as_f64())).collect();
        let keep = work.file(Stage::Judge.name(), "checkpoint");
        let mut told = |step: crate::text::tuning::Step<'_>| hear(Stage::Judge, Told::Step(step));
        let (curve, lengths) = tune(
            &mut model,
            kind,
            &rows,
            &settings,
            seed,
            Some(&keep),
            &mut told,
        )?;
        let judge = Self {
            model,
            kind,
            settings,
        };
        Ok((judge, curve, lengths))
    }

    /// The probability of label 1 of rows with critiques. One half stands for a row that is too long for the
    /// judge's template.
    ///
    /// # Errors
    /// If the model cannot be asked.
    pub fn asked(
        &mut self,
        rows: &[Item],
        stage: Stage,
        hear: &mut Hear<'_>,
    ) -> Result<(Vec<f64>, Lengths), TextError> {
        let rows: Vec<&Item> = rows.iter().collect();
        let wording = Wording::label(self.kind);
        let mut told = |step: crate::text::tuning::Step<'_>| hear(stage, Told::Step(step));
        probabilities(&mut self.model, wording, &rows, &self.settings, &mut told)
    }
}

/// What a critique of answer `option` is paid, when the judge then gives label 1 the probability `p`: 1 if the
/// judge is against the answer (prefers the other one, or says False), else 0. So is a critique without words,
/// and one after which the judge cannot decide.
#[must_use]
pub fn reward(kind: ItemKind, option: usize, p: f64, critique: &str) -> f64 {
    let against = match (kind, option) {
        (ItemKind::Pair, 0) => p > 0.5,
        (ItemKind::Pair | ItemKind::Claim, _) => p < 0.5,
    };
    f64::from(u8::from(against && !critique.is_empty()))
}
