//! The boundary between the engine and losses, and the losses that most methods need.
//!
//! The engine gives a loss logits and final states; the loss gives back its value and its gradient by them. So a loss knows
//! nothing of layers, and the engine nothing of labels.

use serde::{Deserialize, Serialize};

use crate::sequence::{Outputs, log_sum_exp};

/// What part of a step a loss is asked about. A step's losses and gradients are added up over its packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The step, from 0.
    pub step: u64,
    /// Sequences of the whole step.
    pub sequences: usize,
    /// Places of the whole step: what a mean over places divides by.
    pub places: usize,
}

/// Where a loss writes its gradient; rows as in [`Outputs`], all zero at first.
#[derive(Debug)]
pub struct LossGradient<'a> {
    /// By the logits.
    pub logits: &'a mut [f32],
    /// By the final states.
    pub hidden: &'a mut [f32],
}

/// A loss: from outputs to its value, with its gradient on the side. What it cannot work with it says.
pub type Loss<'a> =
    dyn FnMut(&Outputs<'_>, Share, &mut LossGradient<'_>) -> Result<f64, String> + 'a;

/// What probabilities are normalised over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Among {
    /// All tokens.
    Vocabulary,
    /// The target's tokens alone.
    These,
}

/// What should be said at a place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Tokens with the share of each. One token with share 1 is a hard target.
    pub tokens: Vec<(u32, f32)>,
    /// What probabilities are normalised over.
    pub among: Among,
}

impl Target {
    /// This token, among all.
    pub fn token(token: u32) -> Self {
        Self {
            tokens: vec![(token, 1.0)],
            among: Among::Vocabulary,
        }
    }
}

/// Mean cross-entropy over all places of a step: `targets[sequence][nth place]`.
pub fn cross_entropy(
    targets: &[Vec<Target>],
) -> impl FnMut(&Outputs<'_>, Share, &mut LossGradient<'_>) -> Result<f64, String> + '_ {
    move |outputs, share, gradient| {
        let mut total = 0.0;
        let scale = 1.0 / share.places as f64;
        let rows = gradient.logits.chunks_exact_mut(outputs.vocabulary);
        for (index, (place, gradient)) in outputs.places.iter().zip(rows).enumerate() {
            let target = targets
                .get(place.sequence)
                .and_then(|row| row.get(place.nth))
                .ok_or_else(|| {
                    let (sequence, nth) = (place.sequence, place.nth);
                    format!("sequence {sequence} has no target for its place {nth}")
                })?;
            total += target.loss(outputs.logits(index), scale, gradient)?;
        }
        Ok(total * scale)
    }
}

impl Target {
    /// `−Σ w ln p` at a place with these logits; adds `scale` times its gradient to `gradient`, which is as long.
    ///
    /// # Errors
    /// If a token is none of the vocabulary's.
    pub fn loss(&self, logits: &[f32], scale: f64, gradient: &mut [f32]) -> Result<f64, String> {
        if let Some((token, _)) = self.tokens.iter().find(|t| t.0 as usize >= logits.len()) {
            return Err(format!(
                "target {token} is not among the model's {} tokens",
                logits.len()
            ));
        }
        let sum: f64 = self.tokens.iter().map(|t| f64::from(t.1)).sum();
        let of = |token: u32| f64::from(logits[token as usize]);
        let total = match self.among {
            Among::Vocabulary => log_sum_exp(logits.iter().map(|&v| f64::from(v))),
            Among::These => log_sum_exp(self.tokens.iter().map(|t| of(t.0))),
        };
        let mut push = |token: usize, logit: f64| {
            gradient[token] += (scale * sum * (logit - total).exp()) as f32;
        };
        match self.among {
            Among::Vocabulary => {
                for (token, &logit) in logits.iter().enumerate() {
                    push(token, f64::from(logit));
                }
            }
            Among::These => {
                for &(token, _) in &self.tokens {
                    push(token as usize, of(token));
                }
            }
        }
        let mut loss = 0.0;
        for &(token, share) in &self.tokens {
            loss -= f64::from(share) * (of(token) - total);
            gradient[token as usize] -= (scale * f64::from(share)) as f32;
        }
        Ok(loss)
    }
}
