//! GRPO: a model draws samples, is told what each is worth, and makes the better ones likelier.

use super::policy::{Seen, Words, advantages, log_probability, policy_loss};
use super::writing::continued;
use crate::numeric::random::{permutation, stream};
use crate::text::TextError;
use crate::text::tuning::{PACK_TOKENS, planned};
use aar_core::id::Seed;
use aar_core::recipe::{FineTune, Grpo};
use aar_models::{Batch, End, Engine, LanguageModel, Sample, Sampling, Sequence, Tokenizer, train};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// One step. Means are over all samples of it unless said otherwise.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewarded {
    /// The step, from 1.
    pub step: usize,
    /// Mean reward.
    pub reward: f64,
    /// Share of groups whose rewards are all equal: nothing is learnt from them.
    pub flat: f64,
    /// Mean estimate of the divergence from the model before it was rewarded, for each token, before the step.
    pub kl: f64,
    /// Mean length in tokens.
    pub tokens: f64,
    /// Share of samples that the model ended itself.
    pub ended: f64,
    /// Share of tokens whose ratio of probabilities was clipped.
    pub clipped: f64,
    /// The loss before the step.
    pub loss: f64,
    /// Norm of its gradient, before clipping to 1.
    pub norm: f64,
}

/// What is learnt, and how.
#[derive(Debug)]
pub struct Practice<'a> {
    /// What samples follow.
    pub prompts: &'a [Vec<u32>],
    /// Steps, prompts and samples of each, rate, weight of the divergence.
    pub grpo: Grpo,
    /// How samples are drawn; their number and seed are set here, and the temperature is 1.
    pub sampling: Sampling,
    /// Adapters that are trained.
    pub settings: &'a FineTune,
    /// Draws prompts, samples and new adapters.
    pub seed: Seed,
}

/// What samples are worth, prompt by prompt: the prompts' numbers, and the samples of each of them.
pub type Value<'a> = dyn FnMut(&Tokenizer, &[usize], &[Sample]) -> Result<Vec<f64>, TextError> + 'a;

/// Trains new adapters of `model` so that samples are worth more; without them it is the reference. After every step the
/// state is kept in a file, from which a run that was stopped goes on.
///
/// # Errors
/// If there are no prompts, a sample's value cannot be told, or the model cannot be asked or trained.
pub fn practise<E: Engine>(
    model: &mut LanguageModel<E>,
    practice: &Practice<'_>,
    keep: &Path,
    value: &mut Value<'_>,
    hear: &mut dyn FnMut(&Rewarded),
) -> Result<Vec<Rewarded>, TextError> {
    let Practice {
        prompts,
        grpo,
        settings,
        seed,
        ..
    } = *practice;
    let Some(longest) = prompts.iter().max_by_key(|prompt| prompt.len()) else {
        let what = "no answer is left to criticise: all are too long";
        return Err(TextError::NoRows(what.to_owned()));
    };
    // A pack of the longest that can be written says whether the memory suffices. No two begin alike, so that
    // nothing of them is shared.
    let filler = vec![0; practice.sampling.most];
    let one = continued(longest, &filler);
    let fill = (PACK_TOKENS / one.tokens.len() + 1).min(grpo.questions * grpo.samples);
    let vocabulary = model.decoder.config().vocabulary;
    let sketch: Vec<Sequence> = (0..fill)
        .map(|number| {
            let mut one = one.clone();
            one.tokens[0] = (number % vocabulary) as u32;
            one
        })
        .collect();
    let settings = FineTune {
        epochs: 1,
        batch: grpo.questions * grpo.samples,
        rate: grpo.rate,
        ..settings.clone()
    };
    let plan = planned(model, &sketch, &settings, seed.derive("adapters", 0))?;
    let LanguageModel {
        decoder, tokenizer, ..
    } = model;
    let mut training = decoder.begin(&plan, &sketch)?;
    let mut curve: Vec<Rewarded> = Vec::new();
    if keep.exists() {
        let note = train::note(keep)?;
        curve = serde_json::from_str(&note).map_err(|error| {
            let file = keep.display();
            TextError::Refused(format!("{file}: no state of a critic ({error}); delete it"))
        })?;
        training.load(keep)?;
    }
    while curve.len() < grpo.steps {
        let step = curve.len();
        let asked = drawn(prompts.len(), grpo.questions, step, seed);
        let asked_prompts: Vec<Vec<u32>> = asked.iter().map(|&i| prompts[i].clone()).collect();
        let sampling = Sampling {
            temperature: 1.0,
            samples: grpo.samples,
            seed: seed.derive("samples", step as u64).0,
            ..practice.sampling.clone()
        };
        let engine = training.engine();
        let samples = engine.generate(&asked_prompts, &sampling, &|_| false, &mut |_| ())?;
        let rewards = value(tokenizer, &asked, &samples)?;
        let sequences: Vec<Sequence> = samples
            .iter()
            .map(|sample| continued(&asked_prompts[sample.prompt], &sample.tokens))
            .collect();
        let better = rewards.chunks(grpo.samples).flat_map(advantages);
        let mut words: Vec<Words> = samples
            .iter()
            .zip(better)
            .map(|(sample, advantage)| Words {
                tokens: sample.tokens.clone(),
                drawn: sample.log_p.clone(),
                reference: vec![0.0; sample.tokens.len()],
                advantage,
            })
            .collect();
        engine.read_base(&sequences, &mut |outputs| {
            for (index, place) in outputs.places.iter().enumerate() {
                let words = &mut words[place.sequence];
                let said = log_probability(outputs.logits(index), words.tokens[place.nth]);
                words.reference[place.nth] = said as f32;
            }
        })?;
        let members: Vec<usize> = (0..sequences.len()).collect();
        let batch = Batch {
            sequences: &sequences,
            members: &members,
            step: step as u64,
            rate: grpo.rate,
        };
        let mut seen = Seen::default();
        let stepped = training.step(&batch, &mut policy_loss(&words, grpo.kl, &mut seen))?;
        let count = samples.len() as f64;
        let groups = rewards.chunks(grpo.samples);
        let flat = groups.filter(|group| group.iter().all(|reward| *reward == group[0]));
        let ended = samples.iter().filter(|sample| sample.end == End::Token);
        curve.push(Rewarded {
            step: step + 1,
            reward: rewards.iter().sum::<f64>() / count,
            flat: flat.count() as f64 / asked.len() as f64,
            kl: seen.kl / seen.words as f64,
            tokens: seen.words as f64 / count,
            ended: ended.count() as f64 / count,
            clipped: seen.clipped as f64 / seen.words as f64,
            loss: stepped.loss,
            norm: stepped.norm,
        });
        training.save(keep, super::work::json(&curve)?)?;
        hear(&curve[step]);
    }
    Ok(curve)
}

/// The prompts of a step: all come once, in an order of their own, before any comes again.
fn drawn(prompts: usize, a_step: usize, step: usize, seed: Seed) -> Vec<usize> {
    let order = |pass: usize| permutation(prompts, &mut stream(seed, "questions", pass as u64));
    let mut found = Vec::with_capacity(a_step);
    let mut at = step * a_step;
    while found.len() < a_step {
        let (pass, from) = (at / prompts, at % prompts);
        let left = a_step - found.len();
        found.extend(order(pass).into_iter().skip(from).take(left));
        at = step * a_step + found.len();
    }
    found
}
