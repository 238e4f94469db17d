//! Generation: many sequences at a time, with a cache of keys and values.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::decoder::{Decoder, Past};
use crate::error::ModelError;
use crate::pack::{Pack, Rows};
use crate::sequence::{self, Sequence, log_sum_exp};

/// Tokens of prompts that go through the decoder together.
const PROMPT_TOKENS: usize = 1024;

/// How the next token is chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Logits are divided by it; 0 always takes the likeliest token.
    pub temperature: f64,
    /// Only so many likeliest tokens are drawn from (and those as likely as the last of them); 0 for all.
    pub top_k: usize,
    /// Only the fewest likeliest tokens with this probability in all are drawn from; 1 for all.
    pub top_p: f64,
    /// What samples are drawn from. A sample depends on it, its prompt's and its own number, and nothing else.
    pub seed: u64,
    /// Samples of each prompt; its prompt goes through the decoder once.
    pub samples: usize,
    /// Most new tokens of a sample.
    pub most: usize,
    /// Most sequences at a time, which bounds the cache.
    pub batch: usize,
}

impl Sampling {
    /// The likeliest tokens, at most so many of them.
    pub fn greedy(most: usize) -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            seed: 0,
            samples: 1,
            most,
            batch: 32,
        }
    }

    /// The tokens that can be drawn after these logits with their probabilities, by token. Temperature, then `top_k`, then
    /// `top_p`, as transformers applies them; `temperature` must not be 0.
    pub fn probabilities(&self, logits: &[f32]) -> Vec<(u32, f64)> {
        let scaled = logits.iter().map(|&v| f64::from(v) / self.temperature);
        let mut kept: Vec<(u32, f64)> = (0..).zip(scaled).collect();
        if (1..kept.len()).contains(&self.top_k) {
            let mut order: Vec<f64> = kept.iter().map(|k| k.1).collect();
            let (_, &mut least, _) =
                order.select_nth_unstable_by(self.top_k - 1, |a, b| b.total_cmp(a));
            kept.retain(|k| k.1 >= least);
        }
        normalise(&mut kept);
        if self.top_p < 1.0 {
            // A token stays while those likelier than it have less than `top_p`.
            kept.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0)));
            let mut before = 0.0;
            let mut stay = 0;
            while stay < kept.len() && (stay == 0 || before < self.top_p) {
                before += kept[stay].1;
                stay += 1;
            }
            kept.truncate(stay);
            kept.sort_by_key(|k| k.0);
            let total: f64 = kept.iter().map(|k| k.1).sum();
            kept.iter_mut().for_each(|k| k.1 /= total);
        }
        kept
    }

    fn choose(&self, logits: &[f32], rng: &mut ChaCha8Rng) -> u32 {
        if self.temperature == 0.0 {
            return best(logits);
        }
        let mut left = rng.random::<f64>();
        let kept = self.probabilities(logits);
        for &(token, p) in &kept {
            left -= p;
            if left < 0.0 {
                return token;
            }
        }
        // The probabilities add up to a hair less than 1.
        kept.last().map_or(0, |k| k.0)
    }

    /// Whether the sampling makes sense and the prompts can go into the decoder.
    pub(crate) fn check(&self, config: &Config, prompts: &[Vec<u32>]) -> Result<(), ModelError> {
        if let Some(what) = self.fault() {
            return Err(ModelError::Sampling { what });
        }
        let sequences: Vec<Sequence> = prompts.iter().cloned().map(Sequence::at_end).collect();
        sequence::check(config, &sequences)
    }

    fn fault(&self) -> Option<&'static str> {
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            Some("the temperature must not be negative")
        } else if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            Some("`top_p` must be in (0, 1]")
        } else if self.samples == 0 || self.most == 0 || self.batch == 0 {
            Some("samples, new tokens and sequences at a time must be at least 1")
        } else {
            None
        }
    }
}

/// The likeliest token, the first of equals.
fn best(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = token;
        }
    }
    best as u32
}

/// Softmax over the numbers of some tokens.
fn normalise(kept: &mut [(u32, f64)]) {
    let total = log_sum_exp(kept.iter().map(|k| k.1));
    kept.iter_mut().for_each(|k| k.1 = (k.1 - total).exp());
}

/// Why a sample ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It has one of the model's end tokens, its last one.
    Token,
    /// The caller stopped it.
    Stopped,
    /// It has as many tokens as allowed, or the context is full.
    Length,
}

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Which prompt it follows.
    pub prompt: usize,
    /// Which of the prompt's samples.
    pub nth: usize,
    /// The new tokens.
    pub tokens: Vec<u32>,
    /// The natural logarithm of each token's probability, by the logits as they are: at temperature 1, over all tokens.
    pub log_p: Vec<f32>,
    /// Why it ended.
    pub end: End,
}

/// A sample in the making.
pub(crate) struct Draw {
    pub(crate) sample: Sample,
    /// Place of its last token.
    position: usize,
    rng: ChaCha8Rng,
}

/// One with its cache.
struct Running {
    draw: Draw,
    past: Vec<Past>,
}

impl Decoder {
    /// Generates samples after prompts, in the order of prompts and samples. `stop` sees each sample's tokens after every
    /// step and ends it by saying so; `progress` hears how many samples are done.
    ///
    /// # Errors
    /// If the sampling makes no sense, or a prompt is empty, too long or has unknown tokens; then nothing is generated.
    pub fn generate(
        &self,
        prompts: &[Vec<u32>],
        sampling: &Sampling,
        stop: &(dyn Fn(&[u32]) -> bool + Sync),
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Sample>, ModelError> {
        sampling.check(&self.config, prompts)?;
        // Samples of a prompt, as many as fit, begin together.
        let at_once = sampling.samples.min(sampling.batch);
        let mut waiting: Vec<(usize, std::ops::Range<usize>)> = (0..prompts.len())
            .flat_map(|prompt| {
                (0..sampling.samples)
                    .step_by(at_once)
                    .map(move |from| (prompt, from..sampling.samples.min(from + at_once)))
            })
            .collect();
        waiting.reverse();
        let threads = rayon::current_num_threads();
        let mut running: Vec<Running> = Vec::new();
        let mut done = Vec::new();
        while !(waiting.is_empty() && running.is_empty()) {
            let mut starting = Vec::new();
            let mut room = sampling.batch - running.len();
            while let Some((prompt, samples)) = waiting.pop_if(|w| w.1.len() <= room) {
                room -= samples.len();
                starting.push((prompt, samples));
            }
            let runs = sequence::runs(
                starting.iter().map(|(prompt, _)| prompts[*prompt].len()),
                PROMPT_TOKENS,
            );
            for run in runs {
                self.begin(threads, prompts, &starting[run], sampling, &mut running);
            }
            let ended = |r: &mut Running| r.draw.ended(&self.config, sampling, stop);
            done.extend(running.extract_if(.., ended).map(|r| r.draw.sample));
            progress(done.len());
            if running.is_empty() {
                continue;
            }
            let tokens: Vec<u32> = running.iter().map(|r| r.draw.last()).collect();
            let positions: Vec<usize> = running.iter().map(|r| r.draw.position).collect();
            let mut pasts: Vec<&mut Vec<Past>> = running.iter_mut().map(|r| &mut r.past).collect();
            let logits = self.step(threads, &tokens, &positions, &mut pasts);
            running
                .par_iter_mut()
                .zip(logits.par_chunks_exact(self.config.vocabulary))
                .for_each(|(running, logits)| running.draw.take(logits, sampling));
            let ended = |r: &mut Running| r.draw.ended(&self.config, sampling, stop);
            done.extend(running.extract_if(.., ended).map(|r| r.draw.sample));
            progress(done.len());
        }
        done.sort_by_key(|sample| (sample.prompt, sample.nth));
        Ok(done)
    }

    /// Sends prompts through the decoder and chooses the first token of their samples.
    fn begin(
        &self,
        threads: usize,
        prompts: &[Vec<u32>],
        starting: &[(usize, std::ops::Range<usize>)],
        sampling: &Sampling,
        running: &mut Vec<Running>,
    ) {
        let pack = Pack::new(starting.iter().map(|(p, _)| prompts[*p].as_slice()));
        let last: Vec<usize> = pack.spans().map(|span| span.end - 1).collect();
        let mut pasts = vec![vec![Past::default(); self.config.layers]; starting.len()];
        let x = self.embed(pack.tokens(), pack.rows());
        let pass = self.pass(threads, &pack);
        let blocks = 0..self.config.layers;
        let x = self.states(&pass, blocks, x, Some(&last), |_, _| (), Some(&mut pasts));
        let (mut hidden, mut logits) = (Vec::new(), Vec::new());
        self.logits(threads, &x, Rows::of(last.len()), &mut hidden, &mut logits);
        let rows = logits.chunks_exact(self.config.vocabulary);
        for (((prompt, samples), past), logits) in starting.iter().zip(pasts).zip(rows) {
            for nth in samples.clone() {
                let mut draw = Draw::new(*prompt, nth, prompts[*prompt].len(), sampling);
                draw.take(logits, sampling);
                let past = past.clone();
                running.push(Running { draw, past });
            }
        }
    }
}

impl Draw {
    /// A sample without tokens, after a prompt of so many.
    pub(crate) fn new(prompt: usize, nth: usize, length: usize, sampling: &Sampling) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(sampling.seed);
        rng.set_stream((prompt as u64) << 32 | nth as u64);
        Self {
            sample: Sample {
                prompt,
                nth,
                tokens: Vec::new(),
                log_p: Vec::new(),
                end: End::Length,
            },
            position: length - 1,
            rng,
        }
    }

    /// Its last token; there is one once [`Draw::take`] was called.
    pub(crate) fn last(&self) -> u32 {
        self.sample.tokens.last().copied().unwrap_or_default()
    }

    /// Chooses the next token.
    pub(crate) fn take(&mut self, logits: &[f32], sampling: &Sampling) {
        let token = sampling.choose(logits, &mut self.rng);
        let total = log_sum_exp(logits.iter().map(|&v| f64::from(v)));
        self.sample.tokens.push(token);
        self.sample
            .log_p
            .push((f64::from(logits[token as usize]) - total) as f32);
        self.position += 1;
    }

    /// Whether it is at its end; says so in it.
    pub(crate) fn ended(
        &mut self,
        config: &Config,
        sampling: &Sampling,
        stop: &dyn Fn(&[u32]) -> bool,
    ) -> bool {
        let tokens = &self.sample.tokens;
        let end = if tokens.last().is_some_and(|t| config.end.contains(t)) {
            End::Token
        } else if stop(tokens) {
            End::Stopped
        } else if tokens.len() >= sampling.most || self.position >= config.context {
            End::Length
        } else {
            return false;
        };
        self.sample.end = end;
        true
    }
}
