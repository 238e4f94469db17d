//! Audits of methods: what a replicated method was run with instead, and what that says of it.

use crate::digest::Digest;
use crate::id::{ReplicationId, Seed};
use crate::method::Method;
use crate::problem::ItemKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// One change to what a method sees. Everything else stays as in the replication of the same seed,
/// so a difference between the two runs has this one cause.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counterfactual {
    /// The weak labels are permuted among the train rows.
    ShuffledTeacher,
    /// Every weak label `p` is `1 − p`.
    InvertedTeacher,
    /// The weak labels are drawn uniformly from `[0, 1]`.
    RandomTeacher,
    /// Every weak label is 0.5.
    NoTeacher,
    /// The same teacher's labels under another `$AAR_SEED`.
    OtherSeed,
    /// Half of the rows to predict are left out, by group.
    HalfPool,
    /// The options of every row to predict change places.
    SwappedOptions,
    /// Nonsense in place of every text, of the train rows too; the activations stay.
    GarbledTexts,
    /// The dimensions of all states change places and signs, alike in the train rows and in those to
    /// predict.
    PermutedStates,
}

impl Counterfactual {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::ShuffledTeacher,
        Self::InvertedTeacher,
        Self::RandomTeacher,
        Self::NoTeacher,
        Self::OtherSeed,
        Self::HalfPool,
        Self::SwappedOptions,
        Self::GarbledTexts,
        Self::PermutedStates,
    ];

    /// Its name, as in JSON and CSV.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ShuffledTeacher => "shuffled-teacher",
            Self::InvertedTeacher => "inverted-teacher",
            Self::RandomTeacher => "random-teacher",
            Self::NoTeacher => "no-teacher",
            Self::OtherSeed => "other-seed",
            Self::HalfPool => "half-pool",
            Self::SwappedOptions => "swapped-options",
            Self::GarbledTexts => "garbled-texts",
            Self::PermutedStates => "permuted-states",
        }
    }

    /// Claims have no options that could change places. Without states there are none to permute, and
    /// beside garbled texts nothing is left to learn from.
    #[must_use]
    pub fn applies_to(self, kind: ItemKind, has_states: bool) -> bool {
        match self {
            Self::SwappedOptions => kind == ItemKind::Pair,
            Self::GarbledTexts | Self::PermutedStates => has_states,
            _ => true,
        }
    }
}

impl fmt::Display for Counterfactual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How the runs of one counterfactual ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum AuditRuns {
    /// All of them wrote good predictions.
    Good {
        /// For the first of the audit's seeds the stored predictions: one byte `0` or `1` for each row
        /// that was predicted, in row order.
        outputs: Vec<Digest>,
    },
    /// At least one failed. Methods need not cope with labels that no teacher would give.
    Failed {
        /// The first failure.
        reason: String,
    },
    /// There is nothing to change on this problem.
    NotApplicable,
}

/// The raw result of an audit, enough to recompute its profile from store and vault.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Audit {
    /// The replication whose row is audited.
    pub replication: ReplicationId,
    /// Which of the replication's seeds were run again. A change's outputs are those of the first of
    /// them: one that was looked at closely has more than the others.
    pub seeds: Vec<Seed>,
    /// What came of each counterfactual.
    pub runs: BTreeMap<Counterfactual, AuditRuns>,
    /// The stored predictions of the ceiling, the strong model trained on true labels, on the rows
    /// of the replication. None where ceilings are language models: their answers are not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<Digest>,
}

/// What an audit says of a method, in a word. None of these is a verdict.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trait {
    /// Without the teacher's information it loses most of what it has over chance.
    UsesTeacher,
    /// It finds its answers without the teacher, who only says which side is which.
    TeacherOriented,
    /// With a teacher that knows nothing it keeps at least half of what it has over chance.
    TeacherFree,
    /// The audit cannot say whether it uses the teacher.
    TeacherUnclear,
    /// Its answers change with the order of the options.
    OrderBiased,
    /// Its answers for a row change with the other rows to predict.
    PoolDependent,
    /// Its answers change with the seed although the teacher stays.
    SeedDependent,
    /// Its answers change with the texts although the activations stay.
    ReadsTexts,
    /// It loses accuracy when the dimensions of the states change places and signs: it knows from
    /// elsewhere what they mean.
    CarriesWeights,
    /// Where a known shortcut misleads, it is wrong more often than right.
    Shortcut,
    /// On a slice it is more accurate than a student of true labels. Evidence, not proof.
    AboveCeiling,
}

impl Trait {
    /// The trait in plain words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UsesTeacher => "uses the teacher",
            Self::TeacherOriented => "teacher-oriented",
            Self::TeacherFree => "teacher-free",
            Self::TeacherUnclear => "teacher unclear",
            Self::OrderBiased => "order-biased",
            Self::PoolDependent => "pool-dependent",
            Self::SeedDependent => "seed-dependent",
            Self::ReadsTexts => "reads the texts",
            Self::CarriesWeights => "carries weights",
            Self::Shortcut => "shortcut",
            Self::AboveCeiling => "above the ceiling",
        }
    }
}

impl fmt::Display for Trait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What an [`Evidence`]'s value measures.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Accuracy of the replication minus accuracy of the changed runs, same seeds and rows.
    AccuracyLost,
    /// Accuracy on a slice.
    Accuracy,
    /// Accuracy minus the ceiling's on the same rows.
    OverCeiling,
    /// Nothing: the runs failed, or the check does not apply.
    Nothing,
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::AccuracyLost => "accuracy-lost",
            Self::Accuracy => "accuracy",
            Self::OverCeiling => "over-ceiling",
            Self::Nothing => "nothing",
        })
    }
}

/// One check and what came of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Evidence {
    /// The counterfactual's name, or the slice's.
    pub check: String,
    /// What `value` is.
    pub measure: Measure,
    /// The figure; none if there is none.
    pub value: Option<f64>,
    /// Lower end of its 95 % interval, over items and seeds.
    pub ci_low: Option<f64>,
    /// Upper end.
    pub ci_high: Option<f64>,
    /// Share of rows that both runs answer alike, in `[0, 1]`; for swapped options, of those where
    /// the answer moved with the option.
    pub agreement: Option<f64>,
    /// A sentence for people.
    pub says: String,
}

/// A method's traits, with the evidence for them.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Profile {
    /// What was found, the teacher's part first.
    pub traits: Vec<Trait>,
    /// Every check.
    pub evidence: Vec<Evidence>,
}

impl Profile {
    /// Does it have the trait?
    #[must_use]
    pub fn has(&self, one: Trait) -> bool {
        self.traits.contains(&one)
    }

    /// All traits in plain words.
    #[must_use]
    pub fn words(&self) -> String {
        let words: Vec<&str> = self.traits.iter().map(|one| one.as_str()).collect();
        words.join(", ")
    }

    /// Does the profile contradict what the method says of itself? To ignore the teacher is no
    /// cheat, but to say that one learns from it and not to is.
    #[must_use]
    pub fn contradicts_claim(&self, method: &Method) -> bool {
        method.claims_teacher && self.has(Trait::TeacherFree)
    }
}
