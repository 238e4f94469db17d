//! Everything that tables and page have in common, gathered once.

use crate::account::Account;
use crate::climb::Climb;
use crate::diversity::{self, Bin};
use crate::shrink::Shrink;
use crate::text::{clean_bytes, one_line};
use crate::{Files, Material, ReportError};
use aar_core::board::{Board, BoardRow, Group};
use aar_core::digest::Digest;
use aar_core::id::{ProblemId, SnapshotId};
use aar_core::method::{METHOD_FILE, Method};
use aar_core::parse;
use std::collections::BTreeMap;

/// No longer recipe is shown.
const MOST_RECIPE: usize = 12_000;
/// No longer summary is shown.
const MOST_SUMMARY: usize = 1_500;

/// The account, the board and what follows from both.
pub(crate) struct Facts<'a> {
    pub(crate) account: Account<'a>,
    pub(crate) board: &'a Board,
    pub(crate) climb: Climb<'a>,
    pub(crate) shrink: Shrink<'a>,
    pub(crate) bins: Vec<Bin>,
    /// What is in each snapshot that is stored or on the board, as far as it could be read.
    pub(crate) contents: BTreeMap<SnapshotId, Contents>,
}

/// What a snapshot says of itself. All of it is by its author and already cleaned.
#[derive(Default)]
pub(crate) struct Contents {
    pub(crate) summary: String,
    pub(crate) command: String,
    /// What the lab runs. Another program's files say nothing of what it does.
    pub(crate) recipe: Option<(Digest, String)>,
    /// Path and bytes.
    pub(crate) files: Vec<(String, usize)>,
}

impl<'a> Facts<'a> {
    pub(crate) fn gather(material: &Material<'a>) -> Result<Self, ReportError> {
        let account = Account::of(material.events)?;
        let board = material.board;
        let stored = account.snapshots.iter().map(|stored| stored.id);
        let ranked = groups(board)
            .into_iter()
            .flat_map(|(_, rows)| rows)
            .map(|row| row.snapshot);
        let mut contents = BTreeMap::new();
        for id in stored.chain(ranked) {
            contents.entry(id).or_insert_with(|| {
                (material.snapshot)(id)
                    .map(|files| Contents::of(&files))
                    .unwrap_or_default()
            });
        }
        Ok(Self {
            climb: Climb::of(&account, board),
            shrink: Shrink::of(&account, board),
            bins: diversity::bins(&account),
            account,
            board,
            contents,
        })
    }

    /// The main problem's id.
    pub(crate) fn main(&self) -> &'a ProblemId {
        &self.account.main().id
    }

    /// A group's rows on one problem, best first.
    pub(crate) fn rows(&self, group: Group, problem: &ProblemId) -> Vec<&'a BoardRow> {
        let rows = groups(self.board).into_iter().filter(|(g, _)| *g == group);
        rows.flat_map(|(_, rows)| on_problem(rows, problem))
            .collect()
    }

    /// A group's best row on the main problem.
    pub(crate) fn best(&self, group: Group) -> Option<&'a BoardRow> {
        self.rows(group, self.main())
            .into_iter()
            .find(|row| row.pgr.is_finite())
    }

    /// A snapshot's row on the main problem, whatever its group.
    pub(crate) fn on_main(&self, snapshot: SnapshotId) -> Option<&'a BoardRow> {
        let mut rows = groups(self.board).into_iter().flat_map(|(_, rows)| rows);
        rows.find(|row| row.snapshot == snapshot && row.problem == *self.main())
    }
}

/// The board's three groups in the order in which they are shown.
pub(crate) fn groups(board: &Board) -> [(Group, &Vec<BoardRow>); 3] {
    [
        (Group::Study, &board.verified),
        (Group::Baseline, &board.baselines),
        (Group::Published, &board.published),
    ]
}

/// A group's rows on one problem, best first.
pub(crate) fn on_problem<'a>(rows: &'a [BoardRow], problem: &ProblemId) -> Vec<&'a BoardRow> {
    let mut rows: Vec<_> = rows.iter().filter(|row| row.problem == *problem).collect();
    // A board comes sorted; one that did not would make a best row of any.
    rows.sort_by(|a, b| b.pgr.total_cmp(&a.pgr));
    rows
}

/// How a group is called.
pub(crate) fn group_name(group: Group) -> &'static str {
    match group {
        Group::Study => "This study's methods",
        Group::Baseline => "Established baselines",
        Group::Published => "Published methods",
    }
}

/// How a group is called in tables.
pub(crate) fn group_word(group: Group) -> &'static str {
    match group {
        Group::Study => "study",
        Group::Baseline => "baseline",
        Group::Published => "published",
    }
}

impl Contents {
    fn of(files: &Files) -> Self {
        let declared = files
            .get(METHOD_FILE)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .and_then(|text| parse::toml::<Method>(text).ok());
        let recipe = declared
            .as_ref()
            .and_then(|method| files.get(recipe_file(method)?))
            .map(|bytes| (Digest::of(bytes), clean_bytes(bytes, MOST_RECIPE)));
        let (summary, command) = declared
            .map(|method| (method.summary, method.command.join(" ")))
            .unwrap_or_default();
        Self {
            summary: one_line(&summary, MOST_SUMMARY),
            command: one_line(&command, MOST_SUMMARY),
            recipe,
            files: files
                .iter()
                .map(|(path, bytes)| (one_line(path, 200), bytes.len()))
                .collect(),
        }
    }
}

/// The file that `aar-lab run FILE` names.
fn recipe_file(method: &Method) -> Option<&str> {
    match method.command.as_slice() {
        [_, verb, file] if method.uses_lab() && verb == "run" => Some(file),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe_of(command: &[&str]) -> Option<String> {
        let quoted: Vec<_> = command.iter().map(|word| format!("{word:?}")).collect();
        let method = format!(
            "name = \"m\"\nfamily = \"other\"\nsummary = \"s\"\ncommand = [{}]\n\
             claims_teacher = true\n",
            quoted.join(", ")
        );
        let files = [
            (METHOD_FILE, method.as_str()),
            ("recipe.toml", "# decoy"),
            ("mine.toml", "# mine"),
        ];
        let files = files.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()));
        Contents::of(&files.into()).recipe.map(|(_, text)| text)
    }

    #[test]
    fn the_recipe_shown_is_the_one_that_the_lab_runs() {
        assert_eq!(
            recipe_of(&["aar-lab", "run", "mine.toml"]).as_deref(),
            Some("# mine")
        );
        assert_eq!(
            recipe_of(&["aar-lab", "run", "recipe.toml"]).as_deref(),
            Some("# decoy")
        );
        for command in [
            &["sh", "run.sh"][..],
            &["sh", "run", "recipe.toml"],
            &["/opt/aar-lab", "run", "recipe.toml"],
            &["aar-lab", "run"],
            &["aar-lab", "run", "none.toml"],
        ] {
            assert_eq!(recipe_of(command), None, "{command:?}");
        }
    }
}
