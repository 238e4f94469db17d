//! `aar problem import`: the study's three files as a problem directory.
//!
//! `train_label.jsonl` becomes the split `teacher`, `train_unlabel.jsonl` becomes `train`, and
//! `test.jsonl` is dealt into `dev` and `rank` by group. What whoever made the files decided
//! stands: rows do not move between files. Only a row that is in two files, in either order of its
//! options, leaves the file that is learnt from and stays in the one that is scored; and groups that
//! are in two files are counted in the manifest.
//!
//! Methods get the texts, a group and a consistency key. Both of these are made anew from the
//! texts and the order of content hashes, so that names such as `correct` cannot tell anything.
//! `subset`, `difficulty`, the text of `answer` and every other field stay behind.

mod deal;
mod fault;
mod group;
mod line;
mod read;
mod report;

pub use fault::{DataRefused, ImportError, ImportFault};
pub use group::Grouping;
pub use read::{MAX_FIELDS, MAX_FILE, MAX_LINE, SourceFile};
pub use report::{FileCounts, ImportReport, KeyCounts, Overlap, SplitCounts};

use crate::write::{TextParts, expect_free, write_texts};
use aar_core::id::{ProblemId, Seed};
use aar_core::problem::{ItemKind, Split};
use deal::{Dealt, deal};
use group::Grouped;
use read::read;
use std::path::Path;

/// What a problem is that its files do not say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImportPlan {
    /// Name and version.
    pub id: ProblemId,
    /// Are the answers public? Then the board says *practice problem*.
    pub practice: bool,
    /// Deals the groups of `test.jsonl` into `dev` and `rank`.
    pub seed: Seed,
}

/// Reads the three files in `source` and writes a problem directory at `out`, where there is
/// nothing yet or an empty directory. The same files and plan give the same bytes.
///
/// # Errors
/// Everything that is wrong with the files, at once; then nothing was written.
pub fn import(source: &Path, out: &Path, plan: &ImportPlan) -> Result<ImportReport, ImportError> {
    expect_free(out)?;
    let brought = read(source)?;
    let grouped = Grouped::of(&brought);
    let dealt = deal(source, &brought, &grouped, plan.seed)?;
    let report = ImportReport::of(plan, &brought, &grouped, &dealt);
    write_texts(out, &parts(plan, brought.kind, dealt, &report))?;
    Ok(report)
}

fn parts(plan: &ImportPlan, kind: ItemKind, dealt: Dealt, report: &ImportReport) -> TextParts {
    TextParts {
        id: plan.id.clone(),
        kind,
        brief: brief(plan, kind, report),
        practice: plan.practice,
        duplicates: report.left_out(),
        shared_groups: report.shared_groups,
        splits: dealt.splits,
    }
}

/// What researchers are told until someone writes more.
fn brief(plan: &ImportPlan, kind: ItemKind, report: &ImportReport) -> String {
    let asked = match kind {
        ItemKind::Pair => {
            "Each row is a prompt with two answers to it. Label 0 says that answer A (`first`) is the \
             better one, label 1 that answer B (`second`) is."
        }
        ItemKind::Claim => {
            "Each row is a question with one answer to it, or a statement. Label 1 says that it is \
             right, label 0 that it is not."
        }
    };
    let rows = |split| report.splits.get(&split).map_or(0, |counts| counts.rows);
    format!(
        "# {}\n\n{asked}\n\nThere are {} rows to learn from, with a weak teacher's labels, and {} rows \
         that evaluations are scored on.\nRows of one group share their question or statement.\n",
        plan.id,
        rows(Split::Train),
        rows(Split::Dev)
    )
}
