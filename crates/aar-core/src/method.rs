//! `method.toml`: what a snapshot says about the method in it.

use crate::family::Family;
use crate::id::Name;
use serde::{Deserialize, Serialize};

/// The file in a snapshot that holds a [`Method`].
pub const METHOD_FILE: &str = "method.toml";
/// The file that holds a declarative method for the built-in lab.
pub const RECIPE_FILE: &str = "recipe.toml";
/// The first word of a command that the lab's own binary answers.
pub const LAB_COMMAND: &str = "aar-lab";
/// The lab's exit code where a recipe keeps no row to learn from.
pub const NOTHING_TO_LEARN: u8 = 3;

/// What makes a run without a score cheap. The lab obeys; other programs may.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Trial {
    /// How many training rows are looked at; all if none.
    pub rows: Option<u64>,
    /// After how many steps the training of a language model stops; none for all.
    pub steps: Option<u64>,
}

/// A method's declaration. What it says of itself is a claim; the board derives or checks what it can.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Method {
    /// Short name shown on the board.
    pub name: Name,
    /// The family that the author claims.
    pub family: Family,
    /// One paragraph for people.
    pub summary: String,
    /// Program and arguments, run in the snapshot's directory.
    pub command: Vec<String>,
    /// Does the method say that it learns from the teacher's labels?
    pub claims_teacher: bool,
}

impl Method {
    /// The method that runs the snapshot's `recipe.toml` with the built-in lab.
    #[must_use]
    pub fn for_recipe(name: Name, family: Family, summary: String, claims_teacher: bool) -> Self {
        let command = vec![
            LAB_COMMAND.to_owned(),
            "run".to_owned(),
            RECIPE_FILE.to_owned(),
        ];
        Self {
            name,
            family,
            summary,
            command,
            claims_teacher,
        }
    }

    /// Is the command the lab's own binary? Then the sandbox needs no other program.
    #[must_use]
    pub fn uses_lab(&self) -> bool {
        self.command
            .first()
            .is_some_and(|program| program == LAB_COMMAND)
    }
}
