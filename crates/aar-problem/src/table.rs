//! The rows of one split: what is asked, with the strong model's states.

use crate::error::ProblemError;
use crate::files;
use crate::tensor::Activations;
use aar_core::problem::{About, ItemKind};
use aar_core::row::{Item, RowId};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// One row of `inputs.jsonl`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The content hash of `item`.
    pub id: RowId,
    /// Rows that share content share a group. One allocation serves all rows of a group.
    pub group: Arc<str>,
    /// What is asked.
    pub item: Item,
    /// What the claim of this row contradicts or agrees with, for methods that use consistency.
    pub consistency_key: Option<String>,
}

/// The rows of one split, in the order of its files.
#[derive(Debug)]
pub struct Table {
    /// The rows, no two with the same id.
    pub rows: Vec<Row>,
    /// The strong model's states of these rows, read when asked for.
    pub activations: Activations,
}

impl Table {
    /// Reads `inputs` and opens `activations`, both in the form that `about` names.
    ///
    /// # Errors
    /// Names the file, the line and the field of the first fault.
    pub fn open(about: &About, inputs: &Path, activations: &Path) -> Result<Self, ProblemError> {
        let rows = read_rows(inputs, about.kind)?;
        let activations = Activations::open(about, activations, rows.len())?;
        Ok(Self { rows, activations })
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The names of the rows, in order.
    #[must_use]
    pub fn ids(&self) -> Vec<RowId> {
        self.rows.iter().map(|row| row.id).collect()
    }
}

/// The rows of an `inputs.jsonl`, up to the first fault.
fn read_rows(file: &Path, kind: ItemKind) -> Result<Vec<Row>, ProblemError> {
    let text = files::read_text(file)?;
    let mut reader = RowReader::new(kind);
    let mut seen = HashSet::new();
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let row = reader.row(file, index + 1, line)?;
        if !seen.insert(row.id) {
            return Err(duplicate(file, index + 1, row.id));
        }
        rows.push(row);
    }
    if rows.is_empty() {
        return Err(ProblemError::content(
            file,
            "holds no row; a split needs at least one",
        ));
    }
    Ok(rows)
}

pub(crate) fn duplicate(file: &Path, line: usize, id: RowId) -> ProblemError {
    let reason = format!("{id} is on an earlier line too; keep each row once");
    ProblemError::at(file, line, "id", reason)
}

/// Reads lines of `inputs.jsonl` and gives rows of one group one name.
pub(crate) struct RowReader {
    kind: ItemKind,
    groups: HashMap<Box<str>, Arc<str>>,
}

impl RowReader {
    pub(crate) fn new(kind: ItemKind) -> Self {
        Self {
            kind,
            groups: HashMap::new(),
        }
    }

    pub(crate) fn row(
        &mut self,
        file: &Path,
        line: usize,
        text: &str,
    ) -> Result<Row, ProblemError> {
        let refuse = ProblemError::parse(file);
        let (id, group, consistency_key, item) = match self.kind {
            ItemKind::Pair => {
                let row: PairLine = files::json_line(text, line).map_err(refuse)?;
                let PairLine {
                    id,
                    group,
                    consistency_key,
                    prompt,
                    first,
                    second,
                } = row;
                (
                    id,
                    group,
                    consistency_key,
                    Item::Pair {
                        prompt,
                        first,
                        second,
                    },
                )
            }
            ItemKind::Claim => {
                let row: ClaimLine = files::json_line(text, line).map_err(refuse)?;
                let ClaimLine {
                    id,
                    group,
                    consistency_key,
                    question,
                    choice,
                } = row;
                (id, group, consistency_key, Item::Claim { question, choice })
            }
        };
        if group.is_empty() {
            let reason = "is empty; give each row the name of its group";
            return Err(ProblemError::at(file, line, "group", reason));
        }
        let group = match self.groups.get(group.as_str()) {
            Some(known) => Arc::clone(known),
            None => {
                let shared: Arc<str> = group.as_str().into();
                self.groups.insert(group.into(), Arc::clone(&shared));
                shared
            }
        };
        Ok(Row {
            id,
            group,
            item,
            consistency_key,
        })
    }
}

/// Rows in the form of `inputs.jsonl`.
pub(crate) fn write_rows(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let (id, group, consistency_key) =
            (row.id, row.group.to_string(), row.consistency_key.clone());
        match row.item.clone() {
            Item::Pair {
                prompt,
                first,
                second,
            } => {
                let line = PairLine {
                    id,
                    group,
                    prompt,
                    first,
                    second,
                    consistency_key,
                };
                files::push_json(&mut text, &line);
            }
            Item::Claim { question, choice } => {
                let line = ClaimLine {
                    id,
                    group,
                    question,
                    choice,
                    consistency_key,
                };
                files::push_json(&mut text, &line);
            }
        }
    }
    text
}

// One type for each kind, so that a stray key (above all a label) is refused by name.

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PairLine {
    id: RowId,
    group: String,
    prompt: String,
    first: String,
    second: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    consistency_key: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ClaimLine {
    id: RowId,
    group: String,
    question: String,
    choice: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    consistency_key: Option<String>,
}
