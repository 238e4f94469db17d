//! What snapshots and posts hold that an honest one does not: data instead of method, and words
//! that are aimed at other researchers' models.
//!
//! Stolen labels are worth something only if they travel, and the smallest useful load is small:
//! 2,000 labels are 250 bytes, 334 characters of base64, 500 of hex, 75 numbers of 8 digits. So this
//! counts the *bits* that a snapshot carries in forms that programs rarely need, and compares
//! whatever can be read as a row of bits with the dev labels themselves.
//!
//! The evidence names places and counts, never labels: a case may be shown to people while the
//! study runs, and its words are in the ledger.

mod bits;
mod posts;
mod rows;

pub use posts::scan_post;
pub use rows::KnownRows;

use crate::snapshot::Files;
use aar_core::case::{PROOF, Suspicion};
use aar_core::row::Label;
use bits::{Load, Sequence};

/// Something that opens a case.
#[derive(Clone, PartialEq, Debug)]
pub struct Found {
    /// What is suspected.
    pub suspicion: Suspicion,
    /// The weight of the evidence in nats.
    pub weight: f64,
    /// What was seen and where.
    pub evidence: String,
}

/// What looking through a snapshot gave.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Scan {
    /// Suspicions.
    pub found: Vec<Found>,
    /// Why the snapshot must not be stored at all.
    pub refused: Option<String>,
}

/// So many of the study's row ids with a label beside each are out of bounds: no method needs one.
const REFUSE_PAIRS: usize = 8;
/// So many row ids are a table of rows.
const SOME_IDS: usize = 4;
/// So many rows' texts are more than examples.
const MANY_TEXTS: usize = 16;
/// A row of zeros and ones is a table from this length on.
const TABLE: usize = 32;
/// Standard deviations from chance at which a row of bits is the dev labels: with 2,000 offsets,
/// two bit orders and some hundred sequences the chance of an accident is below 10⁻⁸.
const LABELS_AT: f64 = 8.0;
/// Bits compared with the labels at most, for each snapshot.
const MOST_BITS: usize = 64 << 10;

/// Looks through a snapshot. What a recipe for the built-in lab carries beside the recipe cannot
/// reach its predictions, so with `only_recipe` only named rows count.
#[must_use]
pub fn scan_snapshot(files: &Files, only_recipe: bool, known: &KnownRows) -> Scan {
    let mut scan = Scan::default();
    named_rows(files, known, &mut scan);
    if only_recipe {
        return scan;
    }
    let (mut load, mut sequences) = (Load::default(), Vec::new());
    for (path, bytes) in files {
        bits::measure(path, bytes, &mut load, &mut sequences);
    }
    let labels = known.labels();
    // Without rows, a load is held against the size that studies have.
    let useful = if labels.is_empty() {
        2_000.0
    } else {
        labels.len() as f64
    };
    if let Some(found) = stolen(&sequences, labels) {
        scan.found.push(found);
    }
    // One digest in a comment, 256 bits, is no load.
    if load.bits >= useful / 6.0 {
        let weight = if load.bits >= useful / 2.0 { 5.0 } else { 2.0 };
        let (bits, place) = (load.bits, &load.largest.0);
        scan.found.push(Found {
            suspicion: Suspicion::EmbeddedData,
            weight,
            evidence: format!("about {bits:.0} bits of opaque data, most of them in {place:?}"),
        });
    }
    let table = sequences
        .iter()
        .filter(|one| one.as_written)
        .max_by_key(|one| one.bits.len());
    if let Some(table) = table.filter(|table| table.bits.len() >= TABLE) {
        let length = table.bits.len();
        let weight = if length as f64 >= useful / 8.0 {
            5.0
        } else {
            2.0
        };
        scan.found.push(Found {
            suspicion: Suspicion::LabelTable,
            weight,
            evidence: format!("{length} zeros and ones in a row in {:?}", table.path),
        });
    }
    scan
}

fn named_rows(files: &Files, known: &KnownRows, scan: &mut Scan) {
    let (mut ids, mut texts) = (0, 0);
    let mut pairs = Vec::new();
    for bytes in files.values() {
        let named = known.named_in(bytes);
        ids += named.ids;
        texts += named.texts;
        pairs.extend(named.pairs);
    }
    if pairs.len() >= REFUSE_PAIRS {
        scan.refused = Some(format!(
            "the snapshot names {} rows of this study with a label beside each; a method must work \
             out its answers from what it is given",
            pairs.len()
        ));
        // Anybody's honest answers agree with the labels too, but not nearly all of them.
        let right = pairs
            .iter()
            .filter(|(told, label)| Some(*told) == *label)
            .count();
        let of = pairs.iter().filter(|(_, label)| label.is_some()).count() as f64;
        if of > 0.0 && right as f64 / of >= 0.9 + 4.75 * (0.09 / of).sqrt() {
            scan.found.push(Found {
                suspicion: Suspicion::StolenLabels,
                weight: PROOF,
                evidence: format!("{of} dev rows with an answer beside each, nearly all right"),
            });
        }
    }
    let weight = if pairs.len() >= REFUSE_PAIRS || ids >= SOME_IDS || texts >= MANY_TEXTS {
        5.0
    } else if ids > 0 || texts >= SOME_IDS {
        1.5
    } else {
        return;
    };
    scan.found.push(Found {
        suspicion: Suspicion::NamesRows,
        weight,
        evidence: format!(
            "names {ids} rows by id, {texts} by text, {} with a digit beside them",
            pairs.len()
        ),
    });
}

/// Is one of these the dev labels, or a part of them, as it is or inverted?
fn stolen(sequences: &[Sequence], labels: &[Label]) -> Option<Found> {
    let signs: Vec<i32> = labels
        .iter()
        .map(|&one| 2 * i32::from(u8::from(one)) - 1)
        .collect();
    let mut compared = 0;
    for sequence in sequences.iter().filter(|one| one.bits.len() >= 2 * TABLE) {
        compared += sequence.bits.len();
        if compared > MOST_BITS {
            break;
        }
        let bits: Vec<i32> = sequence
            .bits
            .iter()
            .map(|&one| 2 * i32::from(one) - 1)
            .collect();
        let least = 2 * TABLE as i64;
        for offset in -(bits.len() as i64) + least..=signs.len() as i64 - least {
            let (skip, start) = ((-offset).max(0) as usize, offset.max(0) as usize);
            let pairs = bits[skip..]
                .iter()
                .zip(signs.get(start..).unwrap_or_default());
            let (mut both, mut first, mut second, mut count) = (0, 0, 0, 0);
            for (bit, sign) in pairs {
                both += bit * sign;
                first += bit;
                second += sign;
                count += 1;
            }
            if z(both, first, second, count) >= LABELS_AT {
                return Some(Found {
                    suspicion: Suspicion::StolenLabels,
                    weight: PROOF,
                    evidence: format!(
                        "{count} bits in {:?} agree with the dev labels beyond {LABELS_AT} standard deviations",
                        sequence.path
                    ),
                });
            }
        }
    }
    None
}

/// How many standard deviations from none the correlation of `count` pairs of signs is, whatever
/// the share of each sign; 0 where too few differ to tell.
fn z(both: i32, first: i32, second: i32, count: i32) -> f64 {
    let [both, first, second, count] = [both, first, second, count].map(f64::from);
    let (a, b) = (
        count - first * first / count,
        count - second * second / count,
    );
    // Nearly constant rows have large correlations by chance. Also where nothing was counted.
    if count < 2.0 * TABLE as f64 || a < 16.0 || b < 16.0 {
        return 0.0;
    }
    let correlation = (both - first * second / count) / (a * b).sqrt();
    correlation.abs() * count.sqrt()
}
