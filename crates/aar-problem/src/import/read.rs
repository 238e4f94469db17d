//! Reading the study's three files: rows of one kind, or everything that is wrong with them.

use super::fault::{DataRefused, Faults};
use super::line::{Line, Scalar, label, shown, word};
use crate::files;
use aar_core::problem::ItemKind;
use aar_core::row::{Item, Label, RowId};
use serde::Serialize;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::path::Path;

/// Bytes that a file may have.
pub const MAX_FILE: u64 = 256 << 20;
/// Bytes that a line may have.
pub const MAX_LINE: usize = 1 << 20;
/// Names of fields that a row's layout does not know, over all files.
pub const MAX_FIELDS: usize = 64;

/// Fields of the layout that may follow from the label, and so stay behind.
const WITHHELD: [&str; 2] = ["difficulty", "subset"];

/// The files of the study's layout.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize)]
pub enum SourceFile {
    /// Becomes the split `teacher`.
    #[serde(rename = "train_label.jsonl")]
    TrainLabel,
    /// Becomes the split `train`.
    #[serde(rename = "train_unlabel.jsonl")]
    TrainUnlabel,
    /// Is dealt into `dev` and `rank`.
    #[serde(rename = "test.jsonl")]
    Test,
}

impl SourceFile {
    /// All of them, each before those that keep a row which they share.
    pub const ALL: [Self; 3] = [Self::TrainLabel, Self::TrainUnlabel, Self::Test];

    /// The file's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TrainLabel => "train_label.jsonl",
            Self::TrainUnlabel => "train_unlabel.jsonl",
            Self::Test => "test.jsonl",
        }
    }
}

impl fmt::Display for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// All rows of the three files, file by file, in the order of their lines.
#[derive(Debug)]
pub(super) struct Brought {
    pub(super) kind: ItemKind,
    pub(super) rows: Vec<SourceRow>,
    /// How many texts of each file were `true`, `false` or a number.
    pub(super) converted: BTreeMap<SourceFile, usize>,
    /// Fields that stay behind, with the number of rows that had them: those of the layout.
    pub(super) withheld: BTreeMap<String, usize>,
    /// And those that it does not know.
    pub(super) unknown: BTreeMap<String, usize>,
}

/// One row as it came.
#[derive(Debug)]
pub(super) struct SourceRow {
    pub(super) file: SourceFile,
    pub(super) id: RowId,
    pub(super) item: Item,
    pub(super) label: Label,
    /// Rows of one file with the same `consistency_id` speak of one thing.
    pub(super) consistency_id: Option<String>,
    /// Of those, rows with the same key have the same answer.
    pub(super) key: Option<Key>,
}

/// Where it is told which answers are the same.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Key {
    Given(String),
    /// Rows without a key, by `answer`, the answer that the row's text comes to.
    Answer(String),
}

/// Reads the files in `dir`.
pub(super) fn read(dir: &Path) -> Result<Brought, DataRefused> {
    let mut reader = Reader::default();
    for file in SourceFile::ALL {
        reader.file(file, &dir.join(file.name()));
    }
    let Reader {
        faults,
        kind,
        rows,
        converted,
        withheld,
        unknown,
    } = reader;
    let brought = kind.map(|(kind, _)| Brought {
        kind,
        rows,
        converted,
        withheld,
        unknown,
    });
    faults.or(brought)
}

#[derive(Default)]
struct Reader {
    faults: Faults,
    /// The kind of the first row, and where that is.
    kind: Option<(ItemKind, String)>,
    rows: Vec<SourceRow>,
    converted: BTreeMap<SourceFile, usize>,
    withheld: BTreeMap<String, usize>,
    unknown: BTreeMap<String, usize>,
}

impl Reader {
    fn file(&mut self, file: SourceFile, path: &Path) {
        let bytes = match bounded(path) {
            Ok(bytes) => bytes,
            Err(reason) => return self.faults.note(path, None, reason),
        };
        // What an earlier line of this file has: given ids, and contents with their labels.
        let mut given = HashMap::new();
        let mut contents = HashMap::new();
        let mut lines = 0;
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            lines += 1;
            let number = index + 1;
            let read = self.line(file, number, line).and_then(|(row, id)| {
                unrepeated(&mut given, id, number)?;
                let (earlier, label) = *contents.entry(row.id).or_insert((number, row.label));
                if label != row.label {
                    return Err(format!(
                        "repeats line {earlier} with the other label; keep the one that is true"
                    ));
                }
                Ok(row)
            });
            match read {
                Ok(row) => self.rows.push(row),
                Err(reason) => self.faults.note(path, Some(number), reason),
            }
        }
        if lines == 0 {
            let reason = "holds no row; every one of the three files needs some";
            self.faults.note(path, None, reason);
        }
    }

    /// One row and the id that it came with.
    fn line(
        &mut self,
        file: SourceFile,
        number: usize,
        bytes: &[u8],
    ) -> Result<(SourceRow, Option<Scalar>), String> {
        if bytes.len() > MAX_LINE {
            let found = bytes.len();
            return Err(format!(
                "has {found} bytes, at most {MAX_LINE} are read; shorten the row or leave it out"
            ));
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|_| "not valid UTF-8; save the file as UTF-8".to_owned())?;
        let line: Line = files::json_line(text, number).map_err(|error| {
            let field = error
                .field
                .map(|field| format!("field {}: ", shown(&field)));
            let (field, reason) = (field.unwrap_or_default(), error.reason);
            format!("{field}{reason}; write each row as one whole JSON object")
        })?;
        self.fields(&line)?;
        let (kind, item, converted) = line.item()?;
        let place = || format!("{}:{number}", file.name());
        let (expected, first) = self.kind.get_or_insert_with(|| (kind, place()));
        if *expected != kind {
            let (is, was) = (word(kind), word(*expected));
            return Err(format!(
                "{is}, but {first} is {was}; keep rows of one kind in all three files"
            ));
        }
        let label = label(kind, line.label.as_ref())?;
        *self.converted.entry(file).or_default() += converted;
        let key = match (line.consistency_key, line.answer) {
            (Some(key), _) => Some(Key::Given(key.into_text())),
            (None, Some(answer)) => Some(Key::Answer(answer.into_text().trim().to_owned())),
            (None, None) => None,
        };
        let row = SourceRow {
            file,
            id: item.id(),
            item,
            label,
            consistency_id: line.consistency_id.map(Scalar::into_text),
            key,
        };
        Ok((row, line.id))
    }

    /// Counts the fields that stay behind.
    fn fields(&mut self, line: &Line) -> Result<(), String> {
        for name in line.others.keys() {
            let name = shown(name);
            let fields = if WITHHELD.contains(&name.as_str()) {
                &mut self.withheld
            } else {
                &mut self.unknown
            };
            let full = fields.len() >= MAX_FIELDS;
            match fields.entry(name) {
                Entry::Occupied(mut known) => *known.get_mut() += 1,
                Entry::Vacant(_) if full => {
                    return Err(format!(
                        "has a field that is not one of the layout, as {MAX_FIELDS} other names \
                         before it; remove such fields"
                    ));
                }
                Entry::Vacant(free) => {
                    free.insert(1);
                }
            }
        }
        Ok(())
    }
}

/// The file's bytes. A pipe would be waited for without end, so it is refused.
fn bounded(path: &Path) -> Result<Vec<u8>, String> {
    let found = fs::metadata(path)
        .map_err(|error| format!("{error}; the three files of the study's layout are needed"))?;
    if !found.is_file() {
        return Err("is not a regular file; put the file itself here".to_owned());
    }
    if found.len() > MAX_FILE {
        let size = found.len();
        return Err(format!(
            "has {size} bytes, at most {MAX_FILE} are read; import a part of it"
        ));
    }
    fs::read(path).map_err(|error| error.to_string())
}

fn unrepeated(
    given: &mut HashMap<String, usize>,
    id: Option<Scalar>,
    line: usize,
) -> Result<(), String> {
    let Some(id) = id.map(Scalar::into_text) else {
        return Ok(());
    };
    let earlier = *given.entry(id.clone()).or_insert(line);
    if earlier == line {
        return Ok(());
    }
    let id = shown(&id);
    Err(format!(
        "id {id:?} is on line {earlier} too; give each row an id of its own, or none"
    ))
}
