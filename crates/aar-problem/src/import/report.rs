//! What was found and made: for people as a table, for scripts as JSON.

use super::ImportPlan;
use super::deal::Dealt;
use super::group::{Grouped, Grouping, normalised_item};
use super::read::{Brought, SourceFile, SourceRow};
use aar_core::id::{ProblemId, Seed};
use aar_core::problem::{ItemKind, Split};
use aar_core::row::{Item, Label, RowId};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

/// Counts over the files as they came and the splits as they were made. It tells labels' balance, so
/// it is for trusted eyes.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ImportReport {
    /// Name and version of the problem.
    pub id: ProblemId,
    /// Pairs or claims.
    pub kind: ItemKind,
    /// What dealt `dev` and `rank`.
    pub seed: Seed,
    /// What rows of one group share.
    pub grouped_by: Grouping,
    /// Each file as it came.
    pub files: BTreeMap<SourceFile, FileCounts>,
    /// What each two files share, as they came.
    pub overlaps: Vec<Overlap>,
    /// Each split as it was made.
    pub splits: BTreeMap<Split, SplitCounts>,
    /// Groups that are in more than one split.
    pub shared_groups: usize,
    /// Rows that methods may group by consistency.
    pub consistency: KeyCounts,
    /// Fields of the study's layout that stay behind, with the number of rows that had them.
    pub withheld_fields: BTreeMap<String, usize>,
    /// Fields that the layout does not know, with the number of rows that had them. They stay behind.
    pub unknown_fields: BTreeMap<String, usize>,
}

/// One file as it came.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FileCounts {
    /// Rows.
    pub rows: usize,
    /// Rows with label 0: `A` or `false`.
    pub zeros: usize,
    /// Rows with label 1: `B` or `true`.
    pub ones: usize,
    /// Groups.
    pub groups: usize,
    /// Rows that repeat an earlier one exactly; left out.
    pub exact_duplicates: usize,
    /// Rows that repeat an earlier one but for case, white space and full stops at the end, exact
    /// repetitions among them.
    pub normalised_duplicates: usize,
    /// Pairs that repeat an earlier one with its options exchanged, among distinct rows.
    pub mirrored: usize,
    /// Distinct rows that a file scored later has too, in either order of their options; left out.
    pub elsewhere: usize,
    /// Empty answers, which are valid.
    pub empty_answers: usize,
    /// Texts that were `true`, `false` or a number in the file.
    pub converted_texts: usize,
}

/// What two files share.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Overlap {
    /// One of them.
    pub one: SourceFile,
    /// The other.
    pub other: SourceFile,
    /// Groups that are in both.
    pub groups: usize,
    /// Distinct rows that are in both exactly.
    pub exact_rows: usize,
    /// Distinct rows that are in both but for case, white space and full stops at the end.
    pub normalised_rows: usize,
}

/// One split as it was made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SplitCounts {
    /// Rows.
    pub rows: usize,
    /// Rows with label 0.
    pub zeros: usize,
    /// Rows with label 1.
    pub ones: usize,
    /// Groups.
    pub groups: usize,
}

/// Consistency keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct KeyCounts {
    /// Rows that have one.
    pub rows: usize,
    /// Different keys.
    pub keys: usize,
    /// Keys whose rows have both labels: these answers are not the same after all.
    pub contradicting: usize,
}

impl ImportReport {
    pub(super) fn of(
        plan: &ImportPlan,
        brought: &Brought,
        grouped: &Grouped,
        dealt: &Dealt,
    ) -> Self {
        let contents: BTreeMap<SourceFile, Contents> = SourceFile::ALL
            .into_iter()
            .map(|file| (file, Contents::of(brought, grouped, file)))
            .collect();
        let file = |(&file, contents): (&SourceFile, &Contents)| {
            let elsewhere = dealt.elsewhere.get(&file).copied().unwrap_or(0);
            let converted = brought.converted.get(&file).copied().unwrap_or(0);
            let rows = brought.rows.iter().filter(|row| row.file == file);
            (file, contents.counts(rows, elsewhere, converted))
        };
        let mut overlaps = Vec::new();
        for (index, one) in SourceFile::ALL.into_iter().enumerate() {
            for &other in &SourceFile::ALL[index + 1..] {
                overlaps.push(contents[&one].overlap(&contents[&other], one, other));
            }
        }
        let splits = dealt.splits.iter().map(|(&split, part)| {
            let (zeros, ones) = balance(part.labels.iter());
            let groups: HashSet<&str> = part.rows.iter().map(|row| &*row.group).collect();
            let counts = SplitCounts {
                rows: part.rows.len(),
                zeros,
                ones,
                groups: groups.len(),
            };
            (split, counts)
        });
        Self {
            id: plan.id.clone(),
            kind: brought.kind,
            seed: plan.seed,
            grouped_by: grouped.by,
            files: contents.iter().map(file).collect(),
            overlaps,
            splits: splits.collect(),
            shared_groups: shared_groups(dealt),
            consistency: dealt.keys,
            withheld_fields: brought.withheld.clone(),
            unknown_fields: brought.unknown.clone(),
        }
    }

    /// Rows that were left out because they are in the problem already.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.files
            .values()
            .map(|file| file.exact_duplicates + file.elsewhere)
            .sum()
    }
}

fn balance<'a>(labels: impl Iterator<Item = &'a Label>) -> (usize, usize) {
    let (mut zeros, mut ones) = (0, 0);
    for label in labels {
        match label {
            Label::Zero => zeros += 1,
            Label::One => ones += 1,
        }
    }
    (zeros, ones)
}

fn shared_groups(dealt: &Dealt) -> usize {
    let mut seen: BTreeMap<&str, BTreeSet<Split>> = BTreeMap::new();
    for (&split, part) in &dealt.splits {
        for row in &part.rows {
            seen.entry(&row.group).or_default().insert(split);
        }
    }
    seen.values().filter(|splits| splits.len() > 1).count()
}

/// The different contents of one file.
struct Contents {
    groups: HashSet<Arc<str>>,
    ids: HashSet<RowId>,
    questions: HashSet<RowId>,
    normalised: HashSet<Vec<String>>,
}

impl Contents {
    fn of(brought: &Brought, grouped: &Grouped, file: SourceFile) -> Self {
        let mut contents = Self {
            groups: HashSet::new(),
            ids: HashSet::new(),
            questions: HashSet::new(),
            normalised: HashSet::new(),
        };
        let rows = brought.rows.iter().zip(&grouped.names);
        for (row, group) in rows.filter(|(row, _)| row.file == file) {
            contents.groups.insert(Arc::clone(group));
            contents.ids.insert(row.id);
            contents
                .questions
                .insert(row.id.min(row.item.swapped().id()));
            contents.normalised.insert(normalised_item(&row.item));
        }
        contents
    }

    fn counts<'a>(
        &self,
        rows: impl Iterator<Item = &'a SourceRow> + Clone,
        elsewhere: usize,
        converted_texts: usize,
    ) -> FileCounts {
        let (zeros, ones) = balance(rows.clone().map(|row| &row.label));
        let empty = |row: &SourceRow| match &row.item {
            Item::Pair { first, second, .. } => {
                usize::from(first.is_empty()) + usize::from(second.is_empty())
            }
            Item::Claim { choice, .. } => usize::from(choice.is_empty()),
        };
        let count = zeros + ones;
        FileCounts {
            rows: count,
            zeros,
            ones,
            groups: self.groups.len(),
            exact_duplicates: count - self.ids.len(),
            normalised_duplicates: count - self.normalised.len(),
            mirrored: self.ids.len() - self.questions.len(),
            elsewhere,
            empty_answers: rows.map(empty).sum(),
            converted_texts,
        }
    }

    fn overlap(&self, other: &Self, one: SourceFile, two: SourceFile) -> Overlap {
        Overlap {
            one,
            other: two,
            groups: self.groups.intersection(&other.groups).count(),
            exact_rows: self.ids.intersection(&other.ids).count(),
            normalised_rows: self.normalised.intersection(&other.normalised).count(),
        }
    }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, zero, one) = match self.kind {
            ItemKind::Pair => ("pairs", "A", "B"),
            ItemKind::Claim => ("claims", "false", "true"),
        };
        let Self {
            id,
            seed,
            grouped_by,
            ..
        } = self;
        writeln!(f, "{id}: {kind}, grouped by {grouped_by}; seed {seed}")?;
        writeln!(
            f,
            "  {:<20} {:>6} {zero:>6} {one:>6} {:>6}   {:>6} {:>6} {:>8} {:>9}",
            "file", "rows", "groups", "exact", "normal", "mirrored", "elsewhere"
        )?;
        for (file, counts) in &self.files {
            writeln!(
                f,
                "  {file:<20} {:>6} {:>6} {:>6} {:>6}   {:>6} {:>6} {:>8} {:>9}",
                counts.rows,
                counts.zeros,
                counts.ones,
                counts.groups,
                counts.exact_duplicates,
                counts.normalised_duplicates,
                counts.mirrored,
                counts.elsewhere
            )?;
        }
        writeln!(
            f,
            "  {:<40} {:>6} {:>6} {:>6}",
            "in two files", "groups", "exact", "normal"
        )?;
        for overlap in &self.overlaps {
            let files = format!("{} and {}", overlap.one, overlap.other);
            writeln!(
                f,
                "  {files:<40} {:>6} {:>6} {:>6}",
                overlap.groups, overlap.exact_rows, overlap.normalised_rows
            )?;
        }
        writeln!(
            f,
            "  {:<20} {:>6} {zero:>6} {one:>6} {:>6}",
            "split", "rows", "groups"
        )?;
        for (split, counts) in &self.splits {
            writeln!(
                f,
                "  {split:<20} {:>6} {:>6} {:>6} {:>6}",
                counts.rows, counts.zeros, counts.ones, counts.groups
            )?;
        }
        self.notes(f)
    }
}

impl ImportReport {
    /// What is not the same for every data set, line by line.
    fn notes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |count: fn(&FileCounts) -> usize| self.files.values().map(count).sum::<usize>();
        let mut notes = Vec::new();
        if self.left_out() > 0 {
            notes.push(format!(
                "{} rows left out: repeated in their file, or in a file scored later too",
                self.left_out()
            ));
        }
        if self.shared_groups > 0 {
            notes.push(format!(
                "{} groups are in more than one split, as the data came (never in dev and rank)",
                self.shared_groups
            ));
        }
        if self.consistency.rows > 0 {
            let KeyCounts {
                rows,
                keys,
                contradicting,
            } = self.consistency;
            notes.push(format!(
                "{rows} rows have one of {keys} consistency keys; {contradicting} keys have rows of both labels"
            ));
        }
        if sum(|file| file.empty_answers) > 0 {
            notes.push(format!("{} empty answers", sum(|file| file.empty_answers)));
        }
        if sum(|file| file.converted_texts) > 0 {
            notes.push(format!(
                "{} texts were true, false or a number in the file; taken as Python prints them",
                sum(|file| file.converted_texts)
            ));
        }
        for (field, rows) in self.withheld_fields.iter().chain(&self.unknown_fields) {
            notes.push(format!("field {field} of {rows} rows is left out"));
        }
        for (index, note) in notes.iter().enumerate() {
            let end = if index + 1 < notes.len() { "\n" } else { "" };
            write!(f, "  {note}{end}")?;
        }
        Ok(())
    }
}
