//! Reading labels and predictions of unknown authors: every error names file, line and field.

use aar_core::parse;
use aar_core::row::Label;
use aar_stats::{CorrectMatrix, Groups};
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

/// Bytes that a file may have: ten million lines of a hundred.
const MAX_FILE: u64 = 1 << 30;

/// Bytes that a line may have.
const MAX_LINE: usize = 1 << 20;

/// Seeds that a set may have.
const MAX_SEEDS: usize = 1024;

/// The rows' labels and groups.
pub(super) struct Truth {
    file: PathBuf,
    /// Where each id stands.
    places: HashMap<String, usize>,
    labels: Vec<Label>,
    groups: Groups,
}

/// Predictions of one method, by the name of the seed.
pub(super) struct Scored {
    pub(super) seeds: Vec<String>,
    pub(super) right: CorrectMatrix,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LabelLine {
    id: String,
    label: Label,
    #[serde(default)]
    group: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PredictionLine {
    id: String,
    label: Label,
}

/// A row of a problem's inputs, of which only this matters here.
#[derive(Deserialize)]
struct InputLine {
    id: String,
    group: String,
}

impl Truth {
    /// Reads the labels, and the groups from `inputs` if they are not beside the labels.
    pub(super) fn read(file: &Path, inputs: Option<&Path>) -> Result<Self> {
        let (mut places, mut labels) = (HashMap::new(), Vec::new());
        let (mut grouped, mut named) = (None, Vec::new());
        each_line(file, |LabelLine { id, label, group }| {
            ensure!(
                places.insert(id.clone(), labels.len()).is_none(),
                "field id: {id:?} is on an earlier line too; keep one label for each row"
            );
            labels.push(label);
            ensure!(
                group.is_none() || inputs.is_none(),
                "field group: found one, but --inputs gives the groups too; use one of the two"
            );
            ensure!(
                *grouped.get_or_insert(group.is_some()) == group.is_some(),
                "field group: give every row a group or none"
            );
            named.extend(group);
            Ok(())
        })?;
        ensure!(
            labels.len() >= 2,
            "{}: holds {} rows; two at least are needed",
            file.display(),
            labels.len()
        );
        let groups = match inputs {
            Some(inputs) => Groups::from_keys(&groups_of(inputs, &places)?),
            None if named.is_empty() => Groups::singletons(u32::try_from(labels.len())?),
            None => Groups::from_keys(&named),
        };
        ensure!(
            groups.count() >= 2,
            "{}: field group: all rows are of one group; two groups at least are needed",
            inputs.unwrap_or(file).display()
        );
        Ok(Self {
            file: file.to_owned(),
            places,
            labels,
            groups,
        })
    }

    /// The group of each row, in the order of the labels.
    pub(super) fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Reads the predictions of all seeds at `path`.
    pub(super) fn score(&self, path: &Path) -> Result<Scored> {
        let files = seed_files(path)?;
        let rows = files.values().map(|file| self.score_file(file));
        let rows = rows.collect::<Result<Vec<_>>>()?;
        Ok(Scored {
            right: CorrectMatrix::from_rows(&rows)?,
            seeds: files.into_keys().collect(),
        })
    }

    fn score_file(&self, file: &Path) -> Result<Vec<bool>> {
        let mut right: Vec<Option<bool>> = vec![None; self.labels.len()];
        each_line(file, |PredictionLine { id, label }| {
            let place = *self
                .places
                .get(&id)
                .ok_or_else(|| anyhow!("field id: {id:?} is not in {}", self.file.display()))?;
            let before = right[place].replace(label == self.labels[place]);
            ensure!(
                before.is_none(),
                "field id: {id:?} is on an earlier line too"
            );
            Ok(())
        })?;
        let missing = right.iter().filter(|one| one.is_none()).count();
        ensure!(
            missing == 0,
            "{}: field id: {missing} of {} rows of {} have no prediction",
            file.display(),
            right.len(),
            self.file.display()
        );
        Ok(right.into_iter().flatten().collect())
    }
}

/// The group of each labelled row.
fn groups_of(inputs: &Path, places: &HashMap<String, usize>) -> Result<Vec<String>> {
    let mut groups = vec![None; places.len()];
    each_line(inputs, |InputLine { id, group }| {
        if let Some(&place) = places.get(&id) {
            groups[place] = Some(group);
        }
        Ok(())
    })?;
    let missing = groups.iter().filter(|group| group.is_none()).count();
    ensure!(
        missing == 0,
        "{}: field id: {missing} of {} labelled rows are not here",
        inputs.display(),
        groups.len()
    );
    Ok(groups.into_iter().flatten().collect())
}

/// The predictions of each seed, in the order of the seeds' names.
fn seed_files(path: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let seed = |file: &Path| match file.file_stem().and_then(|stem| stem.to_str()) {
        Some(stem) => Ok(stem.to_owned()),
        None => bail!("{}: a seed's name must be readable", file.display()),
    };
    if !path.is_dir() {
        return Ok([(seed(path)?, path.to_owned())].into());
    }
    let mut files = BTreeMap::new();
    let place = || path.display().to_string();
    for entry in fs::read_dir(path).with_context(place)? {
        let file = entry.with_context(place)?.path();
        if file.extension().is_some_and(|end| end == "jsonl") {
            files.insert(seed(&file)?, file);
        }
    }
    ensure!(
        (1..=MAX_SEEDS).contains(&files.len()),
        "{}: found {} files SEED.jsonl, expected 1 to {MAX_SEEDS}",
        path.display(),
        files.len()
    );
    Ok(files)
}

/// Hands each line of a JSON-lines file to `take`; every error names the file, and the line.
fn each_line<T: DeserializeOwned>(
    file: &Path,
    mut take: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    let place = || file.display().to_string();
    let about = fs::metadata(file).with_context(place)?;
    ensure!(about.is_file(), "{}: is not a file", file.display());
    ensure!(
        about.len() <= MAX_FILE,
        "{}: has {} bytes, at most {MAX_FILE} are read",
        file.display(),
        about.len()
    );
    let text = String::from_utf8(fs::read(file).with_context(place)?)
        .map_err(|_| anyhow!("{}: is not valid UTF-8", file.display()))?;
    for (index, text) in text.lines().enumerate() {
        let line = index + 1;
        ensure!(
            text.len() <= MAX_LINE,
            "{}: line {line}: has {} bytes, at most {MAX_LINE} are read",
            file.display(),
            text.len()
        );
        // The quick reader first, the one that can name the field only after an error.
        let value = serde_json::from_str(text)
            .or_else(|_| parse::json_line(text, line))
            .map_err(|error| anyhow!("{}: {}", file.display(), tame(&error.to_string())))?;
        take(value).map_err(|error| {
            anyhow!(
                "{}: line {line}: {}",
                file.display(),
                tame(&error.to_string())
            )
        })?;
    }
    Ok(())
}

/// Text that quotes a file of an unknown author, fit for a terminal.
fn tame(text: &str) -> String {
    let shown = text.chars().take(400);
    shown
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
