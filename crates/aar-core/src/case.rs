//! Cases: suspicions with their evidence, what is decided about them, and what follows.
//!
//! Weak signals add up, strong proofs decide alone. A detector opens a case with a *weight*: the
//! natural logarithm of how much likelier the evidence is if its suspicion holds than if the work
//! is honest. Weights of different suspicions are added, of the same suspicion only the largest
//! counts, because the same oddity seen twice is not independent evidence. The weight of one weak
//! suspicion is capped below what disqualifies, so that it takes two kinds of evidence.
//!
//! Everything here is a pure function of the ledger's events, so that the hub, the board and
//! `aar verify` cannot disagree about what was withdrawn.

mod rule;

pub use rule::{Withdrawn, cases, check, decided_by_person, rulings, withdrawn};

use crate::id::{CaseId, Name, SnapshotId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A weak suspicion weighs no more than this, in nats.
pub const MAX_WEIGHT: f64 = 6.0;
/// What one proof weighs.
pub const PROOF: f64 = 20.0;
/// What a reviewer's suspicion weighs: a person should look.
pub const REVIEWER: f64 = 5.0;
/// A snapshot's cases are flagged from this sum on: odds of 100 to 1.
pub const FLAG_SNAPSHOT: f64 = 4.605_170_185_988_091;
/// A snapshot is disqualified from this sum on: odds of 10,000 to 1, so never by one weak suspicion.
pub const DISQUALIFY_SNAPSHOT: f64 = 9.210_340_371_976_182;
/// A researcher's cases are flagged from this sum over all its snapshots on.
pub const FLAG_RESEARCHER: f64 = DISQUALIFY_SNAPSHOT;
/// A researcher's cases are disqualified from this sum on: odds of a million to 1, three suspicions
/// or more. A researcher makes a hundred snapshots, so its largest weights are large by chance.
pub const DISQUALIFY_RESEARCHER: f64 = 13.815_510_557_964_274;
/// Evidence and reasons have no more characters.
pub const MAX_EVIDENCE: usize = 2_000;

/// What is suspected. One variant for each detector.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suspicion {
    /// A decoy token was used that lies where no honest method looks.
    Honeytoken,
    /// Code did not give its own recorded output again, twice.
    NotReproducible,
    /// A snapshot holds the vault's labels of rows that it names.
    StolenLabels,
    /// A snapshot names rows of the study.
    NamesRows,
    /// A snapshot holds data that no program of its kind needs: long opaque runs, binary files.
    EmbeddedData,
    /// A snapshot holds a table that looks like labels.
    LabelTable,
    /// A snapshot's program runs what the rows contain, or names places outside its workspace.
    Prying,
    /// A post holds what looks like instructions to other researchers' models.
    Injection,
    /// A post holds what looks like a token or a key.
    Secret,
    /// An output differs from an earlier one in few rows, the same ones under every teacher.
    NearDuplicate,
    /// Outputs that share no signal with any earlier output.
    Uncorrelated,
    /// Outputs differ in a block of rows.
    BlockDifference,
    /// Outputs that no model would give: one class only, or a share far from all others.
    Implausible,
    /// Much better on dev than on sealed rows.
    DevRankGap,
    /// Many experiments that differ in a number like a seed, of which only the best was evaluated.
    SeedPicking,
    /// It says that it learns from the teacher, and an audit says that it does as well without one.
    FalseClaim,
    /// It is better than a student of true labels, and its answers come from the texts by rule: from
    /// no teacher, and not from the strong model.
    TextOracle,
    /// It is better than a student of true labels, where nothing is left out.
    AboveCeiling,
    /// Run again twice with one seed, it gave three different outputs.
    NotDeterministic,
    /// Its answers hang on which dimension of the states is which: weights that were learnt from
    /// other labels than the teacher's came with it.
    CarriedWeights,
    /// As [`Suspicion::CarriedWeights`], with a loss too small or too uneven to prove it: the seed
    /// changes no answer, and which dimension is which changes some for the worse.
    PermutedLoss,
    /// A language model that read the method names lines of it that break a rule. Its word shows the
    /// method to people and never takes it off the board, alone or beside other evidence.
    Reviewer,
}

impl Suspicion {
    /// Every suspicion.
    pub const ALL: [Self; 22] = [
        Self::Honeytoken,
        Self::NotReproducible,
        Self::StolenLabels,
        Self::NamesRows,
        Self::EmbeddedData,
        Self::LabelTable,
        Self::Prying,
        Self::Injection,
        Self::Secret,
        Self::NearDuplicate,
        Self::Uncorrelated,
        Self::BlockDifference,
        Self::Implausible,
        Self::DevRankGap,
        Self::SeedPicking,
        Self::FalseClaim,
        Self::TextOracle,
        Self::AboveCeiling,
        Self::NotDeterministic,
        Self::CarriedWeights,
        Self::PermutedLoss,
        Self::Reviewer,
    ];

    /// Its word in ledger, tables and index.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Honeytoken => "honeytoken",
            Self::NotReproducible => "not_reproducible",
            Self::StolenLabels => "stolen_labels",
            Self::NamesRows => "names_rows",
            Self::EmbeddedData => "embedded_data",
            Self::LabelTable => "label_table",
            Self::Prying => "prying",
            Self::Injection => "injection",
            Self::Secret => "secret",
            Self::NearDuplicate => "near_duplicate",
            Self::Uncorrelated => "uncorrelated",
            Self::BlockDifference => "block_difference",
            Self::Implausible => "implausible",
            Self::DevRankGap => "dev_rank_gap",
            Self::SeedPicking => "seed_picking",
            Self::FalseClaim => "false_claim",
            Self::TextOracle => "text_oracle",
            Self::AboveCeiling => "above_ceiling",
            Self::NotDeterministic => "not_deterministic",
            Self::CarriedWeights => "carried_weights",
            Self::PermutedLoss => "permuted_loss",
            Self::Reviewer => "reviewer",
        }
    }

    /// Does it disqualify alone?
    #[must_use]
    pub fn is_proof(self) -> bool {
        matches!(
            self,
            Self::Honeytoken | Self::NotReproducible | Self::StolenLabels | Self::CarriedWeights
        )
    }

    /// Can it count towards a disqualification? A reviewer read the same files as the detectors, so its
    /// word is no second kind of evidence; and whoever writes those files can try to write it.
    #[must_use]
    pub fn disqualifies(self) -> bool {
        self != Self::Reviewer
    }

    /// The weight of evidence of this kind: a proof's, or `weight` within 0 and [`MAX_WEIGHT`].
    #[must_use]
    pub fn weigh(self, weight: f64) -> f64 {
        if self.is_proof() {
            PROOF
        } else if weight.is_nan() {
            0.0
        } else {
            weight.clamp(0.0, MAX_WEIGHT)
        }
    }
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The most that a p-value can weigh, in nats: `-ln(-e p ln p)` for p < 1/e, else 0.
///
/// This is the upper bound on the Bayes factor against a point null of Sellke, Bayarri and Berger
/// (2001), "Calibration of p values for testing precise null hypotheses", The American Statistician
/// 55, equation 3. A p-value of 0.0005 thus weighs 4.6, of 10⁻⁵ weighs 8.1.
#[must_use]
pub fn weight_of_p(p: f64) -> f64 {
    // Also where it is no number.
    if !(0.0..1.0 / std::f64::consts::E).contains(&p) {
        return 0.0;
    }
    let p = p.max(f64::MIN_POSITIVE);
    -1.0 - p.ln() - (-p.ln()).ln()
}

/// What was decided about a case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing follows.
    Clean,
    /// Shown to people; the row stays.
    Flagged,
    /// The method is withdrawn; a strike against its researcher.
    Disqualified,
}

impl Verdict {
    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Flagged => "flagged",
            Self::Disqualified => "disqualified",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Who decided. A model that reviews cases may raise them, and that takes no judge; it may never
/// clear one, so it is none.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "judge", rename_all = "snake_case")]
pub enum Judge {
    /// The rule of this module, [`rulings`].
    Rule,
    /// A person, whose word overrules the rule's and every earlier person's.
    Person {
        /// Who.
        name: Name,
    },
}

impl fmt::Display for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule => f.write_str("rule"),
            Self::Person { name } => name.fmt(f),
        }
    }
}

/// The decision that stands.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Decision {
    /// What was decided.
    pub verdict: Verdict,
    /// By whom.
    pub judge: Judge,
    /// Why.
    pub reason: String,
}

/// A suspicion with its evidence.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Case {
    /// Its number.
    pub id: CaseId,
    /// What is suspected.
    pub suspicion: Suspicion,
    /// Whom it concerns.
    pub researcher: Name,
    /// Which snapshot; without one it concerns all that the researcher does.
    pub snapshot: Option<SnapshotId>,
    /// The weight of the evidence, in nats.
    pub weight: f64,
    /// What was seen. It may quote the researcher, who is not trusted.
    pub evidence: String,
    /// The decision that stands, if there is one.
    pub decision: Option<Decision>,
}

impl Case {
    /// The verdict that stands.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        self.decision.as_ref().map(|decision| decision.verdict)
    }
}

/// Is `text` acceptable as evidence or reason?
///
/// # Errors
/// If it is empty or longer than [`MAX_EVIDENCE`] characters.
pub fn check_evidence(text: &str) -> Result<(), String> {
    let length = text.chars().count();
    if text.trim().is_empty() || length > MAX_EVIDENCE {
        return Err(format!(
            "expected 1 to {MAX_EVIDENCE} characters of reason or evidence, found {length}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_weigh_what_the_published_bound_says() {
        // Table 1 of Sellke, Bayarri and Berger: p = .05 gives .407, .01 gives .125, .001 gives .0188.
        for (p, bound) in [(0.05, 0.407), (0.01, 0.125), (0.001, 0.018_8)] {
            let found = (-weight_of_p(p)).exp();
            assert!((found - bound).abs() < 0.001, "{p}: {found}");
        }
        assert_eq!(weight_of_p(0.5).to_bits(), 0.0_f64.to_bits());
        assert!(weight_of_p(0.0).is_finite());
        assert_eq!(weight_of_p(f64::NAN).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn every_word_is_the_one_in_the_ledger() {
        for suspicion in Suspicion::ALL {
            let word = format!("{:?}", suspicion.as_str());
            assert_eq!(serde_json::to_string(&suspicion).unwrap(), word);
        }
    }
}
