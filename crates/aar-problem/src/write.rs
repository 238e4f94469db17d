//! Writing a problem directory: all of it or nothing.

use crate::check::{CheckFailed, check};
use crate::error::ProblemError;
use crate::files;
use crate::layout::{ACTIVATIONS, INPUTS, Layout};
use crate::prediction::write_predictions;
use crate::table::{Row, write_rows};
use crate::tensor::{Tensor, encode};
use crate::vault::{Salt, WEAK_TENSOR, commitment, write_salt};
use aar_core::id::ProblemId;
use aar_core::problem::{
    About, ItemKind, PROBLEM_FORMAT, ProblemManifest, Split, TeacherSpec, Teachers,
};
use aar_core::row::{Label, RowId};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use thiserror::Error;

/// Everything that a problem directory is made of; counts and commitments follow from it.
#[derive(Clone, PartialEq, Debug)]
pub struct ProblemParts {
    /// The public description.
    pub about: About,
    /// What researchers are told, as Markdown.
    pub brief: String,
    /// Are the answers public?
    pub practice: bool,
    /// Is no gap or no signal expected?
    pub hard: bool,
    /// How weak teachers are trained.
    pub teacher: TeacherSpec,
    /// Exact duplicates that were left out.
    pub duplicates: usize,
    /// What keeps the commitments from being guessed; fresh random bytes.
    pub salt: Salt,
    /// All four splits.
    pub splits: BTreeMap<Split, SplitParts>,
}

/// One split; rows, labels and tensors in the same order.
#[derive(Clone, PartialEq, Debug)]
pub struct SplitParts {
    /// What is asked.
    pub rows: Vec<Row>,
    /// What is true.
    pub labels: Vec<Label>,
    /// One tensor `[rows, options, width]` for each entry of `About::activations`, in its order.
    pub activations: Vec<Tensor>,
    /// The weak model's features, `[rows, options, width]`.
    pub weak: Tensor,
}

/// A problem that begins with its texts: no model has seen its rows, so there are no tensors, no
/// way to train a weak teacher yet, and no commitments before a study makes its own.
#[derive(Clone, PartialEq, Debug)]
pub struct TextParts {
    /// Name and version.
    pub id: ProblemId,
    /// Pairs or claims.
    pub kind: ItemKind,
    /// What researchers are told, as Markdown.
    pub brief: String,
    /// Are the answers public?
    pub practice: bool,
    /// Exact duplicates that were left out.
    pub duplicates: usize,
    /// Groups that are in more than one split.
    pub shared_groups: usize,
    /// All four splits.
    pub splits: BTreeMap<Split, LabelledRows>,
}

/// One split without any model's states; rows and labels in the same order.
#[derive(Clone, PartialEq, Debug)]
pub struct LabelledRows {
    /// What is asked.
    pub rows: Vec<Row>,
    /// What is true.
    pub labels: Vec<Label>,
}

/// Why no problem directory was written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// A file could not be written, or a value has no place in its file.
    #[error(transparent)]
    File(#[from] ProblemError),
    /// The parts do not make a good problem.
    #[error(transparent)]
    Invalid(#[from] CheckFailed),
    /// There is something already, and it is no empty directory.
    #[error("{} exists already; remove it or choose another directory", .0.display())]
    Exists(std::path::PathBuf),
}

/// Writes, checks and only then shows a problem directory at `dir`, where there is nothing yet or
/// an empty directory.
///
/// # Errors
/// In every case there is nothing at `dir` afterwards that was not there before.
pub fn write_problem(dir: &Path, parts: &ProblemParts) -> Result<(), WriteError> {
    write_whole(dir, |layout| write_files(layout, parts))
}

/// The same for a problem that begins with its texts.
///
/// # Errors
/// In every case there is nothing at `dir` afterwards that was not there before.
pub fn write_texts(dir: &Path, parts: &TextParts) -> Result<(), WriteError> {
    write_whole(dir, |layout| write_text_files(layout, parts))
}

/// Refuses a place where something is already.
pub(crate) fn expect_free(dir: &Path) -> Result<(), WriteError> {
    let taken = match dir.symlink_metadata() {
        // A directory that cannot be looked into is not known to be empty.
        Ok(found) if found.is_dir() => {
            fs::read_dir(dir).map_or(true, |mut inside| inside.next().is_some())
        }
        found => found.is_ok(),
    };
    match taken {
        true => Err(WriteError::Exists(dir.to_owned())),
        false => Ok(()),
    }
}

fn write_whole(
    dir: &Path,
    write: impl FnOnce(&Layout) -> Result<(), ProblemError>,
) -> Result<(), WriteError> {
    expect_free(dir)?;
    let parent = files::parent(dir);
    fs::create_dir_all(parent).map_err(ProblemError::io(parent))?;
    // Beside its place, so that a rename suffices; removed again on every early return.
    let draft = tempfile::Builder::new()
        .prefix(".problem-")
        .tempdir_in(parent)
        .map_err(ProblemError::io(parent))?;
    write(&Layout::new(draft.path()))?;
    check(draft.path()).map_err(|mut failed| {
        failed
            .faults
            .iter_mut()
            .for_each(|fault| fault.rebase(draft.path(), dir));
        failed
    })?;
    fs::set_permissions(draft.path(), Permissions::from_mode(0o755))
        .map_err(ProblemError::io(draft.path()))?;
    fs::rename(draft.path(), dir).map_err(ProblemError::io(dir))?;
    // Moved away: there is nothing left to remove.
    let _ = draft.keep();
    files::sync_parent(dir)?;
    Ok(())
}

fn write_files(layout: &Layout, parts: &ProblemParts) -> Result<(), ProblemError> {
    make_dir(&layout.public(), 0o755)?;
    make_dir(&layout.vault(), 0o700)?;
    let mut manifest = ProblemManifest {
        format: PROBLEM_FORMAT,
        id: parts.about.id.clone(),
        practice: parts.practice,
        hard: parts.hard,
        rows: BTreeMap::new(),
        duplicates: parts.duplicates,
        shared_groups: 0,
        teacher: Some(Teachers::Probe(parts.teacher.clone())),
        ceilings: None,
        anchors: BTreeMap::new(),
        commitments: BTreeMap::new(),
    };
    for (&split, part) in &parts.splits {
        let labels = write_split(layout, split, &part.rows, &part.labels)?;
        write_states(layout, &parts.about, split, part)?;
        manifest.rows.insert(split, part.rows.len());
        manifest
            .commitments
            .insert(split, commitment(&parts.salt, split, labels.as_bytes()));
    }
    files::write_new(&layout.salt(), write_salt(&parts.salt).as_bytes(), 0o600)?;
    write_descriptions(layout, &manifest, &parts.about, &parts.brief)
}

fn write_text_files(layout: &Layout, parts: &TextParts) -> Result<(), ProblemError> {
    make_dir(&layout.public(), 0o755)?;
    make_dir(&layout.vault(), 0o700)?;
    let mut rows = BTreeMap::new();
    for (&split, part) in &parts.splits {
        write_split(layout, split, &part.rows, &part.labels)?;
        rows.insert(split, part.rows.len());
    }
    let manifest = ProblemManifest {
        format: PROBLEM_FORMAT,
        id: parts.id.clone(),
        practice: parts.practice,
        hard: false,
        rows,
        duplicates: parts.duplicates,
        shared_groups: parts.shared_groups,
        teacher: None,
        ceilings: None,
        anchors: BTreeMap::new(),
        commitments: BTreeMap::new(),
    };
    let about = About {
        id: parts.id.clone(),
        kind: parts.kind,
        strong: None,
    };
    write_descriptions(layout, &manifest, &about, &parts.brief)
}

fn write_descriptions(
    layout: &Layout,
    manifest: &ProblemManifest,
    about: &About,
    brief: &str,
) -> Result<(), ProblemError> {
    let about = files::to_toml(&layout.about(), about)?;
    files::write_new(&layout.about(), about.as_bytes(), 0o644)?;
    files::write_new(&layout.brief(), brief.as_bytes(), 0o644)?;
    let manifest = files::to_toml(&layout.manifest(), manifest)?;
    files::write_new(&layout.manifest(), manifest.as_bytes(), 0o644)
}

/// Writes `inputs.jsonl` and `activations.safetensors` of some rows into the new directory `dir`,
/// readable for everyone: what a method is given to predict. There is one tensor for each entry of
/// [`About::activations`], in its order.
///
/// # Errors
/// If the directory exists, or a file cannot be written.
pub fn write_inputs(
    dir: &Path,
    about: &About,
    rows: &[Row],
    activations: &[Tensor],
) -> Result<(), ProblemError> {
    make_dir(dir, 0o755)?;
    let inputs = write_rows(rows);
    files::write_new(&dir.join(INPUTS), inputs.as_bytes(), 0o644)?;
    if !activations.is_empty() {
        let file = dir.join(ACTIVATIONS);
        let bytes = encode_all(&file, about, activations)?;
        files::write_new(&file, &bytes, 0o644)?;
    }
    Ok(())
}

pub(crate) fn encode_all(
    file: &Path,
    about: &About,
    activations: &[Tensor],
) -> Result<Vec<u8>, ProblemError> {
    let names = about.activations().iter().map(|spec| spec.tensor_name());
    encode(file, &names.zip(activations).collect::<Vec<_>>())
}

/// Writes rows and labels of one split and returns its label file.
fn write_split(
    layout: &Layout,
    split: Split,
    rows: &[Row],
    labels: &[Label],
) -> Result<String, ProblemError> {
    let file = layout.labels(split);
    if labels.len() != rows.len() {
        let (labels, rows) = (labels.len(), rows.len());
        return Err(ProblemError::content(
            &file,
            format!("{labels} labels for {rows} rows"),
        ));
    }
    if split.is_public() {
        make_dir(files::parent(&layout.inputs(split)), 0o755)?;
    }
    make_dir(files::parent(&file), 0o700)?;
    let ids: Vec<RowId> = rows.iter().map(|row| row.id).collect();
    let labels = write_predictions(&ids, labels);
    files::write_new(&file, labels.as_bytes(), 0o600)?;
    let inputs = write_rows(rows);
    files::write_new(&layout.inputs(split), inputs.as_bytes(), open_mode(split))?;
    Ok(labels)
}

/// Writes both models' states of one split.
fn write_states(
    layout: &Layout,
    about: &About,
    split: Split,
    part: &SplitParts,
) -> Result<(), ProblemError> {
    if !part.activations.is_empty() {
        let file = layout.activations(split);
        let bytes = encode_all(&file, about, &part.activations)?;
        files::write_new(&file, &bytes, open_mode(split))?;
    }
    let file = layout.weak(split);
    let bytes = encode(&file, &[(WEAK_TENSOR.to_owned(), &part.weak)])?;
    files::write_new(&file, &bytes, 0o600)
}

/// Who may read a split's inputs and activations.
pub(crate) fn open_mode(split: Split) -> u32 {
    if split.is_public() { 0o644 } else { 0o600 }
}

pub(crate) fn make_dir(dir: &Path, mode: u32) -> Result<(), ProblemError> {
    DirBuilder::new()
        .mode(mode)
        .create(dir)
        .map_err(ProblemError::io(dir))
}
