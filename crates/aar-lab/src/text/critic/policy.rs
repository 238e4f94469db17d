//! The loss of GRPO (Shao et al. 2024, "DeepSeekMath", equations 3 and 4), in the variant of verl, which the study's
//! code used:
//!
//! - advantages of a group of samples are `(r − mean) / (s + 1e-6)`, `s` the standard deviation with n − 1;
//! - the mean is over all words of a step, not first within each sample, so long samples count more;
//! - the ratio of probabilities is clipped to 1 ± 0.2, which matters only if the model that is trained is not the one
//!   that wrote: with one step for each batch, as here, hardly ever;
//! - the divergence from the reference is estimated word by word as `e^d − d − 1`, `d = ln p_ref − ln p` (Schulman
//!   2020, "k3": unbiased, never negative, low variance), `d` cut to ±20 and the estimate to 10.

use aar_models::Outputs;
use aar_models::train::{LossGradient, Share};

/// How far the ratio of probabilities may be from 1.
const CLIP: f64 = 0.2;
/// What is added to a standard deviation.
const EPSILON: f64 = 1e-6;
/// Bound on the logarithm of two probabilities' ratio.
const LOG_RATIO: f64 = 20.0;
/// Bound on the estimate of the divergence.
const KL: f64 = 10.0;

/// What one sample says, and what was paid for it.
#[derive(Clone, PartialEq, Debug)]
pub struct Words {
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// The natural logarithm of each token's probability when it was drawn.
    pub drawn: Vec<f32>,
    /// The same by the reference.
    pub reference: Vec<f32>,
    /// How much better it was than others of its group.
    pub advantage: f64,
}

/// What a loss saw on its way.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Seen {
    /// Sum of the divergence's estimates.
    pub kl: f64,
    /// Words.
    pub words: usize,
    /// Words whose ratio was clipped.
    pub clipped: usize,
}

/// How much better each reward of a group is than the others, in standard deviations; zeros if all are equal.
#[must_use]
pub fn advantages(rewards: &[f64]) -> Vec<f64> {
    let count = rewards.len() as f64;
    let mean = rewards.iter().sum::<f64>() / count;
    let squares: f64 = rewards.iter().map(|reward| (reward - mean).powi(2)).sum();
    let deviation = (squares / (count - 1.0).max(1.0)).sqrt();
    let each = rewards.iter();
    each.map(|reward| (reward - mean) / (deviation + EPSILON))
        .collect()
}

/// The logarithm of a token's probability.
#[must_use]
pub fn log_probability(logits: &[f32], token: u32) -> f64 {
    f64::from(logits[token as usize]) - log_total(logits)
}

fn log_total(logits: &[f32]) -> f64 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let most = f64::from(most);
    let sum: f64 = logits.iter().map(|&v| (f64::from(v) - most).exp()).sum();
    most + sum.ln()
}

/// The loss over a step's samples: sequence `i` of the step's ends with the words of `samples[i]`, and its places are
/// where they are said. `kl` is the divergence's weight.
pub fn policy_loss<'a>(
    samples: &'a [Words],
    kl: f64,
    seen: &'a mut Seen,
) -> impl FnMut(&Outputs<'_>, Share, &mut LossGradient<'_>) -> Result<f64, String> + 'a {
    move |outputs, share, gradient| {
        let scale = 1.0 / share.places as f64;
        let mut total = 0.0;
        let rows = gradient.logits.chunks_exact_mut(outputs.vocabulary);
        for (index, (place, gradient)) in outputs.places.iter().zip(rows).enumerate() {
            let words = samples.get(place.sequence);
            let word = words.and_then(|words| words.at(place.nth));
            let Some((token, drawn, reference, advantage)) = word else {
                let (sequence, nth) = (place.sequence, place.nth);
                return Err(format!("sequence {sequence} has no word {nth}"));
            };
            let logits = outputs.logits(index);
            if token as usize >= logits.len() {
                return Err(format!("there is no token {token}"));
            }
            let all = log_total(logits);
            let said = f64::from(logits[token as usize]) - all;

            let change = said - drawn;
            let ratio = change.clamp(-LOG_RATIO, LOG_RATIO).exp();
            let clipped = ratio.clamp(1.0 - CLIP, 1.0 + CLIP);
            let (plain, bounded) = (ratio * advantage, clipped * advantage);
            let apart = (reference - said).clamp(-LOG_RATIO, LOG_RATIO);
            let divergence = (apart.exp() - apart - 1.0).min(KL);
            total += divergence * kl - plain.min(bounded);
            seen.words += 1;
            seen.kl += divergence;

            let mut slope = 0.0;
            if bounded < plain {
                seen.clipped += 1;
            } else if change.abs() < LOG_RATIO {
                slope -= plain;
            }
            if divergence < KL && apart.abs() < LOG_RATIO {
                slope += kl * (1.0 - apart.exp());
            }
            let slope = slope * scale;
            for (gradient, &logit) in gradient.iter_mut().zip(logits) {
                *gradient -= (slope * (f64::from(logit) - all).exp()) as f32;
            }
            gradient[token as usize] += slope as f32;
        }
        Ok(total * scale)
    }
}

impl Words {
    fn at(&self, nth: usize) -> Option<(u32, f64, f64, f64)> {
        let token = *self.tokens.get(nth)?;
        let (drawn, reference) = (*self.drawn.get(nth)?, *self.reference.get(nth)?);
        Some((token, drawn.into(), reference.into(), self.advantage))
    }
}
