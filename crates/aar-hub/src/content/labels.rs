//! Comparing a snapshot with the dev labels: the examiner's business, never a request's.
//!
//! How long this takes depends on the files alone, and what it finds is told to nobody who waits:
//! an answer, an event or a delay that hung on one label would give that label away.

use super::Found;
use super::readings::readings;
use super::rows::KnownRows;
use crate::snapshot::Files;
use aar_core::case::{PROOF, Suspicion};
use aar_core::row::Label;

/// Standard deviations from chance at which a row of bits has to do with the labels: with 2,000
/// offsets, two bit orders and some hundred rows the chance of an accident is below 10⁻⁸.
const AGREE_AT: f64 = 8.0;
/// Bits compared at most, for each snapshot.
const MOST_BITS: usize = 512 << 10;
/// Fewer bits are not compared.
const LEAST: usize = 64;

/// An answer that a snapshot holds for a dev row: which row, in the order of the labels, and what.
pub type Told = (usize, Label);

/// Compares what a snapshot can be read as with the dev labels. A proof is only what no model
/// reaches, nearly complete agreement; less is noted, as weakly as the form is.
///
/// What a recipe for the built-in lab carries beside the recipe cannot reach its predictions, so
/// with `only_recipe` only answers beside named rows are compared.
#[must_use]
pub fn compare_snapshot(
    files: &Files,
    only_recipe: bool,
    known: &KnownRows,
    labels: &[Label],
) -> Vec<Found> {
    let mut found: Vec<Found> = compare_told(&known.named_in(files).told, labels)
        .into_iter()
        .collect();
    if only_recipe {
        return found;
    }
    let packed = Packed::new(labels.iter().map(|&label| label == Label::One));
    let (mut left, mut closest) = (MOST_BITS, None::<(Agreement, &str)>);
    let readings = readings(files);
    for reading in &readings {
        let taken = reading.bits.len().min(left);
        left -= taken;
        let bits = Packed::new(reading.bits[..taken].iter().copied());
        let best = closest_agreement(&bits, &packed);
        if let Some(best) = best
            && closest.is_none_or(|(other, _)| best.rank() > other.rank())
        {
            closest = Some((best, reading.path));
        }
    }
    if let Some((closest, path)) = closest.filter(|(one, _)| one.deviations >= AGREE_AT) {
        let count = closest.count;
        let (suspicion, weight, what) = if closest.is_nearly_complete() {
            (
                Suspicion::StolenLabels,
                PROOF,
                "are the dev labels, or nearly so",
            )
        } else {
            let what = "agree with the dev labels as well as an honest output does";
            (Suspicion::EmbeddedData, 5.0, what)
        };
        found.push(Found {
            suspicion,
            weight,
            evidence: format!("{count} bits in {path:?} {what}"),
        });
    }
    found
}

/// Are the answers that stand beside named dev rows nearly all right?
#[must_use]
pub fn compare_told(told: &[Told], labels: &[Label]) -> Option<Found> {
    let known = || {
        told.iter()
            .filter_map(|(row, answer)| Some((labels.get(*row)?, answer)))
    };
    let right = known().filter(|(label, answer)| label == answer).count();
    let count = known().count();
    nearly_complete(right, count).then(|| Found {
        suspicion: Suspicion::StolenLabels,
        weight: PROOF,
        evidence: format!("{count} dev rows with an answer beside each, nearly all right"),
    })
}

/// More right answers than a method that is right on nine of ten rows has by chance once in a
/// million times (4.75 standard deviations), which fewer than 204 answers can never be.
fn nearly_complete(right: usize, count: usize) -> bool {
    let n = count as f64;
    count > 0 && right as f64 / n >= 0.9 + 4.75 * (0.09 / n).sqrt()
}

/// Bits, 64 in a word, with a word of zeros behind.
struct Packed {
    words: Vec<u64>,
    count: usize,
}

impl Packed {
    fn new(bits: impl Iterator<Item = bool>) -> Self {
        let (mut words, mut count) = (Vec::new(), 0);
        for bit in bits {
            if count % 64 == 0 {
                words.push(0);
            }
            if let Some(last) = words.last_mut() {
                *last |= u64::from(bit) << (count % 64);
            }
            count += 1;
        }
        words.push(0);
        Self { words, count }
    }

    /// The 64 bits from `at` on.
    fn window(&self, at: usize) -> u64 {
        let (word, shift) = (at / 64, at % 64);
        let low = self.words[word] >> shift;
        let high = self.words.get(word + 1).copied().unwrap_or_default();
        // A shift by 64 is none.
        low | (high << 1) << (63 - shift)
    }
}

/// How well bits agree with the labels at one offset.
#[derive(Clone, Copy)]
struct Agreement {
    count: usize,
    /// Of the bits or of their opposites, whichever is more.
    right: usize,
    /// Standard deviations of the correlation from none.
    deviations: f64,
}

impl Agreement {
    fn is_nearly_complete(&self) -> bool {
        self.deviations >= AGREE_AT && nearly_complete(self.right, self.count)
    }

    /// What is nearly complete comes before what agrees over more rows.
    fn rank(&self) -> (bool, u64) {
        // Deviations are not negative, and the bits of such numbers are in their order.
        (self.is_nearly_complete(), self.deviations.to_bits())
    }
}

/// The closest agreement over all offsets, also those at which only a part overlaps.
fn closest_agreement(bits: &Packed, labels: &Packed) -> Option<Agreement> {
    if bits.count < LEAST || labels.count < LEAST {
        return None;
    }
    let mut closest: Option<Agreement> = None;
    for place in LEAST..=bits.count + labels.count - LEAST {
        // The last `place` bits stand against the first labels, until the bits begin later.
        let (skip, start) = (
            bits.count.saturating_sub(place),
            place.saturating_sub(bits.count),
        );
        let count = (bits.count - skip).min(labels.count - start);
        let one = agreement(bits, skip, labels, start, count);
        if closest.is_none_or(|other| one.rank() > other.rank()) {
            closest = Some(one);
        }
    }
    closest
}

fn agreement(bits: &Packed, skip: usize, labels: &Packed, start: usize, count: usize) -> Agreement {
    let (mut same, mut first, mut second) = (0, 0, 0);
    for at in (0..count).step_by(64) {
        let mask = u64::MAX >> (64 - (count - at).min(64));
        let (a, b) = (
            bits.window(skip + at) & mask,
            labels.window(start + at) & mask,
        );
        same += (!(a ^ b) & mask).count_ones() as usize;
        first += a.count_ones() as usize;
        second += b.count_ones() as usize;
    }
    Agreement {
        count,
        right: same.max(count - same),
        deviations: deviations(same, first, second, count),
    }
}

/// How many standard deviations from none the correlation of two rows of `count` bits is, of which
/// `same` agree and `first` and `second` are ones; 0 where too few differ to tell.
fn deviations(same: usize, first: usize, second: usize, count: usize) -> f64 {
    let [same, first, second, count] = [same, first, second, count].map(|one| one as f64);
    let (both, first, second) = (
        2.0 * same - count,
        2.0 * first - count,
        2.0 * second - count,
    );
    let (a, b) = (
        count - first * first / count,
        count - second * second / count,
    );
    // Nearly constant rows have large correlations by chance.
    if a < 16.0 || b < 16.0 {
        return 0.0;
    }
    ((both - first * second / count) / (a * b).sqrt()).abs() * count.sqrt()
}
