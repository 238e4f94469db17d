//! What goes into a decoder and what comes out of it.

use crate::config::Config;
use crate::error::ModelError;

/// A row of tokens, and where somebody looks at what the decoder says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Sequence {
    /// At least one token, at most as many as the context holds.
    pub tokens: Vec<u32>,
    /// Positions whose outputs are wanted: sorted, each once, at least one. The logits at position `i` are about token
    /// `i + 1`.
    pub places: Vec<usize>,
}

impl Sequence {
    /// Tokens whose outputs are wanted at the last one.
    pub fn at_end(tokens: Vec<u32>) -> Self {
        let places = vec![tokens.len().saturating_sub(1)];
        Self { tokens, places }
    }

    fn fault(&self, config: &Config) -> Option<String> {
        let length = self.tokens.len();
        if length == 0 {
            return Some("has no tokens".into());
        }
        if length > config.context {
            let limit = config.context;
            return Some(format!(
                "has {length} tokens, more than the {limit} of the model"
            ));
        }
        if let Some(token) = self
            .tokens
            .iter()
            .find(|&&t| t as usize >= config.vocabulary)
        {
            let known = config.vocabulary;
            return Some(format!(
                "has token {token}, which is not among the model's {known}"
            ));
        }
        let sorted = self.places.windows(2).all(|w| w[0] < w[1]);
        match self.places.last() {
            Some(&last) if sorted && last < length => None,
            _ => Some(format!(
                "has places {:?}; there must be one or more, rising, below {length}",
                self.places
            )),
        }
    }
}

/// Checks sequences before anything is done with them.
pub(crate) fn check(config: &Config, sequences: &[Sequence]) -> Result<(), ModelError> {
    for (index, sequence) in sequences.iter().enumerate() {
        if let Some(what) = sequence.fault(config) {
            return Err(ModelError::Sequence { index, what });
        }
    }
    Ok(())
}

/// One place of one sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which of the given sequences.
    pub sequence: usize,
    /// Which of its tokens.
    pub position: usize,
    /// Which of the sequence's places, from 0.
    pub nth: usize,
}

/// What a decoder says at some places.
#[derive(Debug, Clone, Copy)]
pub struct Outputs<'a> {
    /// The places, sequence by sequence.
    pub places: &'a [Place],
    /// A row of `vocabulary` numbers for each place.
    pub logits: &'a [f32],
    /// Numbers in a row of `logits`.
    pub vocabulary: usize,
    /// A row of `width` numbers for each place: the states through the last norm, which the head reads.
    pub hidden: &'a [f32],
    /// Numbers in a row of `hidden`.
    pub width: usize,
}

impl Outputs<'_> {
    /// The logits at place `index`.
    ///
    /// # Panics
    /// If there is no such place.
    pub fn logits(&self, index: usize) -> &[f32] {
        &self.logits[index * self.vocabulary..][..self.vocabulary]
    }

    /// The state at place `index`.
    ///
    /// # Panics
    /// If there is no such place.
    pub fn hidden(&self, index: usize) -> &[f32] {
        &self.hidden[index * self.width..][..self.width]
    }

    /// `ln Σ e^logit` over the vocabulary at place `index`: a token's log-probability is its logit minus this.
    ///
    /// # Panics
    /// If there is no such place.
    pub fn log_total(&self, index: usize) -> f64 {
        log_sum_exp(self.logits(index).iter().map(|&logit| f64::from(logit)))
    }

    /// The softmax over some tokens alone at place `index`: label probabilities. Empty for no tokens.
    ///
    /// # Panics
    /// If there is no such place or token.
    pub fn among(&self, index: usize, tokens: &[u32]) -> Vec<f64> {
        let logits = self.logits(index);
        let chosen: Vec<f64> = tokens
            .iter()
            .map(|&t| f64::from(logits[t as usize]))
            .collect();
        let total = log_sum_exp(chosen.iter().copied());
        chosen.iter().map(|logit| (logit - total).exp()).collect()
    }
}

/// `ln Σ e^x`, without overflow.
pub(crate) fn log_sum_exp(numbers: impl Iterator<Item = f64> + Clone) -> f64 {
    let max = numbers.clone().fold(f64::NEG_INFINITY, f64::max);
    max + numbers.map(|x| (x - max).exp()).sum::<f64>().ln()
}

/// Cuts sequences, in the order given, into runs of at most `limit` tokens; a longer sequence is a run of its own.
pub(crate) fn runs(
    lengths: impl Iterator<Item = usize>,
    limit: usize,
) -> Vec<std::ops::Range<usize>> {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    let mut room = 0;
    for (index, length) in lengths.enumerate() {
        match runs.last_mut() {
            Some(run) if length <= room => {
                run.end = index + 1;
                room -= length;
            }
            _ => {
                runs.push(index..index + 1);
                room = limit.saturating_sub(length);
            }
        }
    }
    runs
}
