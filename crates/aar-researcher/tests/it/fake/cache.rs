//! Prompt caches, reckoned as the providers do.

use super::script::BYTES_PER_TOKEN;
use serde_json::Value;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// How far back from a breakpoint a stored prefix is looked for.
const LOOK_BACK: usize = 20;
/// The step in which OpenAI's automatic cache counts.
const OPENAI_STEP: u64 = 128;

/// Tokens of a prompt by how they are billed.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    pub(crate) input: u64,
    pub(crate) write: u64,
    pub(crate) read: u64,
}

impl Split {
    pub(super) fn total(&self) -> u64 {
        self.input + self.write + self.read
    }
}

/// A part of a prompt, in the order in which it counts.
pub(super) struct Piece {
    pub(super) content: Value,
    pub(super) breakpoint: bool,
}

/// What has been stored.
#[derive(Default)]
pub(super) struct Cache {
    prefixes: HashSet<u64>,
}

impl Cache {
    /// Anthropic's: prefixes are stored at breakpoints, and found at most twenty parts before one.
    pub(super) fn marked(&mut self, model: &str, pieces: &[Piece], least: u64) -> Split {
        let sums = sums(model, pieces);
        let total = sums.last().map_or(0, |&(_, tokens)| tokens);
        let marks: Vec<usize> = (0..pieces.len())
            .filter(|&at| pieces[at].breakpoint)
            .collect();
        let read = marks
            .iter()
            .flat_map(|&mark| mark.saturating_sub(LOOK_BACK)..=mark)
            .filter(|&at| self.prefixes.contains(&sums[at].0))
            .map(|at| sums[at].1)
            .max()
            .unwrap_or(0);
        let stored = marks
            .iter()
            .map(|&at| sums[at])
            .filter(|&(_, tokens)| tokens >= least);
        let mut written = read;
        for (hash, tokens) in stored {
            self.prefixes.insert(hash);
            written = written.max(tokens);
        }
        Split {
            input: total - written,
            write: written - read,
            read,
        }
    }

    /// OpenAI's: every prefix is stored, and found in steps of 128 tokens.
    pub(super) fn automatic(&mut self, model: &str, pieces: &[Piece], least: u64) -> Split {
        let sums = sums(model, pieces);
        let total = sums.last().map_or(0, |&(_, tokens)| tokens);
        let found = sums.iter().filter(|(hash, _)| self.prefixes.contains(hash));
        let found = found.map(|&(_, tokens)| tokens).max().unwrap_or(0);
        let read = if found >= least {
            found / OPENAI_STEP * OPENAI_STEP
        } else {
            0
        };
        self.prefixes.extend(sums.iter().map(|(hash, _)| hash));
        Split {
            input: total - read,
            write: 0,
            read,
        }
    }
}

/// For each part, the hash and the tokens of everything up to it.
fn sums(model: &str, pieces: &[Piece]) -> Vec<(u64, u64)> {
    let mut hasher = DefaultHasher::new();
    model.hash(&mut hasher);
    let mut bytes = 0;
    let sums = pieces.iter().map(|piece| {
        let text = piece.content.to_string();
        text.hash(&mut hasher);
        bytes += text.len() as u64;
        (hasher.finish(), bytes.div_ceil(BYTES_PER_TOKEN))
    });
    sums.collect()
}
