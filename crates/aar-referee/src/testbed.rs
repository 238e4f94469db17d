//! One problem of a study, ready for methods to run on: its teachers, its views, its truth.

use crate::audit::shortcuts;
use crate::board::RankTruth;
use aar_compute::View;
use aar_core::id::Seed;
use aar_core::problem::Split;
use aar_lab::teacher::Teacher;
use aar_problem::{Problem, ProblemError, write_weak_labels};
use aar_stats::{Anchors, Groups, StatsError};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use thiserror::Error;

/// Why a problem cannot be run on.
#[derive(Debug, Error)]
pub enum TestbedError {
    /// The directory is not a good problem.
    #[error(transparent)]
    Problem(#[from] ProblemError),
    /// A weak teacher could not be trained.
    #[error("weak teacher {seed} of {problem}: {reason}")]
    Teacher {
        /// The teacher's seed.
        seed: Seed,
        /// The problem's directory.
        problem: PathBuf,
        /// Why.
        reason: String,
    },
    /// Weak labels could not be written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Accuracies between which nothing can be measured.
    #[error("{problem}: split {split} has no usable anchors: {reason}")]
    Anchors {
        /// The problem's directory.
        problem: PathBuf,
        /// The split.
        split: Split,
        /// Why.
        reason: String,
    },
}

/// An open problem with the weak labels of the teachers that were trained so far.
#[derive(Debug)]
pub struct Testbed {
    problem: Problem,
    weak: PathBuf,
    sealed: PathBuf,
    /// Whose teachers are stored, in the order of their numbers.
    seeds: Vec<Seed>,
    making: Mutex<()>,
}

impl Testbed {
    /// Opens the problem in `dir`; weak labels are kept in `weak`, one file for each teacher.
    ///
    /// What the vault holds is readable for its owner only, and sandboxes run as somebody else. So
    /// the sealed inputs are copied to `sealed`, which must be a directory that only this process
    /// can enter.
    ///
    /// Where a problem's teachers are stored, the first of `seeds` has teacher 1, the second teacher 2
    /// and so on. Otherwise every seed has a teacher, which is trained when it is asked for.
    ///
    /// # Errors
    /// If the problem is malformed or the directories cannot be made.
    pub fn open(
        dir: &Path,
        weak: &Path,
        sealed: &Path,
        seeds: Vec<Seed>,
    ) -> Result<Self, TestbedError> {
        let problem = Problem::open(dir)?;
        for directory in [weak, sealed] {
            fs::create_dir_all(directory).map_err(failed(directory))?;
        }
        let (weak, sealed) = (weak.to_owned(), sealed.to_owned());
        Ok(Self {
            problem,
            weak,
            sealed,
            seeds,
            making: Mutex::new(()),
        })
    }

    /// The problem itself.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// Which group each row of `split` belongs to, in row order.
    #[must_use]
    pub fn groups(&self, split: Split) -> Groups {
        groups(&self.problem, split)
    }

    /// What a method sees that learns from teacher `seed` and predicts `split`.
    ///
    /// # Errors
    /// If the teacher cannot be trained or its labels cannot be written.
    pub fn view(&self, split: Split, seed: Seed) -> Result<View, TestbedError> {
        let layout = self.problem.layout();
        let has_activations = !self.problem.about().activations().is_empty();
        let given = |file: PathBuf| self.given(split, file);
        let optional = |file: PathBuf| has_activations.then(|| given(file)).transpose();
        let inputs = given(layout.inputs(Split::Train))?;
        optional(layout.activations(Split::Train))?;
        Ok(View {
            about: given(layout.about())?,
            brief: given(layout.brief())?,
            train: inputs
                .parent()
                .map_or_else(|| layout.public(), Path::to_owned),
            weak: self.weak_labels(seed)?,
            predict_inputs: given(layout.inputs(split))?,
            predict_activations: optional(layout.activations(split))?,
            predict_ids: self.problem.table(split).ids(),
        })
    }

    /// What is true on the sealed rows.
    ///
    /// # Errors
    /// If the problem has no usable anchors there.
    pub fn truth(&self) -> Result<RankTruth, TestbedError> {
        truth(&self.problem, Split::Rank)
    }

    /// The file that a sandbox gets which predicts `split`.
    ///
    /// One that predicts sealed rows gets copies of everything. The vault's own files are readable
    /// for their owner only; and a file that two sandboxes share lets code in one signal to code in
    /// the other, so the referee's share none with researchers'.
    fn given(&self, split: Split, file: PathBuf) -> Result<PathBuf, TestbedError> {
        if split.is_public() {
            return Ok(file);
        }
        let within = file
            .strip_prefix(self.problem.layout().dir())
            .unwrap_or(&file);
        let copy = self.sealed.join(within);
        self.once(&copy, |partial| {
            fs::copy(&file, partial).map_err(failed(&file))?;
            Ok(())
        })?;
        Ok(copy)
    }

    /// Makes what sandboxes find at `path`, unless it is there. It gets its name when it is whole,
    /// so that what is there is complete.
    pub(crate) fn once(
        &self,
        path: &Path,
        make: impl FnOnce(&Path) -> Result<(), TestbedError>,
    ) -> Result<(), TestbedError> {
        let _one_at_a_time = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if path.exists() {
            return Ok(());
        }
        let directory = path.parent().unwrap_or(&self.sealed);
        fs::create_dir_all(directory).map_err(failed(directory))?;
        let partial = path.with_extension("partial");
        make(&partial)?;
        let mode = if partial.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(&partial, fs::Permissions::from_mode(mode))
            .map_err(failed(&partial))?;
        fs::rename(&partial, path).map_err(failed(path))
    }

    /// Where the changed inputs of audits are kept: beside the sealed ones.
    pub(crate) fn changed(&self, name: &str) -> PathBuf {
        self.sealed.join("changed").join(name)
    }

    /// The file with the weak labels of teacher `seed`, made at the first call.
    pub(crate) fn weak_labels(&self, seed: Seed) -> Result<PathBuf, TestbedError> {
        let path = self.weak.join(format!("{seed}.jsonl"));
        let refuse = |reason: String| TestbedError::Teacher {
            seed,
            problem: self.problem.layout().dir().to_owned(),
            reason,
        };
        self.once(&path, |partial| {
            let labels = self.taught(seed).map_err(refuse)?;
            let text = write_weak_labels(&self.problem.table(Split::Train).ids(), &labels);
            fs::write(partial, text).map_err(failed(partial))
        })?;
        Ok(path)
    }
}

impl Testbed {
    /// What the teacher of `seed` says of the train rows, or why there is none.
    fn taught(&self, seed: Seed) -> Result<Vec<f64>, String> {
        if self.problem.stored_teachers().is_none() {
            let teacher = Teacher::train(&self.problem, seed).map_err(|e| e.to_string())?;
            let said = teacher.soft_labels(&self.problem, Split::Train);
            return said.map_err(|error| error.to_string());
        }
        let place = self.seeds.iter().position(|one| *one == seed);
        let place = place.ok_or("it is none of those that have stored labels")?;
        let said = self.problem.stored_weak_labels(place as u64 + 1);
        said.map_err(|error| error.to_string())
    }
}

/// What is true on a scored split of a problem.
pub(crate) fn truth(problem: &Problem, split: Split) -> Result<RankTruth, TestbedError> {
    let refuse = |reason: String| TestbedError::Anchors {
        problem: problem.layout().dir().to_owned(),
        split,
        reason,
    };
    let anchors = problem.manifest().anchors.get(&split);
    let anchors = anchors.ok_or_else(|| refuse("none were measured".to_owned()))?;
    let anchors = Anchors::new(anchors.weak, anchors.ceiling)
        .map_err(|error: StatsError| refuse(error.to_string()))?;
    Ok(RankTruth {
        labels: problem.labels(split).to_vec(),
        groups: groups(problem, split),
        anchors,
        shortcuts: shortcuts(problem),
    })
}

/// Which group each row of a split belongs to, in row order.
pub(crate) fn groups(problem: &Problem, split: Split) -> Groups {
    let rows = &problem.table(split).rows;
    let keys: Vec<&str> = rows.iter().map(|row| &*row.group).collect();
    Groups::from_keys(&keys)
}

pub(crate) fn failed(path: &Path) -> impl FnOnce(io::Error) -> TestbedError {
    let path = path.to_owned();
    move |source| TestbedError::Io { path, source }
}
