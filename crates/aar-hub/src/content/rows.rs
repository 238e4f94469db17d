//! The study's public rows, to be recognised in what researchers store.

use aar_core::row::Label;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// A shorter text could be anybody's.
const TEXT: usize = 32;
/// A cut id is still an id from this length on: of 4,000 ids one matches 8 random digits by
/// chance once in a million.
const ID_PREFIX: usize = 8;
/// How far behind an id its label may stand.
const NEAR: usize = 16;

/// Ids, texts and labels by which a row is known.
#[derive(Clone, Debug, Default)]
pub struct KnownRows {
    /// Sorted. The label is there for dev rows only.
    ids: Vec<(String, Option<Label>)>,
    /// By their first bytes.
    texts: HashMap<[u8; TEXT], Vec<Vec<u8>>>,
    labels: Vec<Label>,
}

/// What of the study a file names.
#[derive(Default)]
pub(super) struct Named {
    pub(super) ids: usize,
    pub(super) texts: usize,
    /// The answer that stands beside a named row, and the true one if it is a dev row.
    pub(super) pairs: Vec<(Label, Option<Label>)>,
}

#[derive(Deserialize)]
struct Line {
    id: String,
    #[serde(flatten)]
    fields: BTreeMap<String, serde_json::Value>,
}

impl KnownRows {
    /// Reads the public rows of the problem in `directory`; `labels` are those of dev in row order.
    ///
    /// # Errors
    /// If a file that is there cannot be read. One that is not there has no rows.
    pub fn read(directory: &Path, labels: &[Label]) -> std::io::Result<Self> {
        let mut known = Self {
            labels: labels.to_vec(),
            ..Self::default()
        };
        for split in ["dev", "train"] {
            let path = directory.join("public").join(split).join("inputs.jsonl");
            let text = match std::fs::read_to_string(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                text => text?,
            };
            for (place, line) in text.lines().enumerate() {
                let Ok(line) = serde_json::from_str::<Line>(line) else {
                    continue;
                };
                let label = (split == "dev")
                    .then(|| labels.get(place).copied())
                    .flatten();
                known.ids.push((line.id, label));
                for (name, value) in &line.fields {
                    if let (true, Some(text)) = (name != "group", value.as_str()) {
                        known.add_text(text.as_bytes());
                    }
                }
            }
        }
        known.ids.sort();
        Ok(known)
    }

    pub(super) fn labels(&self) -> &[Label] {
        &self.labels
    }

    fn add_text(&mut self, text: &[u8]) {
        if let Some((head, _)) = text.split_first_chunk::<TEXT>() {
            let same = self.texts.entry(*head).or_default();
            if !same.iter().any(|known| known == text) {
                same.push(text.to_vec());
            }
        }
    }

    /// Finds each row once, however often it is named.
    pub(super) fn named_in(&self, bytes: &[u8]) -> Named {
        let mut named = Named::default();
        if self.ids.is_empty() {
            return named;
        }
        let (mut ids, mut texts) = (BTreeSet::new(), BTreeSet::new());
        let mut at = 0;
        while at < bytes.len() {
            let window = &bytes[at..];
            if let Some((place, length)) = self.id_at(window) {
                if ids.insert(place)
                    && let Some(told) = answer(&window[length..])
                {
                    named.pairs.push((told, self.ids[place].1));
                }
                at += length;
                continue;
            }
            if let Some((head, _)) = window.split_first_chunk::<TEXT>()
                && let Some(known) = self.texts.get(head)
                && let Some(text) = known.iter().find(|text| window.starts_with(text))
            {
                texts.insert(text);
            }
            at += 1;
        }
        (named.ids, named.texts) = (ids.len(), texts.len());
        named
    }

    /// The row whose id begins here, and how many of its digits stand here.
    fn id_at(&self, window: &[u8]) -> Option<(usize, usize)> {
        let digits = window
            .iter()
            .take(64)
            .take_while(|b| b.is_ascii_hexdigit())
            .count();
        if digits < ID_PREFIX {
            return None;
        }
        let word = std::str::from_utf8(&window[..digits])
            .ok()?
            .to_ascii_lowercase();
        let start = &word[..ID_PREFIX];
        let place = self.ids.partition_point(|(id, _)| id.as_str() < start);
        let (id, _) = self.ids.get(place)?;
        let same = id
            .bytes()
            .zip(word.bytes())
            .take_while(|(a, b)| a == b)
            .count();
        // A whole id, or one that was cut.
        (same >= ID_PREFIX && (same == id.len() || same == word.len())).then_some((place, same))
    }
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
