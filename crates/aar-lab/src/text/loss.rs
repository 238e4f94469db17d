//! What a language model minimises: recipes' losses, over its logits and final states.
//!
//! A recipe's loss is about the place where the model says the first token of the label. At every
//! other place (the rest of a label of several tokens, the end) it is cross-entropy. All places
//! count alike: a step's loss is the sum over its places, divided by their number. So a formula that
//! equals cross-entropy trains as cross-entropy does.

use crate::loss::PointLoss;
use aar_core::recipe::{Expression, Loss, TextLoss, Variables};
use aar_models::Outputs;
use aar_models::train::{LossGradient, Share, Target};

/// Share of training in which the confidence loss comes in, as in Burns et al. 2023, appendix A.4.
const WARM_UP: f64 = 0.2;

/// What a run's rows should say.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// What should be said at each place of each row; the first place is the label's.
    pub targets: &'a [Vec<Target>],
    /// Probability of label 1 of each row.
    pub labels: &'a [f64],
    /// First tokens of both labels.
    pub tokens: [u32; 2],
    /// Steps of the whole run, at least 1.
    pub steps: u64,
}

/// A row's label as the loss learns it: rounded if it asks for hard ones, one half to 0.
#[must_use]
pub fn label(loss: &TextLoss, p: f64) -> f64 {
    match loss {
        TextLoss::Named(Loss::CrossEntropy { hard: true }) => f64::from(u8::from(p > 0.5)),
        _ => p,
    }
}

/// The loss of a recipe for the engine. It keeps nothing from step to step.
///
/// - Cross-entropy is over the whole vocabulary.
/// - Confidence and reverse KL are those of students on frozen states ([`PointLoss`]), with the
///   margin (logit of label 1's token minus that of label 0's) as the student's logit. Confidence is
///   equation 1 of Burns et al. 2023 (arXiv 2312.09390), `(1 − α) CE(f, y) + α CE(f, [f > ½])`; α
///   rises in a straight line over the first fifth of the steps. The threshold is one half: a step's
///   rows go through the model in packs that know nothing of each other, so the classes cannot be
///   balanced as in that paper's appendix and in [`crate::loss::confidence_targets`].
/// - A formula's slopes by log-probabilities reach every logit, those by `h` the final state.
///
/// # Errors
/// The loss fails if a row or place is not among `rows`, or a token not in the vocabulary.
pub fn of<'a>(
    loss: &'a TextLoss,
    rows: Rows<'a>,
) -> impl FnMut(&Outputs<'_>, Share, &mut LossGradient<'_>) -> Result<f64, String> + 'a {
    move |outputs, share, gradient| {
        let scale = 1.0 / share.places as f64;
        let done = share.step as f64 / rows.steps as f64;
        if let Some(token) = rows
            .tokens
            .iter()
            .find(|t| **t as usize >= outputs.vocabulary)
        {
            let known = outputs.vocabulary;
            return Err(format!(
                "label token {token} is not among the model's {known}"
            ));
        }
        let mut total = 0.0;
        for (index, place) in outputs.places.iter().enumerate() {
            let (row, nth) = (place.sequence, place.nth);
            let target = rows.targets.get(row).and_then(|targets| targets.get(nth));
            let (Some(target), Some(&q)) = (target, rows.labels.get(row)) else {
                return Err(format!("sequence {row} has no target for its place {nth}"));
            };
            let mut said = Said {
                outputs,
                index,
                tokens: rows.tokens.map(|token| token as usize),
                scale,
                by_logits: &mut gradient.logits[index * outputs.vocabulary..][..outputs.vocabulary],
                by_hidden: &mut gradient.hidden[index * outputs.width..][..outputs.width],
            };
            total += match loss {
                TextLoss::Named(Loss::Confidence { alpha }) if nth == 0 => {
                    let part = alpha * (done / WARM_UP).min(1.0);
                    let hard = f64::from(u8::from(said.margin() > 0.0));
                    said.point(PointLoss::CrossEntropy, (1.0 - part) * q + part * hard)
                }
                TextLoss::Named(Loss::ReverseKl {}) if nth == 0 => {
                    said.point(PointLoss::ReverseKl, q)
                }
                TextLoss::Expression(formula) if nth == 0 => said.formula(formula, q, done),
                TextLoss::Named(_) | TextLoss::Expression(_) => {
                    target.loss(outputs.logits(index), scale, said.by_logits)?
                }
            };
        }
        Ok(total * scale)
    }
}

/// What is said at the place of a label, and where the gradient by it goes, times `scale`.
struct Said<'a> {
    outputs: &'a Outputs<'a>,
    index: usize,
    tokens: [usize; 2],
    scale: f64,
    by_logits: &'a mut [f32],
    by_hidden: &'a mut [f32],
}

impl Said<'_> {
    fn logit(&self, label: usize) -> f64 {
        f64::from(self.outputs.logits(self.index)[self.tokens[label]])
    }

    fn margin(&self) -> f64 {
        self.logit(1) - self.logit(0)
    }

    fn push(&mut self, label: usize, slope: f64) {
        self.by_logits[self.tokens[label]] += (self.scale * slope) as f32;
    }

    /// A loss of the margin alone.
    fn point(&mut self, loss: PointLoss, y: f64) -> f64 {
        let (value, slope) = loss.at(self.margin(), y);
        self.push(0, -slope);
        self.push(1, slope);
        value
    }

    fn formula(&mut self, formula: &Expression, q: f64, t: f64) -> f64 {
        let log_total = self.outputs.log_total(self.index);
        let hidden = self.outputs.hidden(self.index);
        let width = hidden.len() as f64;
        let squares = hidden.iter().map(|&state| f64::from(state).powi(2));
        let (value, slopes) = formula.at(&Variables {
            a: self.logit(0) - log_total,
            b: self.logit(1) - log_total,
            m: self.margin(),
            q,
            t,
            h: squares.sum::<f64>() / width,
        });
        self.push(0, slopes.a - slopes.m);
        self.push(1, slopes.b + slopes.m);
        // A log-probability falls with every logit by that token's probability.
        let fall = self.scale * (slopes.a + slopes.b);
        if fall != 0.0 {
            let logits = self.outputs.logits(self.index);
            for (slope, &logit) in self.by_logits.iter_mut().zip(logits) {
                *slope -= (fall * (f64::from(logit) - log_total).exp()) as f32;
            }
        }
        if slopes.h != 0.0 {
            let factor = self.scale * slopes.h * 2.0 / width;
            for (slope, &state) in self.by_hidden.iter_mut().zip(hidden) {
                *slope += (factor * f64::from(state)) as f32;
            }
        }
        value
    }
}
