//! `predictions.jsonl` and `weak/labels.jsonl`: one value for each row, by the row's id.
//!
//! Predictions come out of a sandbox, so their reader trusts nothing: size, encoding and every
//! line are checked, and what it says about a bad line is short and has no control characters.

use crate::error::Place;
use crate::files;
use aar_core::row::{Label, RowId};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use thiserror::Error;

/// Bytes that a line may have; an honest one has about 40.
const MAX_LINE: usize = 256;

/// Characters of a reason that are shown.
const MAX_REASON: usize = 200;

/// Why predictions or weak labels were refused.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum PredictionError {
    /// More bytes than the rows can need.
    #[error("has {bytes} bytes, at most {limit} are read: one line for each of {rows} rows")]
    TooLarge {
        /// Bytes found.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
        /// Rows asked for.
        rows: usize,
    },
    /// A line is not what it should be.
    #[error("{}{reason}", Place(Some(*line), field.as_deref()))]
    Line {
        /// Counted from 1.
        line: usize,
        /// `id`, `label` or `p`, where one is at fault.
        field: Option<String>,
        /// What was found and what was expected.
        reason: String,
    },
    /// Some rows have no line.
    #[error("field id: {missing} of {rows} ids are missing, the first is {first}")]
    Missing {
        /// How many.
        missing: usize,
        /// Rows asked for.
        rows: usize,
        /// One of them.
        first: RowId,
    },
}

/// Reads predictions in any order and returns their labels in the order of `ids`.
///
/// # Errors
/// When an id is missing, unknown or given twice, or a line is not `{"id": …, "label": 0|1}`.
pub fn read_predictions(bytes: &[u8], ids: &[RowId]) -> Result<Vec<Label>, PredictionError> {
    read_values(bytes, ids, |line: PredictionLine| Ok((line.id, line.label)))
}

/// Labels as `predictions.jsonl`, also the form of `labels.jsonl`.
///
/// # Panics
/// When there are not as many labels as ids.
#[must_use]
pub fn write_predictions(ids: &[RowId], labels: &[Label]) -> String {
    assert_eq!(ids.len(), labels.len(), "one label for each id");
    let mut text = String::with_capacity(ids.len() * 40);
    for (&id, &label) in ids.iter().zip(labels) {
        files::push_json(&mut text, &PredictionLine { id, label });
    }
    text
}

/// Reads weak labels and returns them, the probabilities of label 1, in the order of `ids`.
///
/// # Errors
/// As [`read_predictions`], and when a `p` is not in `[0, 1]`.
pub fn read_weak_labels(bytes: &[u8], ids: &[RowId]) -> Result<Vec<f64>, PredictionError> {
    read_values(bytes, ids, |line: WeakLine| {
        if (0.0..=1.0).contains(&line.p) {
            Ok((line.id, line.p))
        } else {
            Err((
                "p",
                format!("found {}, expected a probability from 0 to 1", line.p),
            ))
        }
    })
}

/// Weak labels as `weak/labels.jsonl`; `p` holds the probabilities of label 1.
///
/// # Panics
/// When there are not as many probabilities as ids, or one is not in `[0, 1]`.
#[must_use]
pub fn write_weak_labels(ids: &[RowId], p: &[f64]) -> String {
    assert_eq!(ids.len(), p.len(), "one probability for each id");
    let mut text = String::with_capacity(ids.len() * 56);
    for (&id, &p) in ids.iter().zip(p) {
        assert!(
            (0.0..=1.0).contains(&p),
            "weak label {p} of row {id} is no probability"
        );
        files::push_json(&mut text, &WeakLine { id, p });
    }
    text
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PredictionLine {
    pub(crate) id: RowId,
    pub(crate) label: Label,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WeakLine {
    id: RowId,
    p: f64,
}

fn read_values<L, V>(
    bytes: &[u8],
    ids: &[RowId],
    value: impl Fn(L) -> Result<(RowId, V), (&'static str, String)>,
) -> Result<Vec<V>, PredictionError>
where
    L: serde::de::DeserializeOwned,
    V: Copy,
{
    let limit = (ids.len() + 1).saturating_mul(MAX_LINE);
    if bytes.len() > limit {
        return Err(PredictionError::TooLarge {
            bytes: bytes.len(),
            limit,
            rows: ids.len(),
        });
    }
    let mut slots = Slots::new(ids);
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let lines = body
        .split(|&byte| byte == b'\n')
        .take_while(|_| !body.is_empty());
    for (index, bytes) in lines.enumerate() {
        let line = index + 1;
        let refuse = |field: Option<&str>, reason: &str| PredictionError::Line {
            line,
            field: field.map(tame),
            reason: tame(reason),
        };
        if bytes.len() > MAX_LINE {
            let reason = format!("has {} bytes, at most {MAX_LINE} are read", bytes.len());
            return Err(refuse(None, &reason));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| refuse(None, "is not valid UTF-8"))?;
        let parsed = files::json_line(text, line)
            .map_err(|error| refuse(error.field.as_deref(), &error.reason))?;
        let (id, value) = value(parsed).map_err(|(field, reason)| refuse(Some(field), &reason))?;
        slots
            .put(line, id, value)
            .map_err(|reason| refuse(Some("id"), &reason))?;
    }
    slots.finish()
}

/// One place for each expected id.
struct Slots<'a, V> {
    ids: &'a [RowId],
    /// Where each id belongs; built only when a line is not where it was expected.
    places: Option<HashMap<RowId, usize>>,
    /// Value and the line it came from.
    values: Vec<Option<(V, usize)>>,
}

impl<'a, V: Copy> Slots<'a, V> {
    fn new(ids: &'a [RowId]) -> Self {
        Self {
            ids,
            places: None,
            values: vec![None; ids.len()],
        }
    }

    fn put(&mut self, line: usize, id: RowId, value: V) -> Result<(), String> {
        // Most files keep the order of the inputs.
        let place = if self.ids.get(line - 1) == Some(&id) {
            line - 1
        } else {
            let index = || {
                self.ids
                    .iter()
                    .enumerate()
                    .map(|(place, &id)| (id, place))
                    .collect()
            };
            let places = self.places.get_or_insert_with(index);
            *places
                .get(&id)
                .ok_or_else(|| format!("{id} is not one of the inputs"))?
        };
        match &mut self.values[place] {
            Some((_, earlier)) => Err(format!("{id} is on line {earlier} too")),
            empty => {
                *empty = Some((value, line));
                Ok(())
            }
        }
    }

    fn finish(self) -> Result<Vec<V>, PredictionError> {
        let missing = self.values.iter().filter(|value| value.is_none()).count();
        if let Some(first) = self.values.iter().position(Option::is_none) {
            let (first, rows) = (self.ids[first], self.ids.len());
            return Err(PredictionError::Missing {
                missing,
                rows,
                first,
            });
        }
        Ok(self
            .values
            .into_iter()
            .flatten()
            .map(|(value, _)| value)
            .collect())
    }
}

/// Text of an unknown author, fit for a terminal and a log.
fn tame(text: &str) -> String {
    text.chars()
        .take(MAX_REASON)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
