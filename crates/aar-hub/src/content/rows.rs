//! The study's rows by their names, to be recognised in what researchers store.
//!
//! There is no label in here, and nothing that depends on one: this is what requests are checked
//! against, and they could read by answer, event or time whatever it knows.

use super::labels::Told;
use crate::snapshot::Files;
use aar_core::problem::Split;
use aar_core::row::Label;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

/// A shorter text could be anybody's.
const TEXT: usize = 32;
/// So many digits are an id, whole or cut: of 10,000 ids one matches by chance 2 in a million times.
const HEAD: usize = 8;
/// Fewer digits are too few even for many words together.
const CUT: [usize; 4] = [4, 5, 6, 7];
/// How far behind an id its label may stand.
const NEAR: usize = 16;

/// Ids and texts by which a row is known.
#[derive(Clone, Debug, Default)]
pub struct KnownRows {
    /// Sorted by id.
    rows: Vec<Row>,
    /// The first digits of all ids.
    heads: HashSet<u32>,
    /// How many different first digits there are, for each length in [`CUT`].
    distinct: [usize; 4],
    /// By their first bytes; each with whether it is a train row's, which a method may quote.
    texts: HashMap<[u8; TEXT], Vec<(Vec<u8>, bool)>>,
    dev_rows: usize,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    id: u64,
    /// May researchers see it?
    public: bool,
    /// Its place among the dev rows.
    dev: Option<usize>,
}

/// What of the study a snapshot names, each thing once.
#[derive(Default)]
pub(super) struct Named {
    /// Rows by id, whole or cut to 8 digits.
    pub(super) ids: usize,
    /// Train rows by text.
    pub(super) train_texts: usize,
    /// Other rows by text.
    pub(super) other_texts: usize,
    /// Public rows by id with a 0 or 1 beside them.
    pub(super) answered: usize,
    /// Those of them that are dev rows.
    pub(super) told: Vec<Told>,
    /// Words that begin as ids do, and how many chance would give.
    pub(super) cut: Option<(usize, f64)>,
}

#[derive(Deserialize)]
struct Line {
    id: String,
    #[serde(flatten)]
    fields: BTreeMap<String, serde_json::Value>,
}

impl KnownRows {
    /// Reads the rows of the problems in `directories`, sealed ones too. The main problem, whose
    /// dev rows are scored, comes first.
    ///
    /// # Errors
    /// If a file that is there cannot be read. One that is not there has no rows.
    pub fn read<'a>(directories: impl IntoIterator<Item = &'a Path>) -> std::io::Result<Self> {
        let mut known = Self::default();
        for (number, directory) in directories.into_iter().enumerate() {
            known.add_problem(directory, number == 0)?;
        }
        known.rows.sort_by_key(|row| row.id);
        known.heads = known
            .rows
            .iter()
            .map(|row| first(row.id, HEAD) as u32)
            .collect();
        known.distinct = CUT.map(|digits| {
            let cut: HashSet<u64> = known.rows.iter().map(|row| first(row.id, digits)).collect();
            cut.len()
        });
        Ok(known)
    }

    fn add_problem(&mut self, directory: &Path, main: bool) -> std::io::Result<()> {
        // A text that also stands in train may be quoted, so train comes first.
        for split in [Split::Train, Split::Dev, Split::Teacher, Split::Rank] {
            let public = matches!(split, Split::Train | Split::Dev);
            let part = directory.join(if public { "public" } else { "vault" });
            let path = part.join(split.as_str()).join("inputs.jsonl");
            let text = match std::fs::read_to_string(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                text => text?,
            };
            for (place, line) in text.lines().enumerate() {
                let Ok(line) = serde_json::from_str::<Line>(line) else {
                    continue;
                };
                let dev = (main && split == Split::Dev).then_some(place);
                self.dev_rows += usize::from(dev.is_some());
                if let Ok(id) = u64::from_str_radix(&line.id, 16) {
                    let public = main && public;
                    self.rows.push(Row { id, public, dev });
                }
                for (name, value) in &line.fields {
                    if let (true, Some(text)) = (name != "group", value.as_str()) {
                        self.add_text(text.as_bytes(), main && split == Split::Train);
                    }
                }
            }
        }
        Ok(())
    }

    /// How many rows dev has.
    pub(super) fn dev_rows(&self) -> usize {
        self.dev_rows
    }

    fn add_text(&mut self, text: &[u8], train: bool) {
        if let Some((head, _)) = text.split_first_chunk::<TEXT>() {
            let same = self.texts.entry(*head).or_default();
            if !same.iter().any(|(known, _)| known == text) {
                same.push((text.to_vec(), train));
            }
        }
    }

    /// Finds each row once, however often it is named.
    pub(super) fn named_in(&self, files: &Files) -> Named {
        let mut named = Named::default();
        if self.rows.is_empty() {
            return named;
        }
        let (mut ids, mut answered, mut texts) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for bytes in files.values() {
            let mut at = 0;
            while at < bytes.len() {
                let window = &bytes[at..];
                if let Some((place, length)) = self.id_at(window) {
                    ids.insert(place);
                    let row = self.rows[place];
                    if row.public
                        && let Some(told) = answer(&window[length..])
                        && answered.insert(place)
                    {
                        named.told.extend(row.dev.map(|dev| (dev, told)));
                    }
                    at += length;
                    continue;
                }
                if let Some((head, _)) = window.split_first_chunk::<TEXT>()
                    && let Some(known) = self.texts.get(head)
                    && let Some((text, train)) =
                        known.iter().find(|(text, _)| window.starts_with(text))
                {
                    texts.insert((text, *train));
                }
                at += 1;
            }
        }
        (named.ids, named.answered) = (ids.len(), answered.len());
        named.train_texts = texts.iter().filter(|(_, train)| *train).count();
        named.other_texts = texts.len() - named.train_texts;
        named.cut = self.cut_ids(files);
        named
    }

    /// The row whose id begins here, and how many of its digits stand here.
    fn id_at(&self, window: &[u8]) -> Option<(usize, usize)> {
        let (head, _) = window.split_first_chunk::<HEAD>()?;
        let head = number(head)?;
        if !self.heads.contains(&(head as u32)) {
            return None;
        }
        let digits = window
            .iter()
            .take(17)
            .take_while(|b| b.is_ascii_hexdigit())
            .count();
        let place = self.rows.partition_point(|row| first(row.id, HEAD) < head);
        let mut same = self.rows[place..]
            .iter()
            .take_while(|row| first(row.id, HEAD) == head)
            .map(|row| {
                let length = (HEAD..=digits.min(16))
                    .rev()
                    .find(|&length| number(&window[..length]) == Some(first(row.id, length)));
                length.unwrap_or(HEAD)
            })
            .zip(place..);
        // A whole id, or one that was cut.
        let (length, place) = same.find(|(length, _)| *length == 16 || *length == digits)?;
        Some((place, length))
    }

    /// Do more words begin as ids do than by chance? At each length, of the words that have so many
    /// digits; ids are drawn, so whatever the words are, the share that matches is that of all
    /// numbers which begin an id. What stands behind those digits does not matter.
    fn cut_ids(&self, files: &Files) -> Option<(usize, f64)> {
        let words: BTreeSet<&[u8]> = files
            .values()
            .flat_map(|bytes| bytes.split(|b| !b.is_ascii_hexdigit()))
            .filter(|word| word.len() >= CUT[0])
            .collect();
        let mut most = None;
        for (digits, distinct) in CUT.into_iter().zip(self.distinct) {
            let heads: BTreeSet<u64> = words
                .iter()
                .filter_map(|word| number(word.get(..digits)?))
                .collect();
            let matched = heads
                .iter()
                .filter(|&&head| self.begins(head, digits))
                .count();
            let chance = distinct as f64 / 16f64.powi(digits as i32);
            let expected = chance * heads.len() as f64;
            let excess = matched as f64 - expected;
            if matched >= 16
                && excess >= 6.0 * (expected + 1.0).sqrt()
                && most.is_none_or(|(other, by_chance)| excess > other as f64 - by_chance)
            {
                most = Some((matched, expected));
            }
        }
        most
    }

    fn begins(&self, head: u64, digits: usize) -> bool {
        let place = self
            .rows
            .partition_point(|row| first(row.id, digits) < head);
        self.rows
            .get(place)
            .is_some_and(|row| first(row.id, digits) == head)
    }
}

/// The first digits of an id.
fn first(id: u64, digits: usize) -> u64 {
    id >> (64 - 4 * digits)
}

/// Up to 16 hexadecimal digits as a number.
fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, &digit| {
        let digit = char::from(digit).to_digit(16)?;
        Some(number << 4 | u64::from(digit))
    })
}

/// The 0 or 1 that stands by itself a few characters on, before anything that begins another row.
fn answer(after: &[u8]) -> Option<Label> {
    let near = &after[..after.len().min(NEAR)];
    let line = near.split(|&b| b == b'\n').next().unwrap_or_default();
    let word = line
        .split(|b| !b.is_ascii_alphanumeric())
        .find(|word| word.first().is_some_and(u8::is_ascii_digit))?;
    match word {
        b"0" => Some(Label::Zero),
        b"1" => Some(Label::One),
        _ => None,
    }
}
