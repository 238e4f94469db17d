//! Sequences end to end: what goes through a model together, without padding between them.
//!
//! Neighbours that begin with the same tokens can be a family: what they begin with lies in the pack once, before the rest
//! of each. A causal model computes the same for it in all of them.

use std::collections::HashMap;
use std::ops::Range;

use crate::config::Config;
use crate::kernel::MIN_ROWS;
use crate::sequence::{Outputs, Place, Sequence};

/// Fewest tokens at the beginning that make sequences a family.
const SHARED: usize = 16;

/// Several sequences of tokens end to end.
#[derive(Debug, Default)]
pub(crate) struct Pack {
    tokens: Vec<u32>,
    families: Vec<Family>,
}

/// Sequences that begin alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Family {
    /// Rows of what all begin with; none where a sequence is alone.
    pub(crate) prefix: Range<usize>,
    /// Rows of the rest of each, one after the other; none where a sequence is the prefix alone.
    pub(crate) rests: Vec<Range<usize>>,
}

impl Family {
    /// All its rows.
    pub(crate) fn rows(&self) -> Range<usize> {
        let end = self.rests.last().map_or(self.prefix.end, |rest| rest.end);
        self.prefix.start..end
    }

    /// Its rows in runs, the prefix first, each with the position of its first token in its sequence.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (usize, &Range<usize>)> {
        let rests = self.rests.iter().map(|rest| (self.prefix.len(), rest));
        std::iter::once((0, &self.prefix)).chain(rests)
    }

    /// Tokens of its longest sequence.
    pub(crate) fn longest(&self) -> usize {
        let rests = self.rests.iter().map(ExactSizeIterator::len);
        self.prefix.len() + rests.max().unwrap_or(0)
    }
}

impl Pack {
    /// Of sequences that share nothing.
    pub(crate) fn new<'a>(sequences: impl Iterator<Item = &'a [u32]>) -> Self {
        let mut pack = Self::default();
        sequences.for_each(|sequence| pack.push(&[sequence], 0));
        pack
    }

    /// Adds sequences that begin with the same `prefix` tokens.
    fn push(&mut self, members: &[&[u32]], prefix: usize) {
        let mut add = |tokens: &[u32]| {
            let start = self.tokens.len();
            self.tokens.extend_from_slice(tokens);
            start..self.tokens.len()
        };
        self.families.push(Family {
            prefix: add(&members[0][..prefix]),
            rests: members.iter().map(|m| add(&m[prefix..])).collect(),
        });
    }

    /// All tokens, row by row.
    pub(crate) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The families, row after row.
    pub(crate) fn families(&self) -> &[Family] {
        &self.families
    }

    /// Where each sequence's tokens lie, beginning and rest.
    pub(crate) fn sequences(&self) -> impl Iterator<Item = [Range<usize>; 2]> {
        self.families.iter().flat_map(|family| {
            let rests = family.rests.iter();
            rests.map(|rest| [family.prefix.clone(), rest.clone()])
        })
    }

    /// Where each sequence's own tokens lie: all of them in a pack of sequences that share nothing.
    pub(crate) fn spans(&self) -> impl Iterator<Item = &Range<usize>> {
        self.families.iter().flat_map(|family| &family.rests)
    }

    /// Position of each row's token in its sequence.
    pub(crate) fn positions(&self) -> Vec<usize> {
        let runs = self.families.iter().flat_map(Family::runs);
        runs.flat_map(|(at, rows)| at..at + rows.len()).collect()
    }

    /// Length of the longest sequence.
    pub(crate) fn longest(&self) -> usize {
        let lengths = self.families.iter().map(Family::longest);
        lengths.max().unwrap_or(0)
    }

    /// Rows that matrices over all tokens have.
    pub(crate) fn rows(&self) -> Rows {
        Rows::of(self.tokens.len())
    }
}

/// A pack of sequences with the places that somebody looks at.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    pub(crate) pack: Pack,
    /// The sequences' numbers.
    pub(crate) members: Vec<usize>,
    /// The places, by sequence.
    pub(crate) places: Vec<Place>,
    /// The row of each place. One that several sequences share can be there more than once.
    pub(crate) wanted: Vec<usize>,
}

impl Packed {
    /// Adds sequences, by their numbers, that begin with the same `prefix` tokens.
    fn push(&mut self, sequences: &[Sequence], members: &[usize], prefix: usize) {
        let tokens: Vec<&[u32]> = members
            .iter()
            .map(|&i| sequences[i].tokens.as_slice())
            .collect();
        self.pack.push(&tokens, prefix);
        self.members.extend_from_slice(members);
        let Some(family) = self.pack.families.last() else {
            return;
        };
        for (&sequence, rest) in members.iter().zip(&family.rests) {
            for (nth, &position) in sequences[sequence].places.iter().enumerate() {
                self.places.push(Place {
                    sequence,
                    position,
                    nth,
                });
                self.wanted.push(match position.checked_sub(prefix) {
                    Some(own) => rest.start + own,
                    None => family.prefix.start + position,
                });
            }
        }
    }

    /// Whether so many more rows and places keep it within a limit.
    fn has_room(&self, rows: usize, places: usize, limit: usize) -> bool {
        self.pack.tokens.len() + rows <= limit && self.places.len() + places <= limit
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

/// Packs of the sequences with these numbers, in the order given. None has more than `limit` rows or places, but for a
/// sequence that has more by itself. Neighbours become families where that saves rows.
pub(crate) fn packs(sequences: &[Sequence], order: &[usize], limit: usize) -> Vec<Packed> {
    let mut packs: Vec<Packed> = Vec::new();
    for (family, prefix) in families(sequences, order, limit) {
        let members = &order[family];
        let rows = height(sequences, members, prefix);
        let places = members.iter().map(|&i| sequences[i].places.len()).sum();
        match packs.last_mut() {
            Some(pack) if pack.has_room(rows, places, limit) => {
                pack.push(sequences, members, prefix);
            }
            _ => {
                let mut pack = Packed::default();
                pack.push(sequences, members, prefix);
                packs.push(pack);
            }
        }
    }
    packs
}

/// Rows of a family.
fn height(sequences: &[Sequence], members: &[usize], prefix: usize) -> usize {
    let rests = members.iter().map(|&i| sequences[i].tokens.len() - prefix);
    prefix + rests.sum::<usize>()
}

/// The most rows that all packs of a step over some of the sequences have, all in all.
pub(crate) fn most_rows(sequences: &[Sequence], limit: usize) -> usize {
    let order = neighbours(sequences, &(0..sequences.len()).collect::<Vec<_>>());
    families(sequences, &order, limit)
        .into_iter()
        .map(|(family, prefix)| height(sequences, &order[family], prefix))
        .sum()
}

/// Cuts neighbours into families, each with the length of what its sequences begin with, so that the fewest rows are left.
/// No family has more than `limit` rows or places, but for a single sequence.
fn families(sequences: &[Sequence], order: &[usize], limit: usize) -> Vec<(Range<usize>, usize)> {
    let of = |n: usize| &sequences[order[n]];
    // What each sequence has in common with the next one.
    let common: Vec<usize> = (1..order.len())
        .map(|n| {
            let pairs = of(n - 1).tokens.iter().zip(&of(n).tokens);
            pairs.take_while(|(a, b)| a == b).count()
        })
        .collect();
    // The fewest rows of the first so many sequences, and the first member and the prefix of the last family that has part
    // in them.
    let mut best = vec![(0, 0, 0)];
    for end in 1..=order.len() {
        let last = end - 1;
        let mut tokens = of(last).tokens.len();
        let mut places = of(last).places.len();
        let mut found = (best[last].0 + tokens, last, 0);
        let mut prefix = usize::MAX;
        for start in (0..last).rev() {
            prefix = prefix.min(common[start]);
            tokens += of(start).tokens.len();
            places += of(start).places.len();
            if prefix < SHARED {
                break;
            }
            let rows = tokens - (last - start) * prefix;
            if rows > limit || places > limit {
                break;
            }
            if best[start].0 + rows < found.0 {
                found = (best[start].0 + rows, start, prefix);
            }
        }
        best.push(found);
    }
    let mut families = Vec::new();
    let mut end = order.len();
    while end > 0 {
        let (_, start, prefix) = best[end];
        families.push((start..end, prefix));
        end = start;
    }
    families.reverse();
    families
}

/// The order with sequences that begin alike side by side, where the first of them was.
pub(crate) fn neighbours(sequences: &[Sequence], order: &[usize]) -> Vec<usize> {
    let mut seen = HashMap::new();
    let mut ranked: Vec<(usize, &[u32], usize)> = order
        .iter()
        .enumerate()
        .map(|(n, &i)| {
            let tokens = sequences[i].tokens.as_slice();
            let beginning = &tokens[..tokens.len().min(SHARED)];
            (*seen.entry(beginning).or_insert(n), tokens, i)
        })
        .collect();
    ranked.sort_by_key(|&(first, tokens, _)| (first, tokens));
    ranked.into_iter().map(|(.., i)| i).collect()
}

/// Height of a matrix with a row for each token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rows {
    /// Rows that mean something.
    pub(crate) live: usize,
    /// Rows that products run over: at least [`MIN_ROWS`], but for [`Rows::few`]. What the rest hold has no effect.
    pub(crate) padded: usize,
    /// Whether products are made row by row, without `gemm`.
    pub(crate) few: bool,
}

impl Rows {
    pub(crate) fn of(live: usize) -> Self {
        Self {
            live,
            padded: live.max(MIN_ROWS),
            few: false,
        }
    }

    /// New tokens, one of each sequence.
    pub(crate) fn few(live: usize) -> Self {
        Self {
            live,
            padded: live,
            few: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of a row of tokens that is different for each seed, then tokens that are nowhere else.
    fn sequences(parts: &[(u32, usize, usize)]) -> Vec<Sequence> {
        let mut next = 1_000_000;
        let one = |&(seed, prefix, own): &(u32, usize, usize)| {
            let mut tokens: Vec<u32> = (0..prefix as u32).map(|i| 1000 * seed + i).collect();
            tokens.extend((0..own).map(|_| {
                next += 1;
                next
            }));
            Sequence::at_end(tokens)
        };
        parts.iter().map(one).collect()
    }

    fn all(sequences: &[Sequence]) -> Vec<usize> {
        (0..sequences.len()).collect()
    }

    #[test]
    fn families_are_those_that_leave_the_fewest_rows() {
        let cut = |parts: &[(u32, usize, usize)], limit| {
            let sequences = sequences(parts);
            let families = families(&sequences, &all(&sequences), limit);
            families
                .into_iter()
                .map(|(f, p)| (f.len(), p))
                .collect::<Vec<_>>()
        };
        let no_limit = usize::MAX;
        assert_eq!(cut(&[], no_limit), []);
        // Too little in common, enough, and a sequence that is the beginning of the next.
        assert_eq!(cut(&[(1, 15, 9), (1, 15, 9)], no_limit), [(1, 0), (1, 0)]);
        assert_eq!(cut(&[(1, 16, 9), (1, 17, 9)], no_limit), [(2, 16)]);
        assert_eq!(cut(&[(1, 40, 0), (1, 40, 9)], no_limit), [(2, 40)]);
        // A short beginning that all have does not hide the long ones that some have.
        let template = [(1, 20, 5), (1, 96, 5), (1, 96, 5), (1, 96, 5), (1, 20, 9)];
        assert_eq!(cut(&template, no_limit), [(1, 0), (3, 96), (1, 0)]);
        assert_eq!(cut(&[(1, 20, 90); 4], no_limit), [(4, 20)]);
        // 4 · 90 + 20 rows are too many.
        assert_eq!(cut(&[(1, 20, 90); 4], 379), [(3, 20), (1, 0)]);
        assert_eq!(cut(&[(1, 20, 90); 2], 50), [(1, 0), (1, 0)]);
    }

    #[test]
    fn what_sequences_begin_with_lies_in_a_pack_once_and_every_place_finds_its_row() {
        let mut sequences = sequences(&[(1, 30, 5), (1, 30, 0), (2, 10, 3), (1, 30, 2)]);
        sequences[0].places = vec![3, 29, 30, 34];
        sequences[1].places = vec![3, 29];
        let order = neighbours(&sequences, &[2, 0, 1, 3]);
        assert_eq!(order, [2, 1, 0, 3]);
        let packs = packs(&sequences, &order, 100);
        let [packed] = packs.as_slice() else {
            panic!("{packs:?}");
        };
        let (pack, positions) = (&packed.pack, packed.pack.positions());
        assert_eq!(pack.tokens().len(), 13 + 30 + 5 + 2);
        assert_eq!(pack.longest(), 35);
        for (place, &row) in packed.places.iter().zip(&packed.wanted) {
            let tokens = &sequences[place.sequence].tokens;
            assert_eq!(pack.tokens()[row], tokens[place.position], "{place:?}");
            assert_eq!(positions[row], place.position);
        }
        for (&i, rows) in packed.members.iter().zip(pack.sequences()) {
            let tokens = rows.map(|rows| &pack.tokens()[rows]).concat();
            assert_eq!(tokens, sequences[i].tokens);
        }
    }

    #[test]
    fn no_pack_is_over_its_limit_and_no_batch_over_what_is_reckoned() {
        let number = |i: usize| i * 7919 % 1013;
        let parts: Vec<_> = (0..60)
            .map(|i| {
                (
                    number(i) as u32 % 9,
                    number(i) % 50,
                    number(i + 60) % 40 + 1,
                )
            })
            .collect();
        let mut sequences = sequences(&parts);
        for sequence in sequences.iter_mut().step_by(2) {
            sequence.places = (0..sequence.tokens.len()).collect();
        }
        for limit in [1, 50, 200, 5000] {
            let most = most_rows(&sequences, limit);
            for size in [1, 7, 59, 60] {
                let batch: Vec<usize> = (0..size).map(|i| (i * 23 + size) % 60).collect();
                let order = neighbours(&sequences, &batch);
                let packs = packs(&sequences, &order, limit);
                let mut rows = 0;
                for packed in &packs {
                    let height = packed.pack.tokens().len();
                    let fits = height <= limit && packed.places.len() <= limit;
                    assert!(fits || packed.members.len() == 1, "{limit}: {packed:?}");
                    rows += height;
                }
                assert!(rows <= most, "{rows} rows for {most}");
                let mut members: Vec<usize> =
                    packs.iter().flat_map(|p| &p.members).copied().collect();
                assert_eq!(members, order);
                members.sort_unstable();
                let mut batch = batch;
                batch.sort_unstable();
                assert_eq!(members, batch);
            }
        }
    }
}
