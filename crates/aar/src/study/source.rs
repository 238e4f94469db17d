//! The problems that a study names: found and refused before anything is made.

use super::students::{self, Student};
use aar_core::problem::Split;
use aar_core::study::Study;
use aar_problem::generate::BuiltinProblem;
use aar_problem::{Problem, check};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where a problem comes from.
pub(super) enum Source {
    Builtin(BuiltinProblem),
    Directory {
        name: String,
        path: PathBuf,
        problem: Box<Problem>,
    },
}

impl Source {
    pub(super) fn find(name: &str, base: &Path) -> Result<Self> {
        if let Some(builtin) = BuiltinProblem::from_name(name) {
            return Ok(Self::Builtin(builtin));
        }
        let path = base.join(name);
        if !path.is_dir() {
            let known: Vec<_> = BuiltinProblem::ALL
                .iter()
                .map(|problem| problem.name())
                .collect();
            bail!(
                "problem {name:?} is neither a built-in problem ({}) nor a directory ({})",
                known.join(", "),
                path.display()
            );
        }
        check(&path).with_context(|| format!("problem {name:?}"))?;
        let problem = Problem::open(&path).with_context(|| format!("problem {name:?}"))?;
        Ok(Self::Directory {
            name: problem.manifest().name().to_string(),
            path,
            problem: Box::new(problem),
        })
    }

    /// Refuses a problem without teachers, or with too few stored ones.
    pub(super) fn check_teachers(&self, study: &Study) -> Result<()> {
        let Self::Directory { problem, path, .. } = self else {
            return Ok(());
        };
        let Some(stored) = problem.stored_teachers() else {
            problem.teacher()?;
            return Ok(());
        };
        let gap = |split| {
            let anchors = problem.manifest().anchors.get(&split);
            anchors.is_some_and(|anchors| anchors.ceiling > anchors.weak)
        };
        for split in [Split::Dev, Split::Rank] {
            if !gap(split) {
                bail!(
                    "on {split} its ceilings are not above its weak teachers, so there is no gap to recover: train the \
                     ceilings longer or on more rows, or take a weaker weak model, with `aar problem anchors {}`",
                    path.display()
                );
            }
        }
        let (evaluations, replications) = (study.evaluation_seeds, study.replication_seeds);
        let needed = evaluations + replications + 1;
        if (stored.seeds as usize) < needed {
            bail!(
                "labels of {} weak teachers are stored, and the study needs {needed}: {evaluations} for \
                 evaluations, {replications} for replications, 1 for experiments. Make them with `aar problem \
                 anchors {} --seeds {needed} --ceilings 2` and the --weak, --strong and settings of before; what \
                 was trained is not trained again",
                stored.seeds,
                path.display()
            );
        }
        Ok(())
    }

    /// Refuses a problem without states if no student reads its texts, or another one than the ceilings' model.
    pub(super) fn check_students(&self, students: &[Student]) -> Result<()> {
        let Self::Directory { problem, .. } = self else {
            return Ok(());
        };
        let states = !problem.about().activations().is_empty();
        match &problem.manifest().ceilings {
            // Recipes on states need no language model.
            _ if states && students.is_empty() => Ok(()),
            Some(ceilings) => students::check_ceilings(students, ceilings),
            None if students.is_empty() => {
                bail!("it has no states, and the study names no language model in `students`")
            }
            None => Ok(()),
        }
    }

    /// Where its labels lie, if it is a directory.
    pub(super) fn place(&self) -> Option<&Path> {
        match self {
            Self::Builtin(_) => None,
            Self::Directory { path, .. } => Some(path),
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Builtin(problem) => problem.name(),
            Self::Directory { name, .. } => name,
        }
    }
}

/// Refuses problems of one name, which have one place in the run directory, and a run directory
/// inside a problem, which would become part of itself.
pub(super) fn check_sources(sources: &[Source], run_dir: &Path) -> Result<()> {
    let mut names = BTreeSet::new();
    for source in sources {
        if !names.insert(source.name()) {
            bail!(
                "field transfer: {:?} is in the study already: every problem needs a name of its own",
                source.name()
            );
        }
    }
    let absolute = std::path::absolute(run_dir).context("finding the place of --out")?;
    let there = absolute.ancestors().find_map(|dir| dir.canonicalize().ok());
    for source in sources {
        if let Source::Directory { path, .. } = source
            && let Ok(problem) = path.canonicalize()
            && there.as_ref().is_some_and(|dir| dir.starts_with(&problem))
        {
            bail!(
                "--out {} lies inside the problem {}: name a directory elsewhere",
                run_dir.display(),
                path.display()
            );
        }
    }
    Ok(())
}
