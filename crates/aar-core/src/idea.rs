//! What kind of idea a finding tells of, and how involved it is: labels, and the rules that give one
//! where no model does.
//!
//! The study had a model sort every idea into eleven families and score how complex it is (study
//! facts, section 4.3). [`by_rules`] answers the same two questions by counting, so that every study
//! has both figures; a recipe's family and parts are known for certain. A label never comes from what
//! an author says of itself in `method.toml`.

use crate::family::Family;
use crate::method::{METHOD_FILE, Method};
use crate::recipe::Recipe;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// How involved an idea is, 1 to 10: 1 is the naive baseline with one part changed at most, 10 is ten
/// parts or a thousand lines and more that depend on each other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Complexity(u8);

impl Complexity {
    /// The least.
    pub const LEAST: Self = Self(1);
    /// The most.
    pub const MOST: Self = Self(10);

    /// So many steps above the least, or the most.
    fn above_least(steps: usize) -> Self {
        let most = usize::from(Self::MOST.0 - 1);
        Self(1 + steps.min(most) as u8)
    }
}

impl From<Complexity> for u8 {
    fn from(value: Complexity) -> Self {
        value.0
    }
}

impl TryFrom<u8> for Complexity {
    type Error = String;

    fn try_from(value: u8) -> Result<Self, String> {
        match value {
            1..=10 => Ok(Self(value)),
            _ => Err(format!("complexity: found {value}, expected 1 to 10")),
        }
    }
}

impl fmt::Display for Complexity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What kind of idea it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IdeaLabel {
    /// Exactly one of the eleven.
    pub family: Family,
    /// How involved it is.
    pub complexity: Complexity,
}

/// Who gave a label.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "labeller", rename_all = "snake_case")]
pub enum Labeller {
    /// [`by_rules`].
    Rules,
    /// A language model.
    Model {
        /// As the price table names it.
        model: String,
    },
}

impl fmt::Display for Labeller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rules => f.write_str("rules"),
            Self::Model { model } => f.write_str(model),
        }
    }
}

/// Words that speak of a family. They are looked for in lower case, with `-` and `_` as spaces.
const KEYWORDS: [(Family, &[&str]); 10] = [
    (
        Family::SelfTraining,
        &[
            "self training",
            "self train",
            "pseudo label",
            "self label",
            "bootstrapped label",
            "iterative relabel",
            "own predictions",
        ],
    ),
    (
        Family::Ensemble,
        &[
            "ensemble",
            "bagging",
            "bagged",
            "majority vote",
            "model averaging",
            "average of students",
            "stacking",
        ],
    ),
    (
        Family::Distillation,
        &[
            "distil",
            "student of a student",
            "born again",
            "soft targets",
        ],
    ),
    (
        Family::DataFiltering,
        &[
            "filter",
            "discard",
            "keep confident",
            "drop the",
            "remove noisy",
            "prune examples",
            "subset of examples",
            "overlap density",
        ],
    ),
    (
        Family::ConfidenceWeighting,
        &[
            "reweight",
            "confidence weight",
            "sample weight",
            "weighted by",
            "temperature",
            "calibrat",
        ],
    ),
    (
        Family::LossFunction,
        &[
            "loss function",
            "reverse kl",
            "focal loss",
            "hinge",
            "label smoothing",
            "auxiliary loss",
            "margin loss",
            "robust loss",
        ],
    ),
    (
        Family::UnsupervisedElicitation,
        &[
            "ccs",
            "unsupervised",
            "elicit",
            "consistency search",
            "without the teacher",
            "logical consistency",
        ],
    ),
    (
        Family::Curriculum,
        &[
            "curriculum",
            "easy to hard",
            "easy first",
            "staged",
            "anneal",
            "self paced",
        ],
    ),
    (
        Family::ModelInternal,
        &[
            "principal component",
            "pca",
            "subspace",
            "layer",
            "activation",
            "hidden state",
            "residual stream",
            "low rank",
            "mean difference",
            "probe direction",
        ],
    ),
    (
        Family::Evolutionary,
        &[
            "evolution",
            "genetic",
            "cma es",
            "mutat",
            "crossover",
            "population of",
        ],
    ),
];

/// A program of no more lines is of the least complexity; each doubling is a step.
const FEW_LINES: usize = 8;
/// Files whose lines count as a program's.
const CODE: [&str; 12] = [
    "sh", "bash", "py", "pl", "rb", "awk", "sed", "js", "lua", "c", "h", "toml",
];

/// The label of a finding that says `said` about the method in `files`, if it is about one.
///
/// What the lab runs is a recipe, whose family and parts are known. Of another program, and of a
/// finding about none, the family is the one whose words occur most often in what is said and in the
/// program, the first of equals in the study's order, `other` if none occurs. A program's complexity
/// grows by one with each doubling of its lines beyond eight, blank ones left out; that of a mere text
/// with each family that it speaks of.
#[must_use]
pub fn by_rules(said: &str, files: Option<&BTreeMap<String, Vec<u8>>>) -> IdeaLabel {
    if let Some(recipe) = files.and_then(recipe) {
        return IdeaLabel {
            family: recipe.family(),
            complexity: Complexity::above_least(recipe.complexity()),
        };
    }
    let code: Vec<&str> = files.into_iter().flatten().filter_map(code).collect();
    let lines = code.iter().flat_map(|text| text.lines());
    let lines = lines.filter(|line| !line.trim().is_empty()).count();
    let mut counts = count(said);
    for text in &code {
        for (total, more) in counts.iter_mut().zip(count(text)) {
            *total += more;
        }
    }
    let most = counts.iter().copied().max().unwrap_or(0);
    let family = KEYWORDS.iter().zip(counts);
    let family = family
        .filter(|(_, count)| most > 0 && *count == most)
        .map(|((family, _), _)| *family)
        .next();
    let steps = match lines {
        0 => counts.iter().filter(|count| **count > 0).count().max(1) - 1,
        _ => (lines.div_ceil(FEW_LINES)).next_power_of_two().ilog2() as usize,
    };
    IdeaLabel {
        family: family.unwrap_or(Family::Other),
        complexity: Complexity::above_least(steps),
    }
}

/// What the lab runs, if the method is its.
fn recipe(files: &BTreeMap<String, Vec<u8>>) -> Option<Recipe> {
    let text = |path: &str| std::str::from_utf8(files.get(path)?).ok();
    let method: Method = toml::from_str(text(METHOD_FILE)?).ok()?;
    let named = method.command.get(2).filter(|_| method.uses_lab())?;
    Recipe::from_toml(text(named)?).ok()
}

/// A program's text; none of data, of notes, and of what the author says of it.
fn code<'a>((path, bytes): (&String, &'a Vec<u8>)) -> Option<&'a str> {
    let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending);
    (path != METHOD_FILE && CODE.contains(&ending))
        .then(|| std::str::from_utf8(bytes).ok())
        .flatten()
}

/// How often each family's words occur.
fn count(text: &str) -> [usize; KEYWORDS.len()] {
    let plain: String = text
        .chars()
        .flat_map(char::to_lowercase)
        .map(|c| if c.is_alphanumeric() { c } else { ' ' })
        .collect();
    let plain = format!(
        " {}",
        plain.split_whitespace().collect::<Vec<_>>().join(" ")
    );
    KEYWORDS.map(|(_, words)| {
        // A word begins where the keyword does, and may go on: `distil` is in `distillation`.
        let found = words
            .iter()
            .map(|word| plain.matches(&format!(" {word}")).count());
        found.sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LAB: &str = "name = \"m\"\nfamily = \"curriculum\"\nsummary = \"s\"\n\
        command = [\"aar-lab\", \"run\", \"recipe.toml\"]\nclaims_teacher = true\n";

    fn files(all: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        let all = all.iter();
        all.map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn a_recipe_is_what_it_is_whatever_is_said_of_it() {
        let own = files(&[
            (METHOD_FILE, LAB),
            ("recipe.toml", "[ensemble]\nbags = 4\n"),
        ]);
        let label = by_rules("a curriculum, a curriculum, self-training!", Some(&own));
        assert_eq!(label.family, Family::Ensemble);
        assert_eq!(u8::from(label.complexity), 2);
        let naive = files(&[(METHOD_FILE, LAB), ("recipe.toml", "")]);
        assert_eq!(by_rules("", Some(&naive)).complexity, Complexity::LEAST);
    }

    #[test]
    fn a_text_is_of_the_family_that_it_speaks_of_most() {
        let label = by_rules(
            "Pseudo-labels in rounds, then self_training with a filter.",
            None,
        );
        assert_eq!(label.family, Family::SelfTraining);
        assert_eq!(u8::from(label.complexity), 2, "two families are spoken of");
        assert_eq!(by_rules("nothing in it", None).family, Family::Other);
        // Words count where they begin: `player` speaks of no layer.
        assert_eq!(by_rules("a player", None).family, Family::Other);
        assert_eq!(by_rules("layers", None).family, Family::ModelInternal);
    }

    #[test]
    fn a_program_is_as_complex_as_it_is_long_and_its_own_word_for_its_family_counts_nothing() {
        let said = LAB.replace("aar-lab", "python3");
        let with = |lines: usize| {
            let program = "x = 1\n\n".repeat(lines);
            let own = files(&[
                (METHOD_FILE, &said),
                ("run.py", &program),
                ("notes.md", &program),
            ]);
            by_rules("", Some(&own))
        };
        assert_eq!(with(3).family, Family::Other);
        let grows = [8, 9, 16, 17, 10_000].map(|lines| u8::from(with(lines).complexity));
        assert_eq!(grows, [1, 2, 2, 3, 10]);
    }

    #[test]
    fn a_complexity_out_of_bounds_is_none() {
        for wrong in ["0", "11", "-1", "2.5", "\"3\""] {
            assert!(
                serde_json::from_str::<Complexity>(wrong).is_err(),
                "{wrong}"
            );
        }
        assert_eq!(serde_json::to_string(&Complexity::MOST).unwrap(), "10");
    }

    proptest! {
        #[test]
        fn whatever_is_said_gets_one_label_and_always_the_same(
            said in ".{0,200}", path in "[a-z.]{1,12}", bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let all = BTreeMap::from([(path, bytes)]);
            let label = by_rules(&said, Some(&all));
            prop_assert_eq!(label, by_rules(&said, Some(&all)));
            prop_assert!((1..=10).contains(&u8::from(label.complexity)));
        }
    }
}
