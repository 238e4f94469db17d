//! Sequences end to end: what goes through a model together, without padding between them.

use std::ops::Range;

use crate::config::Config;
use crate::kernel::MIN_ROWS;
use crate::sequence::{Outputs, Place, Sequence};

/// Several sequences of tokens end to end.
#[derive(Debug, Default)]
pub(crate) struct Pack {
    tokens: Vec<u32>,
    spans: Vec<Range<usize>>,
}

impl Pack {
    pub(crate) fn new<'a>(sequences: impl Iterator<Item = &'a [u32]>) -> Self {
        let mut pack = Self::default();
        for sequence in sequences {
            let start = pack.tokens.len();
            pack.tokens.extend_from_slice(sequence);
            pack.spans.push(start..pack.tokens.len());
        }
        pack
    }

    /// All tokens.
    pub(crate) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Where each sequence's tokens lie; none is empty.
    pub(crate) fn spans(&self) -> &[Range<usize>] {
        &self.spans
    }

    /// Place of each token in its own sequence.
    pub(crate) fn positions(&self) -> Vec<usize> {
        self.spans.iter().flat_map(|s| 0..s.len()).collect()
    }

    /// Length of the longest sequence.
    pub(crate) fn longest(&self) -> usize {
        self.spans
            .iter()
            .map(ExactSizeIterator::len)
            .max()
            .unwrap_or(0)
    }

    /// Rows that matrices over all tokens have.
    pub(crate) fn rows(&self) -> Rows {
        Rows::of(self.tokens.len())
    }
}

/// A pack of sequences with the places that somebody looks at.
pub(crate) struct Packed {
    pub(crate) pack: Pack,
    /// The places, by sequence.
    pub(crate) places: Vec<Place>,
    /// The places, by row of the pack.
    pub(crate) wanted: Vec<usize>,
}

impl Packed {
    /// Of sequences with their numbers.
    pub(crate) fn new<'a>(sequences: impl Iterator<Item = (usize, &'a Sequence)> + Clone) -> Self {
        let pack = Pack::new(sequences.clone().map(|(_, s)| s.tokens.as_slice()));
        let (mut places, mut wanted) = (Vec::new(), Vec::new());
        for ((sequence, row), span) in sequences.zip(pack.spans()) {
            for (nth, &position) in row.places.iter().enumerate() {
                places.push(Place {
                    sequence,
                    position,
                    nth,
                });
                wanted.push(span.start + position);
            }
        }
        Self {
            pack,
            places,
            wanted,
        }
    }

    /// These numbers as outputs at the places.
    pub(crate) fn outputs<'a>(
        &'a self,
        config: &Config,
        logits: &'a [f32],
        hidden: &'a [f32],
    ) -> Outputs<'a> {
        let (vocabulary, width) = (config.vocabulary, config.width);
        Outputs {
            places: &self.places,
            logits: &logits[..self.places.len() * vocabulary],
            vocabulary,
            hidden: &hidden[..self.places.len() * width],
            width,
        }
    }
}

/// Height of a matrix with a row for each token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rows {
    /// Rows that mean something.
    pub(crate) live: usize,
    /// Rows that products run over: at least [`MIN_ROWS`]. What the rest hold has no effect.
    pub(crate) padded: usize,
}

impl Rows {
    pub(crate) fn of(live: usize) -> Self {
        Self {
            live,
            padded: live.max(MIN_ROWS),
        }
    }
}
