//! A whole problem, for trusted eyes: inputs, labels, weak features, commitments.

use crate::error::ProblemError;
use crate::files;
use crate::labels::read_labels;
use crate::layout::Layout;
use crate::manifest::{about_faults, check_anchors, manifest_faults, read_manifest};
use crate::prediction::{read_weak_labels, write_weak_labels};
use crate::public::refuse;
use crate::table::Table;
use crate::tensor::{Tensor, TensorFile};
use crate::write::{encode_all, make_dir, open_mode};
use aar_core::digest::Digest;
use aar_core::problem::{
    About, Ceilings, ProblemManifest, Split, SplitAnchors, StoredTeachers, StrongModel,
    TeacherSpec, Teachers,
};
use aar_core::row::{Label, RowId};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What makes commitments to labels impossible to guess.
pub type Salt = [u8; 32];

/// The name of the tensor in `weak.safetensors`.
pub(crate) const WEAK_TENSOR: &str = "weak";

/// An open problem directory. Rows and labels are in memory, tensors are read when asked for.
#[derive(Debug)]
pub struct Problem {
    layout: Layout,
    manifest: ProblemManifest,
    about: About,
    brief: String,
    salt: Option<Salt>,
    parts: BTreeMap<Split, Part>,
}

#[derive(Debug)]
struct Part {
    table: Table,
    labels: Vec<Label>,
}

impl Problem {
    /// Opens a directory that this program wrote, or that [`check`](crate::check()) found good.
    ///
    /// # Errors
    /// Names the file, the line and the field of the first fault. Not looked for here: groups in
    /// two splits, ids that are not the content hash, values that are not finite, commitments.
    pub fn open(dir: &Path) -> Result<Self, ProblemError> {
        let layout = Layout::new(dir);
        let manifest = read_manifest(&layout)?;
        let about: About = files::read_toml(&layout.about())?;
        let mut faults = manifest_faults(&layout, &manifest);
        faults.extend(about_faults(&layout, &about, Some(&manifest)));
        if let Some(fault) = faults.into_iter().next() {
            return Err(fault);
        }
        let brief = files::read_text(&layout.brief())?;
        let salt = read_salt(&layout)?;
        let mut parts = BTreeMap::new();
        for split in Split::ALL {
            let part = Part::open(&layout, &about, split)?;
            let promised = manifest.rows.get(&split).copied();
            if let Some(fault) = row_count_fault(&layout, split, part.table.len(), promised) {
                return Err(fault);
            }
            parts.insert(split, part);
        }
        Ok(Self {
            layout,
            manifest,
            about,
            brief,
            salt,
            parts,
        })
    }

    /// Where the files are.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// `problem.toml`.
    #[must_use]
    pub fn manifest(&self) -> &ProblemManifest {
        &self.manifest
    }

    /// `public/about.toml`.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.about
    }

    /// `brief.md`.
    #[must_use]
    pub fn brief(&self) -> &str {
        &self.brief
    }

    /// The rows of a split with the strong model's states.
    #[must_use]
    pub fn table(&self, split: Split) -> &Table {
        &self.parts[&split].table
    }

    /// The labels of a split, in the order of its table.
    #[must_use]
    pub fn labels(&self, split: Split) -> &[Label] {
        &self.parts[&split].labels
    }

    /// How weak teachers are trained from weak features.
    ///
    /// # Errors
    /// When no weak model has seen the rows yet, as after [`import`](crate::import()), or the
    /// teachers' labels are stored.
    pub fn teacher(&self) -> Result<&TeacherSpec, ProblemError> {
        let reason = match &self.manifest.teacher {
            Some(Teachers::Probe(spec)) => return Ok(spec),
            Some(Teachers::Stored(_)) => {
                "has stored labels of models that read texts: there is nothing to train others from"
            }
            None => {
                "is missing: no weak model has seen the rows yet; `aar problem anchors` \
                 trains weak teachers and ceilings on texts alone"
            }
        };
        Err(ProblemError::field(
            &self.layout.manifest(),
            "teacher",
            reason,
        ))
    }

    /// The teachers whose labels are stored; none if each seed's teacher is trained anew, or there are
    /// no teachers yet.
    #[must_use]
    pub fn stored_teachers(&self) -> Option<&StoredTeachers> {
        match &self.manifest.teacher {
            Some(Teachers::Stored(stored)) => Some(stored),
            Some(Teachers::Probe(_)) | None => None,
        }
    }

    /// What the stored weak teacher of `seed` says of the rows of `train`: probabilities of label 1.
    ///
    /// # Errors
    /// When there are no stored teachers, none for this seed, or its file is damaged.
    pub fn stored_weak_labels(&self, seed: u64) -> Result<Vec<f64>, ProblemError> {
        let refuse =
            |field: &str, reason: &str| ProblemError::field(&self.layout.manifest(), field, reason);
        let Some(StoredTeachers { seeds, .. }) = self.stored_teachers() else {
            let reason = "no stored labels: run `aar problem anchors` first";
            return Err(refuse("teacher", reason));
        };
        let found = u32::try_from(seed).ok();
        let Some(seed) = found.filter(|seed| (1..=*seeds).contains(seed)) else {
            let reason = format!("there are teachers of seeds 1 to {seeds}, but none of {seed}");
            return Err(refuse("teacher.seeds", &reason));
        };
        weak_labels(&self.layout, seed, &self.table(Split::Train).ids())
    }

    /// Stores what weak teachers said and what was measured, in place of what was there. Teacher
    /// `i` of `labels`, which gives a probability of label 1 for each row of `train`, has the seed
    /// `i + 1`. A problem in which a ceiling is not above its weak accuracy is noted as hard.
    ///
    /// # Errors
    /// When an anchor makes no sense (field named), weak features are there already, or a file
    /// cannot be written. Until all is written, [`check`](crate::check()) refuses the directory;
    /// doing it again helps.
    pub fn set_teachers(
        &mut self,
        model: String,
        ceilings: Ceilings,
        labels: &[Vec<f64>],
        anchors: BTreeMap<Split, SplitAnchors>,
    ) -> Result<(), ProblemError> {
        let refuse = |reason: &str| ProblemError::field(&self.layout.manifest(), "teacher", reason);
        if let Some(Teachers::Probe(_)) = self.manifest.teacher {
            return Err(refuse(
                "this problem has weak features; its anchors are measured with them",
            ));
        }
        let other =
            |strong: &StrongModel| !strong.activations.is_empty() && strong.name != ceilings.model;
        if self.about.strong.as_ref().is_some_and(other) {
            return Err(refuse(
                "there are states of another strong model: delete the activations, or take that model",
            ));
        }
        let hard = anchors.values().any(|a| a.ceiling <= a.weak);
        check_anchors(&self.layout, &anchors, hard)?;
        let ids = self.table(Split::Train).ids();
        let whole =
            |p: &Vec<f64>| p.len() == ids.len() && p.iter().all(|p| (0.0..=1.0).contains(p));
        if labels.is_empty() || !labels.iter().all(whole) {
            return Err(refuse(
                "the weak labels are not a probability for each row of train",
            ));
        }
        let dir = self.layout.weak_labels_dir();
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(ProblemError::io(&dir))?;
        }
        make_dir(&dir, 0o700)?;
        let mut seeds = 0;
        for p in labels {
            seeds += 1;
            let text = write_weak_labels(&ids, p);
            files::write_new(&self.layout.weak_labels(seeds), text.as_bytes(), 0o600)?;
        }
        let mut about = self.about.clone();
        about.strong = Some(StrongModel {
            name: ceilings.model.clone(),
            activations: about.activations().to_vec(),
        });
        let file = self.layout.about();
        files::replace(&file, files::to_toml(&file, &about)?.as_bytes(), 0o644)?;
        self.about = about;
        let teachers = StoredTeachers { model, seeds };
        self.store(ProblemManifest {
            teacher: Some(Teachers::Stored(teachers)),
            ceilings: Some(ceilings),
            hard,
            anchors,
            ..self.manifest.clone()
        })
    }

    /// Stores the strong model's states of rows, in place of what was there: for each split one tensor for
    /// each entry of `strong.activations`, in its order. Rows without states are those of `teacher` alone.
    ///
    /// # Errors
    /// When a tensor does not fit, or a file cannot be written. Until all is written,
    /// [`check`](crate::check()) refuses the directory; doing it again helps.
    pub fn set_activations(
        &mut self,
        strong: StrongModel,
        tensors: &BTreeMap<Split, Vec<Tensor>>,
    ) -> Result<(), ProblemError> {
        let about = About {
            strong: Some(strong),
            ..self.about.clone()
        };
        for (&split, tensors) in tensors {
            let file = self.layout.activations(split);
            let bytes = encode_all(&file, &about, tensors)?;
            files::replace(&file, &bytes, open_mode(split))?;
        }
        let file = self.layout.about();
        files::replace(&file, files::to_toml(&file, &about)?.as_bytes(), 0o644)?;
        *self = Self::open(self.layout.dir())?;
        Ok(())
    }

    /// The weak model's features of a split, `[rows, options, width]`, read from disk.
    ///
    /// # Errors
    /// When the file is missing, has another shape, or holds a value that is not finite.
    pub fn weak_features(&self, split: Split) -> Result<Tensor, ProblemError> {
        let file = TensorFile::open(&self.layout.weak(split))?;
        file.read(
            WEAK_TENSOR,
            self.table(split).len(),
            self.about.kind.options(),
            None,
        )
    }

    /// The salt of the commitments; published when a study is over, so that anyone can check them.
    #[must_use]
    pub fn salt(&self) -> Option<&Salt> {
        self.salt.as_ref()
    }

    /// Commits to the label files as they are now and stores the commitments in `problem.toml`.
    /// An existing salt stays, a problem without one gets `fresh`.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn commit(&mut self, fresh: Salt) -> Result<(), ProblemError> {
        let salt = match self.salt {
            Some(salt) => salt,
            None => {
                files::write_new(&self.layout.salt(), write_salt(&fresh).as_bytes(), 0o600)?;
                *self.salt.insert(fresh)
            }
        };
        let mut manifest = self.manifest.clone();
        for split in Split::ALL {
            manifest
                .commitments
                .insert(split, commitment_of(&self.layout, &salt, split)?);
        }
        self.store(manifest)
    }

    /// Do the label files still match the commitments? A problem without commitments matches.
    ///
    /// # Errors
    /// Names the first label file that does not match, or that the salt is missing.
    pub fn verify_commitments(&self) -> Result<(), ProblemError> {
        let mut faults = commitment_faults(&self.layout, &self.manifest, self.salt.as_ref());
        faults.drain(..).next().map_or(Ok(()), Err)
    }

    /// Stores measured anchors in `problem.toml`, in place of all that were there.
    ///
    /// # Errors
    /// When an anchor makes no sense (field named), or the file cannot be written.
    pub fn set_anchors(
        &mut self,
        anchors: BTreeMap<Split, SplitAnchors>,
    ) -> Result<(), ProblemError> {
        check_anchors(&self.layout, &anchors, self.manifest.hard)?;
        self.store(ProblemManifest {
            anchors,
            ..self.manifest.clone()
        })
    }

    /// The digest of every file of the problem, by its path in the directory.
    ///
    /// # Errors
    /// When a file cannot be read, or is neither a file nor a directory.
    pub fn file_digests(&self) -> Result<BTreeMap<PathBuf, Digest>, ProblemError> {
        let mut digests = BTreeMap::new();
        for file in files_below(self.layout.dir())? {
            let bytes = fs::read(&file).map_err(ProblemError::io(&file))?;
            let name = file
                .strip_prefix(self.layout.dir())
                .unwrap_or(&file)
                .to_owned();
            digests.insert(name, Digest::of(&bytes));
        }
        Ok(digests)
    }

    fn store(&mut self, manifest: ProblemManifest) -> Result<(), ProblemError> {
        let file = self.layout.manifest();
        files::replace(&file, files::to_toml(&file, &manifest)?.as_bytes(), 0o644)?;
        self.manifest = manifest;
        Ok(())
    }
}

impl Part {
    fn open(layout: &Layout, about: &About, split: Split) -> Result<Self, ProblemError> {
        let mut about = about.clone();
        let activations = layout.activations(split);
        if activations_optional(split) && !activations.exists() {
            about.strong = None;
        }
        let table = Table::open(&about, &layout.inputs(split), &activations)?;
        let labels = read_labels(&layout.labels(split), &table.ids())?;
        Ok(Self { table, labels })
    }
}

/// Weak teachers learn from weak features: the strong model's states of their rows are a luxury.
pub(crate) fn activations_optional(split: Split) -> bool {
    split == Split::Teacher
}

/// Reads the labels of one stored teacher.
pub(crate) fn weak_labels(
    layout: &Layout,
    seed: u32,
    ids: &[RowId],
) -> Result<Vec<f64>, ProblemError> {
    let file = layout.weak_labels(seed);
    let bytes = fs::read(&file).map_err(ProblemError::io(&file))?;
    read_weak_labels(&bytes, ids).map_err(|error| refuse(&file, error))
}

pub(crate) fn row_count_fault(
    layout: &Layout,
    split: Split,
    found: usize,
    promised: Option<usize>,
) -> Option<ProblemError> {
    let promised = promised.filter(|&promised| promised != found)?;
    let file = layout.inputs(split);
    let reason = format!("found {promised}, but {} has {found} rows", file.display());
    Some(ProblemError::field(
        &layout.manifest(),
        &format!("rows.{split}"),
        reason,
    ))
}

/// The salted hash of a label file, with the split's name in it so that files cannot be exchanged.
pub(crate) fn commitment(salt: &Salt, split: Split, labels: &[u8]) -> Digest {
    Digest::of_parts(&[salt, split.as_str().as_bytes(), labels])
}

fn commitment_of(layout: &Layout, salt: &Salt, split: Split) -> Result<Digest, ProblemError> {
    let file = layout.labels(split);
    let labels = fs::read(&file).map_err(ProblemError::io(&file))?;
    Ok(commitment(salt, split, &labels))
}

/// Every label file that does not match its commitment.
pub(crate) fn commitment_faults(
    layout: &Layout,
    manifest: &ProblemManifest,
    salt: Option<&Salt>,
) -> Vec<ProblemError> {
    let Some(salt) = salt else {
        if manifest.commitments.is_empty() {
            return Vec::new();
        }
        let reason = "is missing, so the commitments in problem.toml cannot be checked; restore it";
        return vec![ProblemError::content(&layout.salt(), reason)];
    };
    let mut faults = Vec::new();
    for (&split, promised) in &manifest.commitments {
        match commitment_of(layout, salt, split) {
            Ok(found) if found == *promised => {}
            Ok(_) => {
                let reason = format!(
                    "does not match field commitments.{split} of problem.toml: labels or salt were \
                     changed after they were committed to; restore them"
                );
                faults.push(ProblemError::content(&layout.labels(split), reason));
            }
            Err(fault) => faults.push(fault),
        }
    }
    faults
}

/// The salt, if the problem has one.
pub(crate) fn read_salt(layout: &Layout) -> Result<Option<Salt>, ProblemError> {
    let file = layout.salt();
    if !file.exists() {
        return Ok(None);
    }
    let text = files::read_text(&file)?;
    let mut salt = Salt::default();
    hex::decode_to_slice(text.trim_end(), &mut salt).map_err(|error| {
        let reason = format!("expected 64 hexadecimal digits: {error}");
        ProblemError::at(&file, 1, "salt", reason)
    })?;
    Ok(Some(salt))
}

pub(crate) fn write_salt(salt: &Salt) -> String {
    format!("{}\n", hex::encode(salt))
}

/// All files below a directory, sorted. Links are refused: what they point to could change.
pub(crate) fn files_below(dir: &Path) -> Result<Vec<PathBuf>, ProblemError> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).map_err(ProblemError::io(&dir))? {
            let entry = entry.map_err(ProblemError::io(&dir))?;
            let path = entry.path();
            let kind = entry.file_type().map_err(ProblemError::io(&path))?;
            if kind.is_dir() {
                pending.push(path);
            } else if kind.is_file() {
                found.push(path);
            } else {
                let reason = "is neither a file nor a directory; put a plain file there";
                return Err(ProblemError::content(&path, reason));
            }
        }
    }
    found.sort();
    Ok(found)
}
