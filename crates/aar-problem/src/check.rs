//! `aar problem check`: everything that is wrong with a problem directory, at once.

use crate::error::ProblemError;
use crate::files;
use crate::labels::scan_labels;
use crate::layout::Layout;
use crate::manifest::{about_faults, manifest_faults, read_manifest};
use crate::table::{Row, RowReader, duplicate};
use crate::tensor::TensorFile;
use crate::vault::{
    WEAK_TENSOR, activations_optional, commitment_faults, files_below, read_salt, row_count_fault,
    weak_labels,
};
use aar_core::problem::{About, ItemKind, ProblemManifest, Split, StoredTeachers, Teachers};
use aar_core::row::RowId;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Faults that are listed; more are only counted.
pub const MAX_FAULTS: usize = 20;

/// What a good problem directory holds.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct CheckReport {
    /// Its manifest.
    pub manifest: ProblemManifest,
    /// The public part of its description.
    pub about: About,
    /// Groups in each split.
    pub groups: BTreeMap<Split, usize>,
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            manifest,
            about,
            groups,
        } = self;
        let kind = match about.kind {
            ItemKind::Pair => "pairs",
            ItemKind::Claim => "claims",
        };
        writeln!(
            f,
            "{}: {kind}, {} duplicates collapsed",
            manifest.id, manifest.duplicates
        )?;
        for (split, groups) in groups {
            let rows = manifest.rows.get(split).copied().unwrap_or(0);
            let anchors = match manifest.anchors.get(split) {
                Some(anchors) => {
                    format!("weak {:.3}, ceiling {:.3}", anchors.weak, anchors.ceiling)
                }
                None => "no anchors yet".to_owned(),
            };
            writeln!(
                f,
                "  {split:<7} {rows:>6} rows in {groups:>5} groups, {anchors}"
            )?;
        }
        if manifest.shared_groups > 0 {
            writeln!(
                f,
                "  {} groups are in more than one split, as the data came",
                manifest.shared_groups
            )?;
        }
        if let Some(Teachers::Stored(StoredTeachers { model, seeds })) = &manifest.teacher {
            writeln!(f, "  weak labels of {seeds} teachers ({model}) are stored")?;
        }
        if manifest.teacher.is_none() {
            let only = match about.strong {
                Some(_) => "",
                None => "texts only: ",
            };
            writeln!(f, "  {only}no weak model has seen the rows yet")?;
        }
        let committed = if manifest.commitments.is_empty() {
            "no"
        } else {
            "match"
        };
        write!(
            f,
            "  {} activation tensors, commitments: {committed}",
            about.activations().len()
        )
    }
}

/// What is wrong with a problem directory.
#[derive(Debug)]
pub struct CheckFailed {
    /// The first [`MAX_FAULTS`] faults, at least one.
    pub faults: Vec<ProblemError>,
    /// How many more there are.
    pub more: usize,
}

impl fmt::Display for CheckFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            let end = if index + 1 < self.faults.len() || self.more > 0 {
                "\n"
            } else {
                ""
            };
            write!(f, "{fault}{end}")?;
        }
        if self.more > 0 {
            write!(f, "… and {} more faults", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for CheckFailed {}

/// Checks a problem directory from anywhere, with or without anchors, commitments, activations.
///
/// A row that occurs twice, in one split or in two, is a fault: whoever makes the directory
/// collapses exact duplicates and states their number in `problem.toml`.
///
/// # Errors
/// Everything that was found, each with file, line and field.
pub fn check(dir: &Path) -> Result<CheckReport, CheckFailed> {
    let mut checker = Checker::new(dir);
    let report = checker.run();
    match report {
        Some(report) if checker.faults.is_empty() => Ok(report),
        _ => Err(CheckFailed {
            faults: checker.faults,
            more: checker.more,
        }),
    }
}

/// Are there weak features to train teachers from?
fn has_probe(manifest: &ProblemManifest) -> bool {
    matches!(manifest.teacher, Some(Teachers::Probe(_)))
}

struct Checker {
    layout: Layout,
    faults: Vec<ProblemError>,
    more: usize,
    /// Where each row was seen first.
    rows: HashMap<RowId, Split>,
    /// All splits that each group was seen in, in the order of [`Split::ALL`].
    groups: HashMap<Arc<str>, Vec<Split>>,
}

impl Checker {
    fn new(dir: &Path) -> Self {
        Self {
            layout: Layout::new(dir),
            faults: Vec::new(),
            more: 0,
            rows: HashMap::new(),
            groups: HashMap::new(),
        }
    }

    fn fault(&mut self, fault: ProblemError) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(fault);
        } else {
            self.more += 1;
        }
    }

    fn noted<T>(&mut self, result: Result<T, ProblemError>) -> Option<T> {
        result.map_err(|fault| self.fault(fault)).ok()
    }

    /// The report, if enough could be read for one; it counts only if no fault was noted.
    fn run(&mut self) -> Option<CheckReport> {
        let layout = self.layout.clone();
        let manifest = self.noted(read_manifest(&layout));
        self.strays(manifest.as_ref());
        let about: Option<About> = self.noted(files::read_toml(&layout.about()));
        for fault in manifest
            .iter()
            .flat_map(|manifest| manifest_faults(&layout, manifest))
        {
            self.fault(fault);
        }
        self.noted(files::read_text(&layout.brief()));
        let salt = self.noted(read_salt(&layout));
        // What a row looks like is known from about.toml only.
        let about = about?;
        for fault in about_faults(&layout, &about, manifest.as_ref()) {
            self.fault(fault);
        }
        let mut groups = BTreeMap::new();
        for split in Split::ALL {
            groups.insert(split, self.split(&about, split, manifest.as_ref()));
        }
        let manifest = manifest?;
        self.shared_groups(&manifest);
        for fault in salt
            .iter()
            .flat_map(|s| commitment_faults(&layout, &manifest, s.as_ref()))
        {
            self.fault(fault);
        }
        Some(CheckReport {
            manifest,
            about,
            groups,
        })
    }

    /// Files in `public` and `vault` that have no business there, above all labels in `public`.
    fn strays(&mut self, manifest: Option<&ProblemManifest>) {
        let layout = self.layout.clone();
        let taught = manifest.is_none_or(has_probe);
        let mut expected = HashSet::from([layout.about(), layout.salt()]);
        for split in Split::ALL {
            expected.extend([
                layout.inputs(split),
                layout.activations(split),
                layout.labels(split),
            ]);
            if taught {
                expected.insert(layout.weak(split));
            } else if layout.weak(split).exists() {
                // Said once for each such file, and better than that it is a stray.
                expected.insert(layout.weak(split));
                let reason = match manifest.and_then(|manifest| manifest.teacher.as_ref()) {
                    Some(_) => {
                        "belongs to probes, but the teachers of problem.toml have stored labels; remove it"
                    }
                    None => {
                        "there is no [teacher] in problem.toml; say there how many labels a teacher sees, or remove the file"
                    }
                };
                self.fault(ProblemError::content(&layout.weak(split), reason));
            }
        }
        if let Some(Teachers::Stored(stored)) = manifest.and_then(|m| m.teacher.as_ref()) {
            expected.extend((1..=stored.seeds).map(|seed| layout.weak_labels(seed)));
        }
        for dir in [layout.public(), layout.vault()] {
            for file in self.noted(files_below(&dir)).unwrap_or_default() {
                if !expected.contains(&file) {
                    let reason = "does not belong to a problem directory; remove it";
                    self.fault(ProblemError::content(&file, reason));
                }
            }
        }
    }

    /// Checks the files of one split and answers with its number of groups.
    fn split(&mut self, about: &About, split: Split, manifest: Option<&ProblemManifest>) -> usize {
        let promised = manifest.and_then(|manifest| manifest.rows.get(&split).copied());
        let shared = manifest.is_some_and(|manifest| manifest.shared_groups > 0);
        let before = self.faults.len() + self.more;
        let Some(inputs) = self.inputs(about.kind, split, shared) else {
            return 0;
        };
        let sound = self.faults.len() + self.more == before;
        if let Some(fault) = row_count_fault(&self.layout, split, inputs.lines, promised) {
            self.fault(fault);
        }
        self.labels(split, sound.then_some(&inputs.ids));
        self.activations(about, split, inputs.lines);
        if manifest.is_none_or(has_probe) {
            self.weak(about, split, inputs.lines);
        }
        if let Some(Teachers::Stored(stored)) = manifest.and_then(|m| m.teacher.as_ref())
            && split == Split::Train
            && sound
        {
            for seed in 1..=stored.seeds {
                let read = weak_labels(&self.layout, seed, &inputs.ids);
                self.noted(read);
            }
        }
        inputs.groups
    }

    fn weak(&mut self, about: &About, split: Split, rows: usize) {
        let weak = TensorFile::open(&self.layout.weak(split)).and_then(|file| {
            let tensor = file.read(WEAK_TENSOR, rows, about.kind.options(), None);
            tensor.map(|_| ())
        });
        self.noted(weak);
    }

    /// Reads the rows of one split; `shared` says that other splits may have groups of it.
    fn inputs(&mut self, kind: ItemKind, split: Split, shared: bool) -> Option<Inputs> {
        let file = self.layout.inputs(split);
        let text = self.noted(files::read_text(&file))?;
        let mut reader = RowReader::new(kind);
        let mut inputs = Inputs::default();
        let mut groups = HashSet::new();
        for (index, line) in text.lines().enumerate() {
            inputs.lines += 1;
            let Some(row) = self.noted(reader.row(&file, index + 1, line)) else {
                continue;
            };
            self.row(&file, index + 1, split, &row);
            self.group(&file, index + 1, split, &row.group, shared);
            inputs.ids.push(row.id);
            groups.insert(row.group);
        }
        if inputs.lines == 0 {
            let reason = "holds no row; a split needs at least one";
            self.fault(ProblemError::content(&file, reason));
        }
        inputs.groups = groups.len();
        Some(inputs)
    }

    /// What one row says about itself and the rows before it.
    fn row(&mut self, file: &Path, line: usize, split: Split, row: &Row) {
        let hash = row.item.id();
        if row.id != hash {
            let reason = format!(
                "found {}, but the content hash of the row is {hash}",
                row.id
            );
            self.fault(ProblemError::at(file, line, "id", reason));
        }
        match self.rows.insert(row.id, split) {
            Some(earlier) if earlier == split => self.fault(duplicate(file, line, row.id)),
            Some(earlier) => {
                let reason = format!("{} is in split {earlier} too; keep it in one", row.id);
                self.fault(ProblemError::at(file, line, "id", reason));
            }
            None => self.swapped(file, line, split, row),
        }
    }

    /// What one row says about its group and the splits before it. What was learnt about `dev`
    /// must never tell about `rank`, so these two share no group whatever the manifest says.
    fn group(&mut self, file: &Path, line: usize, split: Split, group: &Arc<str>, shared: bool) {
        let seen = self.groups.entry(Arc::clone(group)).or_default();
        let mut others = seen.iter().filter(|&&other| other != split).copied();
        let refused = if shared {
            others.find(|&other| (other, split) == (Split::Dev, Split::Rank))
        } else {
            others.next()
        };
        if seen.last() != Some(&split) {
            seen.push(split);
        }
        if let Some(other) = refused {
            let reason = format!("{group:?} is in split {other} too; keep each group in one split");
            self.fault(ProblemError::at(file, line, "group", reason));
        }
    }

    /// The number of shared groups must be true where it is not 0; where it is, each is a fault.
    fn shared_groups(&mut self, manifest: &ProblemManifest) {
        let promised = manifest.shared_groups;
        let found = self.groups.values().filter(|seen| seen.len() > 1).count();
        if promised > 0 && found != promised {
            let reason = format!("found {promised}, but {found} groups are in more than one split");
            let file = self.layout.manifest();
            self.fault(ProblemError::field(&file, "shared_groups", reason));
        }
    }

    /// The same two answers in the other order are another row, but not another question.
    fn swapped(&mut self, file: &Path, line: usize, split: Split, row: &Row) {
        let other = row.item.swapped().id();
        let elsewhere = self
            .rows
            .get(&other)
            .filter(|&&s| s != split && other != row.id)
            .copied();
        if let Some(other_split) = elsewhere {
            let reason = format!(
                "the same pair with its options exchanged, {other}, is in split {other_split}; \
                 put both in one group"
            );
            self.fault(ProblemError::at(file, line, "id", reason));
        }
    }

    fn labels(&mut self, split: Split, ids: Option<&Vec<RowId>>) {
        let file = self.layout.labels(split);
        if let Some(text) = self.noted(files::read_text(&file)) {
            let labels = scan_labels(&file, &text, ids.map(Vec::as_slice), |fault| {
                self.fault(fault)
            });
            if let [first, rest @ ..] = &labels[..]
                && rest.iter().all(|label| label == first)
            {
                let found = u8::from(*first);
                let reason = format!("all labels are {found}; a split needs both 0 and 1");
                self.fault(ProblemError::field(&file, "label", reason));
            }
        }
    }

    fn activations(&mut self, about: &About, split: Split, rows: usize) {
        let path = self.layout.activations(split);
        let listed = !about.activations().is_empty();
        if !path.exists() && (!listed || activations_optional(split)) {
            return;
        }
        let Some(file) = self.noted(TensorFile::open(&path)) else {
            return;
        };
        for spec in about.activations() {
            let (name, options) = (spec.tensor_name(), about.kind.options());
            self.noted(
                file.read(&name, rows, options, Some(spec.width))
                    .map(|_| ()),
            );
        }
        for name in file.names() {
            if !about
                .activations()
                .iter()
                .any(|spec| spec.tensor_name() == name)
            {
                let reason = "is not listed in activations of public/about.toml; list or remove it";
                self.fault(ProblemError::field(&path, &name, reason));
            }
        }
    }
}

/// What the other files of a split are held against.
#[derive(Default)]
struct Inputs {
    lines: usize,
    ids: Vec<RowId>,
    groups: usize,
}
