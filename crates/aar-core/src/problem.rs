//! `problem.toml`: what a problem is, how it is split, how it is anchored and what it commits to.

use crate::digest::Digest;
use crate::id::{Name, ProblemId};
use crate::recipe::FineTune;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The version of the problem directory's layout that this program reads and writes.
pub const PROBLEM_FORMAT: u32 = 1;

/// A part of a problem's rows. Splits are drawn by group: no group is in two of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Labelled, in the vault: weak teachers are trained on it by trusted code.
    Teacher,
    /// Inputs public, labels in the vault: methods learn from weak labels on it.
    Train,
    /// Inputs public, labels in the vault: evaluations are scored on it.
    Dev,
    /// Sealed, inputs and labels in the vault: replications are scored on it.
    Rank,
}

impl Split {
    /// All splits.
    pub const ALL: [Self; 4] = [Self::Teacher, Self::Train, Self::Dev, Self::Rank];

    /// The name of the split and of its directory.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Teacher => "teacher",
            Self::Train => "train",
            Self::Dev => "dev",
            Self::Rank => "rank",
        }
    }

    /// May researchers see the split's inputs?
    #[must_use]
    pub fn is_public(self) -> bool {
        matches!(self, Self::Train | Self::Dev)
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What all rows of a problem are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemKind {
    /// Two answers to a prompt; activations have shape `[rows, 2, width]`.
    Pair,
    /// One claim; activations have shape `[rows, 1, width]`.
    Claim,
}

impl ItemKind {
    /// How many texts, and so how many activation vectors, a row has.
    #[must_use]
    pub fn options(self) -> usize {
        match self {
            Self::Pair => 2,
            Self::Claim => 1,
        }
    }
}

/// How the hidden states of a text's tokens became one vector.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The state of the last token.
    Last,
    /// The mean over all tokens.
    Mean,
}

impl fmt::Display for Pooling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Last => "last",
            Self::Mean => "mean",
        })
    }
}

/// One tensor of the strong model's hidden states; its name in safetensors files is `last.20`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivationSpec {
    /// After how many of the model's blocks the states were read.
    pub layer: u16,
    /// How tokens were pooled.
    pub pooling: Pooling,
    /// Length of one vector.
    pub width: usize,
}

impl ActivationSpec {
    /// The tensor's name.
    #[must_use]
    pub fn tensor_name(&self) -> String {
        format!("{}.{}", self.pooling, self.layer)
    }
}

/// The public part of a problem's description: `public/about.toml`, which methods see.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "AboutFile", into = "AboutFile")]
pub struct About {
    /// Name and version.
    pub id: ProblemId,
    /// Pairs or claims.
    pub kind: ItemKind,
    /// The strong model; none while no model has seen the rows.
    pub strong: Option<StrongModel>,
}

/// The strong model of a problem and what it brings of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StrongModel {
    /// For people.
    pub name: String,
    /// The tensors in each `activations.safetensors`; empty if the problem brings none.
    pub activations: Vec<ActivationSpec>,
}

impl About {
    /// The tensors in each `activations.safetensors`.
    #[must_use]
    pub fn activations(&self) -> &[ActivationSpec] {
        self.strong
            .as_ref()
            .map_or(&[], |strong| &strong.activations)
    }
}

/// The form of `about.toml`, which has no table for the strong model.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AboutFile {
    id: ProblemId,
    kind: ItemKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    strong_model: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    activations: Vec<ActivationSpec>,
}

impl TryFrom<AboutFile> for About {
    type Error = &'static str;

    fn try_from(file: AboutFile) -> Result<Self, Self::Error> {
        let AboutFile {
            id,
            kind,
            strong_model,
            activations,
        } = file;
        let strong = match strong_model {
            Some(name) => Some(StrongModel { name, activations }),
            None if activations.is_empty() => None,
            None => return Err("activations are listed; name their model in strong_model"),
        };
        Ok(Self { id, kind, strong })
    }
}

impl From<About> for AboutFile {
    fn from(About { id, kind, strong }: About) -> Self {
        let (strong_model, activations) = match strong {
            Some(StrongModel { name, activations }) => (Some(name), activations),
            None => (None, Vec::new()),
        };
        Self {
            id,
            kind,
            strong_model,
            activations,
        }
    }
}

/// Fixed weak and ceiling accuracy of one split, means over teacher seeds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitAnchors {
    /// Mean accuracy of the weak teachers, in `[0, 1]`.
    pub weak: f64,
    /// Mean accuracy of the strong model trained on true labels, in `[0, 1]`.
    pub ceiling: f64,
    /// How many teacher seeds the means are over.
    pub seeds: u32,
}

/// How weak teachers are trained from `vault/*/weak.safetensors`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherSpec {
    /// The weak model, for people.
    pub model: String,
    /// How many labels of the teacher split one teacher sees; each seed draws its own.
    pub labels: usize,
}

/// Where a problem's weak labels come from.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "TeachersFile", into = "TeachersFile")]
pub enum Teachers {
    /// Probes on `vault/*/weak.safetensors`, trained anew for every seed.
    Probe(TeacherSpec),
    /// Models that read the texts, trained once; their labels of `train` are stored.
    Stored(StoredTeachers),
}

/// Weak teachers that are too dear to be trained again for every run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredTeachers {
    /// The weak model, for people.
    pub model: String,
    /// Seeds 1 to so many have labels, at least 1.
    pub seeds: u32,
}

/// The language model that the ceilings are, and how it was fine-tuned on true labels.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ceilings {
    /// The model, for people; the `strong_model` of `about.toml`.
    pub model: String,
    /// What identifies its content: a student of a study must have the same.
    pub content: Digest,
    /// How it was trained. A study's baselines are trained alike.
    pub tuning: FineTune,
}

/// The form of `[teacher]`: `labels` says that it is a probe, `seeds` that labels are stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TeachersFile {
    model: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    labels: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seeds: Option<u32>,
}

impl TryFrom<TeachersFile> for Teachers {
    type Error = &'static str;

    fn try_from(file: TeachersFile) -> Result<Self, Self::Error> {
        let TeachersFile {
            model,
            labels,
            seeds,
        } = file;
        match (labels, seeds) {
            (Some(labels), None) => Ok(Self::Probe(TeacherSpec { model, labels })),
            (None, Some(seeds)) => Ok(Self::Stored(StoredTeachers { model, seeds })),
            _ => Err(
                "give `labels`, how many labels a teacher sees, or `seeds`, of how many teachers \
                 labels are stored, and not both",
            ),
        }
    }
}

impl From<Teachers> for TeachersFile {
    fn from(teachers: Teachers) -> Self {
        match teachers {
            Teachers::Probe(TeacherSpec { model, labels }) => Self {
                model,
                labels: Some(labels),
                seeds: None,
            },
            Teachers::Stored(StoredTeachers { model, seeds }) => Self {
                model,
                labels: None,
                seeds: Some(seeds),
            },
        }
    }
}

/// `problem.toml`, for trusted eyes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProblemManifest {
    /// Always [`PROBLEM_FORMAT`].
    pub format: u32,
    /// Name and version; must equal that of `public/about.toml`.
    pub id: ProblemId,
    /// Are the answers public? Then the board says *practice problem*.
    pub practice: bool,
    /// Known to be hard: no gap or no signal was found when it was built. For transfer only.
    #[serde(default)]
    pub hard: bool,
    /// Rows in each split; checked against the files.
    pub rows: BTreeMap<Split, usize>,
    /// How many rows were left out because they repeated another one exactly.
    #[serde(default)]
    pub duplicates: usize,
    /// How many groups whoever brought the data has put into more than one split; 0 in problems
    /// whose splits were drawn by group. None is in both `dev` and `rank`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub shared_groups: usize,
    /// Where weak labels come from; none while no weak model has seen the rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<Teachers>,
    /// What the ceilings are, where they are language models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceilings: Option<Ceilings>,
    /// Per split, once they were measured.
    #[serde(default)]
    pub anchors: BTreeMap<Split, SplitAnchors>,
    /// Salted hash of each label file.
    #[serde(default)]
    pub commitments: BTreeMap<Split, Digest>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl ProblemManifest {
    /// The problem's name without its version.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.id.name
    }
}
